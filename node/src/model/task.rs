//! What models are for.

use super::{Architecture, ModelDescription};
use crate::examples::PIXELS;
use crate::vocabulary::{FIRST_ANSWER, SPECIAL_WORDS};

/// What a model learns: a consequence of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The next word or character at every position of a message.
    NextToken,
    /// A text that a text becomes, like a number in words.
    SequenceToSequence,
    /// The label of an image of 28 × 28 pixels.
    Classification,
}

impl Task {
    /// The first score that can be an answer: some tokens are never suggested, while all labels count.
    pub(crate) const fn first_answer(self) -> usize {
        match self {
            Self::NextToken | Self::SequenceToSequence => FIRST_ANSWER as usize,
            Self::Classification => 0,
        }
    }
}

/// How many numbers a network handles for each prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Widths {
    /// Scores.
    pub(crate) answers: usize,
    /// What all layers read and write, without the scores.
    pub(crate) all: usize,
    /// What one layer makes, at most; the scores are a layer too.
    pub(crate) widest: usize,
    /// What the library needs beside, once, in numbers: its convolutions are programs that it makes
    /// first.
    pub(crate) once: usize,
}

impl Widths {
    pub(super) fn of(description: &ModelDescription) -> Self {
        let vocabulary = description.vocabulary() as usize;
        match description.architecture() {
            Architecture::Mlp(sizes) => Self::of_layers(sizes.labels(), &super::mlp::widths(sizes)),
            Architecture::Cnn(sizes) => Self {
                once: super::cnn::ONCE,
                ..Self::of_layers(sizes.labels(), &super::cnn::widths(sizes))
            },
            Architecture::CifgLstm(_)
            | Architecture::Lstm(_)
            | Architecture::Gru(_)
            | Architecture::TanhRnn(_)
            | Architecture::Transformer(_)
            | Architecture::EncoderDecoder(_) => {
                let shapes = description.shapes().iter();
                // What a matrix reads and writes; the output layer, which is the embedding, writes
                // the scores.
                let widths = shapes.clone().filter_map(|shape| match *shape.dimensions {
                    [rows, columns] if rows == vocabulary => Some(columns),
                    [rows, columns] => Some(rows + columns),
                    _ => None,
                });
                // The embedding's rows are the vocabulary.
                let widest = shapes.filter_map(|shape| shape.dimensions.first()).max();
                Self {
                    answers: vocabulary,
                    all: widths.sum(),
                    widest: widest.copied().unwrap_or(1),
                    once: 0,
                }
            }
        }
    }

    /// Those of a network that makes so many numbers of an image in each layer, and scores of the last
    /// ones.
    fn of_layers(answers: usize, layers: &[usize]) -> Self {
        let widest = layers.iter().copied().max().unwrap_or(PIXELS);
        Self {
            answers,
            all: layers.iter().sum(),
            widest: widest.max(answers),
            once: 0,
        }
    }
}

/// Labels of a vocabulary with so many lines.
pub(super) const fn labels(vocabulary: u32) -> usize {
    (vocabulary as usize).saturating_sub(SPECIAL_WORDS)
}
