//! The federated run: a coordinator and the nodes as processes, some of which are killed and come
//! back.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::arguments::Arguments;
use super::children::{POLL, Process, check_interrupt};
use super::events::{CoordinatorEvent, Follower, NodeEvent, RoundComplete, SpanKind};
use super::format::{duration, percent};
use super::people::Person;
use super::progress::Progress;
use super::record::Record;
use super::script::Script;
use super::site::Site;

/// Rounds that a node joins in a day, by default.
const ROUNDS_PER_DAY: u32 = 100;

/// How long nodes may take to end after the coordinator has.
const GOODBYE: Duration = Duration::from_secs(30);

/// How long the coordinator may take to listen.
const COMING_UP: Duration = Duration::from_secs(30);

/// A node.
#[derive(Debug)]
struct Node<'a> {
    person: &'a Person,
    /// `None` while it is dead.
    process: Option<Process>,
    follower: Follower<NodeEvent>,
    events: Vec<NodeEvent>,
}

/// The run.
#[derive(Debug)]
struct Federation<'a> {
    site: &'a Site,
    script: &'a Script,
    coordinator: Process,
    follower: Follower<CoordinatorEvent>,
    nodes: Vec<Node<'a>>,
    record: Record,
    progress: Progress,
}

/// Runs to the end and returns everything that was written.
///
/// # Errors
///
/// When a process fails, or the user wants to stop; all processes are then ended.
pub(crate) fn run(
    site: &Site,
    people: &[Person],
    arguments: &Arguments,
    pin: &str,
    tokens: &[String],
    script: &Script,
) -> Result<Record> {
    let events = site.events("coordinator");
    let mut command = site.coordinator();
    command
        .arg("run")
        .arg(site.coordinator_folder())
        .arg("--events")
        .arg(&events);
    let coordinator = Process::start("the coordinator", &mut command, &site.log("coordinator"))?;
    let mut federation = Federation {
        site,
        script,
        coordinator,
        follower: Follower::new(&events),
        nodes: Vec::new(),
        record: Record::default(),
        progress: Progress::new(),
    };
    let address = federation.address()?;
    site.join(people, &address, pin, tokens)?;
    if arguments.honest_but_curious {
        let [from, to] =
            ["malicious", "honest-but-curious"].map(|model| format!("threat_model = \"{model}\""));
        site.set_policy(people, &from, &to)?;
    }
    // All rounds of a long run are on one day, some of them in several attempts.
    let joined = 2 * (arguments.rounds + 1);
    if joined > ROUNDS_PER_DAY {
        let [from, to] =
            [ROUNDS_PER_DAY, joined].map(|rounds| format!("rounds_per_day = {rounds}"));
        site.set_policy(people, &from, &to)?;
    }
    federation.progress.note(&format!(
        "coordinator on {address}, {} nodes have joined",
        people.len()
    ));
    for person in people {
        let mut node = Node {
            person,
            process: None,
            follower: Follower::new(&site.events(&person.slug)),
            events: Vec::new(),
        };
        node.process = Some(federation.start(person, true)?);
        federation.nodes.push(node);
    }
    while !federation.turn()? {
        thread::sleep(POLL);
    }
    federation.goodbye()
}

