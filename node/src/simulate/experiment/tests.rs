use secagg_learning::{
    Budget, Compression, Evolution, LocalOptimizer, Precision, Rotated, Schedule,
    ServerOptimizerConfig, TrainingPlan, UpdatePlan,
};

use super::*;

const SMALL: &str = "[synthetic]\nclients = 9\nparameters = 100\n";

fn message(text: &str) -> String {
    match Experiment::parse(text) {
        Ok(experiment) => panic!("{text}: {experiment:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_left_out_has_the_coordinators_default() {
    let experiment = Experiment::parse(SMALL).unwrap();
    let plan = experiment.plan(100, Parts::ALL).unwrap();
    assert_eq!(*plan.update(), UpdatePlan::default_for(100, 10));
    assert_eq!(*plan.training(), TrainingPlan::DEFAULT);
    assert_eq!(*plan.server(), ServerOptimizerConfig::DEFAULT);
    assert!(experiment.cohort.secure_aggregation);
    assert_eq!(experiment.cohort.threat_model, ThreatModel::Malicious);
}

#[test]
fn the_plans_tables_are_those_of_a_coordinator() {
    let text = SMALL.to_owned()
        + "[update]\nvalue_bits = 8\n[training]\nepochs = 2\noptimizer = { sgd = { rate = 0.5 } }\n\
           [server.fedavgm]\nrate = 0.5\nmomentum = 0.9\n";
    let plan = Experiment::parse(&text)
        .unwrap()
        .plan(100, Parts::ALL)
        .unwrap();
    assert_eq!(plan.update().value_bits, 8);
    assert_eq!(
        plan.update().clip_norm,
        UpdatePlan::default_for(1, 3).clip_norm
    );
    assert_eq!(plan.training().budget, Budget::Epochs(2));
    assert_eq!(plan.training().optimizer, LocalOptimizer::Sgd { rate: 0.5 });
    assert_eq!(
        *plan.server(),
        ServerOptimizerConfig::FedAvgM {
            rate: 0.5,
            momentum: 0.9
        }
    );
}

#[test]
fn splits_are_read() {
    let split = |split: &str| {
        let text = format!("[model]\nfolder = \"m\"\n[text]\ntrain = [\"t\"]\n{split}");
        let Source::Text(text) = Experiment::parse(&text).unwrap().source else {
            panic!("{split}: no text");
        };
        text.split
    };
    assert_eq!(split(""), Split::Person);
    assert_eq!(split("split = \"person\""), Split::Person);
    let (clients, alpha) = (1000, 0.1);
    assert_eq!(
        split("split = { mixture = { clients = 1000, alpha = 0.1 } }"),
        Split::Mixture { clients, alpha }
    );
    assert_eq!(
        split("[text.split.sizes]\nclients = 1000\nalpha = 0.1"),
        Split::Sizes { clients, alpha }
    );
}

#[test]
fn values_out_of_range_are_named() {
    for (text, key, value) in [
        ("seed = -1", "seed", "-1"),
        ("[rounds]\nrounds = 0", "rounds.rounds", "0"),
        ("[rounds]\nevaluate_every = 0", "rounds.evaluate_every", "0"),
        ("[rounds]\nmin_delta = nan", "rounds.min_delta", "NaN"),
        ("[cohort]\nclients = 2", "cohort.clients", "2"),
        ("[cohort]\ndropout = 1.5", "cohort.dropout", "1.5"),
        (
            "[cohort]\ncorrupt_fraction = -0.1",
            "cohort.corrupt_fraction",
            "-0.1",
        ),
    ] {
        let found = Experiment::parse(&format!("{text}\n{SMALL}"));
        match found {
            Err(ExperimentError::OutOfRange {
                key: found,
                value: written,
                ..
            }) => assert_eq!((found, written.as_str()), (key, value)),
            other => panic!("{text}: {other:?}"),
        }
    }
    let many = "[synthetic]\nclients = 0\nparameters = 1\n";
    assert!(message(many).contains("synthetic.clients is 0"));
    let alpha = "[model]\nfolder = \"m\"\n[text]\ntrain = [\"t\"]\n\
                 split = { sizes = { clients = 3, alpha = 0.0 } }";
    assert!(message(alpha).contains("text.split.sizes.alpha is 0"));
    let train = "[model]\nfolder = \"m\"\n[text]\ntrain = []\n";
    assert!(message(train).contains("text.train is []"));
}

#[test]
fn values_of_the_plan_are_named() {
    for (text, parts) in [
        (
            "[update]\nvalue_bits = 25",
            ["update.value_bits is 25", "2 to 24"],
        ),
        (
            "[update]\nparameters = 5",
            ["update.parameters is 5", "leave it out"],
        ),
        ("[update]\nbits = 5", ["[update]", "bits"]),
        (
            "[training]\nepochs = 0",
            ["training.epochs is 0", "1 to 1000"],
        ),
        ("[training]\nepochs = -3", ["[training]", "-3"]),
        ("[training]\nepoch = 1", ["[training]", "epoch"]),
        (
            "[server.fedavg]\nrate = 0.0",
            ["server.fedavg.rate is 0", "number from"],
        ),
        ("[server.sgd]\nrate = 0.0", ["[server]", "sgd"]),
    ] {
        let message = message(&format!("{SMALL}{text}\n"));
        assert!(
            parts.iter().all(|part| message.contains(part)),
            "{text}: {message}"
        );
    }
}

#[test]
fn text_and_synthetic_updates_exclude_each_other() {
    for text in [
        String::new(),
        "[text]\ntrain = [\"t\"]\n".to_owned(),
        "[model]\nfolder = \"m\"\n".to_owned(),
        format!("{SMALL}[text]\ntrain = [\"t\"]\n"),
    ] {
        assert!(message(&text).contains("[synthetic]"), "{text}");
    }
    for model in [
        "",
        "folder = \"m\"\nvocabulary_from = [\"v\"]\n",
        "vocabulary_from = [\"v\"]\n",
    ] {
        let text = format!("[model]\n{model}[text]\ntrain = [\"t\"]\n");
        assert!(message(&text).contains("vocabulary_from"), "{text}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let found = message(&format!("{SMALL}[cohort]\nclient = 3\n"));
    assert!(
        found.contains("client") && found.contains("clients"),
        "{found}"
    );
    let found = message(&format!("{SMALL}[deadlines]\n"));
    assert!(found.contains("deadlines"), "{found}");
}

#[test]
fn bounds_without_a_threshold_are_refused() {
    let text = format!("{SMALL}[cohort]\nclients = 4\ndropout_fraction = 0.7\n");
    assert!(matches!(
        Experiment::parse(&text),
        Err(ExperimentError::Threshold { clients: 4, .. })
    ));
}

#[test]
fn the_keys_of_a_coordinators_configuration_make_the_plan() {
    let text = "[synthetic]\nclients = 9\nparameters = 100\n\
                [rounds]\nserver_schedule = { noam = { warm_up = 3 } }\n\
                [update]\nrotation_range = 4.0\nfraction = 0.25\nvalue_bits = 4\nfeedback = true\n\
                [training]\nsteps = 9\nproximal = 0.5\nprecision = \"bf16\"";
    let plan = Experiment::parse(text)
        .unwrap()
        .plan(100, Parts::ALL)
        .unwrap();
    let compression = Compression {
        rotation: Some(Rotated { range: 4.0 }),
        fraction: 0.25,
        feedback: true,
    };
    assert_eq!(plan.update().compression, compression);
    assert_eq!(plan.training().budget, Budget::Steps(9));
    assert_eq!(plan.training().precision, Precision::Bf16);
    assert_eq!(plan.server_schedule(), &Schedule::Noam { warm_up: 3 });
    let text = "[synthetic]\nclients = 9\nparameters = 100\n\
                [update]\nrotation_range = 0.0\nfraction = 1.0\nfeedback = false\n\
                [evolution]\npairs = 5\nsigma = 0.5";
    let experiment = Experiment::parse(text).unwrap();
    assert_eq!(experiment.keep_steps(), Ok(63));
    let kept = Experiment::parse(&format!("{text}\nkeep_steps = 2")).unwrap();
    assert_eq!(kept.keep_steps(), Ok(2));
    let plan = kept.plan(100, Parts::ALL).unwrap();
    assert_eq!(plan, experiment.plan(100, Parts::ALL).unwrap());
    let evolution = Evolution {
        pairs: 5,
        sigma: 0.5,
    };
    assert_eq!(plan.evolution(), Some(&evolution));
    assert_eq!(plan.update_len(), 5);
    for (tables, problem) in [
        (
            "[update]\ntensors = [\"a\", 3]",
            "update.tensors is [\"a\", 3]",
        ),
        ("[update]\ntensors = \"a\"", "update.tensors is \"a\""),
        ("[update]\nparts = [0, 1]", "update.parts is [0, 1]"),
        (
            "[update]\nrotation_range = -1.0",
            "update.compression.rotation.range is -1",
        ),
        (
            "[training]\nepochs = 1\nsteps = 2",
            "training.epochs and training.steps exclude each other",
        ),
        (
            "[evolution]\npairs = 0\nsigma = 0.1",
            "evolution.pairs is 0",
        ),
        ("[evolution]\npairs = 1", "[evolution]"),
        (
            "[evolution]\npairs = 1\nsigma = 0.1\nkeep_steps = 64",
            "evolution.keep_steps is 64",
        ),
        (
            "[rounds]\nweights_down = \"int8\"\n[evolution]\npairs = 1\nsigma = 0.1",
            "leave out rounds.weights_down",
        ),
        (
            "[rounds]\npruning = { sparsity = 0.5, begin = 1, end = 9, every = 1 }\n\
             [evolution]\npairs = 1\nsigma = 0.1",
            "leave out rounds.pruning",
        ),
    ] {
        let text = format!("[synthetic]\nclients = 9\nparameters = 100\n{tables}");
        let error = Experiment::parse(&text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
