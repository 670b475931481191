//! The rings that are wide enough for every sum.

use secagg::{Layout, Segment};

use super::{COUNTERS_SEGMENT, PlanError, RoundKind, UPDATE_SEGMENT, UpdatePlan};
use crate::counters::Counter;

/// `coordinates`: what a client sends of its update in a training round.
pub(crate) fn layout(
    kind: RoundKind,
    update: &UpdatePlan,
    coordinates: u32,
) -> Result<Layout, PlanError> {
    let update_bits = update_bits(update)?;
    let counter_bits = counter_bits(update)?;
    let counters_len = u32::try_from(Counter::ALL.len()).expect("there are seven counters");
    let counters = Segment::new(COUNTERS_SEGMENT, counters_len, counter_bits)?;
    let segments = match kind {
        RoundKind::Train => vec![
            Segment::new(UPDATE_SEGMENT, coordinates, update_bits)?,
            counters,
        ],
        RoundKind::EvaluateOnly => vec![counters],
    };
    Ok(Layout::new(segments)?)
}

pub(crate) const fn value_max(value_bits: u8) -> u32 {
    (1 << (value_bits - 1)) - 1
}

pub(crate) fn update_bits(update: &UpdatePlan) -> Result<u8, PlanError> {
    let span = 2 * u64::from(value_max(update.value_bits)) + 1;
    ring_bits("update", span, update.max_cohort)
}

fn counter_bits(update: &UpdatePlan) -> Result<u8, PlanError> {
    Counter::ALL
        .into_iter()
        .map(|counter| {
            let span = counter.maximum_with_cap(update.weight_cap) + 1;
            ring_bits(counter.name(), span, update.max_cohort)
        })
        .try_fold(COUNTER_BITS_MINIMUM, |widest, bits| Ok(widest.max(bits?)))
}

/// The smallest b with `max_cohort` × `span` ≤ 2^b, where one client sends 0 to `span` − 1: then
/// even the sum of `max_cohort` largest values, max_cohort × (span − 1), is below 2^b.
fn ring_bits(name: &'static str, span: u64, max_cohort: u32) -> Result<u8, PlanError> {
    let needed = u128::from(span) * u128::from(max_cohort);
    (1..=RING_BITS_MAXIMUM)
        .find(|&bits| needed <= 1_u128 << bits)
        .ok_or(PlanError::Overflow {
            name,
            span,
            max_cohort,
            bits: RING_BITS_MAXIMUM,
        })
}

const COUNTER_BITS_MINIMUM: u8 = 48;
const RING_BITS_MAXIMUM: u8 = 64;
