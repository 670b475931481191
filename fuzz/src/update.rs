//! The codec of updates, with arbitrary plans, updates and counters.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{Context, GraphKind, Parameters, Session, ThreatModel, Vector};
use secagg_learning::{
    Budget, CodecError, Compression, Counter, Counters, LocalOptimizer, Parts, Plan, Residual,
    Rotated, RoundKind, ServerOptimizerConfig, TrainingPlan, UpdateCodec, UpdatePlan,
    compression::Transform,
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
    let transform = Transform::new(plan.update(), &session);
    let sent = session
        .layout()
        .segment(UPDATE_SEGMENT)
        .map_or(0, |segment| segment.len() as usize);
    let mut expected = vec![0.0; sent];
    let mut residual: Option<Residual> = None;
    let mut counted = [0_u64; Counter::ALL.len()];
    let clients = 1 + choices.below(8.min(plan.update().max_cohort as usize));
    let mut contributors = 0;
    for _ in 0..clients {
        let delta: Vec<f32> = (0..plan.update_len())
            .map(|_| element(&mut choices))
            .collect();
        let counters = Counters::from_values(std::array::from_fn(|_| counter(&mut choices)));
        let whole = with_residual(&trained(&plan, &delta), residual.as_ref());
        let kept = residual.as_ref();
        match codec.encode_with_feedback(&session, &delta, kept, &counters, &mut rng) {
            Ok(encoded) => {
                let vector = encoded.input;
                in_range(&plan, &vector);
                let (sent, own) = meant(&plan, &transform, &whole, &counters);
                let sums = expected.iter_mut().zip(sent);
                sums.for_each(|(sum, element)| *sum += element);
                counted
                    .iter_mut()
                    .zip(own)
                    .for_each(|(sum, value)| *sum += value);
                sum.add(&vector).expect("one layout, and room for them");
                contributors += 1;
                residual = encoded.residual;
                let feedback = plan.update().compression.feedback;
                assert_eq!(
                    residual.is_some(),
                    feedback && plan.kind() == RoundKind::Train
                );
                if let Some(residual) = &residual {
                    // Shorter than the clip norm, but for the floats.
                    let longest = f64::from(plan.update().clip_norm) * 1.001 + 1e-30;
                    assert!(norm(residual.values().iter().copied().map(f64::from)) <= longest);
                }
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
    decoded(&plan, &session, &sum, contributors, &expected, &counted);
    anything(&mut choices, &codec, &session);
}

/// A plan that is valid and its session, if these choices make one.
fn agreed(choices: &mut Choices<'_>) -> Option<(Plan, Session)> {
    let kind = *choices.one_of(&[RoundKind::Train, RoundKind::EvaluateOnly]);
    let (clip_norm, range) = (size(choices), size(choices));
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
        compression: match choices.below(2) {
            0 => Compression::NONE,
            _ => Compression {
                rotation: match choices.below(2) {
                    0 => None,
                    _ => Some(Rotated {
                        range: size(choices),
                    }),
                },
                fraction: f32::from(choices.byte()) / 255.0,
                feedback: choices.below(2) == 1,
            },
        },
        parts: match choices.below(2) {
            0 => Parts::ALL,
            _ => Parts::new((0..3).map(|_| {
                let start = u32::from(choices.byte()) % 45;
                start..start + u32::from(choices.byte()) % 20
            }))
            .expect("few stretches"),
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

fn size(choices: &mut Choices<'_>) -> f32 {
    match choices.below(4) {
        0 => 1.0,
        1 => *choices.one_of(&[1e-9_f32, 1e9, 0.1, 2.0]),
        2 => f32::from(choices.byte()) / 16.0,
        _ => f32::from_bits(u32::from_le_bytes(choices.array())),
    }
}

fn norm(elements: impl Iterator<Item = f64>) -> f64 {
    elements.map(|element| element.powi(2)).sum::<f64>().sqrt()
}

/// The elements that the plan trains; none where clients only evaluate.
fn trained(plan: &Plan, flat: &[f32]) -> Vec<f32> {
    if plan.kind() == RoundKind::EvaluateOnly {
        return Vec::new();
    }
    let parts = plan.update().parts.stretches(flat.len());
    parts.flat_map(|part| flat[part].to_vec()).collect()
}

fn with_residual(delta: &[f32], residual: Option<&Residual>) -> Vec<f32> {
    let mut whole = delta.to_vec();
    if let Some(residual) = residual {
        let sums = whole.iter_mut().zip(residual.values());
        sums.for_each(|(element, rest)| *element += rest);
    }
    whole
}

/// What one client sends, before rounding, by the definition: clipped, rotated, the session's
/// coordinates of it, weighted, clamped.
fn meant(
    plan: &Plan,
    transform: &Transform,
    whole: &[f32],
    counters: &Counters,
) -> (Vec<f64>, Vec<u64>) {
    let update = plan.update();
    let clip_norm = f64::from(update.clip_norm);
    let clip = clip_norm / norm(whole.iter().copied().map(f64::from)).max(clip_norm);
    let capped = Counter::ALL
        .into_iter()
        .map(|counter| counters.value(counter).min(counter.maximum(plan)));
    let capped: Vec<u64> = capped.collect();
    if plan.kind() == RoundKind::EvaluateOnly {
        return (Vec::new(), capped);
    }
    let clipped = whole
        .iter()
        .map(|element| (f64::from(*element) * clip) as f32);
    let mut rotated: Vec<f32> = clipped.collect();
    transform.rotate(&mut rotated);
    let weight = counters
        .value(Counter::Weight)
        .min(update.weight_cap.into());
    let share = weight as f64 / f64::from(update.weight_cap);
    let range = plan.value_range();
    let weighted = |element: f32| (f64::from(element) * share).clamp(-range, range);
    let sent = match transform.positions() {
        None => rotated.into_iter().map(weighted).collect(),
        Some(positions) => positions
            .iter()
            .map(|&position| weighted(rotated[position as usize]))
            .collect(),
    };
    (sent, capped)
}

fn decoded(
    plan: &Plan,
    session: &Session,
    sum: &Vector,
    contributors: u32,
    expected: &[f64],
    counted: &[u64; Counter::ALL.len()],
) {
    let codec = UpdateCodec::new(plan);
    if contributors == 0 {
        assert!(codec.decode(session, sum, 0).is_err(), "a sum of nobody");
        return;
    }
    let found = codec
        .decode(session, sum, contributors)
        .expect("a sum of valid updates");
    assert_eq!(found.counters.values(), counted);
    let total = found.counters.value(Counter::Weight);
    let Some(whole) = found.mean_delta else {
        assert!(total == 0 || plan.kind() == RoundKind::EvaluateOnly);
        return;
    };
    assert_eq!(whole.len(), plan.update_len());
    let mut mean = trained(plan, &whole);
    let moved = |vector: &[f32]| vector.iter().filter(|element| **element != 0.0).count();
    assert_eq!(moved(&mean), moved(&whole), "others do not change");
    // Rotated again, only the coordinates that were sent are not zero.
    let transform = Transform::new(plan.update(), session);
    transform.rotate(&mut mean);
    let expansion = match plan.update().compression.feedback {
        true => 1.0,
        false => mean.len() as f64 / expected.len() as f64,
    };
    let cap = f64::from(plan.update().weight_cap);
    let mut exact = vec![0.0; mean.len()];
    for (index, sent) in expected.iter().enumerate() {
        let position = transform
            .positions()
            .map_or(index, |positions| positions[index] as usize);
        exact[position] = sent * cap / total as f64 * expansion;
    }
    let errors = mean.iter().zip(&exact).map(|(a, b)| f64::from(*a) - b);
    let bound = codec.error_norm_bound(contributors, total);
    // To rotate the mean again, and what is meant, adds errors of its own.
    let slack = match plan.update().compression.rotation {
        None => 1e-6,
        Some(_) => 1e-4,
    };
    let slack = slack * (norm(exact.iter().copied()) + bound);
    assert!(
        norm(errors) <= bound + slack,
        "off by more than {bound} and {slack}"
    );
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
    if let Ok(found) = codec.decode(session, &vector, contributors)
        && let Some(mean) = found.mean_delta
    {
        assert!(mean.iter().all(|element| element.is_finite()));
    }
}
