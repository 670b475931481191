//! The long short-term memory of Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al.
//! 2000, with a recurrent projection (Sak et al. 2014) and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::cell::{self, Cell};
use super::{Dropout, Sizes, TensorShape, TextNetwork};

/// Rows of the gates' matrices, in quarters: input gate i, forget gate f, output gate o, candidate g.
const GATES: u32 = 4;

#[derive(Debug)]
pub(super) struct Lstm(Cell);

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: Sizes) -> Vec<TensorShape> {
    cell::shapes(sizes, GATES, sizes.embedding)
}

/// As other cells start, but for the forget gate's bias: with 1 the cell remembers from the start
/// (Jozefowicz et al. 2015, section 2.2). CIFG could not: it would then hardly take anything in.
pub(super) fn start(tensor: &str) -> Start {
    match tensor {
        "cell_bias" => Start::Stretches(&[0.0, 1.0, 0.0, 0.0]),
        other => cell::start(other),
    }
}

impl Lstm {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        Self(Cell::new(root, sizes, GATES, sizes.embedding))
    }
}

impl TextNetwork for Lstm {
    fn logits(&self, tokens: &Tensor, active: &[i64], dropout: &Dropout) -> Tensor {
        self.0
            .memory_scores(tokens, active, dropout, |gates, cell| {
                let [taken, forget, output, candidate] = gates else {
                    unreachable!("four gates were asked for");
                };
                // c' = f · c + i · g
                let cell = forget.sigmoid() * cell + taken.sigmoid() * candidate.tanh();
                (cell, output.sigmoid())
            })
    }
}

#[cfg(test)]
mod tests {
    use crate::model::by_hand::{Hand, compare, sigmoid};
    use crate::model::{Architecture, Sizes};

    /// The recurrence by the papers' formulas, one number at a time.
    fn by_hand(hand: &Hand, sizes: Sizes, tokens: &[usize]) -> Vec<Vec<f64>> {
        let units = sizes.units as usize;
        let mut state = vec![0.0; sizes.embedding as usize];
        let mut cell = vec![0.0; units];
        let scores = tokens.iter().map(|&token| {
            let gates = hand.gates("cell", hand.row("embedding", token), &state);
            let mut hidden = vec![0.0; units];
            for unit in 0..units {
                let gate = |place: usize| gates[place * units + unit];
                cell[unit] = sigmoid(gate(1)) * cell[unit] + sigmoid(gate(0)) * gate(3).tanh();
                hidden[unit] = sigmoid(gate(2)) * cell[unit].tanh();
            }
            state = hand.product("projection", &hidden);
            hand.scores(&state)
        });
        scores.collect()
    }

    #[test]
    fn the_network_computes_the_papers_recurrence() {
        for output_bias in [true, false] {
            let sizes = Sizes {
                vocabulary: 9,
                embedding: 4,
                units: 5,
                output_bias,
            };
            compare(Architecture::Lstm(sizes), |hand, tokens| {
                by_hand(hand, sizes, tokens)
            });
        }
    }
}
