//! Several examples as a network reads them, with the right answers.

use tch::{Kind, Tensor};

use super::pairs::{Pair, PairInput};
use crate::examples::SIDE;
use crate::vocabulary::Token;

/// What a network reads.
#[derive(Debug)]
pub(crate) enum Input {
    /// Tokens of several messages, step by step, without padding: first the first token of each
    /// message, then the second token of each message that has one, and so on; `active` says how
    /// many messages have a token at each step and never increases.
    Tokens {
        /// All tokens, one after the other.
        tokens: Tensor,
        /// Messages with a token at each step.
        active: Vec<i64>,
    },
    /// Sources and targets.
    Pairs(PairInput),
    /// Images: `[images, 1, side, side]`, from 0 to 1.
    Images(Tensor),
}

/// Several examples, with the right answer of each prediction.
#[derive(Debug)]
pub(crate) struct Batch {
    input: Input,
    targets: Tensor,
}

impl Batch {
    /// Packs messages, each from `<begin>` to `<end>`; sorts them by length, longest first.
    pub(crate) fn messages(messages: &mut [&[Token]]) -> Self {
        messages.sort_by_key(|message| std::cmp::Reverse(message.len()));
        let positions = messages.iter().map(|message| message.len() - 1).sum();
        let mut tokens = Vec::with_capacity(positions);
        let mut targets = Vec::with_capacity(positions);
        let mut active = Vec::new();
        let steps = messages.first().map_or(0, |longest| longest.len() - 1);
        for step in 0..steps {
            let mut running = 0;
            for message in messages
                .iter()
                .take_while(|message| message.len() > step + 1)
            {
                tokens.push(i64::from(message[step]));
                targets.push(i64::from(message[step + 1]));
                running += 1;
            }
            active.push(running);
        }
        Self {
            input: Input::Tokens {
                tokens: Tensor::from_slice(&tokens),
                active,
            },
            targets: Tensor::from_slice(&targets),
        }
    }

    /// Packs pairs of a source up to its `<end>` and a target from `<begin>` to `<end>`; sorts them
    /// into groups of like lengths.
    pub(crate) fn pairs(pairs: &mut [Pair<'_>]) -> Self {
        // Targets without their last token, which is not read.
        fn read<'a>(&(source, target): &Pair<'a>) -> Pair<'a> {
            (source, &target[..target.len() - 1])
        }
        pairs.sort_by_key(|pair| PairInput::order(&read(pair)));
        let mut inputs: Vec<Pair<'_>> = pairs.iter().map(read).collect();
        let answers = pairs.iter().flat_map(|(_, target)| &target[1..]);
        let answers: Vec<i64> = answers.map(|&token| i64::from(token)).collect();
        Self {
            input: Input::Pairs(PairInput::new(&mut inputs)),
            targets: Tensor::from_slice(&answers),
        }
    }

    /// How many predictions each pair asks for, in the targets' order; `None` for other examples.
    pub(crate) fn pair_lengths(&self) -> Option<&[usize]> {
        match &self.input {
            Input::Pairs(pairs) => Some(&pairs.target_lengths),
            Input::Tokens { .. } | Input::Images(_) => None,
        }
    }

    /// Images' pixels, one image after the other, and their labels.
    pub(crate) fn images(pixels: &[u8], labels: &[i64]) -> Self {
        const WHITE: f64 = 255.0;
        let side = i64::try_from(SIDE).expect("the constant fits");
        let images = Tensor::from_slice(pixels).to_kind(Kind::Float) / WHITE;
        Self {
            input: Input::Images(images.view([-1, 1, side, side])),
            targets: Tensor::from_slice(labels),
        }
    }

    /// What the network reads.
    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// The tokens that are read, where it is text: one for each prediction.
    pub(crate) fn tokens(&self) -> Option<&Tensor> {
        match &self.input {
            Input::Tokens { tokens, .. } => Some(tokens),
            Input::Pairs(_) | Input::Images(_) => None,
        }
    }

    /// The right answer of every prediction.
    pub(crate) fn targets(&self) -> &Tensor {
        &self.targets
    }
}
