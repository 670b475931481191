//! The node: a real process that trains a tiny model.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use secagg_wire::token::Token;
use serde_json::Value;

use crate::{
    authority::Authority,
    binaries::{self, Build},
    deadline::Deadline,
    events::{Event, Events},
    process::{Process, succeed},
};

/// A node in a folder of its own, running or not.
#[derive(Debug)]
pub struct Node {
    binary: PathBuf,
    name: String,
    id: String,
    folder: PathBuf,
    logs: PathBuf,
    deadline: Deadline,
    starts: u32,
    running: Option<Process>,
    events: Events,
}

impl Node {
    /// Joins with a token, has its request signed, and adds messages.
    ///
    /// # Errors
    /// When a command fails.
    pub fn join(
        root: &Path,
        name: &str,
        coordinator: SocketAddr,
        token: &Token,
        authority: &Authority,
        messages: &[String],
        deadline: Deadline,
    ) -> Result<Self> {
        let binary = binaries::node(Build::Hooks)?;
        let folder = root.join(name);
        let url = format!("quic://{coordinator}");
        succeed(
            Command::new(&binary)
                .args(["join", &url, &token.reveal(), "--name", name])
                .args(["--authority", &authority.pin().to_string(), "--dir"])
                .arg(&folder),
        )?;
        let credential = authority.vouch(&folder.join("request.json"))?;
        succeed(
            Command::new(&binary)
                .args(["credential", "--dir"])
                .arg(&folder)
                .arg(credential),
        )?;
        let text = root.join(format!("{name}.txt"));
        fs::write(&text, messages.join("\n"))?;
        succeed(
            Command::new(&binary)
                .arg("add")
                .arg("--dir")
                .arg(&folder)
                .arg(&text),
        )?;
        Ok(Self {
            binary,
            name: name.to_owned(),
            id: id(&folder)?,
            folder,
            logs: root.to_owned(),
            deadline,
            starts: 0,
            running: None,
            events: Events::follow(&root.join("no-events-yet")),
        })
    }

    /// Starts `run`. `pauses` are ROUND:PHASE.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self, pauses: &[&str]) -> Result<()> {
        // Tests do not depend on the machine that they run on.
        let options = pauses.iter().flat_map(|pause| ["--pause-at", *pause]);
        self.start_with(&[&["--any-time"][..], &options.collect::<Vec<_>>()].concat())
    }

    /// The same with exactly these options of `run`.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub fn start_with(&mut self, options: &[&str]) -> Result<()> {
        ensure!(self.running.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let name = format!("{}-{}", self.name, self.starts);
        let events = self.logs.join(format!("{name}.jsonl"));
        let mut command = Command::new(&self.binary);
        command.args(["run", "--dir"]).arg(&self.folder);
        command.arg("--events").arg(&events);
        command.args(options);
        self.running = Some(Process::start(&name, command, &self.logs)?);
        self.events = Events::follow(&events);
        Ok(())
    }

    /// Waits for an event of this run, past ones included.
    ///
    /// # Errors
    /// When the time is up or the process ends, with its events and output.
    pub fn wait(&mut self, event: &str, fits: impl FnMut(&Event) -> bool) -> Result<Event> {
        let process = self.running.as_mut().context("the node does not run")?;
        let waited = self
            .events
            .wait(&self.deadline, || process.still_running(), event, fits);
        waited.with_context(|| process.output())
    }

    /// Waits until the node stands still before a phase of a round.
    ///
    /// # Errors
    /// See [`wait`](Self::wait).
    pub fn paused(&mut self, round: u64, phase: &str) -> Result<Event> {
        self.wait("paused", |event| {
            event["round"] == round && event["phase"] == phase
        })
    }

    /// Waits until a round is over for this node, and returns what became of it.
    ///
    /// # Errors
    /// See [`wait`](Self::wait).
    pub fn round_end(&mut self, round: u64) -> Result<String> {
        let end = self.wait("round_end", |event| event["round"] == round)?;
        let result = &end["result"];
        Ok(result.as_str().map_or(result.to_string(), str::to_owned))
    }

    /// The events of this run.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Kills the process with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().context("the node does not run")?.kill()
    }

    /// Waits until the process ends by itself, as it does after the last round.
    ///
    /// # Errors
    /// When it does not, or fails.
    pub fn wait_end(&mut self) -> Result<()> {
        let mut process = self.running.take().context("the node does not run")?;
        let status = process.wait(&self.deadline)?;
        ensure!(status.success(), "{status}\n{}", process.output());
        self.events.all()?;
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, as others name it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Nothing, as long as it runs.
    ///
    /// # Errors
    /// When it has ended, with its output.
    pub fn still_running(&mut self) -> Result<()> {
        let process = self.running.as_mut().context("the node does not run")?;
        process.still_running()
    }

    /// Replaces a line of its policy; it counts from the next start.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn set_policy(&self, line: &str, new: &str) -> Result<()> {
        self.set_line("policy.toml", line, new)
    }

    /// Replaces a line of its settings; it counts from the next start.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn set_setting(&self, line: &str, new: &str) -> Result<()> {
        self.set_line("node.toml", line, new)
    }

    fn set_line(&self, file: &str, line: &str, new: &str) -> Result<()> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.lines().any(|found| found == line), "{text}");
        Ok(fs::write(&path, text.replace(line, new))?)
    }

    /// What its operator reads in this run.
    #[must_use]
    pub fn log(&self) -> String {
        let output = self.running.as_ref().map(Process::output);
        output.unwrap_or_default()
    }

    /// Everything that it has said, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let output = self.running.as_ref().map(Process::output);
        format!("{}{}", self.events.text(), output.unwrap_or_default())
    }
}

