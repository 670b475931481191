//! The long short-term memory of Hochreiter and Schmidhuber (1997) with the forget gate of Gers,
//! Schmidhuber and Cummins (2000), a recurrent projection (Sak, Senior and Beaufays 2014), and an
//! output layer that is the embedding.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::recurrent::{scores, unroll};
use super::{Network, Sizes};

/// Rows of the gates' matrices, in quarters: input gate i, forget gate f, output gate o, candidate g.
const GATES: i64 = 4;

#[derive(Debug)]
pub(super) struct Lstm {
    sizes: [i64; 2],
    /// `[vocabulary, embedding]`
    embedding: Tensor,
    /// `[4 · units, embedding]`
    input: Tensor,
    /// `[4 · units, projection]`
    recurrent: Tensor,
    /// `[4 · units]`
    bias: Tensor,
    /// `[projection, units]`
    projection: Tensor,
    /// `[vocabulary]`
    output_bias: Option<Tensor>,
}

impl Lstm {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        let [vocabulary, embedding, units] =
            [sizes.vocabulary, sizes.embedding, sizes.units].map(i64::from);
        let variable = |name: &str, size: &[i64]| root.var(name, size, Init::Const(0.0));
        Self {
            sizes: [embedding, units],
            embedding: variable("embedding", &[vocabulary, embedding]),
            input: variable("cell_input", &[GATES * units, embedding]),
            recurrent: variable("cell_recurrent", &[GATES * units, embedding]),
            bias: variable("cell_bias", &[GATES * units]),
            projection: variable("projection", &[embedding, units]),
            output_bias: sizes
                .output_bias
                .then(|| variable("output_bias", &[vocabulary])),
        }
    }
}

impl Network for Lstm {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let [recurrent, projection] = [&self.recurrent, &self.projection].map(Tensor::tr);
        let embedded = self.embedding.index_select(0, tokens);
        let input = self.bias.addmm(&embedded, &self.input.tr());
        let outputs = unroll(&input, active, &self.sizes, |input, state| {
            let gates = input.addmm(&state[0], &recurrent).chunk(GATES, 1);
            let [enter, forget, output, candidate] = gates.as_slice() else {
                unreachable!("four gates were asked for");
            };
            // c' = f · c + i · g, h' = P (o · tanh c')
            let cell = forget.sigmoid() * &state[1] + enter.sigmoid() * candidate.tanh();
            let hidden = (output.sigmoid() * cell.tanh()).mm(&projection);
            (hidden.shallow_clone(), vec![hidden, cell])
        });
        scores(&outputs, &self.embedding, self.output_bias.as_ref())
    }
}
