//! A decoder-only Transformer (Vaswani et al. 2017, "Attention is all you need") with the norm before
//! each part (Xiong et al. 2020), GELU, and an output layer that is the embedding.
//!
//! Positions enter as rotations of queries and keys (Su et al. 2021, "RoFormer"): a score depends on the
//! distance of two tokens alone. Vectors learned for each position would see few examples of the later
//! ones, because most messages are short, and would not fit a window that slides over a long text.
//!
//! A message longer than the context is read as several messages of at most the context's length, so
//! that each of its tokens is still trained and evaluated on. Generation always sees the last tokens
//! that fit.

mod layout;

use tch::Tensor;
use tch::nn::Path;

use self::layout::Layout;
use super::architecture::Start;
use super::tied::{self, Tied, variable};
use super::{TensorShape, TextNetwork, TransformerSizes};

#[derive(Debug)]
pub(super) struct Transformer {
    tied: Tied,
    blocks: Vec<Block>,
    norm: Norm,
    /// What the embedding is multiplied by when it is read.
    scale: f64,
    context: usize,
    rotation: Rotation,
}

/// Attention and a feed-forward network, each of which adds to what flows through.
#[derive(Debug)]
struct Block {
    heads: i64,
    attention_norm: Norm,
    /// `[3 · embedding, embedding]`: queries, keys and values, of all heads.
    attention_input: Tensor,
    /// `[embedding, embedding]`
    attention_output: Tensor,
    feed_norm: Norm,
    /// `[feed_forward, embedding]`
    feed_input: Tensor,
    /// `[embedding, feed_forward]`
    feed_output: Tensor,
}

/// Each position's mean and variance made 0 and 1, then a gain and a bias for each element.
#[derive(Debug)]
struct Norm {
    gain: Tensor,
    bias: Tensor,
}

/// The names and shapes of all tensors.
pub(super) fn shapes(sizes: TransformerSizes) -> Vec<TensorShape> {
    let [embedding, feed] = [sizes.embedding, sizes.feed_forward].map(|size| size as usize);
    let mut shapes = tied::shapes(sizes.vocabulary, sizes.embedding, sizes.output_bias);
    let mut add = |name: &str, dimensions: &[usize]| {
        shapes.push(TensorShape::new(name, dimensions));
    };
    for block in 0..sizes.layers {
        add(&name(block, "attention_input"), &[3 * embedding, embedding]);
        add(&name(block, "attention_output"), &[embedding, embedding]);
        add(&name(block, "feed_input"), &[feed, embedding]);
        add(&name(block, "feed_output"), &[embedding, feed]);
        for norm in ["attention_norm", "feed_norm"] {
            add(&name(block, &format!("{norm}_bias")), &[embedding]);
            add(&name(block, &format!("{norm}_gain")), &[embedding]);
        }
    }
    add("norm_bias", &[embedding]);
    add("norm_gain", &[embedding]);
    shapes
}

/// Embeddings have a variance of 1 as they are read, and so give scores with a variance of about 1.
/// What is added to the stream of 2 · layers parts is smaller by the root of that number, so that the
/// sum's variance does not grow with the depth (Radford et al. 2019, section 2.3).
pub(super) fn start(sizes: TransformerSizes, tensor: &str) -> Start {
    /// The uniform distribution in ±√3 has a variance of 1.
    const UNIT: f32 = 1.732;
    match tensor {
        "embedding" => Start::Uniform(UNIT),
        "output_bias" => Start::Frequency,
        _ if tensor.ends_with("_gain") => Start::ONE,
        _ if tensor.ends_with("_bias") => Start::ZERO,
        _ if tensor.ends_with("_output") => {
            Start::Uniform(UNIT / (2.0 * sizes.layers as f32).sqrt())
        }
        _ => Start::Uniform(UNIT),
    }
}

fn name(block: u32, tensor: &str) -> String {
    format!("block_{block:02}_{tensor}")
}

impl Transformer {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: TransformerSizes) -> Self {
        let embedding = i64::from(sizes.embedding);
        Self {
            tied: Tied::new(root, sizes.vocabulary, sizes.embedding, sizes.output_bias),
            blocks: (0..sizes.layers)
                .map(|block| Block::new(root, block, sizes))
                .collect(),
            norm: Norm::new(root, "norm", embedding),
            scale: f64::from(sizes.embedding).sqrt(),
            context: sizes.context as usize,
            rotation: Rotation::new(sizes),
        }
    }
}

impl TextNetwork for Transformer {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let layout = Layout::new(active, self.context);
        let rotation = self.rotation.at(layout.places());
        let mut stream = self.tied.read(tokens) * self.scale;
        for block in &self.blocks {
            stream = block.run(&stream, &layout, &rotation);
        }
        self.tied.scores(&self.norm.apply(&stream))
    }
}

