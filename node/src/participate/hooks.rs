//! Test hooks, in builds with the feature `fault-injection` only: pausing a node in the middle of a
//! round, another machine's readings, and writing one's own update in the clear, towards loopback only.

use std::collections::BTreeSet;
use std::fs;
use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use secagg::Vector;
use secagg_learning::Plan;
use secagg_wire::events::{EventLog, Round};
use serde_json::json;
use thiserror::Error;

use super::pause_point::PausePoint;

/// The command line options of the hooks.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct HookArguments {
    /// Wait before this phase of this round until the round is over (test hook; may be repeated).
    #[arg(long, value_name = "ROUND:PHASE")]
    pause_at: Vec<Pause>,
    /// Write this node's own update, in the clear and masked, to a folder (test hook; with a
    /// coordinator on this machine only).
    #[arg(long, value_name = "DIR", requires = "dump_round")]
    dump_update: Option<PathBuf>,
    /// Read /sys and /proc under this folder, to see whether the machine is idle and on mains power
    /// (test hook).
    #[arg(long, value_name = "DIR")]
    machine_root: Option<PathBuf>,
    /// The round whose update is written.
    #[arg(long, value_name = "ROUND", requires = "dump_update")]
    dump_round: Option<u64>,
}

/// What the hooks do. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    pauses: Arc<BTreeSet<Pause>>,
    dump: Option<Dump>,
    machine_root: Option<PathBuf>,
}

/// A place in one round, as `ROUND:PHASE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause {
    round: u64,
    at: PausePoint,
}

/// A text that is no place in a round.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no place in a round: write ROUND:PHASE with a phase of train, advertise-keys, \
     share-keys, masked-input, upload, unmask"
)]
pub struct NotAPause {
    /// The text.
    pub text: String,
}

/// An update in the clear may only be written where the coordinator is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "--dump-update writes private data in the clear, and the coordinator at {address} is not on \
     this machine: leave it out, or use a coordinator on loopback"
)]
pub struct NotLoopback {
    /// Where the coordinator is.
    pub address: SocketAddr,
}

#[derive(Clone, Debug)]
struct Dump {
    folder: PathBuf,
    round: u64,
}

impl PausePoint {
    /// All of them, in the order of a round.
    const ALL: [Self; 6] = [
        Self::Train,
        Self::AdvertiseKeys,
        Self::ShareKeys,
        Self::MaskedInput,
        Self::Upload,
        Self::Unmask,
    ];

    /// The name in events and on the command line: the phase's.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::AdvertiseKeys => "advertise-keys",
            Self::ShareKeys => "share-keys",
            Self::MaskedInput => "masked-input",
            Self::Upload => "upload",
            Self::Unmask => "unmask",
        }
    }
}

impl FromStr for Pause {
    type Err = NotAPause;

    fn from_str(text: &str) -> Result<Self, NotAPause> {
        let error = || NotAPause {
            text: text.to_owned(),
        };
        let (round, name) = text.split_once(':').ok_or_else(error)?;
        Ok(Self {
            round: round.parse().map_err(|_| error())?,
            at: PausePoint::ALL
                .into_iter()
                .find(|point| point.as_str() == name)
                .ok_or_else(error)?,
        })
    }
}

impl HookArguments {
    /// The hooks that the command line asks for.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        let dump = self.dump_update.clone().zip(self.dump_round);
        Hooks {
            pauses: Arc::new(self.pause_at.iter().copied().collect()),
            dump: dump.map(|(folder, round)| Dump { folder, round }),
            machine_root: self.machine_root.clone(),
        }
    }
}

impl Hooks {
    /// Hooks that pause at these places.
    #[must_use]
    pub fn pausing(at: impl IntoIterator<Item = Pause>) -> Self {
        Self {
            pauses: Arc::new(at.into_iter().collect()),
            ..Self::default()
        }
    }

    /// Where the machine's `/sys` and `/proc` are.
    pub(super) fn machine_root(&self) -> &Path {
        self.machine_root.as_deref().unwrap_or(Path::new("/"))
    }

    /// Waits for ever where the command line says so; keep-alives go on. The end of the round drops
    /// the wait with all else.
    pub(super) async fn pause(&self, log: &EventLog, round: Round, at: PausePoint) {
        if self.pauses(round.round, at) {
            log.event(
                "paused",
                json!({ "round": round.round, "attempt": round.attempt, "phase": at.as_str() }),
            );
            pending::<()>().await;
        }
    }

