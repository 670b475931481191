//! A swarm of clients that only speak the protocol, as a process: for measurements, and for tests
//! that kill many clients at once.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use secagg_tests::{
    model, raw,
    swarm::{Options, Script, Swarm, Updates},
};
use secagg_wire::{endpoint::Address, identity::Fingerprint, token::Token};

/// Clients that only speak the protocol.
#[derive(Debug, Parser)]
#[command(name = "swarm")]
enum Command {
    /// Write a model that nobody trains.
    Model {
        /// The folder to write.
        out: PathBuf,
        /// The number of its weights.
        #[arg(long)]
        parameters: usize,
    },
    /// Take bytes over QUIC and throw them away, to measure what the machine can do.
    Sink {
        /// Connections, with one stream each.
        #[arg(long)]
        connections: usize,
        /// Where to write events.
        #[arg(long)]
        events: PathBuf,
    },
    /// Send bytes to a `sink`.
    Flood {
        /// The sink's address.
        sink: SocketAddr,
        /// The fingerprint of its certificate.
        fingerprint: Fingerprint,
        /// Connections, all at once.
        #[arg(long)]
        connections: usize,
        /// Bytes through each.
        #[arg(long)]
        bytes: usize,
    },
    /// Enrol clients and let them take part, with known updates, until the training is over.
    Run(Run),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The coordinator, quic://HOST:PORT.
    coordinator: Address,
    /// A file with one enrolment token a line; each makes one client.
    #[arg(long)]
    tokens: PathBuf,
    /// Where to write events.
    #[arg(long)]
    events: PathBuf,
    /// CLIENT:ROUND:MOMENT:ACT, what a client does wrong; can be given several times.
    #[arg(long)]
    script: Vec<Script>,
    /// Seed of the updates.
    #[arg(long, default_value_t = Updates::default().seed)]
    seed: u64,
    /// Start all uploads at once, when the last client has masked its vector.
    #[arg(long)]
    uploads_together: bool,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Model { out, parameters } => model::write(&out, parameters),
        Command::Sink {
            connections,
            events,
        } => raw::sink(connections, &events),
        Command::Flood {
            sink,
            fingerprint,
            connections,
            bytes,
        } => raw::flood(sink, fingerprint, connections, bytes),
        Command::Run(arguments) => run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Run) -> Result<()> {
    let tokens = std::fs::read_to_string(&arguments.tokens)
        .with_context(|| format!("cannot read {}", arguments.tokens.display()))?
        .lines()
        .map(str::parse::<Token>)
        .collect::<Result<Vec<_>, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let address = runtime.block_on(arguments.coordinator.resolve())?;
    let options = Options {
        updates: Updates {
            seed: arguments.seed,
            ..Updates::default()
        },
        scripts: arguments.script,
        uploads_together: arguments.uploads_together,
        ..Options::default()
    };
    let mut swarm = Swarm::enrol(address, &tokens, &arguments.events, &options)?;
    swarm.start_all()?;
    swarm.join();
    Ok(())
}
