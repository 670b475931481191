//! The embedding, which is the output layer too (Press and Wolf 2017, "Using the output embedding to
//! improve language models").

use tch::Tensor;
use tch::nn::{Init, Path};

use super::TensorShape;

/// A vector for each token, with which it is read and scored.
#[derive(Debug)]
pub(super) struct Tied {
    /// `[vocabulary, embedding]`
    embedding: Tensor,
    /// `[vocabulary]`
    bias: Option<Tensor>,
}

/// The names and shapes of its tensors.
pub(super) fn shapes(vocabulary: u32, embedding: u32, bias: bool) -> Vec<TensorShape> {
    let [vocabulary, embedding] = [vocabulary, embedding].map(|size| size as usize);
    let mut shapes = vec![TensorShape::new("embedding", &[vocabulary, embedding])];
    if bias {
        shapes.push(TensorShape::new("output_bias", &[vocabulary]));
    }
    shapes
}

impl Tied {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, vocabulary: u32, embedding: u32, bias: bool) -> Self {
        let [vocabulary, embedding] = [vocabulary, embedding].map(i64::from);
        Self {
            embedding: variable(root, "embedding", &[vocabulary, embedding]),
            bias: bias.then(|| variable(root, "output_bias", &[vocabulary])),
        }
    }

    /// The vectors of these tokens: `[positions, embedding]`.
    pub(super) fn read(&self, tokens: &Tensor) -> Tensor {
        self.embedding.index_select(0, tokens)
    }

    /// The scores of all tokens after these vectors: `[positions, vocabulary]`.
    pub(super) fn scores(&self, states: &Tensor) -> Tensor {
        let tokens = self.embedding.tr();
        match &self.bias {
            Some(bias) => bias.addmm(states, &tokens),
            None => states.mm(&tokens),
        }
    }
}

/// A variable of zeros.
pub(super) fn variable(root: &Path<'_>, name: &str, size: &[i64]) -> Tensor {
    root.var(name, size, Init::Const(0.0))
}
