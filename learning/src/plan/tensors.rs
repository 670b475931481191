//! Which tensors of a model are trained, or which of their rows, by the tensors' names.

use core::ops::Range;

use super::{Parts, PartsError};

/// Why tensors cannot be chosen for training.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorsError {
    /// The model has none of that name.
    #[error("the model has no tensor {pattern:?}; it has {names}")]
    Unknown {
        /// The name, or the beginning of one and `*`.
        pattern: String,
        /// The names of all of them.
        names: String,
    },
    /// What stands in brackets after a name are no rows.
    #[error(
        "{pattern:?} names no rows; rows are two numbers with two dots between them, as in {name}[0..1000], \
         which is the first thousand"
    )]
    NotARange {
        /// The name with its brackets.
        pattern: String,
        /// The name.
        name: String,
    },
    /// There is no row between the two numbers.
    #[error("{pattern:?} is no row at all: the second number must be larger than the first")]
    NoRow {
        /// The name with its brackets.
        pattern: String,
    },
    /// The tensor has fewer rows.
    #[error("{pattern:?} goes beyond the tensor's {rows} rows, which are 0..{rows}")]
    BeyondRows {
        /// The name with its brackets.
        pattern: String,
        /// How many rows the tensor has: its first dimension.
        rows: usize,
    },
    /// They lie in too many stretches of the flat vector.
    #[error(transparent)]
    Parts(#[from] PartsError),
}

impl Parts {
    /// Where tensors lie in the flat vector: those with one of these names, or whose names begin with
    /// what stands before a `*`; of `NAME[FIRST..END]` the rows from the first up to the one before the
    /// end, counted from 0. A tensor's rows are its first dimension. Without any pattern it is all of
    /// them. `tensors` are the model's names and dimensions, in the flat vector's order.
    ///
    /// # Errors
    /// [`TensorsError`] that names the pattern.
    pub fn of_tensors<'a>(
        tensors: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
        patterns: &[String],
    ) -> Result<Self, TensorsError> {
        let mut stretches = Vec::new();
        for pattern in patterns {
            let rows = match tensors.clone().any(|(name, _)| name == pattern) {
                // Nobody forbids brackets in a tensor's name.
                true => None,
                false => Rows::parse(pattern)?,
            };
            let named = rows.as_ref().map_or(pattern.as_str(), |rows| rows.name);
            let mut start = 0;
            let mut found = false;
            for (name, dimensions) in tensors.clone() {
                // The whole fits into a u32.
                let elements: usize = dimensions.iter().product();
                let end = start + u32::try_from(elements).unwrap_or(u32::MAX);
                let meant = match (&rows, named.strip_suffix('*')) {
                    (None, Some(beginning)) => name.starts_with(beginning),
                    _ => name == named,
                };
                if meant {
                    found = true;
                    stretches.push(match &rows {
                        None => start..end,
                        Some(rows) => rows.within(pattern, dimensions, start..end)?,
                    });
                }
                start = end;
            }
            if !found {
                let names: Vec<&str> = tensors.map(|(name, _)| name).collect();
                return Err(TensorsError::Unknown {
                    pattern: named.to_owned(),
                    names: names.join(", "),
                });
            }
        }
        Ok(Self::new(stretches)?)
    }
}

/// Some rows of one tensor.
struct Rows<'a> {
    name: &'a str,
    first: u32,
    end: u32,
}

impl<'a> Rows<'a> {
    /// Reads `NAME[FIRST..END]`; nothing where there are no brackets.
    fn parse(pattern: &'a str) -> Result<Option<Self>, TensorsError> {
        let Some((name, range)) = pattern
            .strip_suffix(']')
            .and_then(|open| open.rsplit_once('['))
        else {
            return Ok(None);
        };
        let numbers = range.split_once("..").and_then(|(first, end)| {
            let [first, end] = [first, end].map(|number| number.trim().parse().ok());
            Some((first?, end?))
        });
        let (first, end) = numbers.ok_or_else(|| TensorsError::NotARange {
            pattern: pattern.to_owned(),
            name: name.to_owned(),
        })?;
        if first >= end {
            let pattern = pattern.to_owned();
            return Err(TensorsError::NoRow { pattern });
        }
        Ok(Some(Self { name, first, end }))
    }

