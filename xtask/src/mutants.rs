//! `cargo xtask mutants`: which changes to `secagg` its tests do not notice.
//!
//! cargo-mutants lists the changes. To compile the crate again for each of them would take a day, so
//! nearly all of them are compiled once, as branches of one program, and each is then run by the
//! tests that reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::process::{self, cargo};
use crate::workspace;

use runs::{Outcome, Program};
use switches::{Id, Switched};

mod checks;
mod runs;
mod switches;

/// Arguments of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Instead, take out the numbered checks of `secagg/mutants/checks.json`, one at a time: all, or
    /// those with this name (`V-45`).
    #[arg(long, value_name = "CHECK", num_args = 0..)]
    checks: Option<Vec<String>>,
    /// Run again what no test noticed or reached the last time, now with all cases of the properties
    /// and with the slow tests; and what was not run yet.
    #[arg(long)]
    again: bool,
    /// Only the files whose path holds one of these words (`server/`, `params.rs`).
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

/// A change as cargo-mutants describes it.
#[derive(Debug, Deserialize)]
struct Mutant {
    name: String,
    file: String,
    genre: Genre,
    replacement: String,
    span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Debug, Deserialize)]
struct Span {
    start: Position,
    end: Position,
}

/// Both from 1, the column in characters.
#[derive(Debug, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    fn offset(&self, text: &str, lines: &[usize]) -> usize {
        let start = lines[self.line - 1];
        let before: usize = text[start..]
            .chars()
            .take(self.column - 1)
            .map(char::len_utf8)
            .sum();
        start + before
    }
}

/// A clone of what is committed with the integration tests in the unit tests, and where it is built.
struct Tree {
    root: PathBuf,
    target: PathBuf,
    thorough: bool,
}

