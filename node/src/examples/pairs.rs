//! Pairs of texts, a source that is to become a target, and the line of text that holds one.
//!
//! A line is the source, a tab, and the target. Both are made of the same vocabulary's tokens. So pairs
//! are kept, held out, dealt out and named by their users just as messages are.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use secagg_wire::digest::Hasher;
use thiserror::Error;
use zeroize::Zeroize;

use super::ExampleError;
use crate::model::Batch;
use crate::vocabulary::{BEGIN, END, Token, UNKNOWN, Vocabulary};

/// Why a line is no pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PairError {
    /// There is no tab, or more than one.
    #[error("it has {found} tabs; a source, one tab and a target must stand in its line")]
    Tabs {
        /// How many there are.
        found: usize,
    },
    /// Nothing is left of a side when it is cut into tokens.
    #[error("there is no word in its {side}")]
    Empty {
        /// `source` or `target`.
        side: &'static str,
    },
}

/// Pairs as numbers, in one piece of memory. Wiped when dropped.
pub struct Pairs {
    tokens: Vec<Token>,
    /// Where each pair's source starts, and its target.
    starts: Vec<[usize; 2]>,
    left_out: usize,
}

impl std::fmt::Debug for Pairs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Pairs({})", self.len())
    }
}

impl Drop for Pairs {
    fn drop(&mut self) {
        self.tokens.zeroize();
    }
}

