//! `credential`: keeps the credential that the authority has signed.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::participate::credential;
use crate::participate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file that the authority handed back.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { file, dir } = arguments;
    let settings = Settings::read(dir)?;
    let Some(authority) = settings.authority else {
        bail!(
            "{} joined without --authority: it has nobody whose credentials it believes; join again \
             with --again --authority PIN",
            dir.display()
        );
    };
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let credential = credential::install(dir, &text, settings.client_id, authority)
        .with_context(|| file.display().to_string())?;
    let days = credential
        .expires()
        .saturating_sub(credential::now())
        .div_ceil(24 * 3600);
    // It is installed, whether or not anybody reads it.
    let _ = writeln!(
        std::io::stdout(),
        "{} is vouched for; the credential is valid for {days} days",
        settings.name
    );
    Ok(())
}