/// Takes out checks, or makes the changes of cargo-mutants. Answers are kept from call to call in
/// `target/mutants/outcomes.tsv`, as a table by file in `target/mutants/outcomes.md`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = workspace::target().join("mutants");
    let tree = Tree {
        root: folder.join("tree"),
        target: folder.join("target"),
        thorough: arguments.again,
    };
    clone_head(&tree.root)?;
    if let Some(names) = &arguments.checks {
        merge_tests(&tree.root)?;
        return Ok(if checks::run(&tree, names)? {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let mutants = list(&tree.root)?;
    merge_tests(&tree.root)?;
    let outcomes = Outcomes::open(&folder.join("outcomes.tsv"))?;
    let due: Vec<Id> = (1..=mutants.len())
        .filter(|id| {
            let mutant = &mutants[id - 1];
            let named = |word: &String| mutant.file.contains(word.as_str());
            let known = outcomes.get(&mutant.name);
            let again = known.is_none_or(|outcome| {
                arguments.again && (outcome == "missed" || outcome == "not reached")
            });
            again && (arguments.files.is_empty() || arguments.files.iter().any(named))
        })
        .collect();
    println!("{} changes, {} of them now", mutants.len(), due.len());
    let alone = as_branches(&tree, &mutants, &due, &outcomes)?;
    one_at_a_time(&tree, &mutants, &alone, &outcomes)?;
    fs::write(folder.join("outcomes.md"), outcomes.table(&mutants))?;
    Ok(ExitCode::SUCCESS)
}

/// What cargo-mutants would change.
fn list(root: &Path) -> Result<Vec<Mutant>> {
    let mut command = cargo();
    command
        .current_dir(root.join("secagg"))
        .args(["mutants", "--list", "--json", "--package", "secagg"])
        .stderr(Stdio::inherit());
    for file in NOT_THE_PRODUCT {
        command.args(["--exclude", file]);
    }
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "cargo-mutants is not installed: `cargo install --locked cargo-mutants`"
    );
    serde_json::from_slice(&output.stdout).context("cannot read the list of cargo-mutants")
}

/// Compiles the changes as branches of one program, and runs it once for each. Gives the changes
/// that cannot be a branch.
fn as_branches(
    tree: &Tree,
    mutants: &[Mutant],
    due: &[Id],
    outcomes: &Outcomes,
) -> Result<Vec<Id>> {
    let mut files: BTreeMap<&str, Vec<(Id, &Mutant)>> = BTreeMap::new();
    for id in due {
        let mutant = &mutants[id - 1];
        files.entry(&mutant.file).or_default().push((*id, mutant));
    }
    let mut originals = BTreeMap::new();
    for file in files.keys() {
        let path = tree.root.join(file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        originals.insert(*file, text);
    }
    let mut alone: BTreeSet<Id> = due.iter().copied().collect();
    let mut constant = BTreeSet::new();
    let branches = loop {
        let mut branches = Vec::new();
        for (file, numbered) in &files {
            let Switched { text, ids } = switches::switched(&originals[file], numbered, &constant)
                .with_context(|| format!("cannot read {file}"))?;
            fs::write(tree.root.join(file), text)?;
            branches.extend(ids);
        }
        let Refused {
            unviable,
            computed,
            unknown,
        } = tree.refused()?;
        ensure!(
            unknown.is_empty(),
            "the compiler refuses the branches, and not because of one of them:\n{}",
            unknown.join("\n")
        );
        if unviable.is_empty() && computed.is_empty() {
            break branches;
        }
        constant.extend(computed);
        println!("{} do not compile", unviable.len());
        for id in &unviable {
            outcomes.keep(&mutants[id - 1], &Outcome::Unviable)?;
            alone.remove(id);
        }
        for numbered in files.values_mut() {
            numbered.retain(|(id, _)| !unviable.contains(id));
        }
    };
    alone.retain(|id| !branches.contains(id));
    println!("{} are branches of one program", branches.len());
    if !branches.is_empty() {
        run_branches(tree, mutants, &branches, outcomes)?;
    }
    for (file, text) in originals {
        fs::write(tree.root.join(file), text)?;
    }
    Ok(alone.into_iter().collect())
}

/// Runs the program of all branches once for each.
fn run_branches(
    tree: &Tree,
    mutants: &[Mutant],
    branches: &[Id],
    outcomes: &Outcomes,
) -> Result<()> {
    let program = tree
        .program(&[])?
        .context("the branches do not link, or the compiler was interrupted")?;
    let tests = program.trace(&tree.target)?;
    println!("{} tests", tests.len());
    let results = runs::side_by_side(branches.len(), |index| {
        let id = branches[index];
        let outcome = program.outcome(id, &tests)?;
        outcomes.keep(&mutants[id - 1], &outcome)
    });
    results.into_values().collect()
}

/// Makes each change in the source, compiles it and runs all tests.
fn one_at_a_time(tree: &Tree, mutants: &[Mutant], alone: &[Id], outcomes: &Outcomes) -> Result<()> {
    println!("{} are compiled one at a time", alone.len());
    for id in alone {
        let mutant = &mutants[id - 1];
        let path = tree.root.join(&mutant.file);
        let text = fs::read_to_string(&path)?;
        let lines = switches::line_starts(&text);
        let range: Range<usize> =
            mutant.span.start.offset(&text, &lines)..mutant.span.end.offset(&text, &lines);
        let mut changed = text.clone();
        changed.replace_range(range, &mutant.replacement);
        fs::write(&path, changed)?;
        let outcome = tree.outcome(&mutant.file);
        fs::write(&path, text)?;
        outcomes.keep(mutant, &outcome?)?;
    }
    Ok(())
}

/// What the compiler refuses.
struct Refused {
    unviable: BTreeSet<Id>,
    /// The functions that the compiler itself calls.
    computed: BTreeSet<String>,
    /// Errors that belong to no change.
    unknown: Vec<String>,
}

impl Tree {
    /// The compiler, on the unit tests of `secagg`.
    fn build(&self, command: &str, more: &[&str]) -> Command {
        let mut build = cargo();
        build
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "--cap-lints=allow")
            .args([command, "--package", "secagg", "--lib"])
            .args(BUILD)
            .args(more)
            .stderr(Stdio::null())
            .arg("--message-format=json");
        build
    }

    fn refused(&self) -> Result<Refused> {
        let mut check = self.build("check", &[]);
        let output = check.args(["--profile", "test"]).output()?;
        let mut refused = Refused {
            unviable: BTreeSet::new(),
            computed: BTreeSet::new(),
            unknown: Vec::new(),
        };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let message = &message["message"];
            let spans = message["spans"].as_array();
            if message["level"] != "error" || spans.is_none_or(Vec::is_empty) {
                continue;
            }
            let text = message["message"].as_str().unwrap_or_default();
            if message["code"]["code"] == "E0015"
                && let Some(path) = text.split('`').nth(1)
            {
                let name = path.rsplit("::").find(|part| !part.starts_with('<'));
                refused.computed.extend(name.map(str::to_owned));
                continue;
            }
            let mut ids = Vec::new();
            for span in spans.into_iter().flatten() {
                if let Some(file) = span["file_name"].as_str()
                    && let Ok(text) = fs::read_to_string(self.root.join(file))
                    && let Some(start) = span["byte_start"].as_u64()
                    && let Some(end) = span["byte_end"].as_u64()
                {
                    let place = usize::try_from(start)?..usize::try_from(end)?;
                    let concerned = switches::concerned(&text, &place);
                    if !concerned.is_empty() && (ids.is_empty() || concerned.len() < ids.len()) {
                        ids = concerned;
                    }
                }
            }
            if ids.is_empty() {
                let text = message["rendered"].as_str().unwrap_or_default();
                refused.unknown.push(text.to_owned());
            }
            refused.unviable.extend(ids);
        }
        ensure!(
            output.status.success()
                || !refused.unviable.is_empty()
                || !refused.computed.is_empty()
                || !refused.unknown.is_empty(),
            "cargo check failed in {}",
            self.root.display()
        );
        if !refused.unviable.is_empty() || !refused.computed.is_empty() {
            // What else is said may follow from these.
            refused.unknown.clear();
        }
        Ok(refused)
    }

    /// The unit tests, compiled; nothing if they do not compile.
    fn program(&self, more: &[&str]) -> Result<Option<Program>> {
        let output = self.build("test", more).arg("--no-run").output()?;
        if !output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let path = text.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
        let Some(path) = path else {
            bail!("cargo named no program");
        };
        Ok(Some(Program {
            path,
            folder: self.root.join("secagg"),
            thorough: self.thorough,
        }))
    }

    /// What the tests say of the source as it stands, in which this file was changed.
    fn outcome(&self, file: &str) -> Result<Outcome> {
        let mut check = self.build("check", &BUILD_FOR_ONE);
        if !check.args(["--profile", "test"]).output()?.status.success() {
            return Ok(Outcome::Unviable);
        }
        match self.program(&BUILD_FOR_ONE)? {
            Some(program) => {
                let inner = file.rsplit("src/").next().unwrap_or_default();
                let module = inner.split(['/', '.']).next().unwrap_or_default();
                program.all(module)
            }
            None => Ok(Outcome::Unviable),
        }
    }
}

