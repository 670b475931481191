//! Plans: bounds, the proof that no sum overflows, and serialisation.

use proptest::prelude::*;
use secagg_learning::{
    Budget, Compression, Counter, LocalOptimizer, Parts, Plan, PlanError, Rotated, RoundKind,
    Schedule, ServerOptimizerConfig, TrainingPlan, UpdatePlan,
    plan::{COUNTERS_SEGMENT, UPDATE_SEGMENT},
};

const UPDATE: UpdatePlan = UpdatePlan {
    parameters: 1_412_250,
    clip_norm: 4.0,
    range: 0.25,
    value_bits: 16,
    weight_cap: 500,
    max_cohort: 12,
    compression: Compression {
        rotation: None,
        fraction: 1.0,
        feedback: false,
    },
    parts: Parts::ALL,
};

const TRAINING: TrainingPlan = TrainingPlan {
    budget: Budget::Epochs(1),
    batch: 16,
    optimizer: LocalOptimizer::Adam { rate: 0.002 },
    gradient_clip: 5.0,
    max_words: 29,
    ..TrainingPlan::DEFAULT
};

const SERVER: ServerOptimizerConfig = ServerOptimizerConfig::FedAdam {
    rate: 0.01,
    beta1: 0.9,
    beta2: 0.99,
    tau: 0.001,
};

fn plan(update: UpdatePlan) -> Result<Plan, PlanError> {
    Plan::new(RoundKind::Train, update, TRAINING, SERVER)
}

fn counter_bits(plan: &Plan) -> u8 {
    let layout = plan.layout();
    let segment = layout.segment(COUNTERS_SEGMENT);
    segment.expect("every layout has counters").bits()
}

#[test]
fn the_ring_has_the_fewest_bits_that_hold_the_sum() {
    // 12·(2·32,767 + 1) = 786,420 ≤ 2^20 = 1,048,576, and more than 2^19.
    let train = plan(UPDATE).unwrap();
    assert_eq!(train.value_max(), 32_767);
    assert_eq!(train.modulus_bits(), 20);
    // 16·(2·32,767 + 1) = 1,048,560 just fits into 2^20; with 17 clients it does not.
    for (max_cohort, bits) in [(16, 20), (17, 21)] {
        let update = UpdatePlan {
            max_cohort,
            ..UPDATE
        };
        assert_eq!(plan(update).unwrap().modulus_bits(), bits);
    }
    // The widest counter has 2^48 values: 12 < 2^4 clients.
    assert_eq!(counter_bits(&train), 52);
}

#[test]
fn the_layout_is_the_update_then_the_counters() {
    let train = plan(UPDATE).unwrap();
    let layout = train.layout();
    let shape: Vec<_> = layout
        .segments()
        .iter()
        .map(|segment| (segment.name(), segment.len(), segment.bits()))
        .collect();
    assert_eq!(
        shape,
        [(UPDATE_SEGMENT, 1_412_250, 20), (COUNTERS_SEGMENT, 10, 52)]
    );
    assert_eq!(train.update_len(), 1_412_250);
    let evaluate = train.with_kind(RoundKind::EvaluateOnly).unwrap();
    let layout = evaluate.layout();
    assert_eq!(layout.segments().len(), 1);
    assert_eq!(layout.segments()[0].name(), COUNTERS_SEGMENT);
    assert_eq!(evaluate.update_len(), 0);
}

#[test]
fn a_cohort_whose_counters_could_overflow_is_refused() {
    // 65,536·2^48 = 2^64: one client more is too many.
    let update = UpdatePlan {
        max_cohort: 65_536,
        ..UPDATE
    };
    assert_eq!(counter_bits(&plan(update).unwrap()), 64);
    let update = UpdatePlan {
        max_cohort: 65_537,
        ..UPDATE
    };
    assert_eq!(
        plan(update),
        Err(PlanError::Overflow {
            name: "train_loss",
            span: 1 << 48,
            max_cohort: 65_537,
            bits: 64
        })
    );
}

#[test]
fn the_longest_and_widest_update_has_a_layout() {
    let update = UpdatePlan {
        parameters: u32::MAX,
        value_bits: 24,
        max_cohort: 65_536,
        ..UPDATE
    };
    // 65,536·(2^24 − 1) ≤ 2^40.
    let layout = plan(update).unwrap().layout();
    let segment = layout.segment(UPDATE_SEGMENT).unwrap();
    assert_eq!((segment.len(), segment.bits()), (u32::MAX, 40));
}

