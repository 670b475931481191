//! What the Transformers are built of: norms, attention over packed positions, feed-forward networks,
//! and positions as rotations.
//!
//! Positions enter as rotations of queries and keys (Su et al. 2021, "RoFormer"): a score depends on the
//! distance of two tokens alone. Vectors learned for each position would see few examples of the later
//! ones, because most texts are short, and would not fit a window that slides over a long text.

#[cfg(test)]
pub(super) mod by_hand;
mod layout;

use tch::Tensor;
use tch::nn::Path;

pub(super) use self::layout::Layout;
use super::architecture::Start;
use super::tied::variable;
use super::{Dropout, TensorShape};

/// The sizes that all parts share.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockSizes {
    pub(super) embedding: u32,
    pub(super) heads: u32,
    pub(super) feed_forward: u32,
}

/// What all parts of a block add to: one vector a position, with what is needed to attend to others.
#[derive(Debug)]
pub(super) struct Positions<'a> {
    pub(super) layout: &'a Layout,
    /// At each position's place.
    pub(super) rotation: &'a Rotation,
}

/// Attention to the other positions of the same text, with its norm before it.
#[derive(Debug)]
pub(super) struct SelfAttention {
    heads: i64,
    norm: Norm,
    /// `[3 · embedding, embedding]`: queries, keys and values, of all heads.
    input: Tensor,
    /// `[embedding, embedding]`
    output: Tensor,
}

/// Attention of one text's positions to those of another, with its norm before it.
#[derive(Debug)]
pub(super) struct CrossAttention {
    heads: i64,
    norm: Norm,
    /// `[embedding, embedding]`: queries of all heads.
    query: Tensor,
    /// `[2 · embedding, embedding]`: keys and values of all heads.
    memory: Tensor,
    /// `[embedding, embedding]`
    output: Tensor,
}

/// Two matrices with GELU between them, at each position alone, with a norm before them.
#[derive(Debug)]
pub(super) struct Feed {
    norm: Norm,
    /// `[feed_forward, embedding]`
    input: Tensor,
    /// `[embedding, feed_forward]`
    output: Tensor,
}

/// Each position's mean and variance made 0 and 1, then a gain and a bias for each element.
#[derive(Debug)]
pub(super) struct Norm {
    gain: Tensor,
    bias: Tensor,
}

impl SelfAttention {
    pub(super) fn shapes(block: &str, sizes: BlockSizes) -> Vec<TensorShape> {
        let embedding = sizes.embedding as usize;
        let name = |tensor| format!("{block}_attention_{tensor}");
        let mut shapes = vec![
            TensorShape::new(&name("input"), &[3 * embedding, embedding]),
            TensorShape::new(&name("output"), &[embedding, embedding]),
        ];
        shapes.extend(Norm::shapes(&name("norm"), embedding));
        shapes
    }

    pub(super) fn new(root: &Path<'_>, block: &str, sizes: BlockSizes) -> Self {
        let embedding = i64::from(sizes.embedding);
        let name = |tensor| format!("{block}_attention_{tensor}");
        Self {
            heads: sizes.heads.into(),
            norm: Norm::new(root, &name("norm"), embedding),
            input: variable(root, &name("input"), &[3 * embedding, embedding]),
            output: variable(root, &name("output"), &[embedding, embedding]),
        }
    }

    /// The stream with what each position hears; with `causal` from itself and those before it alone.
    pub(super) fn run(
        &self,
        stream: &Tensor,
        positions: &Positions<'_>,
        causal: bool,
        dropout: &Dropout,
    ) -> Tensor {
        let all = self.norm.apply(stream).mm(&self.input.tr());
        let [query, key, value] = heads(&all, self.heads);
        let [query, key] = [query, key].map(|part| positions.rotation.turn(&part));
        let layout = positions.layout;
        let heard = attend((layout, &query), (layout, [&key, &value]), causal);
        stream + dropout.apply(heard.mm(&self.output.tr()))
    }
}

