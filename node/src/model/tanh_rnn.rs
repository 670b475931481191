//! Layers of the plain recurrent units of Elman 1990, "Finding structure in time", with an output
//! layer that is the embedding.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::tied::{self, Tied, variable};
use super::unroll::unroll;
use super::{Dropout, StackSizes, TensorShape, TextNetwork};

#[derive(Debug)]
pub(super) struct TanhRnn {
    tied: Tied,
    /// The first one reads the embedding, each other one the states of the one below.
    layers: Vec<Layer>,
    /// `[embedding, units]`: from the last layer to the output.
    projection: Tensor,
}

#[derive(Debug)]
struct Layer {
    /// `[units, embedding]`, above the first layer `[units, units]`.
    input: Tensor,
    /// `[units, units]`
    recurrent: Tensor,
    /// `[units]`
    bias: Tensor,
}

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: StackSizes) -> Vec<TensorShape> {
    let [embedding, units] = [sizes.embedding, sizes.units].map(|size| size as usize);
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    shapes.push(TensorShape::new("projection", &[embedding, units]));
    for layer in 0..sizes.layers {
        let inputs = if layer == 0 { embedding } else { units };
        shapes.extend([
            TensorShape::new(&name(layer, "bias"), &[units]),
            TensorShape::new(&name(layer, "input"), &[units, inputs]),
            TensorShape::new(&name(layer, "recurrent"), &[units, units]),
        ]);
    }
    shapes
}

/// Embedding, first layer and projection as the CIFG-LSTM's, and for the same reason. An upper layer's
/// input keeps the variance of what comes from below.
pub(super) fn start(tensor: &str) -> Start {
    match tensor {
        "embedding" => Start::Uniform(3.0),
        "output_bias" => Start::Frequency,
        "projection" => Start::Uniform(2.0),
        "layer_00_input" => Start::Uniform(4.0),
        _ if tensor.ends_with("_bias") => Start::ZERO,
        _ if tensor.ends_with("_input") => Start::Uniform(1.732),
        _ => Start::Uniform(1.0),
    }
}

fn name(layer: u32, tensor: &str) -> String {
    format!("layer_{layer:02}_{tensor}")
}

impl TanhRnn {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: StackSizes) -> Self {
        let [embedding, units] = [sizes.embedding, sizes.units].map(i64::from);
        let layers = (0..sizes.layers).map(|layer| {
            let inputs = if layer == 0 { embedding } else { units };
            let variable = |tensor, size: &[i64]| variable(root, &name(layer, tensor), size);
            Layer {
                input: variable("input", &[units, inputs]),
                recurrent: variable("recurrent", &[units, units]),
                bias: variable("bias", &[units]),
            }
        });
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            layers: layers.collect(),
            projection: variable(root, "projection", &[embedding, units]),
        }
    }
}

impl TextNetwork for TanhRnn {
    fn logits(&self, tokens: &Tensor, active: &[i64], dropout: &Dropout) -> Tensor {
        let units = self.projection.size()[1];
        let mut states = self.tied.read(tokens);
        // Layer by layer: each one's input at all steps is one product.
        for layer in &self.layers {
            let input = layer.bias.addmm(&dropout.apply(states), &layer.input.tr());
            let recurrent = layer.recurrent.tr();
            states = unroll(&input, active, [units], |input, [state]| {
                [input.addmm(state, &recurrent).tanh()]
            });
        }
        let states = dropout.apply(states.mm(&self.projection.tr()));
        self.tied.scores(&states)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::by_hand::{Hand, compare};
    use crate::model::{Architecture, StackSizes};

    /// Step by step through all layers, one number at a time.
    fn by_hand(hand: &Hand, sizes: StackSizes, tokens: &[usize]) -> Vec<Vec<f64>> {
        let mut states = vec![vec![0.0; sizes.units as usize]; sizes.layers as usize];
        let scores = tokens.iter().map(|&token| {
            let mut below = hand.row("embedding", token).to_vec();
            for (layer, state) in states.iter_mut().enumerate() {
                let sums = hand.gates(&format!("layer_{layer:02}"), &below, state);
                *state = sums.iter().map(|sum| sum.tanh()).collect();
                below.clone_from(state);
            }
            hand.scores(&hand.product("projection", &below))
        });
        scores.collect()
    }

    #[test]
    fn the_network_computes_the_recurrence_of_each_layer() {
        for (layers, output_bias) in [(1, true), (3, false)] {
            let sizes = StackSizes {
                vocabulary: 9,
                embedding: 4,
                units: 5,
                layers,
                output_bias,
            };
            compare(Architecture::TanhRnn(sizes), |hand, tokens| {
                by_hand(hand, sizes, tokens)
            });
        }
    }
}