#[test]
fn whole_numbers_have_bounds() {
    let integer = |name, value, minimum, maximum| PlanError::Integer {
        name,
        value,
        minimum,
        maximum,
    };
    for (update, error) in [
        (
            UpdatePlan {
                parameters: 0,
                ..UPDATE
            },
            integer("update.parameters", 0, 1, u32::MAX),
        ),
        (
            UpdatePlan {
                value_bits: 1,
                ..UPDATE
            },
            integer("update.value_bits", 1, 2, 24),
        ),
        (
            UpdatePlan {
                value_bits: 25,
                ..UPDATE
            },
            integer("update.value_bits", 25, 2, 24),
        ),
        (
            UpdatePlan {
                weight_cap: 0,
                ..UPDATE
            },
            integer("update.weight_cap", 0, 1, u32::MAX),
        ),
        (
            UpdatePlan {
                max_cohort: 2,
                ..UPDATE
            },
            integer("update.max_cohort", 2, 3, u32::MAX),
        ),
    ] {
        assert_eq!(plan(update), Err(error));
    }
    for (training, error) in [
        (
            TrainingPlan {
                budget: Budget::Epochs(1_001),
                ..TRAINING
            },
            integer("training.epochs", 1_001, 1, 1_000),
        ),
        (
            TrainingPlan {
                batch: 0,
                ..TRAINING
            },
            integer("training.batch", 0, 1, 65_536),
        ),
        (
            TrainingPlan {
                max_words: 5_000,
                ..TRAINING
            },
            integer("training.max_words", 5_000, 1, 4_096),
        ),
        (
            TrainingPlan {
                budget: Budget::Steps(1_000_001),
                ..TRAINING
            },
            integer("training.steps", 1_000_001, 1, 1_000_000),
        ),
        (
            TrainingPlan {
                budget: Budget::Seconds(0),
                ..TRAINING
            },
            integer("training.seconds", 0, 1, 86_400),
        ),
        (
            TrainingPlan {
                accumulate: 1_025,
                ..TRAINING
            },
            integer("training.accumulate", 1_025, 1, 1_024),
        ),
        (
            TrainingPlan {
                schedule: Schedule::Noam { warm_up: 0 },
                ..TRAINING
            },
            integer("training.schedule.noam.warm_up", 0, 1, u32::MAX),
        ),
    ] {
        let refused = Plan::new(RoundKind::Train, UPDATE, training, SERVER);
        assert_eq!(refused, Err(error));
    }
}

#[test]
fn floats_are_numbers_within_bounds() {
    for value in [
        0.0,
        -0.0,
        -1.0,
        1e-10,
        1e10,
        f32::INFINITY,
        f32::from_bits(1),
    ] {
        let error = |name| PlanError::Float {
            name,
            value,
            minimum: 1e-9,
            maximum: 1e9,
        };
        let update = UpdatePlan {
            range: value,
            ..UPDATE
        };
        assert_eq!(plan(update), Err(error("update.range")));
        let update = UpdatePlan {
            clip_norm: value,
            ..UPDATE
        };
        assert_eq!(plan(update), Err(error("update.clip_norm")));
        for (optimizer, name) in [
            (
                LocalOptimizer::Sgd { rate: value },
                "training.optimizer.sgd.rate",
            ),
            (
                LocalOptimizer::Adam { rate: value },
                "training.optimizer.adam.rate",
            ),
            (
                LocalOptimizer::Momentum {
                    rate: value,
                    beta: 0.9,
                },
                "training.optimizer.momentum.rate",
            ),
        ] {
            let training = TrainingPlan {
                optimizer,
                ..TRAINING
            };
            let refused = Plan::new(RoundKind::Train, UPDATE, training, SERVER);
            assert_eq!(refused, Err(error(name)));
        }
        let yogi = ServerOptimizerConfig::FedYogi {
            rate: 1.0,
            beta1: 0.0,
            beta2: 0.0,
            tau: value,
        };
        let refused = Plan::new(RoundKind::Train, UPDATE, TRAINING, yogi);
        assert_eq!(refused, Err(error("server.fedyogi.tau")));
    }
    let update = UpdatePlan {
        range: f32::NAN,
        ..UPDATE
    };
    assert!(matches!(
        plan(update),
        Err(PlanError::Float { name: "update.range", value, .. }) if value.is_nan()
    ));
    for momentum in [-0.0, -0.1, 1.0, f32::INFINITY] {
        let server = ServerOptimizerConfig::FedAvgM {
            rate: 1.0,
            momentum,
        };
        let refused = Plan::new(RoundKind::Train, UPDATE, TRAINING, server);
        assert_eq!(
            refused,
            Err(PlanError::Decay {
                name: "server.fedavgm.momentum",
                value: momentum
            })
        );
        let optimizer = LocalOptimizer::Momentum {
            rate: 1.0,
            beta: momentum,
        };
        for (training, name) in [
            (
                TrainingPlan {
                    optimizer,
                    ..TRAINING
                },
                "training.optimizer.momentum.beta",
            ),
            (
                TrainingPlan {
                    weight_decay: momentum,
                    ..TRAINING
                },
                "training.weight_decay",
            ),
            (
                TrainingPlan {
                    dropout: momentum,
                    ..TRAINING
                },
                "training.dropout",
            ),
        ] {
            let refused = Plan::new(RoundKind::Train, UPDATE, training, SERVER);
            let value = momentum;
            assert_eq!(refused, Err(PlanError::Decay { name, value }));
        }
    }
    for value in [-0.0, -1.0, 2e9, f32::INFINITY] {
        let training = TrainingPlan {
            proximal: value,
            ..TRAINING
        };
        let refused = Plan::new(RoundKind::Train, UPDATE, training, SERVER);
        let error = PlanError::Float {
            name: "training.proximal",
            value,
            minimum: 0.0,
            maximum: 1e9,
        };
        assert_eq!(refused, Err(error));
    }
}