/// The id in a node's request.
fn id(folder: &Path) -> Result<String> {
    let request: Value = serde_json::from_slice(&fs::read(folder.join("request.json"))?)?;
    let id = request["client_id"].as_str();
    Ok(id.context("no client_id")?.to_owned())
}

/// What `numbers` makes with these options: the lines of each person.
///
/// # Errors
/// When the command fails or writes something else.
pub fn numbers(options: &[&str]) -> Result<Vec<Vec<String>>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("numbers.jsonl");
    succeed(
        Command::new(binaries::node(Build::Hooks)?)
            .arg("numbers")
            .arg(&file)
            .args(options),
    )?;
    let mut people: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(&file)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        let (user, text) = text("user").zip(text("text")).context("no user or text")?;
        people.entry(user).or_default().push(text);
    }
    Ok(people.into_values().collect())
}

/// What `eval --json` says of a model's weights on these lines.
///
/// # Errors
/// When the command fails.
pub fn evaluate(model: &Path, weights: &Path, lines: &[String]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let text = folder.path().join("held-out.txt");
    fs::write(&text, lines.join("\n"))?;
    let printed = succeed(
        Command::new(binaries::node(Build::Hooks)?)
            .args(["eval", "--json", "--model"])
            .arg(model)
            .arg("--weights")
            .arg(weights)
            .arg("--text")
            .arg(&text),
    )?;
    Ok(serde_json::from_str(&printed)?)
}

/// What `translate` prints for these texts.
///
/// # Errors
/// When the command fails.
pub fn translate(model: &Path, weights: &Path, options: &[&str]) -> Result<String> {
    succeed(
        Command::new(binaries::node(Build::Hooks)?)
            .args(["translate", "--model"])
            .arg(model)
            .arg("--weights")
            .arg(weights)
            .args(options),
    )
}

/// Suggests words for texts that are being typed, with a model and these weights.
///
/// # Errors
/// When the command fails.
pub fn suggest(model: &Path, weights: &Path, texts: &[&str]) -> Result<Value> {
    let suggested = succeed(
        Command::new(binaries::node(Build::Hooks)?)
            .args(["suggest", "--json", "--model"])
            .arg(model)
            .arg("--weights")
            .arg(weights)
            .args(texts),
    )?;
    Ok(serde_json::from_str(&suggested)?)
}

/// Makes a tokenizer of these messages, with these options of `train-tokenizer`.
///
/// # Errors
/// When the command fails.
pub fn train_tokenizer(messages: &[String], options: &[&str], out: &Path) -> Result<()> {
    let public = out.with_extension("txt");
    fs::write(&public, messages.join("\n"))?;
    succeed(
        Command::new(binaries::node(Build::Hooks)?)
            .arg("train-tokenizer")
            .args(options)
            .arg("--out")
            .arg(out)
            .arg(&public),
    )?;
    Ok(())
}

/// What `generate` writes with the model of a node's directory.
///
/// # Errors
/// When the command fails.
pub fn generate(directory: &Path, options: &[&str]) -> Result<String> {
    succeed(
        Command::new(binaries::node(Build::Hooks)?)
            .args(["generate", "--dir"])
            .arg(directory)
            .args(options),
    )
}

/// Makes a tiny model for real nodes, with `init-model` and these options of it, which say its
/// sizes; its vocabulary is from these messages, where there are any.
///
/// # Errors
/// When the command fails.
pub fn init_model(root: &Path, messages: &[String], options: &[&str]) -> Result<PathBuf> {
    let folder = root.join("model-files");
    let mut command = Command::new(binaries::node(Build::Hooks)?);
    command.arg("init-model").arg("--out").arg(&folder);
    if !messages.is_empty() {
        let public = root.join("public.txt");
        fs::write(&public, messages.join("\n"))?;
        command.arg("--vocabulary-from").arg(&public);
        command.args(["--vocabulary-size", "60"]);
    }
    succeed(command.args(options))?;
    Ok(folder)
}
