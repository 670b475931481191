//! Which of a model's parameters a training round changes.

use core::ops::Range;

use serde::{Deserialize, Serialize};

/// The parameters that are trained and sent: stretches of the flat vector, or all of it.
///
/// At most [`MAX_PARTS`](Self::MAX_PARTS) stretches, none of them empty, ascending, with others between
/// them, so that the same parameters always have the same encoding: the starts and ends one after
/// the other; nothing for all parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct Parts {
    /// Starts and ends, the first 2·`count` of them; the others are zero.
    bounds: [u32; 2 * Self::MAX_PARTS],
    count: u8,
}

/// Why stretches are no [`Parts`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// There are too many of them.
    #[error(
        "{found} stretches of parameters; at most {} are allowed",
        Parts::MAX_PARTS
    )]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A start has no end.
    #[error("the start {start} of the last stretch has no end")]
    Odd {
        /// The start.
        start: u32,
    },
    /// Starts and ends must ascend, each larger than the one before.
    #[error("{before} and then {next}: starts and ends of stretches must ascend")]
    Order {
        /// A start or an end.
        before: u32,
        /// What follows.
        next: u32,
    },
}

impl Parts {
    /// The most stretches.
    pub const MAX_PARTS: usize = 16;

    /// All parameters.
    pub const ALL: Self = Self {
        bounds: [0; 2 * Self::MAX_PARTS],
        count: 0,
    };

    /// These stretches, in any order; those that touch or overlap are put together, empty ones left
    /// out.
    ///
    /// # Errors
    /// [`PartsError::TooMany`] where more than [`MAX_PARTS`](Self::MAX_PARTS) are left.
    pub fn new(stretches: impl IntoIterator<Item = Range<u32>>) -> Result<Self, PartsError> {
        let mut stretches: Vec<_> = stretches
            .into_iter()
            .filter(|stretch| !stretch.is_empty())
            .collect();
        stretches.sort_by_key(|stretch| stretch.start);
        let mut bounds: Vec<u32> = Vec::new();
        for stretch in stretches {
            match bounds.last_mut() {
                Some(end) if *end >= stretch.start => *end = stretch.end.max(*end),
                _ => bounds.extend([stretch.start, stretch.end]),
            }
        }
        Self::try_from(bounds)
    }

    /// Whether these are all parameters.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.count == 0
    }

    /// The stretches, ascending, of a model with so many parameters.
    pub fn stretches(&self, parameters: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let all = self.is_all().then_some(0..parameters);
        let (bounds, _) = self.bounds.as_chunks::<2>();
        let parts = bounds.iter().take(usize::from(self.count));
        let parts = parts.map(|&[start, end]| start as usize..end as usize);
        all.into_iter().chain(parts)
    }

    /// How many of a model's parameters these are.
    #[must_use]
    pub fn len(&self, parameters: u32) -> u32 {
        if self.is_all() {
            return parameters;
        }
        let (bounds, _) = self.bounds.as_chunks::<2>();
        bounds.iter().map(|[start, end]| end - start).sum()
    }

    /// The end of the last stretch; 0 for all parameters.
    pub(crate) fn end(&self) -> u32 {
        self.bounds.iter().copied().max().unwrap_or(0)
    }

    /// The elements of a flat vector that belong to these parameters.
    #[must_use]
    pub fn gather(&self, flat: &[f32]) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(flat.len());
        for stretch in self.stretches(flat.len()) {
            gathered.extend_from_slice(&flat[stretch]);
        }
        gathered
    }

    /// A flat vector of so many parameters from those elements; the others are zero.
    pub(crate) fn scatter(&self, gathered: Vec<f32>, parameters: usize) -> Vec<f32> {
        if self.is_all() {
            return gathered;
        }
        let mut flat = vec![0.0; parameters];
        self.put(&gathered, &mut flat);
        flat
    }

    /// Replaces the elements of a flat vector that belong to these parameters, with as many as
    /// [`gather`](Self::gather) gives.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn put(&self, gathered: &[f32], flat: &mut [f32]) {
        let mut rest = gathered;
        for stretch in self.stretches(flat.len()) {
            let (part, after) = rest.split_at(stretch.len());
            flat[stretch].copy_from_slice(part);
            rest = after;
        }
    }
}

impl TryFrom<Vec<u32>> for Parts {
    type Error = PartsError;

    fn try_from(list: Vec<u32>) -> Result<Self, PartsError> {
        if list.len() > 2 * Self::MAX_PARTS {
            let found = list.len().div_ceil(2);
            return Err(PartsError::TooMany { found });
        }
        if let &[.., start] = list.as_slice()
            && list.len() % 2 == 1
        {
            return Err(PartsError::Odd { start });
        }
        if let Some(pair) = list.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (before, next) = (pair[0], pair[1]);
            return Err(PartsError::Order { before, next });
        }
        let mut bounds = [0; 2 * Self::MAX_PARTS];
        bounds[..list.len()].copy_from_slice(&list);
        let count = u8::try_from(list.len() / 2).expect("at most 16 stretches");
        Ok(Self { bounds, count })
    }
}

impl From<Parts> for Vec<u32> {
    fn from(parts: Parts) -> Self {
        parts.bounds[..2 * usize::from(parts.count)].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_touch_become_one() {
        let parts = Parts::new([7..9, 0..2, 2..4, 8..10, 5..5]).unwrap();
        let stretches: Vec<_> = parts.stretches(12).collect();
        assert_eq!(stretches, [0..4, 7..10]);
        assert_eq!((parts.len(12), parts.end()), (7, 10));
        assert_eq!(Parts::new([]).unwrap(), Parts::ALL);
        assert!(Parts::ALL.stretches(12).eq(Some(0..12)));
        assert_eq!((Parts::ALL.len(12), Parts::ALL.end()), (12, 0));
    }

    #[test]
    fn what_is_gathered_goes_back_to_its_place() {
        let flat: Vec<f32> = (0..6_u8).map(f32::from).collect();
        let parts = Parts::new([1..2, 3..5]).unwrap();
        let gathered = parts.gather(&flat);
        assert_eq!(gathered, [1.0, 3.0, 4.0]);
        assert_eq!(parts.scatter(gathered, 6), [0.0, 1.0, 0.0, 3.0, 4.0, 0.0]);
        assert_eq!(Parts::ALL.scatter(Parts::ALL.gather(&flat), 6), flat);
    }

    #[test]
    fn there_is_one_encoding() {
        let parts = Parts::new([1..2, 3..5]).unwrap();
        let bytes = postcard::to_allocvec(&parts).unwrap();
        assert_eq!(bytes, [4, 1, 2, 3, 5]);
        assert_eq!(postcard::from_bytes(&bytes), Ok(parts));
        for (list, problem) in [
            (vec![1, 2, 2, 5], PartsError::Order { before: 2, next: 2 }),
            (vec![3, 3], PartsError::Order { before: 3, next: 3 }),
            (vec![1, 2, 3], PartsError::Odd { start: 3 }),
            ((0..34).collect(), PartsError::TooMany { found: 17 }),
        ] {
            assert_eq!(Parts::try_from(list.clone()), Err(problem));
            let bytes = postcard::to_allocvec(&list).unwrap();
            assert!(postcard::from_bytes::<Parts>(&bytes).is_err());
        }
    }
}
