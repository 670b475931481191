//! A multilayer perceptron over images: hidden layers of the same size, with rectified units (Glorot,
//! Bordes and Bengio 2011), and one score for each label.
//!
//! With the pixels as x_0, layer i gives x_(i+1) = max(0, W_i x_i + b_i), and the scores are
//! W x_n + b.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::dense::{self, Dense};
use super::{Dropout, ImageNetwork, MlpSizes, TensorShape};
use crate::examples::PIXELS;

#[derive(Debug)]
pub(super) struct Mlp {
    hidden: Vec<Dense>,
    output: Dense,
}

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: MlpSizes) -> Vec<TensorShape> {
    layers(sizes)
        .into_iter()
        .flat_map(|(name, inputs, outputs)| dense::shapes(&name, inputs, outputs))
        .collect()
}

/// See [`dense::start`].
pub(super) fn start(tensor: &str) -> Start {
    dense::start(tensor)
}

/// Names, inputs and outputs of all layers, the output layer last.
fn layers(sizes: MlpSizes) -> Vec<(String, usize, usize)> {
    let units = sizes.units as usize;
    let mut inputs = PIXELS;
    let mut layers = Vec::new();
    for layer in 0..sizes.layers {
        layers.push((format!("layer_{layer:02}"), inputs, units));
        inputs = units;
    }
    layers.push(("output".to_owned(), inputs, sizes.labels()));
    layers
}

/// How many numbers each layer makes of an image, the input first and without the scores.
pub(super) fn widths(sizes: MlpSizes) -> Vec<usize> {
    let inputs = layers(sizes).into_iter().map(|(_, inputs, _)| inputs);
    inputs.collect()
}

impl Mlp {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: MlpSizes) -> Self {
        let mut hidden: Vec<Dense> = layers(sizes)
            .into_iter()
            .map(|(name, inputs, outputs)| Dense::new(root, &name, inputs, outputs))
            .collect();
        let output = hidden.pop().expect("the output layer is always there");
        Self { hidden, output }
    }
}

impl ImageNetwork for Mlp {
    fn logits(&self, images: &Tensor, dropout: &Dropout) -> Tensor {
        let mut state = images.flatten(1, -1);
        for layer in &self.hidden {
            state = dropout.apply(layer.apply(&state).relu());
        }
        self.output.apply(&state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Architecture;
    use crate::model::by_hand::compare_images;

    #[test]
    fn the_network_computes_one_layer_after_the_other() {
        for layers in [1, 3] {
            let sizes = MlpSizes {
                vocabulary: 9,
                units: 6,
                layers,
            };
            compare_images(Architecture::Mlp(sizes), |hand, pixels| {
                let mut state = pixels.to_vec();
                for layer in 0..layers {
                    let sums = hand.dense(&format!("layer_{layer:02}"), &state);
                    state = sums.into_iter().map(|sum| sum.max(0.0)).collect();
                }
                hand.dense("output", &state)
            });
        }
    }
}
