//! Pairs of a source and a target, as an encoder and a decoder read them.

use std::cmp::Reverse;

use tch::Tensor;

use crate::vocabulary::Token;

/// Sources and targets, one after the other without padding, in groups of pairs that are computed side
/// by side: the sources of a group are equally long, and its targets nearly.
#[derive(Debug)]
pub(crate) struct PairInput {
    /// Each source with its `<end>`.
    pub(super) sources: Tensor,
    pub(super) source_lengths: Vec<usize>,
    /// Each target with its `<begin>`, and without its `<end>`.
    pub(super) targets: Tensor,
    pub(super) target_lengths: Vec<usize>,
    /// How many pairs there are in each group.
    pub(super) groups: Vec<usize>,
}

/// A source up to its `<end>`, and a target from `<begin>`.
pub(crate) type Pair<'a> = (&'a [Token], &'a [Token]);

impl PairInput {
    /// Packs pairs of a source and what the decoder reads of a target, neither of them empty; sorts them
    /// into groups. Of two targets in a group the longer one is at most twice as long.
    pub(super) fn new(pairs: &mut [Pair<'_>]) -> Self {
        // Stable: the same pairs are always packed the same way.
        pairs.sort_by_key(Self::order);
        let alike = |first: &Pair<'_>, other: &Pair<'_>| {
            other.0.len() == first.0.len() && 2 * other.1.len() >= first.1.len()
        };
        let mut groups = Vec::new();
        let mut rest = &*pairs;
        while let Some(first) = rest.first() {
            let group = rest.partition_point(|other| alike(first, other));
            groups.push(group);
            rest = &rest[group..];
        }
        let packed = |texts: &mut dyn Iterator<Item = &[Token]>| {
            let tokens: Vec<i64> = texts.flatten().map(|&token| i64::from(token)).collect();
            Tensor::from_slice(&tokens)
        };
        Self {
            sources: packed(&mut pairs.iter().map(|pair| pair.0)),
            source_lengths: pairs.iter().map(|pair| pair.0.len()).collect(),
            targets: packed(&mut pairs.iter().map(|pair| pair.1)),
            target_lengths: pairs.iter().map(|pair| pair.1.len()).collect(),
            groups,
        }
    }
}

impl PairInput {
    /// What pairs are sorted by: long ones first.
    pub(super) fn order((source, target): &Pair<'_>) -> Reverse<(usize, usize)> {
        Reverse((source.len(), target.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{BEGIN, END};

    #[test]
    fn sources_of_one_length_are_a_group() {
        let mut pairs: [Pair<'_>; 5] = [
            (&[4, END], &[BEGIN, 5]),
            (&[4, 5, END], &[BEGIN]),
            (&[6, END], &[BEGIN, 5, 6, 7, 8]),
            (&[7, 8, END], &[BEGIN, 8]),
            (&[8, END], &[BEGIN, 7, 6]),
        ];
        let input = PairInput::new(&mut pairs);
        assert_eq!(input.source_lengths, [3, 3, 2, 2, 2]);
        assert_eq!(input.target_lengths, [2, 1, 5, 3, 2]);
        // The last target has less than half of the tokens of the group's first one.
        assert_eq!(input.groups, [2, 2, 1]);
        let numbers = |tensor: &Tensor| Vec::<i64>::try_from(tensor).unwrap();
        let end = i64::from(END);
        assert_eq!(
            numbers(&input.sources),
            [7, 8, end, 4, 5, end, 6, end, 8, end, 4, end]
        );
        let begin = i64::from(BEGIN);
        assert_eq!(
            numbers(&input.targets),
            [begin, 8, begin, begin, 5, 6, 7, 8, begin, 7, 6, begin, 5]
        );
    }
}
