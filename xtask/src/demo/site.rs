//! Where everything of a run lies, and the commands that work on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::arguments::{Arguments, LocalOptimizer, ServerOptimizer, Settings};
use super::children::output_of;
use super::parallel::in_parallel;
use super::people::{People, Person};
use crate::workspace;

/// The folder of a run, and the binaries.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    folder: PathBuf,
    binaries: PathBuf,
}

/// Seconds without a sign of life after which a killed node counts as gone. The nodes share few
/// cores: less could take a busy one for dead.
const IDLE_SECONDS: f64 = 6.0;

impl Site {
    /// An empty `target/demo`.
    ///
    /// # Errors
    ///
    /// When the remains of the last run cannot be removed.
    pub(crate) fn prepare(binaries: PathBuf) -> Result<Self> {
        let folder = workspace::target().join("demo");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
            _ => {}
        }
        let site = Self { folder, binaries };
        for folder in ["logs", "nodes", "coordinator"] {
            let folder = site.folder.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(site)
    }

    /// The folder of the run.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `secagg-node`.
    pub(crate) fn node(&self) -> Command {
        Command::new(self.binaries.join("secagg-node"))
    }

    /// `secagg-coordinator`.
    pub(crate) fn coordinator(&self) -> Command {
        Command::new(self.binaries.join("secagg-coordinator"))
    }

    /// Where a process's output goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// Where a process's events go.
    pub(crate) fn events(&self, name: &str) -> PathBuf {
        self.folder
            .join("logs")
            .join(format!("{name}.events.jsonl"))
    }

    /// The initial model.
    pub(crate) fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    /// The coordinator's folder.
    pub(crate) fn coordinator_folder(&self) -> PathBuf {
        self.folder.join("coordinator")
    }

    /// A node's folder.
    pub(crate) fn node_folder(&self, person: &Person) -> PathBuf {
        self.folder.join("nodes").join(&person.slug)
    }

    /// Where one node writes its update.
    pub(crate) fn dump(&self) -> PathBuf {
        self.folder.join("update")
    }

    /// The global weights after a round; after round 0 those that training starts from.
    pub(crate) fn weights(&self, round: u64) -> PathBuf {
        if round == 0 {
            return self.model().join("initial.safetensors");
        }
        let name = format!("round-{round:04}.safetensors");
        self.coordinator_folder().join("weights").join(name)
    }

    /// Makes the model.
    ///
    /// # Errors
    ///
    /// When `init-model` fails.
    pub(crate) fn make_model(&self, people: &People, settings: &Settings, seed: u32) -> Result<()> {
        let mut command = self.node();
        command
            .arg("init-model")
            .arg("--vocabulary-from")
            .arg(&people.vocabulary_from);
        command
            .arg("--out")
            .arg(self.model())
            .args(["--format", people.format]);
        for (flag, value) in [
            ("--vocabulary-size", settings.vocabulary),
            ("--embedding", settings.embedding),
            ("--units", settings.units),
            ("--seed", seed),
        ] {
            command.args([flag, &value.to_string()]);
        }
        output_of("init-model", &mut command, &self.log("init-model"))?;
        Ok(())
    }

    /// Words of the vocabulary.
    ///
    /// # Errors
    ///
    /// When there is no model.
    pub(crate) fn vocabulary_size(&self) -> Result<usize> {
        let path = self.model().join("vocabulary.txt");
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().count())
    }

    /// The authority's folder: apart from the coordinator, which never reads it.
    fn authority_folder(&self) -> PathBuf {
        self.folder.join("authority")
    }

    /// Makes the authority that vouches for nodes, and returns its pin.
    ///
    /// # Errors
    ///
    /// When `authority` fails.
    pub(crate) fn make_authority(&self) -> Result<String> {
        let mut command = self.coordinator();
        command.arg("authority").arg(self.authority_folder());
        let printed = output_of(
            "secagg-coordinator authority",
            &mut command,
            &self.log("authority"),
        )?;
        let pin = printed.lines().next();
        Ok(pin.context("no authority's pin was printed")?.to_owned())
    }

    /// Makes the coordinator, with settings of its own, and a token for each node.
    ///
    /// # Errors
    ///
    /// When `init` or `enrol` fails.
    pub(crate) fn make_coordinator(&self, config: &str, nodes: usize) -> Result<Vec<String>> {
        let folder = self.coordinator_folder();
        let log = self.log("coordinator");
        let mut init = self.coordinator();
        init.arg("init")
            .arg(&folder)
            .arg("--model")
            .arg(self.model());
        output_of("secagg-coordinator init", &mut init, &log)?;
        let path = folder.join("coordinator.toml");
        fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
        let mut enrol = self.coordinator();
        enrol
            .arg("enrol")
            .arg(&folder)
            .args(["--count", &nodes.to_string()]);
        let printed = output_of("secagg-coordinator enrol", &mut enrol, &log)?;
        let tokens: Vec<String> = printed.lines().map(str::to_owned).collect();
        ensure!(
            tokens.len() == nodes,
            "secagg-coordinator enrol printed {} tokens for {nodes} nodes",
            tokens.len()
        );
        Ok(tokens)
    }

    /// Gives every node its text, which stays in its folder.
    ///
    /// # Errors
    ///
    /// When `add` fails.
    pub(crate) fn add_text(&self, people: &[Person]) -> Result<()> {
        in_parallel(people, |person| {
            let mut add = self.node();
            add.arg("add").arg("--dir").arg(self.node_folder(person));
            if let Some(held_out) = &person.held_out {
                add.arg("--held-out").arg(held_out);
            }
            add.arg(&person.messages);
            output_of("secagg-node add", &mut add, &self.log(&person.slug))
        })?;
        Ok(())
    }

    /// Registers every node with the running coordinator, and has the authority vouch for it.
    ///
    /// # Errors
    ///
    /// When `join`, `enrol --authority` or `credential` fails.
    pub(crate) fn join(
        &self,
        people: &[Person],
        address: &str,
        pin: &str,
        tokens: &[String],
    ) -> Result<()> {
        let both: Vec<_> = people.iter().zip(tokens).collect();
        in_parallel(&both, |(person, token)| {
            let mut join = self.node();
            join.args(["join", &format!("quic://{address}"), token]);
            join.arg("--dir").arg(self.node_folder(person));
            join.args(["--name", &person.name, "--authority", pin]);
            output_of("secagg-node join", &mut join, &self.log(&person.slug))
        })?;
        let mut enrol = self.coordinator();
        enrol
            .args(["enrol", "--authority"])
            .arg(self.authority_folder());
        let folders = people.iter().map(|person| self.node_folder(person));
        enrol.args(folders.map(|folder| folder.join("request.json")));
        output_of(
            "secagg-coordinator enrol --authority",
            &mut enrol,
            &self.log("authority"),
        )?;
        in_parallel(people, |person| {
            let folder = self.node_folder(person);
            let mut credential = self.node();
            credential.args(["credential", "--dir"]).arg(&folder);
            credential.arg(folder.join("request.credential.json"));
            let log = self.log(&person.slug);
            output_of("secagg-node credential", &mut credential, &log)
        })?;
        Ok(())
    }

    /// Changes a setting of every node's own policy.
    ///
    /// # Errors
    ///
    /// When a policy cannot be read or written, or has another value than its default.
    pub(crate) fn set_policy(&self, people: &[Person], from: &str, to: &str) -> Result<()> {
        for person in people {
            let path = self.node_folder(person).join("policy.toml");
            let named = || format!("cannot change {}", path.display());
            let policy = fs::read_to_string(&path).with_context(named)?;
            ensure!(policy.contains(from), "{} lacks {from:?}", path.display());
            fs::write(&path, policy.replace(from, to)).with_context(named)?;
        }
        Ok(())
    }
}