impl Block {
    fn new(root: &Path<'_>, block: u32, sizes: TransformerSizes) -> Self {
        let [embedding, feed] = [sizes.embedding, sizes.feed_forward].map(i64::from);
        let variable = |tensor, size: &[i64]| variable(root, &name(block, tensor), size);
        let norm = |tensor| Norm::new(root, &name(block, tensor), embedding);
        Self {
            heads: sizes.heads.into(),
            attention_norm: norm("attention_norm"),
            attention_input: variable("attention_input", &[3 * embedding, embedding]),
            attention_output: variable("attention_output", &[embedding, embedding]),
            feed_norm: norm("feed_norm"),
            feed_input: variable("feed_input", &[feed, embedding]),
            feed_output: variable("feed_output", &[embedding, feed]),
        }
    }

    fn run(&self, stream: &Tensor, layout: &Layout, rotation: &Rotation) -> Tensor {
        let normed = self.attention_norm.apply(stream);
        let attended = self.attend(&normed, layout, rotation);
        let stream = stream + attended.mm(&self.attention_output.tr());
        let hidden = self.feed_norm.apply(&stream).mm(&self.feed_input.tr());
        &stream + hidden.gelu("none").mm(&self.feed_output.tr())
    }

    /// What each position hears from itself and those before it, all heads side by side: `[positions,
    /// embedding]`.
    fn attend(&self, normed: &Tensor, layout: &Layout, rotation: &Rotation) -> Tensor {
        let [positions, embedding] = [0, 1].map(|axis| normed.size()[axis]);
        let all = normed.mm(&self.attention_input.tr());
        // Queries, keys and values: [positions, heads, elements] each.
        let parts = all.view([positions, 3, self.heads, embedding / self.heads]);
        let [query, key, value] = [0, 1, 2].map(|part| parts.select(1, part));
        let [query, key] = [query, key].map(|part| rotation.turn(&part));
        layout.each_group(&[query, key, value], |parts| {
            // [messages, heads, length, elements]
            let [query, key, value] = parts;
            // Causal: a token hears nothing of those after it, and so nothing of the padding, which
            // comes last.
            Tensor::scaled_dot_product_attention(
                query,
                key,
                value,
                None::<&Tensor>,
                0.0,
                true,
                None,
                false,
            )
        })
    }
}

impl Norm {
    const EPSILON: f64 = 1e-5;

    fn new(root: &Path<'_>, name: &str, elements: i64) -> Self {
        Self {
            gain: variable(root, &format!("{name}_gain"), &[elements]),
            bias: variable(root, &format!("{name}_bias"), &[elements]),
        }
    }

    fn apply(&self, stream: &Tensor) -> Tensor {
        let (gain, bias) = (Some(&self.gain), Some(&self.bias));
        stream.layer_norm(self.gain.size(), gain, bias, Self::EPSILON, false)
    }
}

/// Cosines and sines of all angles: `[positions, 1, half of a head's elements]`.
#[derive(Debug)]
struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For the places 0, 1, … of a context. Pair i of a head's d elements turns by 10000^(−2i/d) from
    /// place to place (Su et al. 2021, section 3.2.2).
    fn new(sizes: TransformerSizes) -> Self {
        let pairs = sizes.embedding / sizes.heads / 2;
        let angles: Vec<f64> = (0..sizes.context)
            .flat_map(|place| (0..pairs).map(move |pair| angle(place, pair, pairs)))
            .collect();
        let table = |function: fn(f64) -> f64| {
            #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
            let values = angles.iter().map(|&angle| function(angle) as f32);
            let values: Vec<f32> = values.collect();
            Tensor::from_slice(&values).view([i64::from(sizes.context), 1, i64::from(pairs)])
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// For these places.
    fn at(&self, places: &Tensor) -> Self {
        Self {
            cos: self.cos.index_select(0, places),
            sin: self.sin.index_select(0, places),
        }
    }

    /// Turns every pair of elements by its angle: `[positions, heads, elements]`. The elements of a pair
    /// lie half of a head apart.
    fn turn(&self, part: &Tensor) -> Tensor {
        let halves = part.chunk(2, -1);
        let [left, right] = halves.as_slice() else {
            unreachable!("two halves were asked for");
        };
        Tensor::cat(
            &[
                left * &self.cos - right * &self.sin,
                right * &self.cos + left * &self.sin,
            ],
            -1,
        )
    }
}

fn angle(place: u32, pair: u32, pairs: u32) -> f64 {
    f64::from(place) * 10_000_f64.powf(-f64::from(pair) / f64::from(pairs))
}

#[cfg(test)]
mod tests;
