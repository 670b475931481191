//! What users get has none of the test hooks.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use secagg_tests::{
    binaries::{self, Build},
    process::output,
};

/// The hooks' options, by binary.
const COORDINATOR: [&str; 2] = ["--pause-at", "--lie-to-nodes"];
const NODE: [&str; 4] = [
    "--pause-at",
    "--dump-update",
    "--dump-round",
    "--machine-root",
];

/// clap's exit status for a command line that it does not understand.
const USAGE: i32 = 2;

struct Binary {
    path: PathBuf,
    /// Its bytes; what is no text matters to nobody here.
    text: String,
    /// What `run --help` prints.
    help: String,
}

impl Binary {
    fn new(path: PathBuf) -> Result<Self> {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let help = output(Command::new(&path).args(["run", "--help"]))?;
        assert!(help.status.success(), "{help:?}");
        Ok(Self {
            path,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            help: String::from_utf8(help.stdout)?,
        })
    }

    fn contains(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// The option is unknown to clap, and its name is nowhere in the binary.
    fn has_no(&self, option: &str, folder: &[&str]) -> Result<()> {
        assert!(!self.help.contains(option));
        let mut command = Command::new(&self.path);
        let refused = output(command.arg("run").args(folder).args([option, "1:train"]))?;
        let said = String::from_utf8(refused.stderr)?;
        assert_eq!(refused.status.code(), Some(USAGE), "{said}");
        let unknown = format!("unexpected argument '{option}' found");
        assert!(said.contains(&unknown), "{said}");
        let path = self.path.display();
        let bare = option.trim_start_matches('-');
        assert!(!self.contains(bare), "{bare} is in {path}");
        Ok(())
    }

    /// The search finds what is there.
    fn has(&self, option: &str) {
        assert!(self.help.contains(option));
        assert!(self.contains(option.trim_start_matches('-')));
    }
}

#[test]
fn a_default_coordinator_has_no_hooks() -> Result<()> {
    let default = Binary::new(binaries::coordinator(Build::Default)?)?;
    let hooks = Binary::new(binaries::coordinator(Build::Hooks)?)?;
    for option in COORDINATOR {
        default.has_no(option, &["nowhere"])?;
        hooks.has(option);
    }
    for lie in ["different-models", "swapped-key", "withheld-boxes"] {
        assert!(!default.contains(lie));
        assert!(hooks.contains(lie));
    }
    Ok(())
}

#[test]
fn a_default_node_has_no_hooks() -> Result<()> {
    let default = Binary::new(binaries::node(Build::Default)?)?;
    let hooks = Binary::new(binaries::node(Build::Hooks)?)?;
    for option in NODE {
        default.has_no(option, &["--dir", "nowhere"])?;
        hooks.has(option);
    }
    // What a dump would write.
    for file in ["update-clear.f32", "quantised.bin"] {
        assert!(!default.contains(file));
        assert!(hooks.contains(file));
    }
    Ok(())
}
