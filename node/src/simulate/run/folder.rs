//! The files of a run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secagg_learning::Plan;
use secagg_wire::process::{Access, write_atomic};

use super::Simulation;
use crate::simulate::SimulateError;
use crate::simulate::results::{Header, Log};
use crate::simulate::state::State;

/// The file of the results, in the folder of a run.
pub const RESULTS_FILE: &str = "results.jsonl";
pub(super) const STATE_FILE: &str = "state.safetensors";
pub(super) const BEST_FILE: &str = "best.safetensors";
pub(super) const LAST_FILE: &str = "last.safetensors";

impl Simulation {
    /// Lines first, for a state without them could not be gone on from.
    pub(super) fn save(&self) -> Result<(), SimulateError> {
        self.log.sync()?;
        self.write_weights(LAST_FILE)?;
        self.state
            .save(&self.out.join(STATE_FILE), &self.header.digest)
    }

    /// Writes the weights after a round where `rounds.keep_last` wants them, and removes those of
    /// before it.
    pub(super) fn keep(&self, round: u32) -> Result<(), SimulateError> {
        let most = self.experiment.rounds.keep_last;
        if most == 0 {
            return Ok(());
        }
        self.write_weights(&kept_name(round))?;
        for (older, path) in kept(&self.out)? {
            if older.saturating_add(most) <= round {
                remove(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn write_weights(&self, name: &str) -> Result<(), SimulateError> {
        let Some(bytes) = self.clients.file(&self.state.weights)? else {
            return Ok(());
        };
        let path = self.out.join(name);
        write_atomic(&path, &bytes, Access::Shared)
            .map_err(|error| SimulateError::file(&path, error))
    }
}

/// The weights after a round, as a coordinator names them.
fn kept_name(round: u32) -> String {
    format!("round-{round:04}.safetensors")
}

/// The kept weights of a run, with their rounds.
fn kept(out: &Path) -> Result<Vec<(u32, PathBuf)>, SimulateError> {
    let entries = fs::read_dir(out).map_err(|error| SimulateError::file(out, error))?;
    let mut kept = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| SimulateError::file(out, error))?;
        let name = entry.file_name();
        let round = name.to_str().and_then(|name| {
            let round = name.strip_prefix("round-")?.strip_suffix(".safetensors")?;
            let round = round.parse().ok()?;
            (name == kept_name(round)).then_some(round)
        });
        kept.extend(round.map(|round| (round, entry.path())));
    }
    Ok(kept)
}

/// What an earlier run left: its results up to the saved round, and the state after it.
pub(super) fn resume(
    out: &Path,
    header: &Header,
    plan: &Plan,
) -> Result<(Log, Option<State>), SimulateError> {
    let path = out.join(RESULTS_FILE);
    let Some((mut log, results, ends)) = Log::open(&path)? else {
        return Ok((Log::create(&path, header)?, None));
    };
    if results.header.digest != header.digest {
        return Err(SimulateError::OtherExperiment {
            path,
            found: results.header.digest,
            expected: header.digest.clone(),
        });
    }
    let state_path = out.join(STATE_FILE);
    let Some(state) = State::load(&state_path, &header.digest, plan)? else {
        // It ended before it was saved for the first time.
        drop(log);
        return Ok((Log::create(&path, header)?, None));
    };
    let Some(&end) = ends.get(state.round as usize) else {
        return Err(SimulateError::State {
            path: state_path,
            problem: format!("it is of round {}, which {RESULTS_FILE} lacks", state.round),
        });
    };
    log.truncate(end)?;
    Ok((log, Some(state)))
}

/// Removes all that a run has written.
pub(super) fn clear(out: &Path) -> Result<(), SimulateError> {
    for name in [STATE_FILE, RESULTS_FILE, BEST_FILE, LAST_FILE] {
        remove(&out.join(name))?;
    }
    for (_, path) in kept(out)? {
        remove(&path)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), SimulateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SimulateError::file(path, error))
        }
        _ => Ok(()),
    }
}
