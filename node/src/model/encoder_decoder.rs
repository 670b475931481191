//! An encoder and a decoder of Transformer blocks (Vaswani et al. 2017, "Attention is all you need",
//! section 3.1), for texts that become other texts: the encoder reads the whole source, and the decoder
//! writes the target, one token after the other, and attends to what the encoder made of the source.
//!
//! As in the decoder-only Transformer the norm stands before each part (Xiong et al. 2020) and positions
//! are rotations ([`super::attention`]); in the decoder's attention to the source, too, where places
//! of both texts count from the same beginning. One embedding reads the sources and the targets, and
//! scores the answers (Press and Wolf 2017).
//!
//! A source ends with `<end>`, so that the encoder sees where, and a target begins with `<begin>`. Both
//! must fit into the context: a pair that was cut would teach wrong answers.

use tch::Tensor;
use tch::nn::Path;

use super::architecture::Start;
use super::attention::{
    self, BlockSizes, CrossAttention, Feed, Layout, Norm, Positions, Rotation, SelfAttention,
};
use super::tied::{self, Tied};
use super::{Dropout, EncoderDecoderSizes, PairInput, PairNetwork, TensorShape};

#[derive(Debug)]
pub(super) struct EncoderDecoder {
    tied: Tied,
    encoder: Vec<(SelfAttention, Feed)>,
    encoder_norm: Norm,
    decoder: Vec<(SelfAttention, CrossAttention, Feed)>,
    norm: Norm,
    /// What the embedding is multiplied by when it is read.
    scale: f64,
    rotation: Rotation,
}

/// Parts of an encoder's block that add to its stream, and of a decoder's.
const ENCODER_PARTS: u32 = 2;
const DECODER_PARTS: u32 = 3;

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: EncoderDecoderSizes) -> Vec<TensorShape> {
    let embedding = sizes.embedding as usize;
    let block_sizes = block_sizes(sizes);
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    for block in encoder_names(sizes) {
        shapes.extend(SelfAttention::shapes(&block, block_sizes));
        shapes.extend(Feed::shapes(&block, block_sizes));
    }
    for block in decoder_names(sizes) {
        shapes.extend(SelfAttention::shapes(&block, block_sizes));
        shapes.extend(CrossAttention::shapes(&block, block_sizes));
        shapes.extend(Feed::shapes(&block, block_sizes));
    }
    shapes.extend(Norm::shapes("encoder_norm", embedding));
    shapes.extend(Norm::shapes("norm", embedding));
    shapes
}

/// What training starts from.
pub(super) fn start(sizes: EncoderDecoderSizes, tensor: &str) -> Start {
    let parts = if tensor.starts_with("encoder_") {
        ENCODER_PARTS * sizes.encoder_layers
    } else {
        DECODER_PARTS * sizes.decoder_layers
    };
    attention::start(tensor, parts)
}

fn encoder_names(sizes: EncoderDecoderSizes) -> impl Iterator<Item = String> {
    (0..sizes.encoder_layers).map(|block| format!("encoder_{block:02}"))
}

fn decoder_names(sizes: EncoderDecoderSizes) -> impl Iterator<Item = String> {
    (0..sizes.decoder_layers).map(|block| format!("decoder_{block:02}"))
}

fn block_sizes(sizes: EncoderDecoderSizes) -> BlockSizes {
    BlockSizes {
        embedding: sizes.embedding,
        heads: sizes.heads,
        feed_forward: sizes.feed_forward,
    }
}

impl EncoderDecoder {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: EncoderDecoderSizes) -> Self {
        let block_sizes = block_sizes(sizes);
        let attention = |name: &str| SelfAttention::new(root, name, block_sizes);
        let cross = |name: &str| CrossAttention::new(root, name, block_sizes);
        let feed = |name: &str| Feed::new(root, name, block_sizes);
        let embedding = i64::from(sizes.embedding);
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            encoder: encoder_names(sizes)
                .map(|name| (attention(&name), feed(&name)))
                .collect(),
            encoder_norm: Norm::new(root, "encoder_norm", embedding),
            decoder: decoder_names(sizes)
                .map(|name| (attention(&name), cross(&name), feed(&name)))
                .collect(),
            norm: Norm::new(root, "norm", embedding),
            scale: f64::from(sizes.embedding).sqrt(),
            rotation: Rotation::new(block_sizes, sizes.context),
        }
    }

    fn read(&self, tokens: &Tensor, dropout: &Dropout) -> Tensor {
        dropout.apply(self.tied.read(tokens) * self.scale)
    }
}

impl PairNetwork for EncoderDecoder {
    fn logits(&self, input: &PairInput, dropout: &Dropout) -> Tensor {
        let layouts = [&input.source_lengths, &input.target_lengths]
            .map(|lengths| Layout::of_texts(lengths, &input.groups));
        let rotations = layouts
            .each_ref()
            .map(|layout| self.rotation.at(layout.places()));
        let [sources, targets] = [0, 1].map(|text| Positions {
            layout: &layouts[text],
            rotation: &rotations[text],
        });
        let mut stream = self.read(&input.sources, dropout);
        for (attention, feed) in &self.encoder {
            stream = feed.run(&attention.run(&stream, &sources, false, dropout), dropout);
        }
        let memory = self.encoder_norm.apply(&stream);
        let mut stream = self.read(&input.targets, dropout);
        for (attention, cross, feed) in &self.decoder {
            stream = attention.run(&stream, &targets, true, dropout);
            stream = cross.run(&stream, &targets, (&memory, &sources), dropout);
            stream = feed.run(&stream, dropout);
        }
        self.tied.scores(&self.norm.apply(&stream))
    }
}

#[cfg(test)]
mod tests;
