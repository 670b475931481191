//! The gated recurrent unit of Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder"
//! (2014), with the reset gate after the recurrent product, so that a step has one such product; a
//! projection, and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::recurrent::{scores, unroll};
use super::{Network, Sizes};

/// Rows of the gates' matrices, in thirds: reset gate r, update gate z, candidate n.
const GATES: i64 = 3;

#[derive(Debug)]
pub(super) struct Gru {
    units: i64,
    /// `[vocabulary, embedding]`
    embedding: Tensor,
    /// `[3 · units, embedding]`
    input: Tensor,
    /// `[3 · units, units]`
    recurrent: Tensor,
    /// `[3 · units]`
    bias: Tensor,
    /// `[embedding, units]`
    projection: Tensor,
    /// `[vocabulary]`
    output_bias: Option<Tensor>,
}

impl Gru {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        let [vocabulary, embedding, units] =
            [sizes.vocabulary, sizes.embedding, sizes.units].map(i64::from);
        let variable = |name: &str, size: &[i64]| root.var(name, size, Init::Const(0.0));
        Self {
            units,
            embedding: variable("embedding", &[vocabulary, embedding]),
            input: variable("cell_input", &[GATES * units, embedding]),
            recurrent: variable("cell_recurrent", &[GATES * units, units]),
            bias: variable("cell_bias", &[GATES * units]),
            projection: variable("projection", &[embedding, units]),
            output_bias: sizes
                .output_bias
                .then(|| variable("output_bias", &[vocabulary])),
        }
    }
}

impl Network for Gru {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let recurrent = self.recurrent.tr();
        let embedded = self.embedding.index_select(0, tokens);
        let input = self.bias.addmm(&embedded, &self.input.tr());
        let states = unroll(&input, active, &[self.units], |input, state| {
            let inputs = input.chunk(GATES, 1);
            let before = state[0].mm(&recurrent).chunk(GATES, 1);
            let ([to_reset, to_update, to_candidate], [reset, update, candidate]) =
                (inputs.as_slice(), before.as_slice())
            else {
                unreachable!("three gates were asked for");
            };
            let reset = (to_reset + reset).sigmoid();
            let update = (to_update + update).sigmoid();
            let candidate = (to_candidate + reset * candidate).tanh();
            // h' = (1 − z) · n + z · h
            let hidden = candidate.lerp_tensor(&state[0], &update);
            (hidden.shallow_clone(), vec![hidden])
        });
        let outputs = states.mm(&self.projection.tr());
        scores(&outputs, &self.embedding, self.output_bias.as_ref())
    }
}