impl CrossAttention {
    pub(super) fn shapes(block: &str, sizes: BlockSizes) -> Vec<TensorShape> {
        let embedding = sizes.embedding as usize;
        let name = |tensor| format!("{block}_cross_{tensor}");
        let mut shapes = vec![
            TensorShape::new(&name("query"), &[embedding, embedding]),
            TensorShape::new(&name("memory"), &[2 * embedding, embedding]),
            TensorShape::new(&name("output"), &[embedding, embedding]),
        ];
        shapes.extend(Norm::shapes(&name("norm"), embedding));
        shapes
    }

    pub(super) fn new(root: &Path<'_>, block: &str, sizes: BlockSizes) -> Self {
        let embedding = i64::from(sizes.embedding);
        let name = |tensor| format!("{block}_cross_{tensor}");
        Self {
            heads: sizes.heads.into(),
            norm: Norm::new(root, &name("norm"), embedding),
            query: variable(root, &name("query"), &[embedding, embedding]),
            memory: variable(root, &name("memory"), &[2 * embedding, embedding]),
            output: variable(root, &name("output"), &[embedding, embedding]),
        }
    }

    /// The stream with what each position hears from all positions of the other text, `memory`. The two
    /// layouts have the same groups.
    pub(super) fn run(
        &self,
        stream: &Tensor,
        positions: &Positions<'_>,
        (memory, remembered): (&Tensor, &Positions<'_>),
        dropout: &Dropout,
    ) -> Tensor {
        let asked = self.norm.apply(stream).mm(&self.query.tr());
        let [query] = heads(&asked, self.heads);
        let [key, value] = heads(&memory.mm(&self.memory.tr()), self.heads);
        let query = positions.rotation.turn(&query);
        let key = remembered.rotation.turn(&key);
        let heard = attend(
            (positions.layout, &query),
            (remembered.layout, [&key, &value]),
            false,
        );
        stream + dropout.apply(heard.mm(&self.output.tr()))
    }
}

impl Feed {
    pub(super) fn shapes(block: &str, sizes: BlockSizes) -> Vec<TensorShape> {
        let [embedding, feed] = [sizes.embedding, sizes.feed_forward].map(|size| size as usize);
        let name = |tensor| format!("{block}_feed_{tensor}");
        let mut shapes = vec![
            TensorShape::new(&name("input"), &[feed, embedding]),
            TensorShape::new(&name("output"), &[embedding, feed]),
        ];
        shapes.extend(Norm::shapes(&name("norm"), embedding));
        shapes
    }

    pub(super) fn new(root: &Path<'_>, block: &str, sizes: BlockSizes) -> Self {
        let [embedding, feed] = [sizes.embedding, sizes.feed_forward].map(i64::from);
        let name = |tensor| format!("{block}_feed_{tensor}");
        Self {
            norm: Norm::new(root, &name("norm"), embedding),
            input: variable(root, &name("input"), &[feed, embedding]),
            output: variable(root, &name("output"), &[embedding, feed]),
        }
    }

    /// The stream with what the network adds.
    pub(super) fn run(&self, stream: &Tensor, dropout: &Dropout) -> Tensor {
        let hidden = self.norm.apply(stream).mm(&self.input.tr());
        stream + dropout.apply(hidden.gelu("none").mm(&self.output.tr()))
    }
}

impl Norm {
    const EPSILON: f64 = 1e-5;

    pub(super) fn shapes(name: &str, elements: usize) -> [TensorShape; 2] {
        ["bias", "gain"].map(|part| TensorShape::new(&format!("{name}_{part}"), &[elements]))
    }

    pub(super) fn new(root: &Path<'_>, name: &str, elements: i64) -> Self {
        Self {
            gain: variable(root, &format!("{name}_gain"), &[elements]),
            bias: variable(root, &format!("{name}_bias"), &[elements]),
        }
    }

