//! The CIFG-LSTM of Hard et al. 2018, "Federated learning for mobile keyboard prediction":
//! a long short-term memory whose input gate is coupled to its forget gate (i = 1 − f), with a
//! recurrent projection (Sak et al. 2014) and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::Path;

use super::cell::{self, Cell};
use super::{Dropout, Sizes, TensorShape, TextNetwork};

/// Rows of the gates' matrices, in thirds: forget gate f, output gate o, candidate g.
const GATES: u32 = 3;

#[derive(Debug)]
pub(super) struct CifgLstm(Cell);

/// One bias for each of the three gates, none for the projection: 1,412,250 parameters at Hard et
/// al.'s sizes.
pub(super) fn shapes(sizes: Sizes) -> Vec<TensorShape> {
    cell::shapes(sizes, GATES, sizes.embedding)
}

impl CifgLstm {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        Self(Cell::new(root, sizes, GATES, sizes.embedding))
    }
}

impl TextNetwork for CifgLstm {
    fn logits(&self, tokens: &Tensor, active: &[i64], dropout: &Dropout) -> Tensor {
        self.0
            .memory_scores(tokens, active, dropout, |gates, cell| {
                let [forget, output, candidate] = gates else {
                    unreachable!("three gates were asked for");
                };
                let (forget, output, candidate) =
                    (forget.sigmoid(), output.sigmoid(), candidate.tanh());
                // c' = f · c + (1 − f) · g
                (candidate.lerp_tensor(cell, &forget), output)
            })
    }
}

#[cfg(test)]
mod tests {
    use crate::model::by_hand::{Hand, compare, sigmoid};
    use crate::model::{Architecture, Sizes};

    /// The recurrence by the paper's formulas, one number at a time.
    fn by_hand(hand: &Hand, sizes: Sizes, tokens: &[usize]) -> Vec<Vec<f64>> {
        let units = sizes.units as usize;
        let mut state = vec![0.0; sizes.embedding as usize];
        let mut cell = vec![0.0; units];
        let scores = tokens.iter().map(|&token| {
            let gates = hand.gates("cell", hand.row("embedding", token), &state);
            let mut hidden = vec![0.0; units];
            for unit in 0..units {
                let forget = sigmoid(gates[unit]);
                let output = sigmoid(gates[units + unit]);
                let candidate = gates[2 * units + unit].tanh();
                cell[unit] = forget * cell[unit] + (1.0 - forget) * candidate;
                hidden[unit] = output * cell[unit].tanh();
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
            compare(Architecture::CifgLstm(sizes), |hand, tokens| {
                by_hand(hand, sizes, tokens)
            });
        }
    }
}
