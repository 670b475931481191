//! `run`: rounds until training is over.

use std::path::Path;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::{
    coordinator::{Coordinator, Options},
    events::Events,
    lies::Lies,
    pause::Pauses,
    progress::Progress,
    training::RunError,
};

pub(super) fn run(arguments: super::Run) -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // One thread for the network, beside the main one that runs the rounds: each thread keeps
    // memory of its own, and with several of them that of all uploads would be kept several times.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(3)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let options = Options {
        events: Events::to_file(arguments.events.as_deref())
            .with_context(|| format!("cannot open {}", shown(arguments.events.as_deref())))?
            .and_stdout(arguments.json),
        progress: Progress::stderr(),
        pauses: pauses(&arguments),
        lies: lies(&arguments),
        listen: None,
    };
    runtime.block_on(async {
        let (stop, shutdown) = watch::channel(false);
        let progress = options.progress.clone();
        let coordinator = Coordinator::open(&arguments.dir, options, shutdown)?;
        tokio::spawn(signals(stop, progress));
        match coordinator.run().await {
            // It was asked for.
            Err(RunError::Stopped) => {
                eprintln!("{}", RunError::Stopped);
                Ok(())
            }
            result => Ok(result.map(|_| ())?),
        }
    })
}

#[cfg(feature = "fault-injection")]
fn pauses(arguments: &super::Run) -> Pauses {
    Pauses::new(arguments.pause_at.clone())
}

#[cfg(not(feature = "fault-injection"))]
fn pauses(_: &super::Run) -> Pauses {
    Pauses::default()
}

#[cfg(feature = "fault-injection")]
fn lies(arguments: &super::Run) -> Lies {
    Lies::new(arguments.lie_to_nodes)
}

#[cfg(not(feature = "fault-injection"))]
fn lies(_: &super::Run) -> Lies {
    Lies::default()
}

/// The first signal abandons the round, the second ends the process at once.
async fn signals(stop: watch::Sender<bool>, progress: Progress) {
    for count in 0..2 {
        if !signal().await {
            return;
        }
        if count > 0 {
            std::process::exit(130);
        }
        progress.line("stopping; a second Ctrl-C ends at once");
        stop.send_replace(true);
    }
}

/// Waits for Ctrl-C or SIGTERM; `false` when there are no signals here.
async fn signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return false;
    };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
        told = terminate.recv() => told.is_some(),
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string())
        .unwrap_or_default()
}
