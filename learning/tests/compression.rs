//! Rotated and sparse updates: what comes out is within the bound of what went in, without bias, and
//! error feedback loses nothing.
#![expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use secagg::{Context, GraphKind, Parameters, Session, ThreatModel, Vector};
use secagg_learning::{
    CodecError, Compression, Counters, LocalOptimizer, Parts, Plan, Residual, Rotated, RoundKind,
    ServerOptimizerConfig, TrainingPlan, UpdateCodec, UpdatePlan, compression::Transform,
    plan::UPDATE_SEGMENT,
};

fn plan(update: UpdatePlan) -> Plan {
    let training = TrainingPlan {
        batch: 16,
        optimizer: LocalOptimizer::Sgd { rate: 1.0 },
        gradient_clip: 1.0,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    };
    let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    Plan::new(RoundKind::Train, update, training, server).expect("the test's plan is valid")
}

fn update(parameters: usize, value_bits: u8, compression: Compression) -> UpdatePlan {
    UpdatePlan {
        parameters: u32::try_from(parameters).expect("a short update"),
        clip_norm: 2.0,
        range: 2.0,
        value_bits,
        weight_cap: 10,
        max_cohort: 24,
        compression,
        parts: Parts::ALL,
    }
}

fn compression(rotation: Option<f32>, fraction: f32, feedback: bool) -> Compression {
    Compression {
        rotation: rotation.map(|range| Rotated { range }),
        fraction,
        feedback,
    }
}

/// A session of the plan in a round, with a nonce of its own.
fn session(plan: &Plan, round: u64) -> Session {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&round.to_le_bytes());
    let parameters = Parameters::new(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        3..=plan.update().max_cohort,
        plan.layout(),
    );
    let context = Context {
        round,
        nonce,
        model_digest: [2; 32],
        plan_digest: [3; 32],
    };
    Session::new(
        parameters.expect("a plan's layout suits its cohort"),
        context,
    )
}