/// The answers so far, by the name of the change: kept as they come.
struct Outcomes {
    path: PathBuf,
    known: Mutex<BTreeMap<String, String>>,
}

impl Outcomes {
    fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let known = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            known: Mutex::new(known),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.known.lock().expect("no holder panics")
    }

    fn get(&self, name: &str) -> Option<String> {
        self.known().get(name).cloned()
    }

    fn keep(&self, mutant: &Mutant, outcome: &Outcome) -> Result<()> {
        let text = match outcome {
            Outcome::Caught(by) => format!("caught by {by}"),
            Outcome::Limit => "by the limit".into(),
            Outcome::Missed => "missed".into(),
            Outcome::NotReached => "not reached".into(),
            Outcome::Unviable => "unviable".into(),
        };
        let mut known = self.known();
        let line = format!("{}\t{text}", mutant.name);
        println!("{line}");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .with_context(|| format!("cannot open {}", self.path.display()))?;
        writeln!(file, "{line}")?;
        known.insert(mutant.name.clone(), text);
        Ok(())
    }

    /// Numbers by file, and what was missed.
    fn table(&self, mutants: &[Mutant]) -> String {
        const KINDS: [&str; 6] = [
            "caught",
            "by the limit",
            "unviable",
            "missed",
            "not reached",
            "",
        ];
        let known = self.known();
        let mut rows: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
        let mut missed = String::new();
        for mutant in mutants {
            let outcome = known.get(&mutant.name).map_or("", String::as_str);
            let kind = KINDS
                .iter()
                .position(|kind| outcome.starts_with(kind))
                .unwrap_or_default();
            if (3..5).contains(&kind) {
                missed.push_str(&format!("{}: {outcome}\n", mutant.name));
            }
            for row in [mutant.file.as_str(), "~all"] {
                rows.entry(row).or_default()[kind] += 1;
            }
        }
        let mut out = String::from(
            "| file | mutants | caught | by the limit | unviable | missed | not reached | not yet run |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for (file, counts) in rows {
            let file = file.trim_start_matches("secagg/src/");
            let sum: usize = counts.iter().sum();
            out.push_str(&format!("| `{file}` | {sum} |"));
            for count in counts {
                out.push_str(&format!(" {count} |"));
            }
            out.push('\n');
        }
        out.replace("`~all`", "all") + "\n" + &missed
    }
}

