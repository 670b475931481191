//! The gated recurrent unit of Cho et al. 2014, "Learning phrase representations using RNN
//! encoder–decoder", with an output layer that is the embedding. The reset gate acts after the
//! recurrent product, as in most libraries: one product then serves all three.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::tied::{self, Tied, variable};
use super::unroll::unroll;
use super::{Network, Sizes, TensorShape};

/// Rows of the gates' matrices, in thirds: reset gate r, update gate z, candidate n.
const GATES: u32 = 3;

#[derive(Debug)]
pub(super) struct Gru {
    tied: Tied,
    /// `[3 · units, embedding]`
    input: Tensor,
    /// `[3 · units, units]`
    recurrent: Tensor,
    /// `[3 · units]`
    bias: Tensor,
    /// `[embedding, units]`: from the units to the output alone. Nothing smaller can be fed back,
    /// since z mixes old and new units one by one.
    projection: Tensor,
}

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: Sizes) -> Vec<TensorShape> {
    let [rows, embedding, units] =
        [GATES * sizes.units, sizes.embedding, sizes.units].map(|size| size as usize);
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    shapes.extend([
        TensorShape::new("cell_bias", &[rows]),
        TensorShape::new("cell_input", &[rows, embedding]),
        TensorShape::new("cell_recurrent", &[rows, units]),
        TensorShape::new("projection", &[embedding, units]),
    ]);
    shapes
}

/// As the CIFG-LSTM starts, and for the same reason.
pub(super) fn start(tensor: &str) -> Start {
    match tensor {
        "cell_bias" => Start::ZERO,
        "cell_input" => Start::Uniform(4.0),
        "embedding" => Start::Uniform(3.0),
        "output_bias" => Start::Frequency,
        "projection" => Start::Uniform(2.0),
        _ => Start::Uniform(1.0),
    }
}

impl Gru {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        let [rows, embedding, units] =
            [GATES * sizes.units, sizes.embedding, sizes.units].map(i64::from);
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            input: variable(root, "cell_input", &[rows, embedding]),
            recurrent: variable(root, "cell_recurrent", &[rows, units]),
            bias: variable(root, "cell_bias", &[rows]),
            projection: variable(root, "projection", &[embedding, units]),
        }
    }
}

impl Network for Gru {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let recurrent = self.recurrent.tr();
        // The input's part of all gates at all steps, in one product.
        let input = self.bias.addmm(&self.tied.read(tokens), &self.input.tr());
        let units = self.projection.size()[1];
        let states = unroll(&input, active, [units], |input, [state]| {
            let recalled = state.mm(&recurrent);
            let gates =
                (input.narrow(1, 0, 2 * units) + recalled.narrow(1, 0, 2 * units)).sigmoid();
            let [reset, update] = [0, units].map(|start| gates.narrow(1, start, units));
            let recalled = recalled.narrow(1, 2 * units, units);
            let candidate = (input.narrow(1, 2 * units, units) + reset * recalled).tanh();
            // h' = (1 − z) · n + z · h
            [candidate.lerp_tensor(state, &update)]
        });
        self.tied.scores(&states.mm(&self.projection.tr()))
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