fn weight(examples: u64) -> Counters {
    Counters::from_values([examples, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn norm(vector: &[f64]) -> f64 {
    vector
        .iter()
        .map(|element| element * element)
        .sum::<f64>()
        .sqrt()
}

fn clipped(delta: &[f32], clip_norm: f32) -> Vec<f64> {
    let delta: Vec<f64> = delta.iter().map(|&element| f64::from(element)).collect();
    let clip = f64::from(clip_norm) / norm(&delta).max(f64::from(clip_norm));
    delta.iter().map(|element| element * clip).collect()
}

/// What the server gets of a mean that nobody rounds: rotated, the other coordinates taken away, the
/// rest multiplied by d/k, and rotated back.
fn projected(plan: &Plan, session: &Session, mean: &[f64]) -> Vec<f64> {
    let transform = Transform::new(plan.update(), session);
    let mut rotated: Vec<f32> = mean.iter().map(|&element| element as f32).collect();
    transform.rotate(&mut rotated);
    if let Some(positions) = transform.positions() {
        let share = match plan.update().compression.feedback {
            true => 1.0,
            false => mean.len() as f32 / positions.len() as f32,
        };
        let mut kept = vec![0.0; rotated.len()];
        for &position in positions {
            kept[position as usize] = rotated[position as usize] * share;
        }
        rotated = kept;
    }
    transform.unrotate(&mut rotated);
    rotated.into_iter().map(f64::from).collect()
}

type Client = (Vec<f32>, u64);

fn cohort() -> impl Strategy<Value = (UpdatePlan, Vec<Client>)> {
    (1_usize..300, 1_usize..=24, 2_u8..=24).prop_flat_map(|(len, clients, value_bits)| {
        // Elements of all sizes, and updates that are one large element.
        let element = prop_oneof![9 => -0.1_f32..0.1, 1 => -100.0_f32..100.0];
        let client = (prop::collection::vec(element, len), 0_u64..30);
        let how = (
            any::<bool>(),
            prop::sample::select(vec![1.0_f32, 0.5, 0.25, 0.01]),
            any::<bool>(),
        );
        (prop::collection::vec(client, clients), how).prop_map(
            move |(cohort, (rotated, fraction, feedback))| {
                // So wide that nothing is clamped: a coordinate is at most the clip norm.
                let range = rotated.then_some((len as f32).sqrt() * 1.01);
                let compression = compression(range, fraction, feedback);
                (update(len, value_bits, compression), cohort)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_sum_decodes_to_the_projected_mean_within_the_bound((update, cohort) in cohort()) {
        let plan = plan(update);
        let (codec, session) = (UpdateCodec::new(&plan), session(&plan, 1));
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut sum = Vector::zero(session.layout());
        let mut mean = vec![0.0; plan.update_len()];
        let mut total = 0;
        for (delta, examples) in &cohort {
            let encoded = codec.encode(&session, delta, &weight(*examples), &mut rng).unwrap();
            prop_assert_eq!(
                encoded.segment(UPDATE_SEGMENT).unwrap().len(),
                update.compression.coordinates(update.parameters) as usize
            );
            sum.add(&encoded).unwrap();
            let examples = (*examples).min(u64::from(update.weight_cap));
            for (mean, element) in mean.iter_mut().zip(clipped(delta, update.clip_norm)) {
                *mean += element * examples as f64;
            }
            total += examples;
        }
        mean.iter_mut().for_each(|element| *element /= total.max(1) as f64);
        let contributors = u32::try_from(cohort.len()).unwrap();
        let decoded = codec.decode(&session, &sum, contributors).unwrap();
        let Some(found) = decoded.mean_delta else {
            prop_assert_eq!(total, 0);
            return Ok(());
        };
        let expected = projected(&plan, &session, &mean);
        prop_assert_eq!(found.len(), expected.len());
        let error: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| f64::from(*a) - b).collect();
        // The test's own reference is in f32 too.
        let slack = 1e-5 * norm(&expected) + 1e-12;
        let whole = codec.error_norm_bound(contributors, total);
        prop_assert!(norm(&error) <= whole + slack, "{} > {whole}", norm(&error));
        let bound = codec.error_bound(contributors, total);
        for error in error {
            prop_assert!(error.abs() <= bound + slack, "{error} > {bound}");
        }
    }

    /// What was sent in all rounds and the last residual are together the updates, to within the
    /// rounding of what was sent: where elements are clamped, and where the client has less weight
    /// than the cap.
    #[test]
    fn error_feedback_loses_nothing(
        len in 1_usize..200,
        rotation in prop::option::of(0.01_f32..0.1),
        fraction in 0.01_f32..=1.0,
        rounds in 1_u64..8,
        examples in 1_u64..20,
        seed: u64,
    ) {
        // Nothing is clipped, and much is clamped.
        let plan = plan(UpdatePlan {
            clip_norm: 100.0,
            range: 0.1,
            ..update(len, 24, compression(rotation, fraction, true))
        });
        let codec = UpdateCodec::new(&plan);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut whole = vec![0.0; len];
        let mut sent = vec![0.0; len];
        let mut residual: Option<Residual> = None;
        let mut bound = 0.0;
        for round in 1..=rounds {
            let delta: Vec<f32> = (0..len)
                .map(|index| ((index as u64 * 31 + round * 17 + seed % 13) % 11) as f32 / 10.0 - 0.5)
                .collect();
            let session = session(&plan, round);
            let encoded = codec
                .encode_with_feedback(&session, &delta, residual.as_ref(), &weight(examples), &mut rng)
                .unwrap();
            let mean = codec.decode(&session, &encoded.input, 1).unwrap().mean_delta.unwrap();
            residual = encoded.residual;
            whole.iter_mut().zip(&delta).for_each(|(sum, x)| *sum += f64::from(*x));
            sent.iter_mut().zip(&mean).for_each(|(sum, x)| *sum += f64::from(*x));
            bound += codec.error_norm_bound(1, examples.min(10));
        }
        let rest = residual.unwrap();
        let lost: Vec<f64> = whole
            .iter()
            .zip(&sent)
            .zip(rest.values())
            .map(|((whole, sent), rest)| whole - sent - f64::from(*rest))
            .collect();
        let slack = 1e-5 * norm(&whole) + 1e-6 * rounds as f64 * (len as f64).sqrt();
        prop_assert!(norm(&lost) <= bound + slack, "{} > {bound}", norm(&lost));
    }
}

/// Over sessions, rotations, coordinates and roundings of 2 bits cancel out.
#[test]
fn the_decoded_mean_is_unbiased() {
    let compression = compression(Some(6.0), 0.25, false);
    let plan = plan(update(50, 2, compression));
    let codec = UpdateCodec::new(&plan);
    let delta: Vec<f32> = (0..50).map(|index| (index as f32 - 20.0) / 100.0).collect();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let sessions = 20_000;
    let mut sums = vec![0.0; 50];
    let mut squares = vec![0.0; 50];
    for number in 0..sessions {
        let session = session(&plan, number);
        let encoded = codec
            .encode(&session, &delta, &weight(10), &mut rng)
            .unwrap();
        let decoded = codec.decode(&session, &encoded, 1).unwrap();
        for (index, element) in decoded.mean_delta.unwrap().into_iter().enumerate() {
            sums[index] += f64::from(element);
            squares[index] += f64::from(element).powi(2);
        }
    }
    let count = sessions as f64;
    for (index, delta) in delta.iter().enumerate() {
        let mean = sums[index] / count;
        let deviation = (squares[index] / count - mean * mean).sqrt();
        let off = (mean - f64::from(*delta)).abs();
        assert!(
            off <= 5.0 * deviation / count.sqrt(),
            "{index}: {mean} for {delta}"
        );
    }
}

/// For the same bits a rotation makes the error of an update with a few large elements much smaller,
/// because no range has to hold them.
#[test]
fn a_rotation_makes_the_error_smaller() {
    let mut delta = vec![0.01_f32; 10_000];
    delta[17] = 1.5;
    delta[9_999] = -0.8;
    let error = |value_bits, rotation| {
        let plan = plan(update(
            10_000,
            value_bits,
            compression(rotation, 1.0, false),
        ));
        let (codec, session) = (UpdateCodec::new(&plan), session(&plan, 1));
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let encoded = codec
            .encode(&session, &delta, &weight(10), &mut rng)
            .unwrap();
        let mean = codec
            .decode(&session, &encoded, 1)
            .unwrap()
            .mean_delta
            .unwrap();
        let differences: Vec<f64> = mean
            .iter()
            .zip(&delta)
            .map(|(a, b)| f64::from(a - b))
            .collect();
        norm(&differences)
    };
    for value_bits in [2, 4, 8, 16] {
        let (plain, rotated) = (error(value_bits, None), error(value_bits, Some(6.0)));
        assert!(
            3.0 * rotated < plain,
            "{value_bits} bits: {rotated}, {plain}"
        );
    }
    assert!(error(16, Some(6.0)) < 1e-3);
}

/// The clip bounds what is sent with all of the past in it, and what is kept.
#[test]
fn the_clip_holds_with_a_residual() {
    let plan = plan(update(64, 24, compression(None, 0.5, true)));
    let codec = UpdateCodec::new(&plan);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut residual = None;
    for round in 0..10 {
        let session = session(&plan, round);
        let encoded = codec
            .encode_with_feedback(
                &session,
                &[1.0; 64],
                residual.as_ref(),
                &weight(10),
                &mut rng,
            )
            .unwrap();
        let mean = codec
            .decode(&session, &encoded.input, 1)
            .unwrap()
            .mean_delta
            .unwrap();
        let mean: Vec<f64> = mean.into_iter().map(f64::from).collect();
        assert!(norm(&mean) <= 2.0 + codec.error_norm_bound(1, 10));
        residual = encoded.residual;
        let kept = residual.as_ref().unwrap().values();
        let kept: Vec<f64> = kept.iter().map(|&element| f64::from(element)).collect();
        assert!(norm(&kept) <= 2.0 + 1e-6);
    }
}

#[test]
fn a_client_without_weight_keeps_everything() {
    let plan = plan(update(4, 8, compression(Some(4.0), 0.5, true)));
    let (codec, session) = (UpdateCodec::new(&plan), session(&plan, 1));
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let delta = [0.5, -0.25, 0.125, 0.0];
    let encoded = codec
        .encode_with_feedback(&session, &delta, None, &weight(0), &mut rng)
        .unwrap();
    assert_eq!(
        encoded
            .input
            .segment(UPDATE_SEGMENT)
            .unwrap()
            .collect::<Vec<_>>(),
        [127, 127]
    );
    for (kept, delta) in encoded.residual.unwrap().values().iter().zip(delta) {
        assert!((kept - delta).abs() < 1e-6);
    }
}

#[test]
fn a_residual_of_another_model_is_refused() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let feedback = |len| plan(update(len, 8, compression(None, 0.5, true)));
    let (large, small) = (feedback(9), feedback(4));
    let first = UpdateCodec::new(&large)
        .encode_with_feedback(&session(&large, 1), &[0.1; 9], None, &weight(1), rng)
        .unwrap();
    let refused = UpdateCodec::new(&small).encode_with_feedback(
        &session(&small, 1),
        &[0.1; 4],
        first.residual.as_ref(),
        &weight(1),
        rng,
    );
    assert_eq!(
        refused.unwrap_err(),
        CodecError::Residual {
            found: 9,
            expected: 4
        }
    );
    // Without error feedback there is nothing to add, and nothing to keep.
    let none = plan(update(4, 8, compression(None, 0.5, false)));
    let encoded = UpdateCodec::new(&none)
        .encode_with_feedback(
            &session(&none, 1),
            &[0.1; 4],
            first.residual.as_ref(),
            &weight(1),
            rng,
        )
        .unwrap();
    assert!(encoded.residual.is_none());
}

/// Of a model of which parts are trained, only those are sent, clipped and changed.
#[test]
fn only_the_trained_parts_are_sent() {
    let plan = plan(UpdatePlan {
        parts: Parts::new([1..3, 5..6]).unwrap(),
        ..update(6, 24, Compression::NONE)
    });
    let (codec, session) = (UpdateCodec::new(&plan), session(&plan, 1));
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    // What is not trained would be clipped; (0, 3, 4) has a norm of 5.
    let delta = [100.0, 0.0, 3.0, 100.0, 100.0, 4.0];
    let encoded = codec
        .encode(&session, &delta, &weight(10), &mut rng)
        .unwrap();
    assert_eq!(encoded.segment(UPDATE_SEGMENT).unwrap().len(), 3);
    let mean = codec.decode(&session, &encoded, 1).unwrap().mean_delta;
    let bound = codec.error_bound(1, 10);
    for (found, expected) in mean.unwrap().iter().zip([0.0, 0.0, 1.2, 0.0, 0.0, 1.6]) {
        assert!((f64::from(*found) - expected).abs() <= bound);
    }
}
