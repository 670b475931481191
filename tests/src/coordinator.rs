//! The coordinator: a real process, with its folder, its settings and its events.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use secagg_wire::{authority::AuthorityPin, token::Token};
use serde_json::Value;
use toml::Table;

use crate::{
    binaries::{self, Build},
    deadline::Deadline,
    events::{Event, Events},
    model::{self, Tensor},
    process::{Process, succeed},
};

/// A coordinator in a folder of its own, running or not.
#[derive(Debug)]
pub struct Coordinator {
    binary: PathBuf,
    folder: PathBuf,
    /// Where output and events go.
    logs: PathBuf,
    deadline: Deadline,
    starts: u32,
    running: Option<Process>,
    /// When the process was first seen to have ended by itself.
    ended: Option<Instant>,
    events: Events,
    address: Option<SocketAddr>,
}

impl Coordinator {
    /// Runs `init` for the model in `model`, and then makes the settings, each a dotted key and a
    /// value as TOML.
    ///
    /// # Errors
    /// When `init` fails, or its file has no such table.
    pub fn init(
        root: &Path,
        model: &Path,
        authority: AuthorityPin,
        settings: &[(&str, &str)],
        deadline: Deadline,
    ) -> Result<Self> {
        let binary = binaries::coordinator(Build::Hooks)?;
        let folder = root.join("coordinator");
        succeed(
            Command::new(&binary)
                .arg("init")
                .arg(&folder)
                .arg("--model")
                .arg(model)
                .args(["--listen", "127.0.0.1:0"])
                .args(["--authority", &authority.to_string()]),
        )?;
        let coordinator = Self {
            binary,
            folder,
            logs: root.to_owned(),
            deadline,
            starts: 0,
            running: None,
            ended: None,
            events: Events::follow(&root.join("no-events-yet")),
            address: None,
        };
        coordinator.set(settings)?;
        Ok(coordinator)
    }

    /// Changes settings; they count from the next start.
    ///
    /// # Errors
    /// When the file has no such table.
    pub fn set(&self, settings: &[(&str, &str)]) -> Result<()> {
        let path = self.folder.join("coordinator.toml");
        let mut file: Table = fs::read_to_string(&path)?.parse()?;
        for (key, value) in settings {
            set(&mut file, key, value)?;
        }
        Ok(fs::write(&path, file.to_string())?)
    }

    /// Starts `run` and waits until it listens. `pauses` are ROUND:PHASE.
    ///
    /// # Errors
    /// When it runs already or does not come up.
    pub fn start(&mut self, pauses: &[&str]) -> Result<SocketAddr> {
        let options = pauses.iter().flat_map(|pause| ["--pause-at", *pause]);
        self.start_with(&options.collect::<Vec<_>>())
    }

