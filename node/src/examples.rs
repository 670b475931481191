//! What a model learns from, as numbers: which kind its task says.

mod images;
mod pairs;

use secagg_wire::digest::Hasher;
use thiserror::Error;

pub use images::{Image, ImageError, Images, PIXELS, SIDE};
pub use pairs::{PairError, Pairs};

use crate::model::{Architecture, Batch, ModelFiles, Task};
use crate::vocabulary::{TextUnits, Token, TokenizedText, Vocabulary, VocabularyError};

/// Examples of one task. Wiped when dropped.
#[derive(Debug)]
pub enum Examples {
    /// Messages, for [`Task::NextToken`].
    Text(TokenizedText),
    /// Texts with what they become, for [`Task::SequenceToSequence`].
    Pairs(Pairs),
    /// Labelled images, for [`Task::Classification`].
    Images(Images),
}

/// Why lines are no examples of a model's task. Says nothing of what is in them: the lines are
/// private.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExampleError {
    /// A line is no pair.
    #[error("example {place} is not a pair, and the model turns texts into others: {problem}")]
    Pair {
        /// Which one, counted from 1.
        place: usize,
        /// What is wrong with it.
        problem: PairError,
    },
    /// A line is no image.
    #[error("example {place} is not a labelled image, and the model classifies images: {problem}")]
    Image {
        /// Which one, counted from 1.
        place: usize,
        /// What is wrong with it.
        problem: ImageError,
    },
    /// A label that the model does not know.
    #[error("example {place} has a label that is none of the model's {labels}: {known}")]
    UnknownLabel {
        /// Which one, counted from 1.
        place: usize,
        /// How many labels the model has.
        labels: usize,
        /// Some of them.
        known: String,
    },
}

