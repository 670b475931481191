//! What an operator types.

mod authority;
mod enrol;
mod init;
mod plan;
mod run;
mod status;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use secagg_wire::authority::AuthorityPin;

use crate::folder::Folder;

pub use self::{
    enrol::{Enrolment, enrol},
    init::init,
};

/// A coordinator for federated training over secure aggregation.
#[derive(Debug, Parser)]
#[command(name = "secagg-coordinator", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a coordinator's folder: configuration, identity, and a copy of the model.
    Init(Init),
    /// Make an authority that vouches for nodes, and print its pin. It needs no coordinator: keep
    /// it on another machine.
    Authority(Authority),
    /// Print one-time tokens with which nodes join; or, with --authority, vouch for nodes.
    Enrol(Enrol),
    /// Run rounds until training is over.
    Run(Run),
    /// Show degree, threshold, probabilities, bytes and estimated time of a round; no folder is
    /// needed.
    Plan(plan::Arguments),
    /// Show the rounds so far and the nodes.
    Status(Status),
}

#[derive(Debug, Args)]
struct Init {
    /// The folder to make.
    dir: PathBuf,
    /// The model's folder, as `secagg-node init-model` writes it.
    #[arg(long)]
    model: PathBuf,
    /// The UDP address to listen on.
    #[arg(long, default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
    /// The pin of the authority that vouches for nodes, as `authority` printed it.
    #[arg(long, value_name = "PIN")]
    authority: Option<AuthorityPin>,
}

#[derive(Debug, Args)]
struct Authority {
    /// The folder to make; whoever can read it can vouch for anybody.
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Enrol {
    /// The coordinator's folder; with --authority, the requests that nodes wrote when they joined.
    #[arg(required = true, value_name = "DIR|REQUEST")]
    targets: Vec<PathBuf>,
    /// The authority's folder: sign a credential for each request, and write it beside it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["count", "name", "valid_hours"])]
    authority: Option<PathBuf>,
    /// Days for which the credentials are valid.
    #[arg(long, default_value_t = 365, requires = "authority",
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    valid_days: u32,
    /// How many tokens.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// The name of the node that uses the token; with several tokens NAME-1, NAME-2, …
    #[arg(long)]
    name: Option<String>,
    /// Hours for which a token can be used.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    valid_hours: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Run {
    /// The coordinator's folder.
    dir: PathBuf,
    /// Append events to this file, as JSON Lines.
    #[arg(long)]
    events: Option<PathBuf>,
    /// Print events to standard output, as JSON Lines.
    #[arg(long)]
    json: bool,
    /// Stop for ever before a phase (test hook): ROUND:PHASE, repeatable.
    #[cfg(feature = "fault-injection")]
    #[arg(long)]
    pause_at: Vec<crate::pause::PauseAt>,
    /// Lie to the nodes in every round (test hook).
    #[cfg(feature = "fault-injection")]
    #[arg(long, value_name = "LIE")]
    lie_to_nodes: Option<crate::lies::Lie>,
}

#[derive(Debug, Args)]
struct Status {
    /// The coordinator's folder.
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// With a sentence for people.
    pub fn run(self) -> anyhow::Result<()> {
        // A core would hold the TLS key and the sums.
        secagg_wire::process::disable_core_dumps().context("cannot switch core dumps off")?;
        match self.command {
            Command::Init(Init {
                dir,
                model,
                listen,
                authority,
            }) => {
                init(&dir, &model, listen, authority)?;
                println!("made {}", dir.display());
                if authority.is_none() {
                    println!(
                        "no authority: give federation.authority in {} the pin of one \
                         (`secagg-coordinator authority`), or choose another cohort.threat_model",
                        Folder::new(&dir).config().display()
                    );
                }
                println!("next: `secagg-coordinator enrol {}`", dir.display());
                Ok(())
            }
            Command::Authority(Authority { dir }) => authority::run(&dir),
            Command::Enrol(arguments) => enrol::run(&arguments),
            Command::Run(arguments) => run::run(arguments),
            Command::Plan(arguments) => plan::run(&arguments),
            Command::Status(Status { dir, json }) => status::run(&dir, json),
        }
    }
}
