//! The gated recurrent unit of Cho et al. 2014, "Learning phrase representations using RNN
//! encoder–decoder", with an output layer that is the embedding. The reset gate acts after the
//! recurrent product, as in most libraries: one product then serves all three.

use tch::Tensor;
use tch::nn::Path;

use super::cell::{self, Cell};
use super::unroll::unroll;
use super::{Dropout, Sizes, TensorShape, TextNetwork};

/// Rows of the gates' matrices, in thirds: reset gate r, update gate z, candidate n.
const GATES: u32 = 3;

/// Its units are projected for the output alone. Nothing smaller can be fed back, since z mixes old and
/// new units one by one.
#[derive(Debug)]
pub(super) struct Gru(Cell);

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: Sizes) -> Vec<TensorShape> {
    cell::shapes(sizes, GATES, sizes.units)
}

impl Gru {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        Self(Cell::new(root, sizes, GATES, sizes.units))
    }
}

impl TextNetwork for Gru {
    fn logits(&self, tokens: &Tensor, active: &[i64], dropout: &Dropout) -> Tensor {
        let Self(cell) = self;
        let recurrent = cell.recurrent.tr();
        let units = cell.projection.size()[1];
        let states = unroll(
            &cell.read(tokens, dropout),
            active,
            [units],
            |input, [state]| {
                let recalled = state.mm(&recurrent);
                let gates =
                    (input.narrow(1, 0, 2 * units) + recalled.narrow(1, 0, 2 * units)).sigmoid();
                let [reset, update] = [0, units].map(|start| gates.narrow(1, start, units));
                let recalled = recalled.narrow(1, 2 * units, units);
                let candidate = (input.narrow(1, 2 * units, units) + reset * recalled).tanh();
                // h' = (1 − z) · n + z · h
                [candidate.lerp_tensor(state, &update)]
            },
        );
        let states = dropout.apply(states.mm(&cell.projection.tr()));
        cell.tied.scores(&states)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::by_hand::{Hand, compare, sigmoid};
    use crate::model::{Architecture, Sizes};

    /// The recurrence by the paper's formulas, one number at a time.
    fn by_hand(hand: &Hand, sizes: Sizes, tokens: &[usize]) -> Vec<Vec<f64>> {
        let units = sizes.units as usize;
        let mut state = vec![0.0; units];
        let scores = tokens.iter().map(|&token| {
            let input = hand.product("cell_input", hand.row("embedding", token));
            let recalled = hand.product("cell_recurrent", &state);
            let bias = hand.tensor("cell_bias");
            for (unit, state) in state.iter_mut().enumerate() {
                let gate = |row: usize| sigmoid(bias[row] + input[row] + recalled[row]);
                let (reset, update, row) = (gate(unit), gate(units + unit), 2 * units + unit);
                let candidate = (bias[row] + input[row] + reset * recalled[row]).tanh();
                *state = (1.0 - update) * candidate + update * *state;
            }
            hand.scores(&hand.product("projection", &state))
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
            compare(Architecture::Gru(sizes), |hand, tokens| {
                by_hand(hand, sizes, tokens)
            });
        }
    }
}