    /// Where they lie in the flat vector, of a tensor that lies in `whole` of it.
    fn within(
        &self,
        pattern: &str,
        dimensions: &[usize],
        whole: Range<u32>,
    ) -> Result<Range<u32>, TensorsError> {
        let rows = dimensions.first().copied().unwrap_or(0);
        if self.end as usize > rows {
            let pattern = pattern.to_owned();
            return Err(TensorsError::BeyondRows { pattern, rows });
        }
        // At least one row, and no product is beyond the tensor's own length.
        let elements = (whole.end - whole.start) / u32::try_from(rows).unwrap_or(u32::MAX);
        Ok(whole.start + self.first * elements..whole.start + self.end * elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(patterns: &[&str]) -> Result<Parts, TensorsError> {
        let tensors: [(&str, &[usize]); 4] = [
            ("bias", &[2]),
            ("cell_bias", &[3]),
            ("cell_weight", &[3, 2]),
            ("old[1..2]", &[2, 2]),
        ];
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Parts::of_tensors(tensors.into_iter(), &patterns)
    }

    fn stretches(stretches: impl IntoIterator<Item = Range<u32>>) -> Result<Parts, TensorsError> {
        Ok(Parts::new(stretches).unwrap())
    }

    #[test]
    fn tensors_are_found_by_name_and_by_the_beginning_of_it() {
        assert_eq!(parts(&[]), Ok(Parts::ALL));
        assert_eq!(parts(&["cell_*"]), stretches(Some(2..11)));
        assert_eq!(parts(&["cell_weight", "bias"]), stretches([0..2, 5..11]));
        let unknown = TensorsError::Unknown {
            pattern: "cell".to_owned(),
            names: "bias, cell_bias, cell_weight, old[1..2]".to_owned(),
        };
        assert_eq!(parts(&["bias", "cell"]), Err(unknown.clone()));
        assert_eq!(parts(&["cell[0..1]"]), Err(unknown));
    }

    #[test]
    fn rows_are_those_of_the_first_dimension() {
        assert_eq!(parts(&["cell_weight[1..3]"]), stretches(Some(7..11)));
        assert_eq!(parts(&["cell_weight[0..3]"]), parts(&["cell_weight"]));
        assert_eq!(parts(&["cell_bias[0 .. 1]"]), stretches(Some(2..3)));
        let two = parts(&["cell_weight[2..3]", "cell_bias[0..1]", "bias"]);
        assert_eq!(two, stretches([0..3, 9..11]));
        // A name that looks like rows is a name, and can have rows.
        assert_eq!(parts(&["old[1..2]"]), stretches(Some(11..15)));
        assert_eq!(parts(&["old[1..2][1..2]"]), stretches(Some(13..15)));
    }

    #[test]
    fn what_are_no_rows_is_named() {
        for pattern in [
            "bias[]",
            "bias[1]",
            "bias[..2]",
            "bias[-1..2]",
            "bias[0..=1]",
        ] {
            let expected = TensorsError::NotARange {
                pattern: pattern.to_owned(),
                name: "bias".to_owned(),
            };
            assert_eq!(parts(&[pattern]), Err(expected));
        }
        for pattern in ["bias[1..1]", "bias[2..0]"] {
            let expected = TensorsError::NoRow {
                pattern: pattern.to_owned(),
            };
            assert_eq!(parts(&[pattern]), Err(expected));
        }
        for (pattern, rows) in [("bias[0..3]", 2), ("cell_weight[2..4294967295]", 3)] {
            let expected = TensorsError::BeyondRows {
                pattern: pattern.to_owned(),
                rows,
            };
            assert_eq!(parts(&[pattern]), Err(expected));
        }
        // A beginning of names has no rows.
        assert!(matches!(
            parts(&["cell_*[0..1]"]),
            Err(TensorsError::Unknown { pattern, .. }) if pattern == "cell_*"
        ));
        let message = parts(&["bias[1]"]).unwrap_err().to_string();
        assert!(message.contains("bias[0..1000]"), "{message}");
    }
}
