//! A recurrent network of one or more layers with the hyperbolic tangent (Elman 1990), each layer
//! reading the states of the one below; a projection, and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::recurrent::{scores, unroll};
use super::{Network, Sizes};

#[derive(Debug)]
pub(super) struct TanhRnn {
    units: i64,
    /// `[vocabulary, embedding]`
    embedding: Tensor,
    layers: Vec<Layer>,
    /// `[embedding, units]`
    projection: Tensor,
    /// `[vocabulary]`
    output_bias: Option<Tensor>,
}

#[derive(Debug)]
struct Layer {
    /// `[units, embedding]` in the first layer, `[units, units]` in the others.
    input: Tensor,
    /// `[units, units]`
    recurrent: Tensor,
    /// `[units]`
    bias: Tensor,
}

impl TanhRnn {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes, layers: u32) -> Self {
        let [vocabulary, embedding, units] =
            [sizes.vocabulary, sizes.embedding, sizes.units].map(i64::from);
        let variable = |name: &str, size: &[i64]| root.var(name, size, Init::Const(0.0));
        let layer = |index: u32| {
            let below = if index == 0 { embedding } else { units };
            Layer {
                input: variable(&format!("layer{index}_input"), &[units, below]),
                recurrent: variable(&format!("layer{index}_recurrent"), &[units, units]),
                bias: variable(&format!("layer{index}_bias"), &[units]),
            }
        };
        Self {
            units,
            embedding: variable("embedding", &[vocabulary, embedding]),
            layers: (0..layers).map(layer).collect(),
            projection: variable("projection", &[embedding, units]),
            output_bias: sizes
                .output_bias
                .then(|| variable("output_bias", &[vocabulary])),
        }
    }
}

impl Network for TanhRnn {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let mut states = self.embedding.index_select(0, tokens);
        for layer in &self.layers {
            let recurrent = layer.recurrent.tr();
            let input = layer.bias.addmm(&states, &layer.input.tr());
            states = unroll(&input, active, &[self.units], |input, state| {
                // h' = tanh(W x + U h + b)
                let hidden = input.addmm(&state[0], &recurrent).tanh();
                (hidden.shallow_clone(), vec![hidden])
            });
        }
        let outputs = states.mm(&self.projection.tr());
        scores(&outputs, &self.embedding, self.output_bias.as_ref())
    }
}
