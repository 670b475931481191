//! The CIFG-LSTM of Hard et al. 2018, "Federated learning for mobile keyboard prediction":
//! a long short-term memory whose input gate is coupled to its forget gate (i = 1 − f), with a
//! recurrent projection (Sak et al. 2014) and an output layer that is the embedding.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

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

    /// The projected state after every token: `[positions, projection]`.
    fn states(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let [recurrent, projection] = [&self.recurrent, &self.projection].map(Tensor::tr);
        // The input's part of all gates at all steps, in one product.
        let embedded = self.embedding.index_select(0, tokens);
        let input = self.bias.addmm(&embedded, &self.input.tr());

        let messages = active.first().copied().unwrap_or(0);
        let options = (Kind::Float, input.device());
        let mut state = Tensor::zeros([messages, self.projection_size], options);
        let mut cell = Tensor::zeros([messages, self.units], options);
        let steps = input.split_with_sizes(active, 0);
        let mut states = Vec::with_capacity(steps.len());
        for (input, &running) in steps.iter().zip(active) {
            if cell.size()[0] != running {
                state = state.narrow(0, 0, running);
                cell = cell.narrow(0, 0, running);
            }
            let gates = input.addmm(&state, &recurrent);
            let gates = gates.chunk(GATES, 1);
            let [forget, output, candidate] = gates.as_slice() else {
                unreachable!("three gates were asked for");
            };
            let (forget, output, candidate) =
                (forget.sigmoid(), output.sigmoid(), candidate.tanh());
            // c' = f · c + (1 − f) · g
            cell = candidate.lerp_tensor(&cell, &forget);
            state = (output * cell.tanh()).mm(&projection);
            states.push(state.shallow_clone());
        }
        Tensor::cat(&states, 0)
    }
}

impl Network for CifgLstm {
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor {
        let states = self.states(tokens, active);
        let words = self.embedding.tr();
        match &self.output_bias {
            Some(bias) => bias.addmm(&states, &words),
            None => states.mm(&words),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Model, ModelDescription, Sizes, Weights};
    use crate::vocabulary::BEGIN;

    /// The recurrence by the paper's formulas, one number at a time.
    fn by_hand(weights: &Weights, sizes: Sizes, tokens: &[usize]) -> Vec<f64> {
        let [vocabulary, embedding, units] =
            [sizes.vocabulary, sizes.embedding, sizes.units].map(|size| size as usize);
        let mut rest = weights.values();
        let mut take = |count: usize| {
            let (tensor, after) = rest.split_at(count);
            rest = after;
            tensor
                .iter()
                .map(|&value| f64::from(value))
                .collect::<Vec<_>>()
        };
        let bias = take(3 * units);
        let input = take(3 * units * embedding);
        let recurrent = take(3 * units * embedding);
        let words = take(vocabulary * embedding);
        let output_bias = if sizes.output_bias {
            take(vocabulary)
        } else {
            vec![0.0; vocabulary]
        };
        let projection = take(embedding * units);
        let dot =
            |row: &[f64], vector: &[f64]| row.iter().zip(vector).map(|(a, b)| a * b).sum::<f64>();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut state = vec![0.0; embedding];
        let mut cell = vec![0.0; units];
        for &token in tokens {
            let word = &words[token * embedding..][..embedding];
            let gate = |row: usize| {
                bias[row]
                    + dot(&input[row * embedding..][..embedding], word)
                    + dot(&recurrent[row * embedding..][..embedding], &state)
            };
            let mut hidden = vec![0.0; units];
            for unit in 0..units {
                let forget = sigmoid(gate(unit));
                let output = sigmoid(gate(units + unit));
                let candidate = gate(2 * units + unit).tanh();
                cell[unit] = forget * cell[unit] + (1.0 - forget) * candidate;
                hidden[unit] = output * cell[unit].tanh();
            }
            state = (0..embedding)
                .map(|row| dot(&projection[row * units..][..units], &hidden))
                .collect();
        }
        let scores: Vec<f64> = (0..vocabulary)
            .map(|word| output_bias[word] + dot(&words[word * embedding..][..embedding], &state))
            .collect();
        let sum = scores.iter().map(|score| score.exp()).sum::<f64>();
        scores.iter().map(|score| score - sum.ln()).collect()
    }

    #[test]
    fn the_network_computes_the_papers_recurrence() {
        for output_bias in [true, false] {
            let sizes = Sizes {
                vocabulary: 9,
                embedding: 4,
                units: 5,
                output_bias,
            };
            let description = ModelDescription::cifg_lstm(sizes, 3).unwrap();
            // Larger than the initial weights, so that every gate matters.
            let initial = Weights::initial(&description);
            let values = initial
                .values()
                .iter()
                .map(|value| value * 3.0 + 0.05)
                .collect();
            let weights = Weights::new(&description, values).unwrap();
            let model = Model::new(&description, &weights).unwrap();
            let found = model.next_log_probabilities(&[BEGIN, 5, 8, 4]);
            let expected = by_hand(&weights, sizes, &[BEGIN as usize, 5, 8, 4]);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-5,
                    "{found} {expected}"
                );
            }
        }
    }
}
