//! A decoder-only Transformer (Vaswani et al. 2017, "Attention is all you need") with the norm before
//! each part (Xiong et al. 2020), GELU, and an output layer that is the embedding.
//!
//! Positions are rotations of queries and keys; see [`attention`].
//!
//! A message longer than the context is read as several messages of at most the context's length, so
//! that each of its tokens is still trained and evaluated on. Generation always sees the last tokens
//! that fit.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::attention::{self, BlockSizes, Feed, Layout, Norm, Positions, Rotation, SelfAttention};
use super::tied::{self, Tied};
use super::{Dropout, TensorShape, TextNetwork, TransformerSizes};

#[derive(Debug)]
pub(super) struct Transformer {
    tied: Tied,
    /// Attention and a feed-forward network, each of which adds to what flows through.
    blocks: Vec<(SelfAttention, Feed)>,
    norm: Norm,
    /// What the embedding is multiplied by when it is read.
    scale: f64,
    context: usize,
    rotation: Rotation,
}

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: TransformerSizes) -> Vec<TensorShape> {
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    for block in names(sizes) {
        shapes.extend(SelfAttention::shapes(&block, block_sizes(sizes)));
        shapes.extend(Feed::shapes(&block, block_sizes(sizes)));
    }
    shapes.extend(Norm::shapes("norm", sizes.embedding as usize));
    shapes
}

/// What training starts from: two parts of each block add to the stream.
pub(super) fn start(sizes: TransformerSizes, tensor: &str) -> Start {
    attention::start(tensor, 2 * sizes.layers)
}

fn names(sizes: TransformerSizes) -> impl Iterator<Item = String> {
    (0..sizes.layers).map(|block| format!("block_{block:02}"))
}

fn block_sizes(sizes: TransformerSizes) -> BlockSizes {
    BlockSizes {
        embedding: sizes.embedding,
        heads: sizes.heads,
        feed_forward: sizes.feed_forward,
    }
}

impl Transformer {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: TransformerSizes) -> Self {
        let block_sizes = block_sizes(sizes);
        let block = |name: String| {
            (
                SelfAttention::new(root, &name, block_sizes),
                Feed::new(root, &name, block_sizes),
            )
        };
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            blocks: names(sizes).map(block).collect(),
            norm: Norm::new(root, "norm", sizes.embedding.into()),
            scale: f64::from(sizes.embedding).sqrt(),
            context: sizes.context as usize,
            rotation: Rotation::new(block_sizes, sizes.context),
        }
    }
}

impl TextNetwork for Transformer {
    fn logits(&self, tokens: &Tensor, active: &[i64], dropout: &Dropout) -> Tensor {
        let layout = &Layout::new(active, self.context);
        let rotation = &self.rotation.at(layout.places());
        let positions = Positions { layout, rotation };
        let mut stream = dropout.apply(self.tied.read(tokens) * self.scale);
        for (attention, feed) in &self.blocks {
            stream = feed.run(&attention.run(&stream, &positions, true, dropout), dropout);
        }
        self.tied.scores(&self.norm.apply(&stream))
    }
}

#[cfg(test)]
mod tests;
