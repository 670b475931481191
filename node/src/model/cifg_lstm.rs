//! The CIFG-LSTM of Hard et al. 2018, "Federated learning for mobile keyboard prediction":
//! a long short-term memory whose input gate is coupled to its forget gate (i = 1 − f), with a
//! recurrent projection (Sak et al. 2014) and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::tied::{self, Tied, variable};
use super::unroll::unroll;
use super::{Network, Sizes, TensorShape};

/// Rows of the gates' matrices, in thirds: forget gate f, output gate o, candidate g.
const GATES: u32 = 3;

#[derive(Debug)]
pub(super) struct CifgLstm {
    tied: Tied,
    /// `[3 · units, embedding]`
    input: Tensor,
    /// `[3 · units, projection]`
    recurrent: Tensor,
    /// `[3 · units]`
    bias: Tensor,
    /// `[projection, units]`
    projection: Tensor,
}

/// One bias for each of the three gates, none for the projection: 1,412,250 parameters at Hard et
/// al.'s sizes.
pub(super) fn shapes(sizes: Sizes) -> Vec<TensorShape> {
    let [rows, embedding, units] =
        [GATES * sizes.units, sizes.embedding, sizes.units].map(|size| size as usize);
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    shapes.extend([
        TensorShape::new("cell_bias", &[rows]),
        TensorShape::new("cell_input", &[rows, embedding]),
        TensorShape::new("cell_recurrent", &[rows, embedding]),
        TensorShape::new("projection", &[embedding, units]),
    ]);
    shapes
}

/// The cell's bias is zero. The cell's input and the embedding are larger than is usual: the tied
/// embedding would otherwise start with scores so alike that hundreds of steps pass before training
/// takes hold.
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

impl CifgLstm {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        let [rows, embedding, units] =
            [GATES * sizes.units, sizes.embedding, sizes.units].map(i64::from);
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            input: variable(root, "cell_input", &[rows, embedding]),
            recurrent: variable(root, "cell_recurrent", &[rows, embedding]),
            bias: variable(root, "cell_bias", &[rows]),
            projection: variable(root, "projection", &[embedding, units]),
        }
    }
}

impl Network for CifgLstm {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let [recurrent, projection] = [&self.recurrent, &self.projection].map(Tensor::tr);
        // The input's part of all gates at all steps, in one product.
        let input = self.bias.addmm(&self.tied.read(tokens), &self.input.tr());
        let [projected, units] = [0, 1].map(|axis| self.projection.size()[axis]);
        let states = unroll(
            &input,
            active,
            [projected, units],
            |input, [state, cell]| {
                let gates = input.addmm(state, &recurrent);
                let gates = gates.chunk(GATES.into(), 1);
                let [forget, output, candidate] = gates.as_slice() else {
                    unreachable!("three gates were asked for");
                };
                let (forget, output, candidate) =
                    (forget.sigmoid(), output.sigmoid(), candidate.tanh());
                // c' = f · c + (1 − f) · g
                let cell = candidate.lerp_tensor(cell, &forget);
                let state = (output * cell.tanh()).mm(&projection);
                [state, cell]
            },
        );
        self.tied.scores(&states)
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