impl Examples {
    /// The examples in these lines (one message, pair or image each, as the store keeps them) for a
    /// model's task; of messages the first `max_words` words or characters. Lines without anything in
    /// them are left out, and so are pairs of which a side has more than `max_words` words or
    /// characters, or more than the model's context has room for.
    ///
    /// # Errors
    /// An [`ExampleError`] that names the line.
    pub fn new<'a>(
        files: &ModelFiles,
        lines: impl IntoIterator<Item = &'a str>,
        max_words: usize,
    ) -> Result<Self, ExampleError> {
        let vocabulary = &files.vocabulary;
        match files.description.task() {
            Task::NextToken => Ok(TokenizedText::new(vocabulary, lines, max_words).into()),
            Task::SequenceToSequence => {
                let most = match files.description.architecture() {
                    Architecture::EncoderDecoder(sizes) => sizes.most_tokens().min(max_words),
                    _ => max_words,
                };
                Pairs::new(vocabulary, lines, most).map(Self::Pairs)
            }
            Task::Classification => Images::new(vocabulary, lines).map(Self::Images),
        }
    }

    /// How many examples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pairs(pairs) => pairs.len(),
            Self::Images(images) => images.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many predictions one example asks for: the tokens of a message or of a target but its first,
    /// or one for an image.
    ///
    /// # Panics
    /// When `index` is not below [`Examples::len`].
    #[must_use]
    pub fn targets(&self, index: usize) -> usize {
        match self {
            Self::Text(text) => text.message(index).len() - 1,
            Self::Pairs(pairs) => pairs.target(index).len() - 1,
            Self::Images(images) => {
                assert!(index < images.len(), "no image {index}");
                1
            }
        }
    }

    /// How many positions of a network one example takes: as many as it asks for predictions, but for a
    /// pair whose source is longer.
    ///
    /// # Panics
    /// When `index` is not below [`Examples::len`].
    #[must_use]
    pub fn positions(&self, index: usize) -> usize {
        let source = match self {
            Self::Pairs(pairs) => pairs.source(index).len(),
            Self::Text(_) | Self::Images(_) => 0,
        };
        self.targets(index).max(source)
    }

    /// How many predictions all examples ask for.
    #[must_use]
    pub fn all_targets(&self) -> usize {
        (0..self.len()).map(|index| self.targets(index)).sum()
    }

    /// These examples, for a model to read. Messages and pairs come sorted by length.
    pub(crate) fn batch(&self, indices: &[usize]) -> Batch {
        match self {
            Self::Text(text) => {
                let mut messages: Vec<_> =
                    indices.iter().map(|&index| text.message(index)).collect();
                Batch::messages(&mut messages)
            }
            Self::Pairs(pairs) => pairs.batch(indices),
            Self::Images(images) => images.batch(indices),
        }
    }

    /// The messages, where the task is to predict their words.
    #[must_use]
    pub fn text(&self) -> Option<&TokenizedText> {
        match self {
            Self::Text(text) => Some(text),
            Self::Pairs(_) | Self::Images(_) => None,
        }
    }

    /// How many pairs were left out, because they are too long.
    #[must_use]
    pub fn left_out(&self) -> usize {
        match self {
            Self::Pairs(pairs) => pairs.left_out(),
            Self::Text(_) | Self::Images(_) => 0,
        }
    }

    /// The token, or the label as a token of the vocabulary, that is most often the right answer, and
    /// how often it is. The smaller number wins a tie.
    #[must_use]
    pub fn most_frequent_answer(&self) -> Option<(Token, u64)> {
        match self {
            Self::Text(text) => text.most_frequent_target(),
            Self::Pairs(pairs) => pairs.most_frequent(),
            Self::Images(images) => images.most_frequent(),
        }
    }

    /// How often a token, or the label that it names, is the right answer.
    #[must_use]
    pub fn count(&self, token: Token) -> u64 {
        match self {
            Self::Text(text) => text.count(token),
            Self::Pairs(pairs) => pairs.count(token),
            Self::Images(images) => images.count(token),
        }
    }

    /// Adds all of them to a digest.
    pub(crate) fn digest(&self, hasher: &mut Hasher) {
        hasher.update(&(self.len() as u64).to_le_bytes());
        match self {
            Self::Text(text) => {
                let messages = (0..text.len()).map(|message| text.message(message));
                for token in messages.flatten() {
                    hasher.update(&token.to_le_bytes());
                }
            }
            Self::Pairs(pairs) => pairs.digest(hasher),
            Self::Images(images) => images.digest(hasher),
        }
    }
}

impl From<TokenizedText> for Examples {
    fn from(text: TokenizedText) -> Self {
        Self::Text(text)
    }
}

/// Whether a line holds something that a task can learn from.
#[must_use]
pub fn is_example(task: Task, vocabulary: &Vocabulary, line: &str) -> bool {
    match task {
        Task::NextToken => !vocabulary.tokens(line).is_empty(),
        Task::SequenceToSequence | Task::Classification => !line.trim().is_empty(),
    }
}

/// The class of an image by its line, as a token of the vocabulary: unknown where it has none.
pub(crate) fn class(vocabulary: &Vocabulary, line: &str) -> Token {
    vocabulary.token(images::label(line))
}

/// A vocabulary for a task out of public examples: the most frequent words or characters of text (of
/// pairs, of both sides), or the labels of images; at most `size` of them, the four special ones included.
///
/// # Errors
/// See [`Vocabulary::of`].
pub fn vocabulary<'a>(
    task: Task,
    units: TextUnits,
    lines: impl IntoIterator<Item = &'a str>,
    size: usize,
) -> Result<Vocabulary, VocabularyError> {
    match task {
        Task::NextToken => Vocabulary::of(units, lines, size),
        Task::SequenceToSequence => {
            let sides = lines.into_iter().flat_map(|line| line.split('\t'));
            Vocabulary::of(units, sides, size)
        }
        Task::Classification => {
            let labels = lines.into_iter().map(images::label);
            Vocabulary::of(units, labels, size)
        }
    }
}
