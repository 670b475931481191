//! `run`: takes part in training rounds.

use std::io::{IsTerminal, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secagg_wire::events::EventLog;
use secagg_wire::process::disable_core_dumps;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::memory;
use crate::participate::hooks::HookArguments;
use crate::participate::node::{Node, Options};
use crate::participate::service::{self, RunEnd};
use crate::participate::shutdown::{Shutdown, ShutdownSender};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Append what happens, as JSON Lines, to this file.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Leave after one round.
    #[arg(long)]
    once: bool,
    /// Wait for more when the coordinator says that the training is over.
    #[arg(long, conflicts_with = "once")]
    keep_running: bool,
    /// Take part whatever the conditions in node.toml are: idle, on mains power, unmetered.
    #[arg(long)]
    any_time: bool,
    /// Fix the order of messages in training, for experiments that can be repeated.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    hooks: HookArguments,
}

pub(super) fn run(arguments: &Arguments, threads: NonZeroU16) -> anyhow::Result<()> {
    memory::prepare();
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,secagg_node=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let log = EventLog::to_optional_file(arguments.events.as_deref())
        .with_context(|| format!("cannot write events to {:?}", arguments.events))?;
    let options = Options {
        seed: arguments.seed,
        once: arguments.once,
        keep_running: arguments.keep_running,
        any_time: arguments.any_time,
        threads,
        hooks: arguments.hooks.hooks(),
        ..Options::default()
    };
    // Errors of a node say all: their sources stand in them already.
    let node = Node::open(&arguments.dir, log, options).map_err(anyhow::Error::msg)?;
    let node = Arc::new(node);
    // Heavy work has threads of its own: one is enough for the connection.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(async {
        let (sender, shutdown) = Shutdown::new();
        tokio::spawn(watch_signals(sender)?);
        service::run(node, shutdown)
            .await
            .map_err(anyhow::Error::msg)
    });
    // Work that was called off ends after its present batch, and wipes what it held.
    runtime.shutdown_timeout(WORK_ENDS_WITHIN);
    let end = end?;
    let said = match end {
        RunEnd::Finished { reason } => format!("the training is over: {reason}"),
        RunEnd::Once => "took part in one round, as --once asks for".to_owned(),
        RunEnd::Interrupted => "left; what this node held of a round is wiped".to_owned(),
    };
    // The run ended well, whether or not anybody reads it.
    let _ = writeln!(std::io::stdout(), "{said}");
    Ok(())
}

/// How long called-off work may take to end.
const WORK_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The first Ctrl-C (or SIGTERM) asks the node to leave, the second one ends it at once.
fn watch_signals(sender: ShutdownSender) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        };
        next().await;
        eprintln!("leaving; once more to end at once");
        sender.request();
        std::process::exit(next().await);
    })
}