    pub(super) fn apply(&self, stream: &Tensor) -> Tensor {
        let (gain, bias) = (Some(&self.gain), Some(&self.bias));
        stream.layer_norm(self.gain.size(), gain, bias, Self::EPSILON, false)
    }
}

/// What a tensor starts from, where `parts` add to the stream that it belongs to.
///
/// Embeddings have a variance of 1 as they are read, and so give scores with a variance of about 1.
/// What is added to the stream is smaller by the root of the number of parts, so that the sum's variance
/// does not grow with the depth (Radford et al. 2019, section 2.3).
pub(super) fn start(tensor: &str, parts: u32) -> Start {
    /// The uniform distribution in ±√3 has a variance of 1.
    const UNIT: f32 = 1.732;
    match tensor {
        "embedding" => Start::Uniform(UNIT),
        "output_bias" => Start::Frequency,
        _ if tensor.ends_with("_gain") => Start::ONE,
        _ if tensor.ends_with("_bias") => Start::ZERO,
        _ if tensor.ends_with("_output") => Start::Uniform(UNIT / (parts as f32).sqrt()),
        _ => Start::Uniform(UNIT),
    }
}

/// `N` parts of a product for all heads, `[positions, heads, elements]` each.
fn heads<const N: usize>(all: &Tensor, heads: i64) -> [Tensor; N] {
    let parts = i64::try_from(N).expect("a few parts");
    let [positions, width] = [0, 1].map(|axis| all.size()[axis]);
    let all = all.view([positions, parts, heads, width / parts / heads]);
    let mut part = 0;
    [(); N].map(|()| {
        part += 1;
        all.select(1, part - 1)
    })
}

/// What each position hears, all heads side by side: `[positions, heads · elements]`.
///
/// The padding of the layout that asks comes last and is dropped. Where the two layouts are one, `causal`
/// keeps a position from hearing those after it, and so the padding; otherwise the layout that is heard
/// has none.
fn attend(
    (asking, query): (&Layout, &Tensor),
    (heard, [key, value]): (&Layout, [&Tensor; 2]),
    causal: bool,
) -> Tensor {
    debug_assert!(causal || !heard.is_padded(), "padding would be heard");
    let groups = asking.groups(query).zip(heard.groups(key));
    let groups = groups.zip(heard.groups(value));
    let attended = groups.map(|((query, key), value)| {
        // [texts, heads, length, elements]
        Tensor::scaled_dot_product_attention(
            &query,
            &key,
            &value,
            None::<&Tensor>,
            0.0,
            causal,
            None,
            false,
        )
    });
    asking.pack(attended)
}

/// Cosines and sines of all angles: `[positions, 1, half of a head's elements]`.
#[derive(Debug)]
pub(super) struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For the places 0, 1, … of a context. Pair i of a head's d elements turns by 10000^(−2i/d) from
    /// place to place (Su et al. 2021, section 3.2.2).
    pub(super) fn new(sizes: BlockSizes, context: u32) -> Self {
        let pairs = sizes.embedding / sizes.heads / 2;
        let angles: Vec<f64> = (0..context)
            .flat_map(|place| (0..pairs).map(move |pair| angle(place, pair, pairs)))
            .collect();
        let table = |function: fn(f64) -> f64| {
            #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
            let values = angles.iter().map(|&angle| function(angle) as f32);
            let values: Vec<f32> = values.collect();
            Tensor::from_slice(&values).view([i64::from(context), 1, i64::from(pairs)])
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// For these places.
    pub(super) fn at(&self, places: &Tensor) -> Self {
        Self {
            cos: self.cos.index_select(0, places),
            sin: self.sin.index_select(0, places),
        }
    }

    /// Turns every pair of elements by its angle, in f32: `[positions, heads, elements]`. The elements of a
    /// pair lie half of a head apart.
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
        .to_kind(part.kind())
    }
}

fn angle(place: u32, pair: u32, pairs: u32) -> f64 {
    f64::from(place) * 10_000_f64.powf(-f64::from(pair) / f64::from(pairs))
}