/// The bytes that go on the wire and into the session's context.
#[test]
fn the_encoding_is_fixed() {
    let plan = plan(UPDATE).unwrap();
    let bytes = postcard::to_allocvec(&plan).unwrap();
    let expected: &[u8] = &[
        0, // train
        0x9a, 0x99, 0x56, // 1,412,250 parameters, in groups of seven bits
        0x00, 0x00, 0x80, 0x40, // clip_norm 4
        0x00, 0x00, 0x80, 0x3e, // range 0.25
        16, 0xf4, 0x03, 12, // value_bits, weight_cap 500, max_cohort
        0, 0x00, 0x00, 0x80, 0x3f, 0, // no rotation, fraction 1, no feedback
        0, // all parts
        0, 1, 16, 1, // epochs, one; batch, accumulate
        1, 0x6f, 0x12, 0x03, 0x3b, // adam, 0.002
        0,    // constant
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // no weight decay, no proximal term
        0x00, 0x00, 0x00, 0x00, // no dropout
        0x00, 0x00, 0xa0, 0x40, // gradient_clip 5
        0, 29, // all examples; max_words
        0,  // f32
        2,  // fedadam
        0x0a, 0xd7, 0x23, 0x3c, 0x66, 0x66, 0x66, 0x3f, // 0.01, 0.9
        0xa4, 0x70, 0x7d, 0x3f, 0x6f, 0x12, 0x83, 0x3a, // 0.99, 0.001
        0,    // server_schedule: constant
        0,    // no evolution
    ];
    assert_eq!(bytes, expected);
    assert_eq!(postcard::from_bytes(&bytes), Ok(plan));
}

#[test]
fn a_share_of_the_coordinates_makes_the_segment_shorter() {
    let share = |parameters, fraction| {
        let compression = Compression {
            rotation: Some(Rotated { range: 4.0 }),
            fraction,
            feedback: true,
        };
        let update = UpdatePlan {
            parameters,
            compression,
            ..UPDATE
        };
        let plan = plan(update).unwrap();
        assert_eq!(plan.update_len(), parameters as usize);
        // The range of the rotation, in units of clip_norm/√parameters.
        let range = 4.0 * 4.0 / f64::from(parameters).sqrt();
        assert_eq!(plan.value_range(), range);
        plan.layout().segment(UPDATE_SEGMENT).unwrap().len()
    };
    assert_eq!(share(1_000_000, 1.0), 1_000_000);
    assert_eq!(share(1_000_000, 0.25), 250_000);
    assert_eq!(share(1_000_001, 0.25), 250_001);
    assert_eq!(share(1, 0.25), 1);
    assert_eq!(share(u32::MAX, 1e-6), 4_295);
}