/// `coordinator.toml` of a run. What is not said here is at its default.
pub(crate) fn config(
    settings: &Settings,
    arguments: &Arguments,
    threat_model: &str,
    pin: &str,
) -> String {
    let Arguments {
        nodes,
        kill,
        rounds,
        ..
    } = *arguments;
    let optimizer = match settings.local_optimizer {
        LocalOptimizer::Sgd => "sgd",
        LocalOptimizer::Adam => "adam",
    };
    let (rate, momentum) = (settings.server_rate, settings.server_momentum);
    let adaptive = format!(
        "rate = {rate:?}\nbeta1 = {momentum:?}\nbeta2 = 0.99\ntau = {:?}",
        settings.server_tau
    );
    let server = match settings.server_optimizer {
        ServerOptimizer::FedAvg => format!("[server.fedavg]\nrate = {rate:?}"),
        ServerOptimizer::FedAvgM => {
            format!("[server.fedavgm]\nrate = {rate:?}\nmomentum = {momentum:?}")
        }
        ServerOptimizer::FedAdam => format!("[server.fedadam]\n{adaptive}"),
        ServerOptimizer::FedYogi => format!("[server.fedyogi]\n{adaptive}"),
    };
    let keep_alive = IDLE_SECONDS / 4.0;
    let least = nodes.saturating_sub(kill).max(3);
    let Settings {
        local_epochs,
        batch,
        local_rate,
        clip_norm,
        range,
        weight_cap,
        ..
    } = settings;
    format!(
        "# Written by `cargo xtask demo`.\n\
         [federation]\nname = \"demo\"\nauthority = \"{pin}\"\n\n\
         [network]\nlisten = \"127.0.0.1:0\"\nidle_seconds = {IDLE_SECONDS:?}\n\
         keep_alive_seconds = {keep_alive:?}\n\n\
         [cohort]\nthreat_model = \"{threat_model}\"\nmin_clients = {least}\n\
         max_clients = {nodes}\ndropout_fraction = 0.0\n\n\
         [rounds]\nrounds = {rounds}\npatience = 0\nwait_seconds = 120.0\ngather_seconds = 60.0\n\n\
         [update]\nclip_norm = {clip_norm:?}\nrange = {range:?}\nweight_cap = {weight_cap}\n\n\
         [training]\nepochs = {local_epochs}\nbatch = {batch}\n\
         optimizer = {{ {optimizer} = {{ rate = {local_rate:?} }} }}\nmax_words = 29\n\n\
         {server}\n\n\
         [weights]\nkeep_last = 1\nkeep_every = 1\n"
    )
}

/// Bits of one number of an update in the masked vector: the fewest that hold the sum of `nodes`
/// values of `value_bits` bits.
pub(crate) fn modulus_bits(nodes: usize, value_bits: u32) -> u32 {
    let values = (1_u64 << value_bits) - 1;
    let sums = nodes as u64 * values;
    u64::BITS - (sums.max(1) - 1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modulus_holds_the_sum_and_no_more() {
        // 12 · (2 · 32767 + 1) = 786,420 ≤ 2^20.
        assert_eq!(modulus_bits(12, 16), 20);
        assert_eq!(modulus_bits(16, 16), 20);
        assert_eq!(modulus_bits(17, 16), 21);
        assert_eq!(modulus_bits(24, 16), 21);
        assert_eq!(modulus_bits(3, 2), 4);
    }
}
