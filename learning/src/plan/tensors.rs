//! Which tensors of a model are trained, by their names.

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
    /// They lie in too many stretches of the flat vector.
    #[error(transparent)]
    Parts(#[from] PartsError),
}

impl Parts {
    /// Where tensors lie in the flat vector: those with one of these names, or whose names begin with
    /// what stands before a `*`. Without any pattern it is all of them. `tensors` are the model's names
    /// and numbers of elements, in the flat vector's order.
    ///
    /// # Errors
    /// [`TensorsError`] that names the pattern.
    pub fn of_tensors<'a>(
        tensors: impl Iterator<Item = (&'a str, usize)> + Clone,
        patterns: &[String],
    ) -> Result<Self, TensorsError> {
        let mut stretches = Vec::new();
        for pattern in patterns {
            let mut start = 0;
            let mut found = false;
            for (name, elements) in tensors.clone() {
                // The whole fits into a u32.
                let end = start + u32::try_from(elements).unwrap_or(u32::MAX);
                let meant = match pattern.strip_suffix('*') {
                    Some(prefix) => name.starts_with(prefix),
                    None => name == pattern,
                };
                if meant {
                    found = true;
                    stretches.push(start..end);
                }
                start = end;
            }
            if !found {
                let names: Vec<&str> = tensors.map(|(name, _)| name).collect();
                return Err(TensorsError::Unknown {
                    pattern: pattern.clone(),
                    names: names.join(", "),
                });
            }
        }
        Ok(Self::new(stretches)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(patterns: &[&str]) -> Result<Parts, TensorsError> {
        let tensors = [("bias", 2), ("cell_bias", 3), ("cell_weight", 6)];
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Parts::of_tensors(tensors.into_iter(), &patterns)
    }

    #[test]
    fn tensors_are_found_by_name_and_by_the_beginning_of_it() {
        assert_eq!(parts(&[]), Ok(Parts::ALL));
        assert_eq!(parts(&["cell_*"]), Ok(Parts::new(Some(2..11)).unwrap()));
        let two = Parts::new([0..2, 5..11]).unwrap();
        assert_eq!(parts(&["cell_weight", "bias"]), Ok(two));
        let unknown = TensorsError::Unknown {
            pattern: "cell".to_owned(),
            names: "bias, cell_bias, cell_weight".to_owned(),
        };
        assert_eq!(parts(&["bias", "cell"]), Err(unknown));
    }
}
