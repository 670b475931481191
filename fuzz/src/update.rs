//! The codec of updates, with arbitrary plans, updates and counters.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{Context, GraphKind, Parameters, Session, ThreatModel, Vector};
use secagg_learning::{
    Budget, CodecError, Counter, Counters, LocalOptimizer, Plan, RoundKind, ServerOptimizerConfig,
    TrainingPlan, UpdateCodec, UpdatePlan,
    plan::{COUNTERS_SEGMENT, UPDATE_SEGMENT},
};

use crate::choices::Choices;

/// Encodes updates of a few clients under a plan. Each is encoded within its range, or refused for
/// what is wrong with it; the sum decodes within the stated bound of the weighted mean.
///
/// # Panics
///
/// When that is not so.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let Some((plan, session)) = agreed(&mut choices) else {
        return;
    };
    let codec = UpdateCodec::new(&plan);
    let mut rng = ChaCha20Rng::from_seed(choices.array());
    let mut sum = Vector::zero(session.layout());
    let mut expected = vec![0.0; plan.update_len()];
    let mut counted = [0_u64; Counter::ALL.len()];
    let clients = 1 + choices.below(8.min(plan.update().max_cohort as usize));
    let mut contributors = 0;
    for _ in 0..clients {
        let delta: Vec<f32> = (0..plan.update_len())
            .map(|_| element(&mut choices))
            .collect();
        let counters = Counters::from_values(std::array::from_fn(|_| counter(&mut choices)));
        match codec.encode(&session, &delta, &counters, &mut rng) {
            Ok(vector) => {
                in_range(&plan, &vector);
                let (sent, own) = meant(&plan, &delta, &counters);
                let sums = expected.iter_mut().zip(sent);
                sums.for_each(|(sum, element)| *sum += element);
                counted
                    .iter_mut()
                    .zip(own)
                    .for_each(|(sum, value)| *sum += value);
                sum.add(&vector).expect("one layout, and room for them");
                contributors += 1;
            }
            Err(CodecError::NotFinite { index, value }) => {
                assert!(!value.is_finite() && delta[index].to_bits() == value.to_bits());
                assert!(delta[..index].iter().all(|element| element.is_finite()));
            }
            Err(CodecError::Counter {
                counter,
                value,
                maximum,
            }) => {
                assert_eq!(counter.maximum(&plan), maximum);
                assert!(counters.value(counter) == value && value > maximum);
            }
            Err(error) => panic!("an update of the plan's length is refused: {error}"),
        }
    }
    decoded(&plan, &codec, &sum, contributors, &expected, &counted);
    anything(&mut choices, &codec, &session);
}

/// A plan that is valid and its session, if these choices make one.
fn agreed(choices: &mut Choices<'_>) -> Option<(Plan, Session)> {
    let kind = *choices.one_of(&[RoundKind::Train, RoundKind::EvaluateOnly]);
    let mut size = || match choices.below(4) {
        0 => 1.0,
        1 => *choices.one_of(&[1e-9_f32, 1e9, 0.1, 2.0]),
        2 => f32::from(choices.byte()) / 16.0,
        _ => f32::from_bits(u32::from_le_bytes(choices.array())),
    };
    let (clip_norm, range) = (size(), size());
    let update = UpdatePlan {
        parameters: 1 + choices.below(40) as u32,
        clip_norm,
        range,
        value_bits: 2 + choices.below(24) as u8,
        weight_cap: match choices.below(3) {
            0 => 1 + u32::from(choices.byte()),
            1 => u32::MAX,
            _ => u32::from_le_bytes(choices.array()),
        },
        max_cohort: match choices.below(3) {
            0 => 3 + u32::from(choices.byte()),
            1 => 65_536,
            _ => u32::from_le_bytes(choices.array()),
        },
    };
    let training = TrainingPlan {
        budget: Budget::Epochs(1),
        batch: 1,
        optimizer: LocalOptimizer::Sgd { rate: 1.0 },
        gradient_clip: 1.0,
        max_words: 1,
        ..TrainingPlan::DEFAULT
    };
    let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    let plan = Plan::new(kind, update, training, server).ok()?;
    let most = update.max_cohort.min(secagg::MAX_SPARSE_COHORT);
    let parameters = Parameters::new(
        ThreatModel::HonestButCurious,
        GraphKind::Sparse,
        3..=most,
        plan.layout(),
    )
    .expect("a plan's layout has room for its cohort");
    let context = Context {
        round: 1,
        nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
    };
    Some((plan, Session::new(parameters, context)))
}