    pub(super) fn pauses(&self, round: u64, at: PausePoint) -> bool {
        self.pauses.contains(&Pause { round, at })
    }

    /// Refuses to write updates where the coordinator is elsewhere.
    pub(super) fn check_peer(&self, address: SocketAddr) -> Result<(), NotLoopback> {
        if self.dump.is_some() && !address.ip().to_canonical().is_loopback() {
            return Err(NotLoopback { address });
        }
        Ok(())
    }

    /// Writes the clear update as a plan without compression encodes it (clipped, weighted, clamped),
    /// and the input before masking, packed as on the wire.
    pub(super) fn dump_update(
        &self,
        round: u64,
        plan: &Plan,
        delta: &[f32],
        weight: u64,
        input: &Vector,
    ) {
        let Some(folder) = self.dump_folder(round) else {
            return;
        };
        let clear = scaled(plan, delta, weight);
        let bytes: Vec<u8> = clear.iter().flat_map(|value| value.to_le_bytes()).collect();
        write(folder, "update-clear.f32", &bytes);
        write(folder, "quantised.bin", &packed(input));
    }

    /// Writes the masked vector exactly as it is uploaded.
    pub(super) fn dump_masked(&self, round: u64, bytes: &[u8]) {
        if let Some(folder) = self.dump_folder(round) {
            write(folder, "masked.bin", bytes);
        }
    }

    fn dump_folder(&self, round: u64) -> Option<&Path> {
        let dump = self.dump.as_ref()?;
        (dump.round == round).then_some(dump.folder.as_path())
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
    if let Err(error) = written {
        tracing::warn!("cannot write {}: {error}", path.display());
    }
}

/// y of the codec: clamp(min(1, clip/‖Δ‖₂)·Δ·w/cap, ±range).
fn scaled(plan: &Plan, delta: &[f32], weight: u64) -> Vec<f32> {
    let update = plan.update();
    let norm = delta
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    let clip = f64::from(update.clip_norm);
    let shortened = if norm > clip { clip / norm } else { 1.0 };
    let cap = f64::from(update.weight_cap);
    let factor = shortened * (weight as f64).min(cap) / cap;
    let range = f64::from(update.range);
    let element = |value: &f32| {
        #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
        let element = (f64::from(*value) * factor).clamp(-range, range) as f32;
        element
    };
    delta.iter().map(element).collect()
}

/// The vector's segments as they are packed on the wire; see the documentation of secagg's vectors.
fn packed(vector: &Vector) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in vector.layout().segments() {
        let elements: Vec<u64> = vector
            .segment(segment.name())
            .into_iter()
            .flatten()
            .collect();
        pack_segment(&elements, segment.bits(), &mut out);
    }
    out
}

fn pack_segment(elements: &[u64], bits: u8, out: &mut Vec<u8>) {
    let vertical = if bits <= 24 {
        elements.len() / 512 * 512
    } else {
        0
    };
    let (groups, rest) = elements.split_at(vertical);
    for group in groups.chunks_exact(512) {
        pack_group(group, bits.into(), out);
    }
    pack_rest(rest, bits.into(), out);
}

/// 512 elements as `bits` rows of 16 words: column l holds elements l, 16 + l, 32 + l, …
fn pack_group(group: &[u64], bits: usize, out: &mut Vec<u8>) {
    let mut rows = vec![[0_u32; 16]; bits];
    for (index, element) in group.iter().enumerate() {
        let (row, column) = (index / 16, index % 16);
        for bit in (0..bits).filter(|bit| element >> bit & 1 == 1) {
            let position = row * bits + bit;
            rows[position / 32][column] |= 1 << (position % 32);
        }
    }
    out.extend(
        rows.as_flattened()
            .iter()
            .flat_map(|word| word.to_le_bytes()),
    );
}

/// Elements one after the other, from the lowest bit up.
fn pack_rest(elements: &[u64], bits: usize, out: &mut Vec<u8>) {
    let mut bytes = vec![0_u8; (elements.len() * bits).div_ceil(8)];
    for (index, element) in elements.iter().enumerate() {
        for bit in (0..bits).filter(|bit| element >> bit & 1 == 1) {
            let position = index * bits + bit;
            bytes[position / 8] |= 1 << (position % 8);
        }
    }
    out.extend(bytes);
}

#[cfg(test)]
#[path = "hooks/tests.rs"]
mod tests;
