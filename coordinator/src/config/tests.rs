use secagg_learning::{Budget, LocalOptimizer, Precision, Rotated, Schedule};

use super::*;

fn out_of_range(text: &str) -> (&'static str, String) {
    match Config::parse(text) {
        Err(ConfigError::OutOfRange { key, value, .. }) => (key, value),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_empty_file_is_the_default() {
    let config = Config::parse("").unwrap();
    assert_eq!(config.cohort.min_clients, 5);
    assert_eq!(config.cohort.threat_model, ThreatModel::Malicious);
    assert_eq!(config.uploads.max_buffered, 4);
    assert_eq!(config.training, DEFAULT_TRAINING);
    assert_eq!(config.server, DEFAULT_SERVER);
}

#[test]
fn weights_that_nodes_hold_have_all_their_bits() {
    let text = |down: &str, pairs: u32| {
        format!("[rounds]\nweights_down = \"{down}\"\n[evolution]\npairs = {pairs}")
    };
    for down in ["bf16", "int8"] {
        match Config::parse(&text(down, 64)) {
            Err(error @ ConfigError::RoundedEvolution { pairs: 64 }) => {
                let error = error.to_string();
                assert!(
                    error.contains("set rounds.weights_down to \"f32\""),
                    "{error}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(Config::parse(&text(down, 0)).is_ok());
    }
    let config = Config::parse(&text("f32", 64)).unwrap();
    assert_eq!(config.keep_steps, 63);
}

#[test]
fn weights_that_nodes_hold_are_not_pruned() {
    let text = |sparsity: &str, pairs: u32| {
        format!(
            "[rounds]\npruning = {{ sparsity = {sparsity}, begin = 1, end = 9, every = 1 }}\n\
             [evolution]\npairs = {pairs}"
        )
    };
    let error = Config::parse(&text("0.5", 64)).unwrap_err();
    assert!(
        matches!(error, ConfigError::PrunedEvolution { pairs: 64, sparsity } if sparsity == 0.5),
        "{error}"
    );
    assert!(Config::parse(&text("0.5", 0)).is_ok());
    assert!(Config::parse(&text("0.0", 64)).is_ok());
}

#[test]
fn the_template_says_the_defaults() {
    let listen = Config::parse("").unwrap().network.listen;
    assert_eq!(
        Config::parse(&template(listen, None)).unwrap(),
        Config::parse("").unwrap()
    );
}

#[test]
fn every_key_of_the_template_is_explained() {
    let text = template("127.0.0.1:4433".parse().unwrap(), None);
    let mut explained = false;
    for line in text.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.contains(" = ") {
            assert!(explained, "no comment above {line:?}");
            explained = false;
        } else if line.starts_with('[') {
            explained = line.starts_with("[server");
        }
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (text, key, value) in [
        ("[cohort]\nmin_clients = 2", "cohort.min_clients", "2"),
        ("[evolution]\nkeep_steps = 64", "evolution.keep_steps", "64"),
        ("[cohort]\nmin_clients = -1", "cohort.min_clients", "-1"),
        (
            "[cohort]\nmin_clients = 9\nmax_clients = 8",
            "cohort.max_clients",
            "8",
        ),
        (
            "[cohort]\ndropout_fraction = 1.0",
            "cohort.dropout_fraction",
            "1",
        ),
        (
            "[cohort]\ncorrupt_fraction = nan",
            "cohort.corrupt_fraction",
            "NaN",
        ),
        (
            "[uploads]\nmax_buffered_uploads = 0",
            "uploads.max_buffered_uploads",
            "0",
        ),
        (
            "[deadlines.unmask]\nmin_seconds = 5\nmax_seconds = 4",
            "deadlines.unmask.max_seconds",
            "4",
        ),
        (
            "[deadlines.share_keys]\nmin_fraction = 1.5",
            "deadlines.share_keys.min_fraction",
            "1.5",
        ),
        ("[network]\nidle_seconds = 0", "network.idle_seconds", "0"),
        ("[network]\nlisten = \"here\"", "network.listen", "\"here\""),
        ("[rounds]\nrounds = 0", "rounds.rounds", "0"),
        ("[weights]\nkeep_last = 0", "weights.keep_last", "0"),
        ("[update]\nfraction = 0.0", "update.fraction", "0"),
        ("[update]\nfraction = nan", "update.fraction", "NaN"),
        (
            "[update]\nrotation_range = -1.0",
            "update.rotation_range",
            "-1",
        ),
        (
            "[training]\nbatch = 99999999999",
            "training.batch",
            "99999999999",
        ),
        ("[training]\nepochs = 0", "training.epochs", "0"),
        ("[training]\nsteps = 1000001", "training.steps", "1000001"),
        ("[training]\nseconds = -1", "training.seconds", "-1"),
        ("[training]\naccumulate = 0", "training.accumulate", "0"),
    ] {
        assert_eq!(out_of_range(text), (key, value.to_owned()), "{text}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = Config::parse("[cohort]\nmin_client = 3").unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, ConfigError::Toml(_)));
    assert!(
        shown.contains("min_client") && shown.contains("min_clients"),
        "{shown}"
    );
}

#[test]
fn a_plan_value_is_refused_by_name() {
    assert!(matches!(
        Config::parse("[update]\nvalue_bits = 25"),
        Err(ConfigError::Plan(PlanError::Integer {
            name: "update.value_bits",
            value: 25,
            ..
        }))
    ));
    assert!(matches!(
        Config::parse("[training]\noptimizer = { sgd = { rate = 0.0 } }"),
        Err(ConfigError::Plan(PlanError::Float { name, .. })) if name.ends_with("rate")
    ));
    for (setting, problem) in [
        ("proximal = -0.1", "training.proximal is -0.1"),
        ("proximal = nan", "training.proximal is NaN"),
        ("weight_decay = 1.0", "training.weight_decay is 1"),
        ("dropout = 1.0", "training.dropout is 1"),
        ("dropout = -0.5", "training.dropout is -0.5"),
        (
            "optimizer = { momentum = { rate = 1.0, beta = 1.0 } }",
            "training.optimizer.momentum.beta is 1",
        ),
        (
            "schedule = { cosine = { steps = 0, floor = 0.0 } }",
            "training.schedule.cosine.steps is 0",
        ),
        (
            "schedule = { step = { every = 1, factor = 2.0 } }",
            "training.schedule.step.factor is 2",
        ),
    ] {
        let error = Config::parse(&format!("[training]\n{setting}")).unwrap_err();
        assert!(matches!(error, ConfigError::Plan(_)), "{error:?}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn how_a_node_trains_is_read_whole() {
    let text = "[training]\nsteps = 40\naccumulate = 4\nweight_decay = 0.5\nproximal = 0.25\n\
                dropout = 0.375\nmax_examples = 300\nprecision = \"bf16\"\n\
                optimizer = { momentum = { rate = 0.25, beta = 0.5 } }\n\
                schedule = { noam = { warm_up = 3 } }";
    let expected = TrainingPlan {
        budget: Budget::Steps(40),
        accumulate: 4,
        optimizer: LocalOptimizer::Momentum {
            rate: 0.25,
            beta: 0.5,
        },
        schedule: Schedule::Noam { warm_up: 3 },
        weight_decay: 0.5,
        proximal: 0.25,
        dropout: 0.375,
        max_examples: 300,
        precision: Precision::Bf16,
        ..DEFAULT_TRAINING
    };
    let config = Config::parse(text).unwrap();
    assert_eq!(config.training, expected);
    let plan = config.plan_of(RoundKind::Train, 9, Parts::ALL).unwrap();
    assert_eq!(*plan.training(), expected);
    let config = Config::parse("[training]\nseconds = 7").unwrap();
    assert_eq!(config.training.budget, Budget::Seconds(7));
}

#[test]
fn training_has_one_length() {
    match Config::parse("[training]\nepochs = 1\nseconds = 9") {
        Err(ConfigError::TrainingLengths { given }) => {
            assert_eq!(given, "training.epochs and training.seconds");
        }
        other => panic!("{other:?}"),
    }
}

/// What makes updates smaller and the server's schedule stand in the plan, and so in its digest.
#[test]
fn compression_and_schedule_reach_the_plan() {
    let text = "[update]\nrotation_range = 4.0\nfraction = 0.25\nfeedback = true\n\
                [rounds]\nserver_schedule = { cosine = { steps = 20, floor = 0.1 } }\n\
                [server.fedadagrad]\nrate = 0.1\nbeta1 = 0.0\ntau = 0.001\n";
    let plan = Config::parse(text)
        .unwrap()
        .plan_of(RoundKind::Train, 1_000, Parts::ALL)
        .unwrap();
    assert_eq!(
        plan.update().compression,
        Compression {
            rotation: Some(Rotated { range: 4.0 }),
            fraction: 0.25,
            feedback: true
        }
    );
    let cosine = Schedule::Cosine {
        steps: 20,
        floor: 0.1,
    };
    assert_eq!(plan.server_schedule(), &cosine);
    assert!(matches!(
        plan.server(),
        ServerOptimizerConfig::FedAdagrad { rate: 0.1, .. }
    ));
    assert!(matches!(
        Config::parse("[rounds]\nserver_schedule = { noam = { warm_up = 0 } }"),
        Err(ConfigError::Plan(PlanError::Integer {
            name: "server_schedule.noam.warm_up",
            value: 0,
            ..
        }))
    ));
}

#[test]
fn pruning_is_read_and_its_values_are_named() {
    let rounds = |pruning: &str| {
        let text = format!("[rounds]\npruning = {{ {pruning} }}");
        Config::parse(&text).map(|config| config.rounds.pruning)
    };
    let expected = Pruning {
        sparsity: 0.8,
        begin: 10,
        end: 100,
        every: 5,
    };
    let found = rounds("sparsity = 0.8, begin = 10, end = 100, every = 5");
    assert_eq!(found.unwrap(), Some(expected));
    let none = rounds("sparsity = 0.0, begin = 10, end = 9, every = 5");
    assert_eq!(none.unwrap(), None);
    for (pruning, problem) in [
        (
            "sparsity = 1.0, begin = 1, end = 9, every = 1",
            "rounds.pruning.sparsity is 1",
        ),
        (
            "sparsity = 0.5, begin = 9, end = 9, every = 1",
            "rounds.pruning.end is 9",
        ),
        ("sparsity = 0.5, begin = 1, end = 9", "every"),
    ] {
        let error = rounds(pruning).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn bounds_without_a_threshold_are_refused() {
    let text = "[cohort]\nmin_clients = 4\nmax_clients = 8\ndropout_fraction = 0.7";
    assert!(matches!(
        Config::parse(text),
        Err(ConfigError::Threshold {
            clients: 4,
            error: ChooserError::Infeasible { .. },
            ..
        })
    ));
}

#[test]
fn the_threshold_is_chosen_for_the_actual_roster() {
    let chosen = |model: &str, n: u32| {
        let text = format!(
            "[cohort]\nthreat_model = \"{model}\"\ncorrupt_fraction = 0.25\ndropout_fraction = 0.2"
        );
        let choice = Config::parse(&text).unwrap().cohort.choose(n);
        choice.map(|choice| (choice.degree(), choice.threshold()))
    };
    // At least one corrupt node; max(A + 1, 2), or the upper half of n + A.
    for (model, n, threshold) in [
        ("honest-but-curious", 5, 2),
        ("honest-but-curious", 12, 4),
        ("honest-but-curious", 100, 26),
        ("malicious", 5, 3),
        ("malicious", 12, 8),
        ("malicious", 100, 63),
    ] {
        assert_eq!(chosen(model, n), Ok((n - 1, threshold)), "{model}, {n}");
    }
    assert!(matches!(
        chosen("malicious", 2),
        Err(ChooserError::Cohort { cohort: 2, .. })
    ));
}

#[test]
fn a_sparse_graph_has_few_neighbours() {
    let text = "[cohort]\ngraph = \"sparse\"\nthreat_model = \"honest-but-curious\"\n\
                max_clients = 1000\nmin_clients = 1000\ncorrupt_fraction = 0.05\n\
                dropout_fraction = 0.05";
    let choice = Config::parse(text).unwrap().cohort.choose(1_000).unwrap();
    assert_eq!((choice.degree(), choice.threshold()), (30, 17));
}

#[test]
fn the_malicious_model_needs_an_authority_that_is_one() {
    let (key, value) = out_of_range("[federation]\nauthority = \"ABC\"");
    assert_eq!((key, value.as_str()), ("federation.authority", "\"ABC\""));
}