impl Federation<'_> {
    /// Waits for the coordinator's address.
    fn address(&mut self) -> Result<String> {
        let start = Instant::now();
        while start.elapsed() < COMING_UP {
            for event in self.follower.read()? {
                self.record.coordinator.push(event.event.clone());
                if let CoordinatorEvent::Listening { addr } = event.event {
                    return Ok(addr);
                }
            }
            check_interrupt()?;
            self.coordinator.check_running()?;
            thread::sleep(POLL);
        }
        bail!(
            "the coordinator does not listen after {} s",
            COMING_UP.as_secs()
        )
    }

    /// Starts a node: for the first time with its part of the script, later without.
    fn start(&self, person: &Person, scripted: bool) -> Result<Process> {
        let mut command = self.site.node();
        command
            .arg("run")
            .arg("--dir")
            .arg(self.site.node_folder(person))
            // A demo is wanted now, on a laptop without its charger, too.
            .arg("--any-time");
        command.arg("--events").arg(self.site.events(&person.slug));
        let script = self.script;
        command.args(["--seed", &script.seed.to_string()]);
        if scripted && script.victims.contains(&person.name) {
            command.args(["--pause-at", &script.pause()]);
        }
        if person.name == script.shown {
            command.arg("--dump-update").arg(self.site.dump());
            command.args(["--dump-round", &script.shown_round.to_string()]);
        }
        Process::start(&person.name, &mut command, &self.site.log(&person.slug))
    }

    /// Looks at all processes and their events once; true when the coordinator is done.
    fn turn(&mut self) -> Result<bool> {
        check_interrupt()?;
        // First whether it has ended, then what it has written: nothing is missed.
        let ended = self.coordinator.ended()?;
        for place in 0..self.nodes.len() {
            self.follow_node(place)?;
        }
        for event in self.follower.read()? {
            self.follow_coordinator(&event.event)?;
            self.record.coordinator.push(event.event);
        }
        let finished =
            |event: &CoordinatorEvent| matches!(event, CoordinatorEvent::Finished { .. });
        let finished = self.record.coordinator.iter().any(finished);
        match ended {
            Some(status) if status.success() && finished => Ok(true),
            Some(_) => self.coordinator.check_running().map(|()| true),
            None => {
                for node in &mut self.nodes {
                    if let Some(process) = &mut node.process
                        && !finished
                        && !node.events.contains(&NodeEvent::Finished)
                    {
                        process.check_running()?;
                    }
                }
                Ok(false)
            }
        }
    }

    fn follow_node(&mut self, place: usize) -> Result<()> {
        for event in self.nodes[place].follower.read()? {
            match &event.event {
                NodeEvent::Paused { round, phase } => self.kill(place, *round, phase)?,
                NodeEvent::Span(span) if span.kind == SpanKind::Training => self.progress.step(),
                _ => {}
            }
            self.nodes[place].events.push(event.event);
        }
        Ok(())
    }

    fn kill(&mut self, place: usize, round: u64, phase: &str) -> Result<()> {
        let node = &mut self.nodes[place];
        let name = node.person.name.clone();
        let process = node.process.take();
        process
            .with_context(|| format!("{name} is dead already"))?
            .kill()?;
        self.progress.note(&format!(
            "  ✕ {name} killed in round {round}, before {phase} (SIGKILL)"
        ));
        self.record.killed.push((name, round, phase.to_owned()));
        Ok(())
    }

    fn follow_coordinator(&mut self, event: &CoordinatorEvent) -> Result<()> {
        match event {
            CoordinatorEvent::RoundStarted {
                round, selected, ..
            } => {
                // Each trains and uploads; four phases come after the training.
                let steps = 2 * u64::from(*selected) + 4;
                self.progress.start(&format!("round {round}"), steps);
                self.progress.message("training");
            }
            CoordinatorEvent::Phase(phase) => {
                self.progress.step();
                self.progress.message(&phase.phase);
            }
            CoordinatorEvent::Upload(_) => self.progress.step(),
            CoordinatorEvent::RoundComplete(round) => {
                self.progress.finish(&line(round));
                self.resurrect(round.round)?;
            }
            CoordinatorEvent::RoundAbandoned {
                round,
                attempt,
                phase,
                reason,
            } => {
                self.progress.finish(&format!(
                    "round {round:>3}   attempt {attempt} abandoned in {phase}: {reason}"
                ));
            }
            CoordinatorEvent::Finished { reason } => {
                self.progress.clear();
                self.progress.note(&format!("training is over: {reason}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Starts the dead again when the round in which they died is complete.
    fn resurrect(&mut self, complete: u64) -> Result<()> {
        if complete != self.script.kill_round {
            return Ok(());
        }
        for place in 0..self.nodes.len() {
            if self.nodes[place].process.is_none() {
                let person = self.nodes[place].person;
                self.nodes[place].process = Some(self.start(person, false)?);
                self.progress
                    .note(&format!("  ↺ {} started again", person.name));
            }
        }
        Ok(())
    }

    /// Waits until all nodes have ended.
    fn goodbye(mut self) -> Result<Record> {
        let start = Instant::now();
        loop {
            check_interrupt()?;
            let mut running = Vec::new();
            for node in &mut self.nodes {
                if let Some(process) = &mut node.process {
                    match process.ended()? {
                        Some(status) => process.require_success(status)?,
                        None => running.push(node.person.name.clone()),
                    }
                }
            }
            if running.is_empty() {
                break;
            }
            if start.elapsed() > GOODBYE {
                bail!(
                    "still running {} s after the coordinator ended: {}",
                    GOODBYE.as_secs(),
                    running.join(", ")
                );
            }
            thread::sleep(POLL);
        }
        for place in 0..self.nodes.len() {
            self.follow_node(place)?;
        }
        for node in self.nodes {
            self.record
                .nodes
                .push((node.person.name.clone(), node.events));
        }
        Ok(self.record)
    }
}

/// A round in one line.
fn line(round: &RoundComplete) -> String {
    let mut line = format!(
        "round {:>3}   {:>3} nodes   {:>7}",
        round.round,
        round.contributors,
        duration(round.wall_ms)
    );
    if let Some(loss) = round.train_loss.filter(|_| round.kind == "train") {
        line += &format!("   training loss {loss:.3}");
    }
    if let Some(validation) = &round.validation {
        line += &format!(
            "   received weights: loss {:.3}, top-1 {}",
            validation.loss,
            percent(validation.top1)
        );
    }
    line
}
