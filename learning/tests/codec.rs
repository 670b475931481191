//! The codec against plain arithmetic: sums of encoded updates decode to the weighted mean.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use secagg::{Context, GraphKind, InputError, Parameters, Session, ThreatModel, Vector};
use secagg_learning::{
    Budget, CodecError, Compression, Counter, Counters, DecodedSum, LocalOptimizer, Parts, Plan,
    RoundKind, ServerOptimizerConfig, TrainingPlan, UpdateCodec, UpdatePlan,
    plan::{COUNTERS_SEGMENT, UPDATE_SEGMENT},
};

const UPDATE: UpdatePlan = UpdatePlan {
    parameters: 4,
    clip_norm: 2.0,
    range: 1.0,
    value_bits: 16,
    weight_cap: 10,
    max_cohort: 5,
    compression: Compression::NONE,
    parts: Parts::ALL,
};

fn plan(kind: RoundKind, update: UpdatePlan) -> Plan {
    let training = TrainingPlan {
        budget: Budget::Epochs(1),
        batch: 16,
        optimizer: LocalOptimizer::Sgd { rate: 1.0 },
        gradient_clip: 1.0,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    };
    let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    Plan::new(kind, update, training, server).expect("the test's plan is valid")
}

fn session(plan: &Plan, max_cohort: u32) -> Session {
    let parameters = Parameters::new(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        3..=max_cohort,
        plan.layout(),
    );
    let context = Context {
        round: 1,
        nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
    };
    Session::new(
        parameters.expect("a plan's layout suits its cohort"),
        context,
    )
}

/// A codec, its session, and randomness.
struct Setting {
    codec: UpdateCodec,
    session: Session,
    rng: ChaCha20Rng,
}

impl Setting {
    fn new(kind: RoundKind, update: UpdatePlan) -> Self {
        let plan = plan(kind, update);
        Self {
            codec: UpdateCodec::new(&plan),
            session: session(&plan, update.max_cohort),
            rng: ChaCha20Rng::seed_from_u64(7),
        }
    }

    fn encode(&mut self, delta: &[f32], counters: &Counters) -> Result<Vector, CodecError> {
        self.codec
            .encode(&self.session, delta, counters, &mut self.rng)
    }

    fn decode(&self, sum: &Vector, contributors: u32) -> Result<DecodedSum, CodecError> {
        self.codec.decode(&self.session, sum, contributors)
    }
}