impl Pairs {
    /// Reads lines; blank ones are left out. So is a pair of which one side has more than `most` tokens:
    /// were it cut, it would teach that the target of a whole source is a part of it.
    ///
    /// # Errors
    /// An [`ExampleError`] that names the line.
    pub fn new<'a>(
        vocabulary: &Vocabulary,
        lines: impl IntoIterator<Item = &'a str>,
        most: usize,
    ) -> Result<Self, ExampleError> {
        let mut pairs = Self {
            tokens: Vec::new(),
            starts: Vec::new(),
            left_out: 0,
        };
        for (line, place) in lines.into_iter().zip(1..) {
            if line.trim().is_empty() {
                continue;
            }
            let added = pairs.add(vocabulary, line, most);
            added.map_err(|problem| ExampleError::Pair { place, problem })?;
        }
        Ok(pairs)
    }

    fn add(&mut self, vocabulary: &Vocabulary, line: &str, most: usize) -> Result<(), PairError> {
        let found = line.matches('\t').count();
        let (1, Some((source, target))) = (found, line.split_once('\t')) else {
            return Err(PairError::Tabs { found });
        };
        let start = self.tokens.len();
        let source = self.append(vocabulary, source);
        self.tokens.push(END);
        let middle = self.tokens.len();
        self.tokens.push(BEGIN);
        let target = self.append(vocabulary, target);
        self.tokens.push(END);
        for (side, tokens) in [("source", source), ("target", target)] {
            if tokens == 0 {
                return Err(PairError::Empty { side });
            }
        }
        if source.max(target) <= most {
            self.starts.push([start, middle]);
        } else {
            self.tokens[start..].zeroize();
            self.tokens.truncate(start);
            self.left_out += 1;
        }
        Ok(())
    }

    /// Appends a side's tokens; how many there are.
    fn append(&mut self, vocabulary: &Vocabulary, side: &str) -> usize {
        let before = self.tokens.len();
        vocabulary.for_each_token(side.trim(), |token| self.tokens.push(token));
        self.tokens.len() - before
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How many pairs were left out, because they are too long.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// One source, up to its `<end>`.
    ///
    /// # Panics
    /// When `index` is not below [`Pairs::len`].
    #[must_use]
    pub fn source(&self, index: usize) -> &[Token] {
        let [start, middle] = self.starts[index];
        &self.tokens[start..middle]
    }

    /// One target, from `<begin>` to `<end>`.
    ///
    /// # Panics
    /// When `index` is not below [`Pairs::len`].
    #[must_use]
    pub fn target(&self, index: usize) -> &[Token] {
        let [_, middle] = self.starts[index];
        let next = self.starts.get(index + 1);
        let end = next.map_or(self.tokens.len(), |&[start, _]| start);
        &self.tokens[middle..end]
    }

    /// The token that is most often the right answer, and how often it is; an unknown word is no
    /// right answer. The smaller number wins a tie.
    pub(super) fn most_frequent(&self) -> Option<(Token, u64)> {
        let mut counts = BTreeMap::new();
        for token in self.answers().filter(|&token| token != UNKNOWN) {
            *counts.entry(token).or_insert(0_u64) += 1;
        }
        let counts = counts.into_iter();
        counts.max_by_key(|&(token, count)| (count, Reverse(token)))
    }

    /// How often a token is the right answer.
    pub(super) fn count(&self, token: Token) -> u64 {
        self.answers().filter(|&answer| answer == token).count() as u64
    }

    fn answers(&self) -> impl Iterator<Item = Token> {
        (0..self.len()).flat_map(|index| self.target(index)[1..].iter().copied())
    }

    /// These pairs, for a model to read; in groups of like lengths.
    pub(super) fn batch(&self, indices: &[usize]) -> Batch {
        let pair = |&index: &usize| (self.source(index), self.target(index));
        let mut pairs: Vec<_> = indices.iter().map(pair).collect();
        Batch::pairs(&mut pairs)
    }

    pub(super) fn digest(&self, hasher: &mut Hasher) {
        // `<begin>` and `<end>` keep the sides apart.
        for token in &self.tokens {
            hasher.update(&token.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TextUnits;

    fn vocabulary() -> Vocabulary {
        let text = ["3 3 3 4 4 four four three"];
        Vocabulary::of(TextUnits::WordsAndDigits, text, 8).unwrap()
    }

    fn read(lines: &[&str], most: usize) -> Result<Pairs, ExampleError> {
        Pairs::new(&vocabulary(), lines.iter().copied(), most)
    }

    #[test]
    fn sources_end_and_targets_begin_and_end() {
        let pairs = read(&["34\tthree four", " ", " 5 \t Four!"], 9).unwrap();
        assert_eq!(pairs.len(), 2);
        let [three, four] = ["three", "four"].map(|word| vocabulary().token(word));
        assert_eq!(pairs.source(0), [4, 5, END]);
        assert_eq!(pairs.target(0), [BEGIN, three, four, END]);
        assert_eq!(pairs.source(1), [UNKNOWN, END]);
        assert_eq!(pairs.target(1), [BEGIN, four, UNKNOWN, END]);
        assert_eq!(format!("{pairs:?}"), "Pairs(2)");
        assert_eq!(pairs.most_frequent(), Some((END, 2)));
        assert_eq!((pairs.count(four), pairs.count(4)), (2, 0));
    }

    #[test]
    fn long_pairs_are_left_out_whole() {
        let lines = ["34\tfour", "343\tfour", "3\tfour four four", "4\tthree"];
        let pairs = read(&lines, 2).unwrap();
        assert_eq!((pairs.len(), pairs.left_out()), (2, 2));
        assert_eq!(pairs.source(1), [5, END]);
        assert_eq!(pairs.target(0).len(), 3);
        assert_eq!(pairs.target(1).len(), 3);
    }

    #[test]
    fn a_line_that_is_no_pair_is_named_by_its_place_alone() {
        for (line, problem) in [
            ("three four", PairError::Tabs { found: 0 }),
            ("34", PairError::Tabs { found: 0 }),
            ("3\tthree\tfour", PairError::Tabs { found: 2 }),
            ("3\t", PairError::Empty { side: "target" }),
            (" \tthree", PairError::Empty { side: "source" }),
            ("3\t\u{7}", PairError::Empty { side: "target" }),
        ] {
            let error = read(&["3\tthree", line], 9).unwrap_err();
            assert_eq!(error, ExampleError::Pair { place: 2, problem }, "{line:?}");
            assert!(!error.to_string().contains("three"), "{error}");
        }
    }
}
