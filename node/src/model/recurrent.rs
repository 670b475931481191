//! What recurrent networks share: one step after the other, for messages that end at different steps.

use tch::{Kind, Tensor};

/// Goes through the steps of packed positions, and gives what each step puts out, packed likewise.
///
/// `input` is `[positions, width]`, step by step, `active` how many messages have a token at each step,
/// which never increases. The state is one tensor `[messages, width]` for each of `widths`, zero before
/// the first step; `step` makes it anew from the step's input and the state of the messages that go on,
/// and gives the output beside it.
pub(super) fn unroll(
    input: &Tensor,
    active: &[i64],
    widths: &[i64],
    mut step: impl FnMut(&Tensor, &[Tensor]) -> (Tensor, Vec<Tensor>),
) -> Tensor {
    let messages = active.first().copied().unwrap_or(0);
    let options = (Kind::Float, input.device());
    let mut state: Vec<Tensor> = widths
        .iter()
        .map(|&width| Tensor::zeros([messages, width], options))
        .collect();
    let mut before = messages;
    let mut outputs = Vec::with_capacity(active.len());
    for (input, &running) in input.split_with_sizes(active, 0).iter().zip(active) {
        if running != before {
            for tensor in &mut state {
                *tensor = tensor.narrow(0, 0, running);
            }
            before = running;
        }
        let (output, next) = step(input, &state);
        state = next;
        outputs.push(output);
    }
    Tensor::cat(&outputs, 0)
}

/// Scores of all words: the output layer is the embedding, with a bias where there is one.
pub(super) fn scores(outputs: &Tensor, embedding: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let words = embedding.tr();
    match bias {
        Some(bias) => bias.addmm(outputs, &words),
        None => outputs.mm(&words),
    }
}

#[cfg(test)]
mod tests;
