//! The processes that a command starts: their logs are kept, none outlives the command.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};

use crate::process::display;

/// How often processes and their events are looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// The last lines of a log that are shown when its process has failed.
const SHOWN_LINES: usize = 15;

/// Whether the user wants to stop; once set up, for the rest of the process.
static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and a closed terminal are noticed by [`check_interrupt`], so that
/// the command ends its processes before it ends itself.
///
/// # Errors
///
/// When a signal's handler cannot be set.
pub(crate) fn catch_interrupts() -> Result<()> {
    let interrupted = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))
            .context("cannot catch Ctrl-C")?;
    }
    Ok(())
}

/// # Errors
///
/// When the user wants to stop.
pub(crate) fn check_interrupt() -> Result<()> {
    let interrupted = INTERRUPTED.get();
    if interrupted.is_some_and(|interrupted| interrupted.load(Ordering::SeqCst)) {
        bail!("interrupted: all processes have been ended");
    }
    Ok(())
}

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a process whose output is appended to `log`. It is in a process group of its own:
    /// Ctrl-C reaches the demo alone, which then ends its processes.
    ///
    /// # Errors
    ///
    /// When the log cannot be written or the program cannot be started.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = append(log)?;
        let errors = output.try_clone().context("cannot share a log")?;
        Self::spawn(name, command.stdout(output).stderr(errors), log)
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", display(command)))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// How the process has ended, if it has.
    ///
    /// # Errors
    ///
    /// When the system cannot say.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait();
        status.with_context(|| format!("cannot ask for the state of {}", self.name))
    }

    /// # Errors
    ///
    /// When the process has ended in any way; the message has its last lines.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!(self.obituary(status)),
        }
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    ///
    /// When it fails or the user wants to stop.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.end()?;
        self.require_success(status)
    }

    /// # Errors
    ///
    /// When this is not how a process ends that has done its work.
    pub(crate) fn require_success(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!(self.obituary(status));
        }
        Ok(())
    }

    /// Waits for the process to end by itself, and says how it did.
    ///
    /// # Errors
    ///
    /// When the user wants to stop.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            check_interrupt()?;
            thread::sleep(POLL);
        }
    }

    /// Ends the process at once (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it had ended before.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.check_running()?;
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        let status = self.child.wait().context("a killed process has no end")?;
        if status.signal() != Some(SIGKILL) {
            bail!("{} ended before it could be killed: {status}", self.name);
        }
        Ok(())
    }

    fn obituary(&self, status: ExitStatus) -> String {
        format!(
            "{} has ended unexpectedly ({status}). The end of {}:\n{}",
            self.name,
            self.log.display(),
            last_lines(&self.log)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end and returns its standard output; standard error goes to `log`.
///
/// # Errors
///
/// When it cannot be started, fails, or the user wants to stop.
pub(crate) fn output_of(name: &str, command: &mut Command, log: &Path) -> Result<String> {
    let errors = append(log)?;
    let process = Process::spawn(name, command.stdout(Stdio::piped()).stderr(errors), log)?;
    finish_output(process)
}

/// Waits for a process whose standard output is a pipe.
fn finish_output(mut process: Process) -> Result<String> {
    let pipe = process.child.stdout.take();
    // Read beside the waiting: a full pipe would stop the process for ever.
    let reader = thread::spawn(move || {
        let mut text = String::new();
        pipe.map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut text))
            .map(|_| text)
    });
    let name = process.name.clone();
    process.wait()?;
    match reader.join() {
        Ok(text) => text.with_context(|| format!("cannot read what {name} printed")),
        Err(_) => bail!("the thread that reads what {name} prints has panicked"),
    }
}

fn append(log: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write the log {}", log.display()))
}

/// The last lines of a log, indented.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(SHOWN_LINES);
    if lines.is_empty() {
        return "    (it is empty)".to_owned();
    }
    let lines: Vec<String> = lines[first..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_last_lines_of_a_failure_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "for i in $(seq 30); do echo line $i; done; echo why >&2; exit 3";
        let process = Process::start("child", &mut shell(script), &log).unwrap();
        let message = process.wait().unwrap_err().to_string();
        assert!(
            message.contains("child has ended unexpectedly (exit status: 3)"),
            "{message}"
        );
        assert!(message.ends_with("line 30\n    why"), "{message}");
        assert!(!message.contains("line 15\n"), "{message}");
    }

    #[test]
    fn a_process_is_killed_by_its_drop_and_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = Process::start("child", &mut shell("exec sleep 60"), &log).unwrap();
        process.check_running().unwrap();
        let stat = format!("/proc/{}", process.child.id());
        process.kill().unwrap();
        assert!(!Path::new(&stat).exists());

        let process = Process::start("child", &mut shell("exec sleep 60"), &log).unwrap();
        let stat = format!("/proc/{}", process.child.id());
        assert!(Path::new(&stat).exists());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }

    #[test]
    fn a_process_that_has_ended_cannot_be_killed_or_count_as_running() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = Process::start("child", &mut shell("exit 0"), &log).unwrap();
        while process.ended().unwrap().is_none() {
            thread::sleep(POLL);
        }
        let message = process.check_running().unwrap_err().to_string();
        assert!(message.contains("exit status: 0"), "{message}");
        assert!(message.contains("(it is empty)"), "{message}");
        assert!(process.kill().is_err());
    }

    #[test]
    fn output_is_read_whole_and_errors_go_to_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // More than a pipe holds.
        let script = "head -c 200000 /dev/zero | tr '\\0' x; echo noise >&2";
        let text = output_of("child", &mut shell(script), &log).unwrap();
        assert_eq!(text.len(), 200_000);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "noise\n");
    }
}
