//! A layer in which every output sees every input, and how it starts.

use tch::Tensor;
use tch::nn::Path;

use super::TensorShape;
use super::architecture::Start;
use super::tied::variable;

/// y = W x + b.
#[derive(Debug)]
pub(super) struct Dense {
    /// `[outputs, inputs]`
    weight: Tensor,
    /// `[outputs]`
    bias: Tensor,
}

/// The names and shapes of its tensors.
pub(super) fn shapes(name: &str, inputs: usize, outputs: usize) -> [TensorShape; 2] {
    [
        TensorShape::new(&format!("{name}_weight"), &[outputs, inputs]),
        TensorShape::new(&format!("{name}_bias"), &[outputs]),
    ]
}

/// Weights have a variance of 2/inputs, which keeps the variance from layer to layer of rectified units
/// (He et al. 2015, "Delving deep into rectifiers"): the uniform distribution in ±√6/√inputs. Biases
/// are zero.
pub(super) fn start(tensor: &str) -> Start {
    const HE: f32 = 2.449_49;
    if tensor.ends_with("_bias") {
        Start::ZERO
    } else {
        Start::Uniform(HE)
    }
}

impl Dense {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, name: &str, inputs: usize, outputs: usize) -> Self {
        let [inputs, outputs] =
            [inputs, outputs].map(|size| i64::try_from(size).expect("sizes are bounded far below"));
        Self {
            weight: variable(root, &format!("{name}_weight"), &[outputs, inputs]),
            bias: variable(root, &format!("{name}_bias"), &[outputs]),
        }
    }

    /// `[examples, inputs]` to `[examples, outputs]`.
    pub(super) fn apply(&self, input: &Tensor) -> Tensor {
        self.bias.addmm(input, &self.weight.tr())
    }
}
