//! What Python does for us: pip downloads the wheels, zipfile unpacks them.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result, anyhow, bail};

use super::WAYS_OUT;
use super::pins::Wheel;

/// How many of pip's last lines an error quotes.
const QUOTED_LINES: usize = 8;

/// Which wheels pip may choose: those of one Python on Linux x86-64, whatever runs pip.
const PIP_ARGUMENTS: [&str; 17] = [
    "--no-deps",
    "--require-hashes",
    "--only-binary=:all:",
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
    "--abi",
    "none",
    "--platform",
    "manylinux_2_28_x86_64",
    "--platform",
    "manylinux_2_25_x86_64",
    "--platform",
    "manylinux2014_x86_64",
];

/// Arguments: a wheel, a folder, and rules `from=to`.
const EXTRACT: &str = r#"
import os, shutil, sys, zipfile
wheel, folder, *rules = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    for rule in rules:
        before, after = rule.split("=")
        matching = [name for name in names if name.startswith(before)]
        if not matching:
            sys.exit(f"{wheel} holds nothing that starts with {before}")
        for name in matching:
            path = os.path.join(folder, after + name[len(before):])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(name) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
"#;

const TORCH_VERSION: &str = "import torch; print(torch.__version__)";

/// A Python interpreter.
#[derive(Debug)]
pub(super) struct Python {
    program: OsString,
}

impl Default for Python {
    fn default() -> Self {
        Self {
            program: "python3".into(),
        }
    }
}

impl Python {
    /// The interpreter that the build script of torch-sys asks where torch is.
    pub(super) fn for_torch_sys() -> Self {
        let program = if env::var_os("VIRTUAL_ENV").is_some() {
            "python"
        } else {
            "python3"
        };
        Self {
            program: program.into(),
        }
    }

    /// Downloads what the requirements file pins, from wherever this machine's pip is configured
    /// to look. pip's settings are left as they are.
    ///
    /// # Errors
    ///
    /// When there is no Python or no pip, or when pip fails: with its last lines.
    pub(super) fn download(&self, requirements: &Path, into: &Path) -> Result<()> {
        // pip's progress is for people: our standard output stays clean.
        let progress = io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_or_else(|_| Stdio::null(), Stdio::from);
        let mut child = Command::new(&self.program)
            .args(["-m", "pip", "download"])
            .args(PIP_ARGUMENTS)
            .arg("--requirement")
            .arg(requirements)
            .arg("--dest")
            .arg(into)
            .stdin(Stdio::null())
            .stdout(progress)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.cannot_start(error))?;

        let mut last = VecDeque::new();
        for line in child
            .stderr
            .take()
            .into_iter()
            .flat_map(|pipe| BufReader::new(pipe).lines())
        {
            let line = line.context("cannot read what pip says")?;
            // Retries can take minutes: show at once why. The rest goes into the error.
            if line.starts_with("WARNING") {
                let _ = writeln!(io::stderr(), "{line}");
                continue;
            }
            if last.len() == QUOTED_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }

        let status = child.wait().context("cannot wait for pip")?;
        if status.success() {
            return Ok(());
        }
        if last
            .iter()
            .any(|line| line.ends_with("No module named pip"))
        {
            bail!(
                "libtorch cannot be fetched: python3 has no pip. Install it (on Debian: \
                 `apt-get install python3-pip`) and run `cargo xtask libtorch` again"
            );
        }
        let said: String = last.iter().map(|line| format!("\n    {line}")).collect();
        bail!("libtorch cannot be fetched: `pip download` failed ({status}):{said}\n{WAYS_OUT}")
    }

    /// Extracts what we want of a wheel into a folder.
    ///
    /// # Errors
    ///
    /// When the wheel holds none of the wanted files, is broken, or the disk is full.
    pub(super) fn extract(&self, wheel: &Wheel, path: &Path, into: &Path) -> Result<()> {
        let output = Command::new(&self.program)
            .args(["-c", EXTRACT])
            .arg(path)
            .arg(into)
            .args(wheel.files.iter().map(|(from, to)| format!("{from}={to}")))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| self.cannot_start(error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("Python says nothing");
            bail!("cannot extract the wheel of {}: {last}", wheel.name);
        }
        Ok(())
    }

    /// The version of the installed package torch.
    ///
    /// # Errors
    ///
    /// When torch is not installed.
    pub(super) fn torch_version(&self) -> Result<String> {
        let output = Command::new(&self.program)
            .args(["-c", TORCH_VERSION])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| self.cannot_start(error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "LIBTORCH_USE_PYTORCH is set, but {} has no torch: {}. Install torch 2.11.0, or \
                 unset the variable and run `cargo xtask libtorch`",
                self.program.display(),
                said.lines().last().unwrap_or("it says nothing")
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn cannot_start(&self, error: io::Error) -> Error {
        let program = self.program.display();
        if error.kind() == ErrorKind::NotFound {
            anyhow!(
                "libtorch cannot be fetched: there is no {program} on the PATH. Install it with \
                 pip (on Debian: `apt-get install python3 python3-pip`) and run `cargo xtask \
                 libtorch` again"
            )
        } else {
            anyhow!("libtorch cannot be fetched: cannot start {program}: {error}")
        }
    }
}

#[cfg(test)]
impl Python {
    /// A stand-in for Python from `xtask/fixtures`.
    pub(super) fn fixture(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        Self {
            program: path.into(),
        }
    }
}

#[cfg(test)]
mod tests;