    /// The same with any options of `run`.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub fn start_with(&mut self, options: &[&str]) -> Result<SocketAddr> {
        ensure!(self.running.is_none(), "the coordinator runs already");
        self.starts += 1;
        let name = format!("coordinator-{}", self.starts);
        let events = self.logs.join(format!("{name}.jsonl"));
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(&self.folder);
        command.arg("--events").arg(&events);
        command.args(options);
        self.running = Some(Process::start(&name, command, &self.logs)?);
        self.ended = None;
        self.events = Events::follow(&events);
        let listening = self.wait("listening", |_| true)?;
        let address = listening["addr"].as_str().context("no address")?.parse()?;
        if self.address.is_none() {
            // The same one after a restart, so that the clients find it again.
            self.set(&[("network.listen", &format!("\"{address}\""))])?;
        }
        self.address = Some(address);
        Ok(address)
    }

    /// Where it listens, or has listened.
    ///
    /// # Errors
    /// When it was never started.
    pub fn address(&self) -> Result<SocketAddr> {
        self.address.context("the coordinator was never started")
    }

    /// The coordinator's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes that many enrolment tokens, running or not.
    ///
    /// # Errors
    /// When `enrol` fails or prints something else.
    pub fn tokens(&self, count: usize) -> Result<Vec<Token>> {
        let printed = succeed(
            Command::new(&self.binary)
                .arg("enrol")
                .arg(&self.folder)
                .args(["--count", &count.to_string()]),
        )?;
        let tokens = printed.lines().map(str::parse::<Token>);
        let tokens = tokens.collect::<Result<Vec<_>, _>>();
        let tokens = tokens.with_context(|| format!("`enrol` has printed {printed:?}"))?;
        ensure!(tokens.len() == count, "{} tokens", tokens.len());
        Ok(tokens)
    }

    /// Waits for an event of this run, past ones included.
    ///
    /// # Errors
    /// When the time is up or the process ends, with its events and output.
    pub fn wait(&mut self, name: &str, fits: impl FnMut(&Event) -> bool) -> Result<Event> {
        let running = self.running.as_mut();
        let process = running.context("the coordinator does not run")?;
        let waited = self
            .events
            .wait(&self.deadline, || process.still_running(), name, fits);
        waited.with_context(|| process.output())
    }

    /// Waits until a round is complete.
    ///
    /// # Errors
    /// See [`wait`](Self::wait).
    pub fn round_complete(&mut self, round: u64) -> Result<Event> {
        self.wait("round_complete", |event| event["round"] == round)
    }

    /// Waits until the coordinator stands still before a phase.
    ///
    /// # Errors
    /// See [`wait`](Self::wait).
    pub fn paused(&mut self, round: u64, phase: &str) -> Result<Event> {
        self.wait("paused", |event| {
            event["round"] == round && event["phase"] == phase
        })
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
        self.running
            .take()
            .context("the coordinator does not run")?
            .kill()
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        let mut process = self
            .running
            .take()
            .context("the coordinator does not run")?;
        let status = process.wait(&self.deadline)?;
        self.events.all()?;
        Ok(status)
    }

    /// What `status --json` prints.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn status(&self) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        command.arg("status").arg(&self.folder).arg("--json");
        Ok(serde_json::from_str(&succeed(&mut command)?)?)
    }

    /// The weights after a round; 0 for the initial ones.
    ///
    /// # Errors
    /// When they are not there.
    pub fn weights(&self, round: u64) -> Result<BTreeMap<String, Tensor>> {
        model::read(&self.weights_file(round))
    }

    /// Whether the weights after a round are there.
    #[must_use]
    pub fn has_weights(&self, round: u64) -> bool {
        self.weights_file(round).exists()
    }

    /// Nothing, unless the process has ended by itself that long ago.
    ///
    /// # Errors
    /// When it has.
    pub fn has_not_ended_for(&mut self, grace: Duration) -> Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let living = running.still_running();
        if living.is_ok() || self.ended.get_or_insert_with(Instant::now).elapsed() < grace {
            return Ok(());
        }
        living
    }

    /// Everything that this run has said, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let output = self.running.as_ref().map(Process::output);
        format!("{}{}", self.events.text(), output.unwrap_or_default())
    }

    /// The id of the process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&self) -> Result<u32> {
        let running = self.running.as_ref();
        Ok(running.context("the coordinator does not run")?.id())
    }

    /// The file of the weights after a round; 0 for the initial ones.
    #[must_use]
    pub fn weights_file(&self, round: u64) -> PathBuf {
        match round {
            0 => self.folder.join("model").join("initial.safetensors"),
            round => self
                .folder
                .join("weights")
                .join(format!("round-{round:04}.safetensors")),
        }
    }
}

fn set(file: &mut Table, key: &str, value: &str) -> Result<()> {
    let parsed: Table = format!("value = {value}").parse()?;
    let value = parsed.get("value").context("no value")?.clone();
    let (tables, last) = match key.rsplit_once('.') {
        Some((tables, last)) => (tables.split('.').collect(), last),
        None => (Vec::new(), key),
    };
    let mut table = file;
    for name in tables {
        table = match table.get_mut(name) {
            Some(toml::Value::Table(inner)) => inner,
            _ => bail!("coordinator.toml has no table {name}, for {key}"),
        };
    }
    table.insert(last.to_owned(), value);
    Ok(())
}
