//! A recurrence over packed messages, step by step.

use tch::Tensor;

/// Repeats `step` over all steps of a batch and returns the first of its states at every position.
///
/// `input` holds what comes in at every position, packed as [`Batch`](super::Batch) packs tokens:
/// `[positions, …]`. The states begin as zeros of these widths; `step` makes new ones out of a step's
/// input and the states before it, one row for each message that is still running.
pub(super) fn unroll<const N: usize>(
    input: &Tensor,
    active: &[i64],
    widths: [i64; N],
    mut step: impl FnMut(&Tensor, &[Tensor; N]) -> [Tensor; N],
) -> Tensor {
    let messages = active.first().copied().unwrap_or(0);
    let options = (input.kind(), input.device());
    let mut states = widths.map(|width| Tensor::zeros([messages, width], options));
    let mut running_before = messages;
    let steps = input.split_with_sizes(active, 0);
    let mut first = Vec::with_capacity(steps.len());
    for (input, &running) in steps.iter().zip(active) {
        if running != running_before {
            states = states.map(|state| state.narrow(0, 0, running));
            running_before = running;
        }
        states = step(input, &states);
        first.push(states[0].shallow_clone());
    }
    Tensor::cat(&first, 0)
}
