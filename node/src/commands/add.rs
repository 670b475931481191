//! `add`: text or images into the node's encrypted store.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use secagg_wire::process::disable_core_dumps;
use zeroize::Zeroizing;

use crate::store::{Added, Split, Store};
use crate::text::{self, Format};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Files or folders with messages.
    #[arg(required_unless_present = "held_out", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Messages for evaluation alone; the other files are then for training alone. Without it,
    /// every tenth message is held out.
    #[arg(long, value_name = "FILE")]
    held_out: Option<PathBuf>,
    /// Labels of the images of one IDX file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["held_out", "user"])]
    labels: Option<PathBuf>,
    /// Take only this user's messages.
    #[arg(long)]
    user: Option<String>,
    /// How messages lie in the files.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    disable_core_dumps().context("core dumps cannot be switched off")?;
    if let Some(labels) = &arguments.labels {
        ensure!(
            matches!(arguments.format, Format::Auto | Format::Idx) && arguments.files.len() == 1,
            "--labels {} goes with --format idx and the one file of images that it belongs to",
            labels.display()
        );
    }
    let split = if arguments.held_out.is_some() {
        Split::TrainingOnly
    } else {
        Split::EveryTenth
    };
    let files = arguments.files.iter().map(|path| (path, split));
    let held_out = arguments
        .held_out
        .iter()
        .map(|path| (path, Split::HeldOutOnly));
    // All files are read before the first one is stored: an error leaves nothing half done.
    let mut texts = Vec::new();
    for (path, split) in files.chain(held_out) {
        let messages = match &arguments.labels {
            None => text::read(path, arguments.format, arguments.user.as_deref())?,
            Some(labels) => text::read_labelled(path, labels)?,
        };
        let messages: Vec<Zeroizing<String>> =
            messages.into_iter().map(|message| message.text).collect();
        texts.push((path, split, messages));
    }
    let store = Store::open_or_create(&arguments.dir)?;
    for (path, split, messages) in &texts {
        match store.add(messages, *split)? {
            Added::New { training, held_out } => println!(
                "{}: {training} messages for training, {held_out} held out for evaluation",
                path.display()
            ),
            Added::AlreadyThere => {
                println!(
                    "{}: these messages were added before; nothing to do",
                    path.display()
                );
            }
        }
    }
    Ok(())
}
