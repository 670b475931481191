use super::super::results::Results;
use super::folder::{LAST_FILE, STATE_FILE};
use super::*;
use crate::training::TrainingError;

const TEXT: &str = "
seed = 5
[model]
vocabulary_from = [\"people.jsonl\"]
[model.description]
kind = \"cifg-lstm\"
vocabulary = 40
embedding = 4
units = 6
projection = 4
output_bias = true
seed = 1
[text]
train = [\"people.jsonl\"]
[training]
batch = 4
max_words = 8
[server.fedadam]
rate = 0.05
beta1 = 0.9
beta2 = 0.99
tau = 0.001
[rounds]
rounds = 8
evaluate_every = 3
save_every = 4
[cohort]
clients = 5
dropout = 0.2
";

/// Eight people with ten messages each.
fn data() -> tempfile::TempDir {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for person in 0..8 {
        for place in ["home", "town", "school", "work", "sea"] {
            lines += &format!("{{\"user\":\"p{person}\",\"text\":\"see you at {place}\"}}\n");
            lines += &format!("{{\"user\":\"p{person}\",\"text\":\"{place} number {person}\"}}\n");
        }
    }
    fs::write(folder.path().join("people.jsonl"), lines).unwrap();
    folder
}

fn open(text: &str, folder: &Path, out: &str) -> Result<Simulation, SimulateError> {
    let experiment = Experiment::parse(text)?;
    let places = Places {
        experiment: folder,
        data: folder,
    };
    Simulation::open(experiment, "test", places, &folder.join(out), false)
}

fn run(text: &str, folder: &Path, out: &str) -> Finished {
    let mut simulation = open(text, folder, out).unwrap();
    simulation.run(&mut |_| ControlFlow::Continue(())).unwrap()
}

/// The results without what the clock says.
fn timeless(folder: &Path, out: &str) -> Results {
    let mut results = Results::read(&folder.join(out).join(RESULTS_FILE)).unwrap();
    for line in &mut results.rounds {
        line.seconds = Seconds::default();
    }
    results
}

fn bytes(folder: &Path, out: &str, file: &str) -> Vec<u8> {
    fs::read(folder.join(out).join(file)).unwrap()
}

#[test]
fn with_secure_aggregation_and_without_the_weights_are_the_same_to_the_bit() {
    let folder = data();
    let folder = folder.path();
    let clear = TEXT.to_owned() + "secure_aggregation = false\n";
    run(&clear, folder, "clear");
    let expected = timeless(folder, "clear").rounds;
    assert!(
        expected.iter().any(|line| line.survivors == 4),
        "nobody was lost"
    );
    assert!(expected.iter().any(|line| line.validation.is_some()));
    for model in ["malicious", "honest-but-curious"] {
        let text = format!("{TEXT}threat_model = \"{model}\"\n");
        run(&text, folder, model);
        for file in [BEST_FILE, LAST_FILE] {
            assert!(
                bytes(folder, model, file) == bytes(folder, "clear", file),
                "{model}"
            );
        }
        let mut found = timeless(folder, model).rounds;
        assert!(found[1..].iter().all(|line| line.bytes_up > 0));
        for (line, expected) in found.iter_mut().zip(&expected) {
            // One threat model signs, the other does not.
            (line.bytes_up, line.bytes_down) = (expected.bytes_up, expected.bytes_down);
        }
        assert_eq!(found, expected, "{model}");
    }
    let trained = bytes(folder, "clear", LAST_FILE);
    let simulation = open(&clear, folder, "other").unwrap();
    let initial = simulation
        .clients
        .file(&simulation.state.weights)
        .unwrap()
        .unwrap();
    assert_ne!(trained, initial, "nothing was trained");
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_results() {
    let folder = data();
    let folder = folder.path();
    // Without anything that clients keep, and with error feedback.
    goes_on_to_the_same_results(TEXT, folder, "plain");
    goes_on_to_the_same_results(&smaller(true), folder, "feedback");
}

/// With a quarter of the coordinates of some tensors.
fn smaller(feedback: bool) -> String {
    let update = format!(
        "[update]\nfraction = 0.25\nrotation_range = 6.0\nfeedback = {feedback}\n\
         tensors = [\"output*\", \"embedding\"]\n[rounds]"
    );
    TEXT.replace("[rounds]", &update)
}

fn goes_on_to_the_same_results(text: &str, folder: &Path, name: &str) {
    let folder = &folder.join(name);
    fs::create_dir(folder).unwrap();
    fs::copy(
        folder.with_file_name("people.jsonl"),
        folder.join("people.jsonl"),
    )
    .unwrap();
    let whole = run(text, folder, "whole");
    assert_eq!(whole.reason, StopReason::RoundsDone { rounds: 8 });
    // Round 0, in the middle of a round, after a round that was not saved, after one that was.
    for (clients, rounds) in [(99, 1), (8, 99), (99, 4), (99, 5), (99, 6), (99, 7)] {
        let out = format!("interrupted {clients} {rounds}");
        let mut simulation = open(text, folder, &out).unwrap();
        let (mut clients, mut rounds) = (clients, rounds);
        let stopped = simulation.run(&mut |event| {
            let left = match event {
                Event::Client { .. } => &mut clients,
                Event::Round(_) => &mut rounds,
            };
            *left -= 1;
            match *left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        assert!(
            matches!(stopped, Err(SimulateError::Stopped)),
            "{stopped:?}"
        );
        drop(simulation);
        // As if it was killed while it wrote a line.
        let path = folder.join(&out).join(RESULTS_FILE);
        let torn = fs::read_to_string(&path).unwrap() + "{\"kind\":";
        fs::write(&path, torn).unwrap();
        assert_eq!(run(text, folder, &out), whole, "{out}");
        assert_eq!(timeless(folder, &out), timeless(folder, "whole"), "{out}");
        for file in [BEST_FILE, LAST_FILE, STATE_FILE] {
            assert!(
                bytes(folder, &out, file) == bytes(folder, "whole", file),
                "{out} {file}"
            );
        }
    }
    // What is done is done.
    assert_eq!(run(text, folder, "whole"), whole);
}

#[test]
fn some_tensors_are_trained_and_what_is_not_sent_is_kept() {
    let folder = data();
    let folder = folder.path();
    let tensors = |out: &str, file: &str| {
        let bytes = bytes(folder, out, file);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.data().to_vec()));
        tensors.collect::<BTreeMap<_, _>>()
    };
    let mut simulation = open(&smaller(true), folder, "kept").unwrap();
    let initial = simulation.clients.file(&simulation.state.weights).unwrap();
    fs::write(folder.join("kept").join("initial"), initial.unwrap()).unwrap();
    simulation.run(&mut |_| ControlFlow::Continue(())).unwrap();
    let (before, after) = (tensors("kept", "initial"), tensors("kept", LAST_FILE));
    let mut changed = 0;
    for (name, bytes) in &before {
        let trained = name.starts_with("output") || name == "embedding";
        changed += u32::from(trained);
        assert_eq!(after[name] != *bytes, trained, "{name}");
    }
    assert!(changed >= 2 && changed < u32::try_from(before.len()).unwrap());
    // Who was in a sum has kept three quarters of an update, or what followed from it.
    let residuals = &simulation.state.residuals;
    assert_eq!(
        residuals.len(),
        8,
        "in eight rounds of five everybody had a turn"
    );
    let trained = simulation.plan.update().trained() as usize;
    for residual in residuals.values() {
        assert_eq!(residual.values().len(), trained);
        assert!(residual.values().iter().any(|element| *element != 0.0));
    }
    // It is sent later, which makes other weights.
    run(&smaller(false), folder, "lost");
    assert_ne!(tensors("lost", LAST_FILE), after);
    let sent = |out: &str| timeless(folder, out).rounds[1].bytes_up;
    assert_eq!(sent("lost"), sent("kept"));
    let open = |text: &str| open(text, folder, "wrong").unwrap_err().to_string();
    let message = open(&smaller(true).replace("output*", "outputs*"));
    assert!(
        message.contains("\"outputs*\"") && message.contains("embedding"),
        "{message}"
    );
    let message = open(&SYNTHETIC.replace("[rounds]", "[update]\ntensors = [\"a\"]\n[rounds]"));
    assert!(
        message.contains("update.tensors") && message.contains("[synthetic]"),
        "{message}"
    );
}

#[test]
fn some_rows_are_trained() {
    let folder = data();
    let folder = folder.path();
    let rows = |rows: &str| {
        let tensors = format!("[update]\ntensors = [\"output*\", \"embedding{rows}\"]\n[rounds]");
        TEXT.replace("[rounds]", &tensors)
    };
    let mut simulation = open(&rows("[2..7]"), folder, "rows").unwrap();
    let initial = simulation.state.weights.clone();
    simulation.run(&mut |_| ControlFlow::Continue(())).unwrap();
    let Clients::Text(text) = &simulation.clients else {
        panic!("no text");
    };
    let mut start = 0;
    for shape in text.description.shapes() {
        let row = shape.row();
        for place in 0..shape.elements() / row {
            let at = start + place * row..start + (place + 1) * row;
            let trained = shape.name.starts_with("output")
                || shape.name == "embedding" && (2..7).contains(&place);
            let same = initial[at.clone()] == simulation.state.weights[at];
            assert_eq!(same, !trained, "{}, row {place}", shape.name);
        }
        start += shape.elements();
    }
    let message = open(&rows("[0..9999]"), folder, "wrong")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("update.tensors") && message.contains("embedding[0..9999]"),
        "{message}"
    );
}

#[test]
fn a_changed_experiment_does_not_go_on_in_the_folder_of_the_old() {
    let folder = data();
    let folder = folder.path();
    run(TEXT, folder, "out");
    for (old, new) in [("seed = 5", "seed = 6"), ("rate = 0.05", "rate = 0.06")] {
        let changed = TEXT.replace(old, new);
        match open(&changed, folder, "out") {
            Err(error @ SimulateError::OtherExperiment { .. }) => {
                assert!(error.to_string().contains("--restart"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A longer run is the same experiment.
    let longer = TEXT.replace("rounds = 8", "rounds = 9");
    assert_eq!(open(&longer, folder, "out").unwrap().completed(), 8);
    assert_eq!(run(&longer, folder, "out").rounds, 9);
    // Other data are another.
    let people = folder.join("people.jsonl");
    let more = fs::read_to_string(&people).unwrap() + "{\"user\":\"p1\",\"text\":\"bye\"}\n";
    fs::write(&people, more).unwrap();
    assert!(matches!(
        open(&longer, folder, "out"),
        Err(SimulateError::OtherExperiment { .. })
    ));
    let places = Places {
        experiment: folder,
        data: folder,
    };
    let experiment = Experiment::parse(&longer).unwrap();
    let anew = Simulation::open(experiment, "test", places, &folder.join("out"), true).unwrap();
    assert_eq!(anew.completed(), 0);
}

const SYNTHETIC: &str = "
[synthetic]
clients = 30
parameters = 50
[rounds]
rounds = 12
[cohort]
clients = 10
dropout = 0.3
dropout_fraction = 0.3
";

#[test]
fn rounds_that_lose_too_many_are_abandoned() {
    let folder = data();
    let mut results = Vec::new();
    for secure in [true, false] {
        let text = format!("{SYNTHETIC}secure_aggregation = {secure}\n");
        let out = format!("{secure}");
        run(&text, folder.path(), &out);
        results.push(timeless(folder.path(), &out).rounds);
    }
    assert_eq!(results[0], results[1]);
    let rounds = &results[0][1..];
    assert!(rounds.iter().any(|line| line.abandoned) && rounds.iter().any(|line| !line.abandoned));
    for line in rounds {
        assert_eq!(line.abandoned, line.survivors < 7);
        assert_eq!(
            line.weight,
            if line.abandoned {
                0
            } else {
                100 * u64::from(line.survivors)
            }
        );
        assert_eq!(line.validation, None);
    }
}

#[test]
fn weights_go_down_in_fewer_bits() {
    let folder = data();
    let folder = folder.path();
    // Rows of the embedding with 8 elements are long enough for scales.
    let text = TEXT
        .replace("embedding = 4", "embedding = 8")
        .replace("projection = 4", "projection = 8");
    run(&text, folder, "f32");
    let whole = timeless(folder, "f32");
    let parameters = f64::from(whole.header.parameters);
    for (down, expected) in [("bf16", 2.0..2.001), ("int8", 1.4..1.7)] {
        let text = text.replace("[rounds]", &format!("[rounds]\nweights_down = \"{down}\""));
        goes_on_to_the_same_results(&text, folder, down);
        let out = format!("{down}/whole");
        let found = timeless(folder, &out);
        assert_ne!(found.header.digest, whole.header.digest);
        let (line, of_whole) = (&found.rounds[1], &whole.rounds[1]);
        assert_eq!(line.bytes_up, of_whole.bytes_up);
        let saved = (of_whole.bytes_down - line.bytes_down) as f64;
        let each = 4.0 - saved / parameters;
        assert!(expected.contains(&each), "{down}: {each} bytes a parameter");
        // What was evaluated is a little off, and so is what was trained.
        let loss = |results: &Results, round: usize| {
            let validation = results.rounds[round].validation.unwrap();
            validation.loss.unwrap()
        };
        for round in [0, 3, 6, 8] {
            let (found, whole) = (loss(&found, round), loss(&whole, round));
            assert!(
                found != whole && (found - whole).abs() < 0.2,
                "{found} {whole}"
            );
        }
        assert!(loss(&found, 8) < loss(&found, 0));
        assert_ne!(
            bytes(folder, &out, LAST_FILE),
            bytes(folder, "f32", LAST_FILE)
        );
    }
}

#[test]
fn a_sparse_graph_serves_many_clients() {
    let folder = data();
    let text = "
        [synthetic]
        clients = 150
        parameters = 20
        [rounds]
        rounds = 1
        [cohort]
        clients = 120
        dropout = 0.06
        graph = \"sparse\"
        threat_model = \"honest-but-curious\"
        corrupt_fraction = 0.02
        dropout_fraction = 0.1
    ";
    let header = open(text, folder.path(), "secure")
        .unwrap()
        .header()
        .clone();
    assert!(header.degree < 60, "{header:?}");
    run(text, folder.path(), "secure");
    run(
        &(text.to_owned() + "secure_aggregation = false"),
        folder.path(),
        "clear",
    );
    let secure = timeless(folder.path(), "secure").rounds;
    assert_eq!(secure, timeless(folder.path(), "clear").rounds);
    assert!(secure[1].survivors < 120);
    let load = |out: &str| {
        let bytes = bytes(folder.path(), out, STATE_FILE);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("weights").unwrap().data().to_vec()
    };
    assert!(load("secure") == load("clear"));
}

#[test]
fn training_ends_when_validation_stops_improving() {
    let folder = data();
    // With so large a step every round makes the loss worse.
    let text = TEXT
        .replace("rate = 0.05", "rate = 5.0")
        .replace("evaluate_every = 3", "evaluate_every = 1\npatience = 2");
    let finished = run(&text, folder.path(), "out");
    assert!(
        matches!(finished.reason, StopReason::NoImprovement { .. }),
        "{finished:?}"
    );
    assert!(finished.rounds < 8);
    // It stays ended.
    assert_eq!(run(&text, folder.path(), "out"), finished);
}

#[test]
fn wrong_data_and_settings_are_named() {
    let folder = data();
    let error = |text: &str| open(text, folder.path(), "out").unwrap_err().to_string();
    let message = error(&TEXT.replace("clients = 5", "clients = 9"));
    assert!(
        message.contains("cohort.clients is 9") && message.contains("only 8"),
        "{message}"
    );
    let message = error(&TEXT.replace("vocabulary = 40\n", ""));
    assert!(
        message.contains("model.description.vocabulary"),
        "{message}"
    );
    let message = error(&TEXT.replace("units = 6", "units = 0"));
    assert!(message.contains("units is 0"), "{message}");
    fs::write(
        folder.path().join("few.jsonl"),
        "{\"user\":\"a\",\"text\":\"hi\"}\n",
    )
    .unwrap();
    let message = error(&TEXT.replace("train = [\"people.jsonl\"]", "train = [\"few.jsonl\"]"));
    assert!(message.contains("text.validation"), "{message}");
}

#[test]
fn a_client_that_cannot_train_is_named() {
    let folder = data();
    let text = TEXT.replace("dropout = 0.2", "dropout = 0.0");
    let mut simulation = open(&text, folder.path(), "out").unwrap();
    let stopped = simulation.run(&mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(SimulateError::Stopped)));
    simulation.received[7] = f32::NAN;
    let failed = simulation.run(&mut |_| ControlFlow::Continue(()));
    match failed {
        Err(SimulateError::Training {
            round: 1,
            client,
            error: TrainingError::Weights(_),
        }) => {
            assert!(client < 8);
        }
        other => panic!("{other:?}"),
    }
}

/// Runs that are interrupted at any round end with the same zeros, which are nowhere but in the weights.
#[test]
fn weights_are_pruned_on_a_schedule() {
    let folder = data();
    let folder = folder.path();
    let pruning = "{ sparsity = 0.5, begin = 1, end = 5, every = 2 }";
    let text = TEXT.replace("[rounds]", &format!("[rounds]\npruning = {pruning}"));
    goes_on_to_the_same_results(&text, folder, "pruned");
    let out = "pruned/whole";
    let results = timeless(folder, out);
    let shares: Vec<f64> = results
        .rounds
        .iter()
        .map(|line| line.sparsity.unwrap())
        .collect();
    // 0.5·(1 − (1 − 2/4)³) from round 3 on.
    let expected = [0.0, 0.0, 0.0, 0.4375, 0.4375, 0.5, 0.5, 0.5, 0.5];
    assert_eq!(shares.len(), expected.len());
    for (found, expected) in shares.iter().zip(expected) {
        // Small matrices have no half of a weight.
        assert!((found - expected).abs() < 0.02, "{shares:?}");
    }
    let file = bytes(folder, out, LAST_FILE);
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    for (name, view) in file.iter() {
        let (elements, _) = view.data().as_chunks::<4>();
        let zeros = elements
            .iter()
            .filter(|bytes| f32::from_le_bytes(**bytes) == 0.0);
        let zeros = zeros.count();
        match view.shape().len() {
            1 => assert_eq!(zeros, 0, "{name}"),
            _ => assert_eq!(zeros, elements.len().div_ceil(2), "{name}"),
        }
    }
    // From round 4 on, what goes down has 7 of 16 zeros less, but for bitmaps and vectors.
    let [first, later] = [1, 8].map(|round| results.rounds[round].bytes_down);
    assert!(
        later < first - u64::from(results.header.parameters),
        "{first} {later}"
    );
    run(TEXT, folder, "plain");
    let none = timeless(folder, "plain");
    assert_eq!(none.rounds[1].bytes_down, first);
    assert!(none.rounds.iter().all(|line| line.sparsity.is_none()));
    assert_ne!(none.header.digest, results.header.digest);
    let synthetic = SYNTHETIC.replace("[rounds]", &format!("[rounds]\npruning = {pruning}"));
    let error = open(&synthetic, folder, "wrong").unwrap_err();
    assert!(matches!(error, SimulateError::NoMatrices), "{error}");
}

#[test]
fn the_newest_weights_are_kept_and_no_older_ones() {
    let folder = data();
    let folder = folder.path();
    let text = TEXT.replace("[rounds]", "[rounds]\nkeep_last = 3");
    run(&text, folder, "kept");
    let names = |out: &str| {
        let entries = fs::read_dir(folder.join(out)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("round-")).collect();
        names.sort();
        names
    };
    let kept = [6, 7, 8].map(|round| format!("round-000{round}.safetensors"));
    assert_eq!(names("kept"), kept);
    assert_eq!(
        bytes(folder, "kept", &kept[2]),
        bytes(folder, "kept", LAST_FILE)
    );
    // How many are kept changes no result, and may be changed when a run is made longer.
    run(TEXT, folder, "none");
    assert_eq!(timeless(folder, "kept"), timeless(folder, "none"));
    let longer = text
        .replace("keep_last = 3", "keep_last = 1")
        .replace("rounds = 8", "rounds = 9");
    run(&longer, folder, "kept");
    assert_eq!(names("kept"), ["round-0009.safetensors"]);
    // A run that begins anew leaves nothing of before.
    let experiment = Experiment::parse(TEXT).unwrap();
    let places = Places {
        experiment: folder,
        data: folder,
    };
    Simulation::open(experiment, "test", places, &folder.join("kept"), true).unwrap();
    assert_eq!(names("kept"), Vec::<String>::new());
}