fn element(choices: &mut Choices<'_>) -> f32 {
    match choices.below(4) {
        0 => f32::from(choices.byte()) / 64.0 - 2.0,
        1 => *choices.one_of(&[0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45]),
        _ => f32::from_bits(u32::from_le_bytes(choices.array())),
    }
}

fn counter(choices: &mut Choices<'_>) -> u64 {
    match choices.below(4) {
        0 | 1 => choices.byte().into(),
        2 => u32::from_le_bytes(choices.array()).into(),
        _ => u64::from_le_bytes(choices.array()),
    }
}

/// No element of one client's vector is larger than the plan has room for.
fn in_range(plan: &Plan, vector: &Vector) {
    if let Some(mut elements) = vector.segment(UPDATE_SEGMENT) {
        assert!(elements.all(|element| element <= 2 * u64::from(plan.value_max())));
    }
    let counters = vector.segment(COUNTERS_SEGMENT).expect("always there");
    for (counter, value) in Counter::ALL.into_iter().zip(counters) {
        assert!(value <= counter.maximum(plan));
    }
}

/// What one client sends, before rounding, by the definition: clipped, weighted, clamped.
fn meant(plan: &Plan, delta: &[f32], counters: &Counters) -> (Vec<f64>, Vec<u64>) {
    let update = plan.update();
    let squares = delta.iter().map(|element| f64::from(*element).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    let clip = f64::from(update.clip_norm) / norm.max(f64::from(update.clip_norm));
    let capped = Counter::ALL
        .into_iter()
        .map(|counter| counters.value(counter).min(counter.maximum(plan)));
    let capped: Vec<u64> = capped.collect();
    let weight = counters
        .value(Counter::Weight)
        .min(update.weight_cap.into());
    let share = weight as f64 / f64::from(update.weight_cap);
    let range = f64::from(update.range);
    let sent = delta
        .iter()
        .map(|element| (f64::from(*element) * clip * share).clamp(-range, range));
    (sent.collect(), capped)
}

fn decoded(
    plan: &Plan,
    codec: &UpdateCodec,
    sum: &Vector,
    contributors: u32,
    expected: &[f64],
    counted: &[u64; Counter::ALL.len()],
) {
    if contributors == 0 {
        assert!(codec.decode(sum, 0).is_err(), "a sum of nobody");
        return;
    }
    let found = codec
        .decode(sum, contributors)
        .expect("a sum of valid updates");
    assert_eq!(found.counters.values(), counted);
    let total = found.counters.value(Counter::Weight);
    let Some(mean) = found.mean_delta else {
        assert!(total == 0 || plan.kind() == RoundKind::EvaluateOnly);
        return;
    };
    assert_eq!(mean.len(), expected.len());
    let bound = codec.error_bound(contributors, total);
    let cap = f64::from(plan.update().weight_cap);
    for (found, sent) in mean.iter().zip(expected) {
        let exact = sent * cap / total as f64;
        let error = (f64::from(*found) - exact).abs();
        assert!(
            error <= bound,
            "{found} for {exact}: off by more than {bound}"
        );
    }
}

/// Sums that no honest clients have sent: decoded within what they can say, or refused.
fn anything(choices: &mut Choices<'_>, codec: &UpdateCodec, session: &Session) {
    let mut builder = Vector::builder(session);
    for segment in session.layout().segments() {
        let most = session.max_input(segment);
        let elements = (0..segment.len()).map(|_| match choices.below(3) {
            0 => most,
            1 => u64::from(choices.byte()) % (most + 1),
            _ => u64::from_le_bytes(choices.array()) % (most.saturating_add(1)),
        });
        let elements: Vec<u64> = elements.collect();
        builder = builder
            .segment(segment.name(), elements)
            .expect("a segment of the session");
    }
    let vector = builder.build().expect("within the largest input");
    let contributors = u32::from_le_bytes(choices.array());
    if let Ok(found) = codec.decode(&vector, contributors)
        && let Some(mean) = found.mean_delta
    {
        assert!(mean.iter().all(|element| element.is_finite()));
    }
}