#[test]
fn compression_and_schedule_have_bounds_and_are_part_of_the_plan() {
    let update = |rotation, fraction| UpdatePlan {
        compression: Compression {
            rotation,
            fraction,
            feedback: false,
        },
        ..UPDATE
    };
    for value in [0.0, -0.5, 1.5, f32::INFINITY] {
        assert_eq!(
            plan(update(None, value)),
            Err(PlanError::Float {
                name: "update.compression.fraction",
                value,
                minimum: 1e-6,
                maximum: 1.0
            })
        );
    }
    for value in [0.0, 70_000.0] {
        assert_eq!(
            plan(update(Some(Rotated { range: value }), 1.0)),
            Err(PlanError::Float {
                name: "update.compression.rotation.range",
                value,
                minimum: 0.01,
                maximum: 65_536.0
            })
        );
    }
    let cosine = |steps| Schedule::Cosine { steps, floor: 0.1 };
    assert_eq!(
        plan(UPDATE).unwrap().with_server_schedule(cosine(0)),
        Err(PlanError::Integer {
            name: "server_schedule.cosine.steps",
            value: 0,
            minimum: 1,
            maximum: u32::MAX
        })
    );
    let plan = plan(update(Some(Rotated { range: 4.0 }), 0.5)).unwrap();
    let scheduled = plan.clone().with_server_schedule(cosine(9)).unwrap();
    let bytes = |plan: &Plan| postcard::to_allocvec(plan).unwrap();
    assert_ne!(bytes(&plan), bytes(&scheduled));
    assert_eq!(
        postcard::from_bytes(&bytes(&scheduled)),
        Ok(scheduled.clone())
    );
    // A round of evaluation has the same schedule.
    let evaluate = scheduled.with_kind(RoundKind::EvaluateOnly).unwrap();
    assert_eq!(evaluate.server_schedule(), &cosine(9));
    let text = toml::to_string(&scheduled).unwrap();
    assert_eq!(toml::from_str(&text), Ok(scheduled));
}

#[test]
fn what_is_read_is_checked() {
    let mut bytes = postcard::to_allocvec(&plan(UPDATE).unwrap()).unwrap();
    bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes()); // the range
    assert_eq!(
        postcard::from_bytes::<Plan>(&bytes),
        Err(postcard::Error::SerdeDeCustom)
    );
    let text = toml::to_string(&plan(UPDATE).unwrap()).unwrap();
    assert_eq!(
        toml::from_str(&text),
        plan(UPDATE).map_err(|_| unreachable!())
    );
    for (from, to, complaint) in [
        (
            "value_bits = 16",
            "value_bits = 30",
            "update.value_bits is 30",
        ),
        ("range = 0.25", "range = inf", "update.range is inf"),
        (
            "batch = 16",
            "batch = 16\nepoch = 2",
            "unknown field `epoch`",
        ),
        ("train", "rest", "unknown variant `rest`"),
    ] {
        assert!(text.contains(from), "{text}");
        let error = toml::from_str::<Plan>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
}

#[test]
fn a_plan_reads_well_as_toml() {
    let text = r#"
        kind = "evaluate-only"

        [update]
        parameters = 1_412_250
        clip_norm = 4.0
        range = 0.25
        value_bits = 16
        weight_cap = 500
        max_cohort = 12

        [training]
        budget.epochs = 1
        batch = 16
        optimizer.adam.rate = 0.002
        gradient_clip = 5.0
        max_words = 29

        [server.fedadam]
        rate = 0.01
        beta1 = 0.9
        beta2 = 0.99
        tau = 0.001
    "#;
    let expected = Plan::new(RoundKind::EvaluateOnly, UPDATE, TRAINING, SERVER).unwrap();
    assert_eq!(toml::from_str(text), Ok(expected));
}

proptest! {
    #[test]
    fn no_sum_under_a_plan_can_overflow(
        value_bits in 2_u8..=24,
        max_cohort in 3_u32..=65_536,
        weight_cap in 1_u32..,
    ) {
        let update = UpdatePlan { value_bits, max_cohort, weight_cap, ..UPDATE };
        let plan = plan(update).unwrap();
        let largest = u128::from(max_cohort) * 2 * u128::from(plan.value_max());
        prop_assert!(largest < 1 << plan.modulus_bits());
        let span = u128::from(max_cohort) * (2 * u128::from(plan.value_max()) + 1);
        prop_assert!(span <= 1 << plan.modulus_bits());
        prop_assert!(span > 1 << (plan.modulus_bits() - 1));
        for counter in Counter::ALL {
            let largest = u128::from(max_cohort) * u128::from(counter.maximum(&plan));
            prop_assert!(largest < 1 << counter_bits(&plan));
        }
    }
}