fn weight(examples: u64) -> Counters {
    Counters::from_values([examples, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// What one client sends before rounding, by the definition: clipped, weighted, clamped.
fn weighted(delta: &[f32], examples: u64, plan: &UpdatePlan) -> Vec<f64> {
    let norm = delta
        .iter()
        .map(|&element| f64::from(element).powi(2))
        .sum::<f64>()
        .sqrt();
    let clip = f64::from(plan.clip_norm) / norm.max(f64::from(plan.clip_norm));
    let cap = u64::from(plan.weight_cap);
    let share = examples.min(cap) as f64 / cap as f64;
    let range = f64::from(plan.range);
    delta
        .iter()
        .map(|&element| (f64::from(element) * clip * share).clamp(-range, range))
        .collect()
}

/// A client's update, examples and other counters.
type Client = (Vec<f32>, u64, [u32; 6]);

fn client(len: usize) -> impl Strategy<Value = Client> {
    // Updates of all sizes, from far inside the range to far outside the clip.
    let delta = prop::collection::vec(-1.0_f32..1.0, len);
    let scale = prop::sample::select(vec![0.0_f32, 1e-30, 1e-3, 0.3, 1.0, 100.0, 3e38]);
    (delta, scale, 0_u64..30, any::<[u32; 6]>()).prop_map(|(mut delta, scale, examples, rest)| {
        delta.iter_mut().for_each(|element| *element *= scale);
        (delta, examples, rest)
    })
}

fn cohort() -> impl Strategy<Value = (UpdatePlan, Vec<Client>)> {
    (1_usize..40, 1_usize..=24, 2_u8..=24, 1_u32..=20).prop_flat_map(
        |(len, clients, value_bits, weight_cap)| {
            let cohort = prop::collection::vec(client(len), clients);
            let bounds =
                prop::sample::select(vec![(2.0, 2.0), (2.0, 0.1), (1e-9, 1e9), (1e9, 1e-9)]);
            (bounds, cohort, 0_u32..3).prop_map(move |((clip_norm, range), cohort, spare)| {
                let clients = u32::try_from(cohort.len()).expect("at most 24 clients");
                let update = UpdatePlan {
                    parameters: u32::try_from(len).expect("at most 39 elements"),
                    clip_norm,
                    range,
                    value_bits,
                    weight_cap,
                    max_cohort: (clients + spare).max(3),
                    compression: Compression::NONE,
                    parts: Parts::ALL,
                };
                (update, cohort)
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_sum_decodes_to_the_weighted_mean_within_the_bound((update, cohort) in cohort()) {
        let mut setting = Setting::new(RoundKind::Train, update);
        let mut sum = Vector::zero(setting.session.layout());
        let mut expected = vec![0.0; update.parameters as usize];
        let mut counters = [0_u64; Counter::ALL.len()];
        for (delta, examples, rest) in &cohort {
            let mut own = [*examples; Counter::ALL.len()];
            own[1..].iter_mut().zip(rest).for_each(|(to, from)| *to = u64::from(*from));
            let vector = setting.encode(delta, &Counters::from_values(own)).unwrap();
            sum.add(&vector).unwrap();
            let sent = weighted(delta, *examples, &update);
            expected.iter_mut().zip(sent).for_each(|(to, from)| *to += from);
            own[0] = own[0].min(u64::from(update.weight_cap));
            counters.iter_mut().zip(own).for_each(|(to, from)| *to += from);
        }
        let contributors = u32::try_from(cohort.len()).unwrap();
        let decoded = setting.decode(&sum, contributors).unwrap();
        prop_assert_eq!(decoded.counters.values(), &counters);
        let total = counters[0];
        if total == 0 {
            prop_assert_eq!(decoded.mean_delta, None);
        } else {
            let mean = decoded.mean_delta.unwrap();
            prop_assert_eq!(mean.len(), expected.len());
            let bound = setting.codec.error_bound(contributors, total);
            let cap = f64::from(update.weight_cap);
            for (found, sent) in mean.iter().zip(expected) {
                let exact = sent * cap / total as f64;
                let error = (f64::from(*found) - exact).abs();
                prop_assert!(error <= bound, "{found} for {exact}: off by more than {bound}");
            }
        }
    }

    #[test]
    fn any_bit_pattern_is_encoded_or_named(bits in prop::collection::vec(any::<u32>(), 4)) {
        let delta: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let mut setting = Setting::new(RoundKind::Train, UPDATE);
        let encoded = setting.encode(&delta, &weight(10));
        let expected = delta.iter().position(|element| !element.is_finite());
        match encoded {
            Ok(vector) => {
                prop_assert_eq!(expected, None);
                let largest = vector.segment(UPDATE_SEGMENT).unwrap().max();
                prop_assert!(largest <= Some(2 * 32_767));
            }
            Err(CodecError::NotFinite { index, .. }) => prop_assert_eq!(expected, Some(index)),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

/// Without clamping the bound is against the plain weighted mean of the clipped updates.
#[test]
fn a_range_of_the_clip_norm_never_clamps() {
    let update = UpdatePlan {
        range: 2.0,
        ..UPDATE
    };
    let mut setting = Setting::new(RoundKind::Train, update);
    let mut sum = Vector::zero(setting.session.layout());
    // Norms 10 (clipped to 2), 1 and 0.5; weights 10 (of 40 examples), 5 and 1.
    for (delta, examples) in [
        ([6.0, 8.0, 0.0, 0.0], 40),
        ([0.0, 0.0, 1.0, 0.0], 5),
        ([0.0, 0.0, 0.0, -0.5], 1),
    ] {
        sum.add(&setting.encode(&delta, &weight(examples)).unwrap())
            .unwrap();
    }
    let decoded = setting.decode(&sum, 3).unwrap();
    assert_eq!(decoded.counters, weight(16));
    let mean = decoded.mean_delta.unwrap();
    // (1.2, 1.6)·10/16, 1·5/16, −0.5·1/16
    for (found, expected) in mean.iter().zip([0.75, 1.0, 0.3125, -0.03125]) {
        assert!((f64::from(*found) - expected).abs() <= setting.codec.error_bound(3, 16));
    }
}

#[test]
fn the_bound_is_one_step_when_all_are_at_the_cap() {
    let codec = UpdateCodec::new(&plan(RoundKind::Train, UPDATE));
    let step = 1.0 / 32_767.0;
    let bound = codec.error_bound(5, 50);
    assert!((step..step * 1.01).contains(&bound));
    assert_eq!(codec.error_bound(5, 0), f64::INFINITY);
}

/// The largest cohort, everybody at the very edge: the sums are exact, nothing wraps around.
#[test]
fn the_largest_cohort_at_the_extremes_does_not_overflow() {
    for max_cohort in [3, 4, 100, 1_000, 65_536] {
        for value_bits in [2, 8, 16, 24] {
            let update = UpdatePlan {
                max_cohort,
                value_bits,
                clip_norm: 1e9,
                weight_cap: u32::MAX,
                ..UPDATE
            };
            let mut setting = Setting::new(RoundKind::Train, update);
            let extreme = Counters::from_values([
                u64::MAX,
                u64::MAX,
                u64::from(u32::MAX),
                u64::MAX,
                u64::from(u32::MAX),
                u64::from(u32::MAX),
                u64::from(u32::MAX),
                u64::MAX,
                u64::from(u32::MAX),
                u64::from(u32::MAX),
            ]);
            let client = setting.encode(&[1.0, -1.0, 1e8, -1e8], &extreme).unwrap();
            let mut sum = Vector::zero(setting.session.layout());
            for _ in 0..max_cohort {
                sum.add(&client).unwrap();
            }
            let decoded = setting.decode(&sum, max_cohort).unwrap();
            assert_eq!(decoded.mean_delta, Some(vec![1.0, -1.0, 1.0, -1.0]));
            let plan = plan(RoundKind::Train, update);
            for counter in Counter::ALL {
                assert_eq!(
                    decoded.counters.value(counter),
                    counter.maximum(&plan) * u64::from(max_cohort)
                );
            }
        }
    }
}

#[test]
fn zeros_of_either_sign_and_subnormals_decode_to_zero() {
    let mut setting = Setting::new(RoundKind::Train, UPDATE);
    let delta = [0.0, -0.0, f32::from_bits(1), -f32::MIN_POSITIVE];
    let vector = setting.encode(&delta, &weight(10)).unwrap();
    let decoded = setting.decode(&vector, 1).unwrap();
    assert_eq!(decoded.mean_delta, Some(vec![0.0; 4]));
}

#[test]
fn rounding_is_unbiased_over_clients() {
    // One element that is 0.3 of a step, 2,000 clients: the mean of what they send is 0.3 of a
    // step within five standard deviations, √(0.3·0.7/2000) of a step each.
    let update = UpdatePlan {
        value_bits: 8,
        max_cohort: 2_000,
        ..UPDATE
    };
    let mut setting = Setting::new(RoundKind::Train, update);
    let mut sum = Vector::zero(setting.session.layout());
    let step = 1.0 / 127.0;
    let delta = [0.3 * step, -0.3 * step, 50.3 * step, -50.3 * step];
    for _ in 0..2_000 {
        sum.add(&setting.encode(&delta, &weight(10)).unwrap())
            .unwrap();
    }
    let mean = setting.decode(&sum, 2_000).unwrap().mean_delta.unwrap();
    let tolerance = 5.0 * step * (0.3_f32 * 0.7 / 2_000.0).sqrt();
    for (found, expected) in mean.iter().zip(delta) {
        assert!(
            (found - expected).abs() < tolerance,
            "{found} for {expected}"
        );
    }
}

#[test]
fn the_same_randomness_gives_the_same_vector() {
    let delta = [0.1, 0.2, 0.3, 0.4];
    let [one, two] = [0, 1].map(|_| {
        let mut setting = Setting::new(RoundKind::Train, UPDATE);
        setting.encode(&delta, &weight(3)).unwrap()
    });
    assert_eq!(one, two);
}

#[test]
fn an_evaluation_carries_counters_only() {
    let mut setting = Setting::new(RoundKind::EvaluateOnly, UPDATE);
    let mut counters = Counters::new();
    counters.record_validation(12.5, 3, 5, 8).unwrap();
    let vector = setting.encode(&[], &counters).unwrap();
    assert!(vector.segment(UPDATE_SEGMENT).is_none());
    let decoded = setting.decode(&vector, 1).unwrap();
    assert_eq!(decoded.mean_delta, None);
    assert_eq!(decoded.counters, counters);
    assert_eq!(
        setting.encode(&[0.0; 4], &counters),
        Err(CodecError::Length {
            found: 4,
            expected: 0
        })
    );
}

#[test]
fn an_update_that_does_not_fit_the_plan_is_refused() {
    let mut setting = Setting::new(RoundKind::Train, UPDATE);
    assert_eq!(
        setting.encode(&[0.0; 3], &weight(1)),
        Err(CodecError::Length {
            found: 3,
            expected: 4
        })
    );
    assert_eq!(
        setting.encode(&[0.0, 0.0, f32::INFINITY, 0.0], &weight(1)),
        Err(CodecError::NotFinite {
            index: 2,
            value: f32::INFINITY
        })
    );
    for (index, counter) in Counter::ALL.into_iter().enumerate() {
        let mut values = [0; Counter::ALL.len()];
        values[index] = (1 << 32) + 1;
        let encoded = setting.encode(&[0.0; 4], &Counters::from_values(values));
        match counter {
            // The weight is clipped to the cap; a loss may be larger than that.
            Counter::Weight
            | Counter::TrainLoss
            | Counter::ValidationLoss
            | Counter::PersonalLoss => {
                let counters: Vec<_> = encoded
                    .unwrap()
                    .segment(COUNTERS_SEGMENT)
                    .unwrap()
                    .collect();
                let sent = if counter == Counter::Weight {
                    10
                } else {
                    (1 << 32) + 1
                };
                assert_eq!(counters[index], sent);
            }
            _ => assert_eq!(
                encoded,
                Err(CodecError::Counter {
                    counter,
                    value: (1 << 32) + 1,
                    maximum: u64::from(u32::MAX)
                })
            ),
        }
    }
}

#[test]
fn a_session_of_another_plan_is_refused() {
    let mut setting = Setting::new(RoundKind::Train, UPDATE);
    let evaluate = Setting::new(RoundKind::EvaluateOnly, UPDATE);
    setting.session = evaluate.session.clone();
    assert_eq!(
        setting.encode(&[0.0; 4], &weight(1)),
        Err(CodecError::Layout)
    );
    let foreign = Vector::zero(evaluate.session.layout());
    assert_eq!(setting.decode(&foreign, 3), Err(CodecError::Layout));
    let own = Setting::new(RoundKind::Train, UPDATE);
    assert_eq!(own.decode(&foreign, 3), Err(CodecError::Layout));
    // The layout of 10 clients is that of 16, but the plan has room for 10 only.
    let update = UpdatePlan {
        max_cohort: 10,
        ..UPDATE
    };
    let narrow = plan(RoundKind::Train, update);
    setting.codec = UpdateCodec::new(&narrow);
    setting.session = session(&narrow, 16);
    assert_eq!(
        setting.encode(&[0.0; 4], &weight(1)),
        Err(CodecError::Cohort {
            session: 16,
            plan: 10
        })
    );
}

#[test]
fn a_sum_that_the_contributors_cannot_have_sent_is_refused() {
    let setting = Setting::new(RoundKind::Train, UPDATE);
    let vector =
        |update: [u64; 4], counters: [u64; Counter::ALL.len()]| -> Result<Vector, InputError> {
            Vector::builder(&setting.session)
                .segment(UPDATE_SEGMENT, update)?
                .segment(COUNTERS_SEGMENT, counters)?
                .build()
        };
    let edge = vector([0, 65_534, 65_534, 0], [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let mean = setting.decode(&edge, 1).unwrap().mean_delta;
    assert_eq!(mean, Some(vec![-1.0, 1.0, 1.0, -1.0]));
    let above = vector([0, 65_534, 65_535, 0], [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(
        setting.decode(&above, 1),
        Err(CodecError::ElementSum {
            index: 2,
            value: 65_535,
            bound: 65_534
        })
    );
    let heavy = vector([0; 4], [11, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(
        setting.decode(&heavy, 1),
        Err(CodecError::CounterSum {
            counter: Counter::Weight,
            value: 11,
            bound: 10
        })
    );
    for contributors in [0, 6] {
        assert_eq!(
            setting.decode(&edge, contributors),
            Err(CodecError::Contributors {
                contributors,
                max_cohort: 5
            })
        );
    }
}
