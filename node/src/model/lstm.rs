//! The long short-term memory of Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al.
//! 2000, with a recurrent projection (Sak et al. 2014) and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::tied::{self, Tied, variable};
use super::unroll::unroll;
use super::{Network, Sizes, TensorShape};

/// Rows of the gates' matrices, in quarters: input gate i, forget gate f, output gate o, candidate g.
const GATES: u32 = 4;

#[derive(Debug)]
pub(super) struct Lstm {
    tied: Tied,
    /// `[4 · units, embedding]`
    input: Tensor,
    /// `[4 · units, projection]`
    recurrent: Tensor,
    /// `[4 · units]`
    bias: Tensor,
    /// `[projection, units]`
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
        TensorShape::new("cell_recurrent", &[rows, embedding]),
        TensorShape::new("projection", &[embedding, units]),
    ]);
    shapes
}

/// As the CIFG-LSTM starts, but for the forget gate's bias: with 1 the cell remembers from the start
/// (Jozefowicz et al. 2015, section 2.2). CIFG could not: it would then hardly take anything in.
pub(super) fn start(tensor: &str) -> Start {
    match tensor {
        "cell_bias" => Start::Stretches(&[0.0, 1.0, 0.0, 0.0]),
        "cell_input" => Start::Uniform(4.0),
        "embedding" => Start::Uniform(3.0),
        "output_bias" => Start::Frequency,
        "projection" => Start::Uniform(2.0),
        _ => Start::Uniform(1.0),
    }
}

impl Lstm {
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

impl Network for Lstm {
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
                let [taken, forget, output, candidate] = gates.as_slice() else {
                    unreachable!("four gates were asked for");
                };
                // c' = f · c + i · g
                let cell = forget.sigmoid() * cell + taken.sigmoid() * candidate.tanh();
                let state = (output.sigmoid() * cell.tanh()).mm(&projection);
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
