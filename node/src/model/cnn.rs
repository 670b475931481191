//! A convolutional network over images, as LeCun et al. 1998 ("Gradient-based learning applied to
//! document recognition") built them, in the form that McMahan et al. 2017 trained on digits: two
//! convolutions with rectified units, each followed by the maximum over squares of 2 × 2, a hidden layer
//! and one score for each label.
//!
//! With k × k kernels (k odd) and zeros around the image, a convolution of C channels gives
//! y_f(r, c) = max(0, b_f + Σ_(i, u, v) W_f(i, u, v) · x_i(r + u − ⌊k/2⌋, c + v − ⌊k/2⌋)), and so images
//! of the same size; each maximum halves it: 28, 14, 7.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::dense::{self, Dense};
use super::tied::variable;
use super::{CnnSizes, Dropout, ImageNetwork, TensorShape};
use crate::examples::{PIXELS, SIDE};

#[derive(Debug)]
pub(super) struct Cnn {
    first: Convolution,
    second: Convolution,
    hidden: Dense,
    output: Dense,
}

#[derive(Debug)]
struct Convolution {
    /// `[filters, channels, kernel, kernel]`
    weight: Tensor,
    /// `[filters]`
    bias: Tensor,
}

const FIRST: &str = "convolution_1";
const SECOND: &str = "convolution_2";
const HIDDEN: &str = "hidden";
const OUTPUT: &str = "output";

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: CnnSizes) -> Vec<TensorShape> {
    let [kernel, first, second, units] = [
        sizes.kernel,
        sizes.first_filters,
        sizes.second_filters,
        sizes.units,
    ]
    .map(|size| size as usize);
    let mut shapes = Vec::new();
    for (name, channels, filters) in [(FIRST, 1, first), (SECOND, first, second)] {
        shapes.extend([
            TensorShape::new(
                &format!("{name}_weight"),
                &[filters, channels, kernel, kernel],
            ),
            TensorShape::new(&format!("{name}_bias"), &[filters]),
        ]);
    }
    shapes.extend(dense::shapes(HIDDEN, flat(sizes), units));
    shapes.extend(dense::shapes(OUTPUT, units, sizes.labels()));
    shapes
}

/// See [`dense::start`].
pub(super) fn start(tensor: &str) -> Start {
    dense::start(tensor)
}

/// What is left of an image after both maxima, in all channels.
const fn flat(sizes: CnnSizes) -> usize {
    sizes.second_filters as usize * (SIDE / 4) * (SIDE / 4)
}

/// 8 MiB: what the library takes for its convolutions, as measured.
pub(super) const ONCE: usize = 2 << 20;

/// How many numbers each layer makes of an image, the input first and without the scores.
pub(super) fn widths(sizes: CnnSizes) -> Vec<usize> {
    /// Libtorch's convolutions compute so many filters at once, and keep as many.
    const LANES: usize = 16;
    let [first, second] = [sizes.first_filters, sizes.second_filters]
        .map(|filters| (filters as usize).next_multiple_of(LANES));
    let [half, quarter] = [PIXELS / 4, PIXELS / 16];
    vec![
        PIXELS,
        first * PIXELS,
        // Maxima, and their places, of 64 bits each.
        first * half * 3,
        second * half,
        second * quarter * 3,
        sizes.units as usize,
    ]
}

impl Cnn {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: CnnSizes) -> Self {
        let [kernel, first, second] =
            [sizes.kernel, sizes.first_filters, sizes.second_filters].map(i64::from);
        let convolution = |name, channels, filters| Convolution {
            weight: variable(
                root,
                &format!("{name}_weight"),
                &[filters, channels, kernel, kernel],
            ),
            bias: variable(root, &format!("{name}_bias"), &[filters]),
        };
        let units = sizes.units as usize;
        Self {
            first: convolution(FIRST, 1, first),
            second: convolution(SECOND, first, second),
            hidden: Dense::new(root, HIDDEN, flat(sizes), units),
            output: Dense::new(root, OUTPUT, units, sizes.labels()),
        }
    }
}

impl ImageNetwork for Cnn {
    fn logits(&self, images: &Tensor, dropout: &Dropout) -> Tensor {
        let maps = self.second.apply(&self.first.apply(images));
        let hidden = self.hidden.apply(&maps.flatten(1, -1)).relu();
        self.output.apply(&dropout.apply(hidden))
    }
}

impl Convolution {
    /// With the maximum of each square of 2 × 2: `[images, channels, side, side]` to `[images, filters,
    /// side/2, side/2]`.
    fn apply(&self, images: &Tensor) -> Tensor {
        let around = self.weight.size()[2] / 2;
        images
            .conv2d(
                &self.weight,
                Some(&self.bias),
                [1, 1],
                [around, around],
                [1, 1],
                1,
            )
            .relu()
            .max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Architecture;
    use crate::model::by_hand::{Hand, compare_images};

    /// One convolution with its maxima; images lie channel by channel, row by row.
    fn convolved(
        hand: &Hand,
        name: &str,
        kernel: usize,
        side: usize,
        channels: &[Vec<f64>],
    ) -> Vec<Vec<f64>> {
        let weight = hand.tensor(&format!("{name}_weight"));
        let bias = hand.tensor(&format!("{name}_bias"));
        let at = |channel: &[f64], row: usize, column: usize| {
            // Counted from the edge of the zeros around the image.
            let place = |index: usize| index.checked_sub(kernel / 2).filter(|&at| at < side);
            match (place(row), place(column)) {
                (Some(row), Some(column)) => channel[row * side + column],
                _ => 0.0,
            }
        };
        let filters = bias.iter().enumerate().map(|(filter, bias)| {
            let own = &weight[filter * channels.len() * kernel * kernel..];
            let value = |row: usize, column: usize| {
                let mut sum = *bias;
                for (index, channel) in channels.iter().enumerate() {
                    for u in 0..kernel {
                        for v in 0..kernel {
                            sum += own[(index * kernel + u) * kernel + v]
                                * at(channel, row + u, column + v);
                        }
                    }
                }
                sum.max(0.0)
            };
            let squares =
                (0..side / 2).flat_map(|row| (0..side / 2).map(move |column| (row, column)));
            let maxima = squares.map(|(row, column)| {
                let square = [(0, 0), (0, 1), (1, 0), (1, 1)];
                let values = square.map(|(u, v)| value(2 * row + u, 2 * column + v));
                values.into_iter().fold(f64::MIN, f64::max)
            });
            maxima.collect()
        });
        filters.collect()
    }

    #[test]
    fn the_network_computes_convolutions_maxima_and_layers() {
        for (kernel, first_filters, second_filters) in [(3, 2, 3), (5, 3, 2), (1, 1, 1)] {
            let sizes = CnnSizes {
                vocabulary: 9,
                kernel,
                first_filters,
                second_filters,
                units: 4,
            };
            compare_images(Architecture::Cnn(sizes), |hand, pixels| {
                let kernel = kernel as usize;
                let maps = convolved(hand, FIRST, kernel, SIDE, &[pixels.to_vec()]);
                let maps = convolved(hand, SECOND, kernel, SIDE / 2, &maps);
                let hidden = hand.dense(HIDDEN, &maps.concat());
                let hidden: Vec<f64> = hidden.into_iter().map(|sum| sum.max(0.0)).collect();
                hand.dense(OUTPUT, &hidden)
            });
        }
    }
}
