//! What networks with one recurrent cell share: its matrices, a projection of its units, and an output
//! layer that is the embedding.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::tied::{self, Tied, variable};
use super::unroll::unroll;
use super::{Dropout, Sizes, TensorShape};

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) tied: Tied,
    /// `[gates · units, embedding]`
    input: Tensor,
    /// `[gates · units, recalled]`
    pub(super) recurrent: Tensor,
    /// `[gates · units]`
    bias: Tensor,
    /// `[embedding, units]`
    pub(super) projection: Tensor,
    gates: u32,
}

/// The names and shapes of all tensors, for so many gates that each read so many elements of the state.
pub(super) fn shapes(sizes: Sizes, gates: u32, recalled: u32) -> Vec<TensorShape> {
    let [rows, recalled, embedding, units] =
        [gates * sizes.units, recalled, sizes.embedding, sizes.units].map(|size| size as usize);
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    shapes.extend([
        TensorShape::new("cell_bias", &[rows]),
        TensorShape::new("cell_input", &[rows, embedding]),
        TensorShape::new("cell_recurrent", &[rows, recalled]),
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

impl Cell {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes, gates: u32, recalled: u32) -> Self {
        let [rows, recalled, embedding, units] =
            [gates * sizes.units, recalled, sizes.embedding, sizes.units].map(i64::from);
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            input: variable(root, "cell_input", &[rows, embedding]),
            recurrent: variable(root, "cell_recurrent", &[rows, recalled]),
            bias: variable(root, "cell_bias", &[rows]),
            projection: variable(root, "projection", &[embedding, units]),
            gates,
        }
    }

    /// The input's part of all gates at all steps, in one product.
    pub(super) fn read(&self, tokens: &Tensor, dropout: &Dropout) -> Tensor {
        let read = dropout.apply(self.tied.read(tokens));
        self.bias.addmm(&read, &self.input.tr())
    }

    /// The scores of a long short-term memory with a recurrent projection (Sak et al. 2014).
    ///
    /// `remember` makes the next content of the cell, and what opens to let it out, of the gates as they
    /// come and of the content before.
    pub(super) fn memory_scores(
        &self,
        tokens: &Tensor,
        active: &[i64],
        dropout: &Dropout,
        remember: impl Fn(&[Tensor], &Tensor) -> (Tensor, Tensor),
    ) -> Tensor {
        let [recurrent, projection] = [&self.recurrent, &self.projection].map(Tensor::tr);
        let [projected, units] = [0, 1].map(|axis| self.projection.size()[axis]);
        let widths = [projected, units];
        let states = unroll(
            &self.read(tokens, dropout),
            active,
            widths,
            |input, [state, cell]| {
                let gates = input.addmm(state, &recurrent).chunk(self.gates.into(), 1);
                let (cell, output) = remember(&gates, cell);
                let state = (output * cell.tanh()).mm(&projection);
                [state, cell]
            },
        );
        self.tied.scores(&dropout.apply(states))
    }
}