/// What no user runs: the seam for fuzzing and the door for benches.
const NOT_THE_PRODUCT: [&str; 4] = [
    "secagg/src/fuzzing.rs",
    "secagg/src/fuzzing/**",
    "secagg/src/internals.rs",
    "secagg/src/internals/**",
];

/// Line numbers are not looked at.
const BUILD: [&str; 1] = ["--config=profile.dev.debug=false"];

/// Compiling for one change takes longer than testing it.
const BUILD_FOR_ONE: [&str; 2] = [
    "--config=profile.dev.package.secagg.opt-level=0",
    "--config=profile.dev.package.secagg.codegen-units=256",
];

/// The integration tests, by the name of the module that they become. Tests run in the order of
/// their names: those that notice most in the shortest time come first.
const ROUNDS: [(&str, &str); 9] = [
    ("a0_vectors", "vectors.rs"),
    ("a1_messages", "messages.rs"),
    ("a2_errors", "errors.rs"),
    ("a3_parameters", "parameters.rs"),
    ("a4_simulator", "simulator.rs"),
    ("a5_attacks", "attacks/main.rs"),
    ("it_sparse", "sparse.rs"),
    ("it_traffic", "traffic.rs"),
    ("it_wrong_shares", "wrong_shares.rs"),
];

/// Whether the program was started with the change of this number, and a note of which it reaches.
const CHANGED: &str = r#"
#[cfg(test)]
pub(crate) fn changed(id: u32) -> bool {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    static STARTED_WITH: AtomicU32 = AtomicU32::new(u32::MAX);
    static REACHED: [AtomicBool; 1 << 14] = [const { AtomicBool::new(false) }; 1 << 14];
    const TRACE: u32 = u32::MAX - 1;

    #[cold]
    fn start() -> u32 {
        let with = match std::env::var("SECAGG_CHANGED").as_deref() {
            Ok("trace") => TRACE,
            Ok(id) => id.parse().unwrap(),
            Err(_) => 0,
        };
        STARTED_WITH.store(with, Relaxed);
        with
    }

    #[cold]
    fn reached(id: u32) {
        if !REACHED[id as usize].swap(true, Relaxed) {
            let path = std::env::var_os("SECAGG_REACHED").unwrap();
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(std::format!("{id}\n").as_bytes()).unwrap();
        }
    }

    let mut with = STARTED_WITH.load(Relaxed);
    if with == u32::MAX {
        with = start();
    }
    if with == TRACE {
        reached(id);
    }
    with == id
}
"#;

/// A clone of what is committed, or the clone of last time brought to it.
fn clone_head(tree: &Path) -> Result<()> {
    let git = |folder: &Path, arguments: &[&str]| -> Result<()> {
        let mut git = Command::new("git");
        git.current_dir(folder).args(arguments);
        ensure!(
            process::status(&mut git)?.success(),
            "git could not bring {} to what is committed",
            tree.display()
        );
        Ok(())
    };
    if !tree.exists() {
        fs::create_dir_all(tree).with_context(|| format!("cannot make {}", tree.display()))?;
        git(tree, &["init", "--quiet"])?;
    }
    let root = workspace::root();
    let root = root
        .to_str()
        .context("the path of the checkout is not UTF-8")?;
    git(tree, &["fetch", "--quiet", root, "HEAD"])?;
    git(tree, &["reset", "--quiet", "--hard", "FETCH_HEAD"])
}

/// Makes the integration tests modules of the crate's unit tests: one crate is compiled again for a
/// mutant, and not ten.
fn merge_tests(tree: &Path) -> Result<()> {
    let edit = |path: &Path, change: &dyn Fn(String) -> String| -> Result<()> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(path, change(text)).with_context(|| format!("cannot write {}", path.display()))
    };
    edit(&tree.join("secagg/src/lib.rs"), &|text| {
        let mut text = text.replace("#![no_std]\n", "#![cfg_attr(not(test), no_std)]\n");
        text.push_str("\n#[cfg(test)]\nextern crate self as secagg;\n");
        text.push_str(CHANGED);
        for (module, file) in ROUNDS {
            text.push_str(&format!(
                "#[cfg(test)]\n#[path = \"../tests/{file}\"]\nmod {module};\n"
            ));
        }
        text
    })?;
    let attacks = tree.join("secagg/tests/attacks");
    let files = fs::read_dir(&attacks)
        .with_context(|| format!("cannot read {}", attacks.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    for file in files {
        edit(&file.path(), &|text| {
            text.replace("crate::", "crate::a5_attacks::")
        })?;
    }
    Ok(())
}
