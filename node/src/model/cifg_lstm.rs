//! The CIFG-LSTM of Hard et al. 2018, "Federated learning for mobile keyboard prediction":
//! a long short-term memory whose input gate is coupled to its forget gate (i = 1 − f), with a
//! recurrent projection (Sak et al. 2014) and an output layer that is the embedding.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::recurrent::{scores, unroll};
use super::{Network, Sizes};

/// Rows of the gates' matrices, in thirds: forget gate f, output gate o, candidate g.
const GATES: i64 = 3;

#[derive(Debug)]
pub(super) struct CifgLstm {
    units: i64,
    projection_size: i64,
    /// `[vocabulary, embedding]`
    embedding: Tensor,
    /// `[3 · units, embedding]`
    input: Tensor,
    /// `[3 · units, projection]`
    recurrent: Tensor,
    /// `[3 · units]`
    bias: Tensor,
    /// `[projection, units]`
    projection: Tensor,
    /// `[vocabulary]`
    output_bias: Option<Tensor>,
}

impl CifgLstm {
    /// Names the variables; their values come from the weights that are loaded next.
    pub(super) fn new(root: &Path<'_>, sizes: Sizes) -> Self {
        let [vocabulary, embedding, units] =
            [sizes.vocabulary, sizes.embedding, sizes.units].map(i64::from);
        let variable = |name: &str, size: &[i64]| root.var(name, size, Init::Const(0.0));
        Self {
            units,
            projection_size: embedding,
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

impl Network for CifgLstm {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let [recurrent, projection] = [&self.recurrent, &self.projection].map(Tensor::tr);
        // The input's part of all gates at all steps, in one product.
        let embedded = self.embedding.index_select(0, tokens);
        let input = self.bias.addmm(&embedded, &self.input.tr());
        let widths = [self.projection_size, self.units];
        let outputs = unroll(&input, active, &widths, |input, state| {
            let gates = input.addmm(&state[0], &recurrent).chunk(GATES, 1);
            let [forget, output, candidate] = gates.as_slice() else {
                unreachable!("three gates were asked for");
            };
            // c' = f · c + (1 − f) · g, h' = P (o · tanh c')
            let cell = candidate.tanh().lerp_tensor(&state[1], &forget.sigmoid());
            let hidden = (output.sigmoid() * cell.tanh()).mm(&projection);
            (hidden.shallow_clone(), vec![hidden, cell])
        });
        scores(&outputs, &self.embedding, self.output_bias.as_ref())
    }
}
