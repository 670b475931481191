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
    assert_eq!(config.cohort.min_clients, 3);
    assert_eq!(config.uploads.max_buffered, 4);
    assert_eq!(config.training, DEFAULT_TRAINING);
    assert_eq!(config.server, DEFAULT_SERVER);
}

#[test]
fn the_template_says_the_defaults() {
    let listen = Config::parse("").unwrap().network.listen;
    assert_eq!(
        Config::parse(&template(listen)).unwrap(),
        Config::parse("").unwrap()
    );
}

#[test]
fn every_key_of_the_template_is_explained() {
    let text = template("127.0.0.1:4433".parse().unwrap());
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
        (
            "[training]\nbatch = 99999999999",
            "training.batch",
            "99999999999",
        ),
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
}

#[test]
fn bounds_without_a_threshold_are_refused() {
    let text = "[cohort]\nmin_clients = 4\nmax_clients = 8\ndropout_fraction = 0.7";
    assert!(matches!(
        Config::parse(text),
        Err(ConfigError::Threshold {
            clients: 4,
            error: ParametersError::Infeasible { .. },
            ..
        })
    ));
}

#[test]
fn the_threshold_is_chosen_for_the_actual_roster() {
    let config =
        Config::parse("[cohort]\ncorrupt_fraction = 0.25\ndropout_fraction = 0.3").unwrap();
    assert_eq!(config.cohort.threshold(3), Ok(2));
    assert_eq!(config.cohort.threshold(12), Ok(4)); // A = 3, D = 3: 4 ≤ 8.
    assert_eq!(config.cohort.threshold(100), Ok(26));
    assert_eq!(
        config.cohort.threshold(2),
        Err(ParametersError::Cohort { min: 2, max: 2 })
    );
}
