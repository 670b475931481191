//! One round over real QUIC on loopback, with clients that only speak the protocol in another
//! process. All of them start their uploads at the same moment, which is the worst case for the
//! coordinator's memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Metric;
use crate::process::{self, cargo, display};
use crate::workspace;

/// Clients of the measured round.
const CLIENTS: u32 = 100;

/// With 100 clients, values of 13 bits make a ring of 20.
const VALUE_BITS: u32 = 13;
const RING_BITS: u32 = 20;

/// What the coordinator's memory may reach beyond the model itself, in bytes.
const LIMIT: f64 = 60e6;

/// How much longer than a plain transfer of the same bytes the uploads of a round may take.
const MOST_OF_RAW: f64 = 1.5;

/// Runs the round with vectors of so many elements.
pub(super) fn measure(elements: u32) -> Result<Vec<Metric>> {
    Round::new(elements)?.measure()
}

/// One round with that many elements.
struct Round {
    elements: u32,
    coordinator: PathBuf,
    swarm: PathBuf,
    folder: PathBuf,
}

impl Round {
    /// Builds both programs and empties the folder to work in.
    fn new(elements: u32) -> Result<Self> {
        let mut build = cargo();
        build.args(["build", "--release", "--package", "secagg-coordinator"]);
        build.args(["--package", "secagg-tests", "--bins"]);
        ensure!(
            process::status(&mut build)?.success(),
            "`{}` failed",
            display(&build)
        );
        let target = workspace::target();
        let folder = target.join("bench");
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self {
            elements,
            coordinator: target.join("release").join("secagg-coordinator"),
            swarm: target.join("release").join("swarm"),
            folder,
        })
    }

    fn measure(&self) -> Result<Vec<Metric>> {
        let [model, home, tokens] =
            ["model", "coordinator", "tokens"].map(|name| self.folder.join(name));
        let elements = self.elements.to_string();
        let mut command = Command::new(&self.swarm);
        succeed(
            command
                .arg("model")
                .arg(&model)
                .args(["--parameters", &elements]),
        )?;
        let mut command = Command::new(&self.coordinator);
        succeed(command.arg("init").arg(&home).arg("--model").arg(&model))?;
        fs::write(home.join("coordinator.toml"), settings())?;
        let mut command = Command::new(&self.coordinator);
        command.arg("enrol").arg(&home);
        let printed = succeed(command.args(["--count", &CLIENTS.to_string()]))?;
        fs::write(&tokens, printed)?;

        let mut command = Command::new(&self.coordinator);
        let mut coordinator = self.start("coordinator", command.arg("run").arg(&home))?;
        let listening = coordinator.wait("listening", |_| true)?;
        let address = listening["addr"].as_str().context("no address")?;
        let idle = coordinator.memory()?;

        let mut command = Command::new(&self.swarm);
        command.args(["run", address, "--uploads-together", "--tokens"]);
        let mut swarm = self.start("swarm", command.arg(&tokens))?;
        let complete = coordinator.wait("round_complete", |event| event["round"] == 1)?;
        let peak = coordinator.memory()?;
        ensure!(
            complete["contributors"] == CLIENTS,
            "not everybody is in the sum: {complete}"
        );
        let status = coordinator.child.wait()?;
        ensure!(status.success(), "the coordinator ended: {status}");
        let status = swarm.child.wait()?;
        ensure!(status.success(), "the swarm ended: {status}");

        let uploads = self.uploads(&swarm.events()?)?;
        let raw = self.raw(uploads.size)?;
        let model_size = f64::from(self.elements) * 4.0;
        Ok(vec![
            self.metric("model/size", model_size / 1e6, "MB", None),
            self.metric("coordinator/idle-rss", idle / 1e6, "MB", None),
            self.metric(
                "coordinator/peak-rss",
                peak / 1e6,
                "MB",
                Some((model_size + LIMIT) / 1e6),
            ),
            self.metric(
                "coordinator/peak-rss-beyond-model",
                (peak - model_size) / 1e6,
                "MB",
                Some(LIMIT / 1e6),
            ),
            self.metric(
                "coordinator/upload-goodput",
                uploads.goodput() / 1e6,
                "MB/s",
                None,
            ),
            self.metric("raw-quic/time", raw, "s", None),
            self.metric(
                "coordinator/upload-time",
                uploads.seconds,
                "s",
                Some(raw * MOST_OF_RAW),
            ),
            self.metric("client/upload-size", uploads.size / 1e6, "MB", None),
            self.metric(
                "coordinator/round-time",
                number(&complete, "wall_ms")? / 1e3,
                "s",
                None,
            ),
        ])
    }

    fn metric(&self, name: &str, value: f64, unit: &'static str, limit: Option<f64>) -> Metric {
        Metric {
            name: format!("{name}/n{CLIENTS}/m{}/b{RING_BITS}", self.elements),
            value,
            unit: unit.to_owned(),
            limit,
            ratio: limit.map(|limit| value / limit),
        }
    }

    /// Starts a program that writes events to a file of its name.
    fn start(&self, name: &str, command: &mut Command) -> Result<Program> {
        let events = self.folder.join(format!("{name}.jsonl"));
        let log = fs::File::create(self.folder.join(format!("{name}.log")))?;
        let child = command
            .arg("--events")
            .arg(&events)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", display(command)))?;
        Ok(Program {
            name: name.to_owned(),
            child,
            events,
        })
    }

    /// From the first byte of the first upload of round 1 to the moment at which the coordinator has
    /// taken the last one.
    fn uploads(&self, events: &[Value]) -> Result<Uploads> {
        let numbers = |name: &str, field: &str| {
            let of_name = events.iter().filter(|event| event["event"] == name);
            let of_round = of_name.filter(|event| event["round"] == 1);
            let numbers = of_round.map(|event| number(event, field));
            numbers.collect::<Result<Vec<f64>>>()
        };
        let starts = numbers("uploading", "t_ms")?;
        let start = starts.into_iter().fold(f64::INFINITY, f64::min);
        let ends = numbers("uploaded", "t_ms")?;
        ensure!(ends.len() == CLIENTS as usize, "{} uploads", ends.len());
        let end = ends.into_iter().fold(0.0, f64::max);
        let sizes = numbers("uploaded", "bytes")?;
        let size = *sizes.first().context("no upload")?;
        // The counters, some bytes, come on top of the elements.
        let elements = f64::from(self.elements) * f64::from(RING_BITS) / 8.0;
        ensure!(
            size >= elements && size < elements + 1000.0,
            "uploads of {size} bytes are not of {RING_BITS} bits an element"
        );
        Ok(Uploads {
            size,
            total: sizes.iter().sum(),
            seconds: (end - start) / 1e3,
        })
    }

    /// The seconds that as many plain QUIC transfers of so many bytes take, from the first byte to
    /// the last: nothing is unpacked or added.
    fn raw(&self, size: f64) -> Result<f64> {
        let connections = CLIENTS.to_string();
        let mut command = Command::new(&self.swarm);
        let mut sink = self.start(
            "sink",
            command.args(["sink", "--connections", &connections]),
        )?;
        let listening = sink.wait("listening", |_| true)?;
        let field = |name: &str| {
            listening[name]
                .as_str()
                .with_context(|| format!("no {name}"))
        };
        let mut command = Command::new(&self.swarm);
        command.args(["flood", field("addr")?, field("fingerprint")?]);
        command.args(["--connections", &connections]);
        succeed(command.args(["--bytes", &size.to_string()]))?;
        let drained = sink.wait("drained", |_| true)?;
        ensure!(
            number(&drained, "bytes")? == size * f64::from(CLIENTS),
            "not everything arrived: {drained}"
        );
        Ok(number(&drained, "ms")? / 1e3)
    }
}

struct Uploads {
    /// Bytes of one.
    size: f64,
    /// Bytes of all together.
    total: f64,
    /// From the first byte to the last.
    seconds: f64,
}

impl Uploads {
    /// Bytes a second, of all together.
    fn goodput(&self) -> f64 {
        self.total / self.seconds
    }
}

/// A program that writes events. Dropping it kills it.
struct Program {
    name: String,
    child: Child,
    events: PathBuf,
}

impl Program {
    /// Waits for an event.
    fn wait(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let mut events = self.events()?.into_iter();
            if let Some(event) = events.find(|event| event["event"] == name && fits(event)) {
                return Ok(event);
            }
            if let Some(status) = ended {
                bail!("the {} has ended: {status}; see {}", self.name, self.logs());
            }
            if start.elapsed() > PATIENCE {
                bail!(
                    "no event `{name}` of the {}; see {}",
                    self.name,
                    self.logs()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The complete lines so far.
    fn events(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// The most memory that the process has had so far, in bytes.
    fn memory(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
        let kilobytes = kilobytes.with_context(|| format!("no VmHWM in {path}"))?;
        Ok(kilobytes.trim().parse::<f64>()? * 1024.0)
    }

    fn logs(&self) -> String {
        let folder = self.events.parent().unwrap_or(Path::new("."));
        format!("{}", folder.display())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It can only have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(900);

/// One round for everybody, without a deadline that a slow machine could reach.
fn settings() -> String {
    let deadlines = ["train", "share_keys", "masked_input", "unmask"]
        .map(|phase| format!("[deadlines.{phase}]\nmin_seconds = 800.0\nmax_seconds = 900.0\n"));
    format!(
        "[network]\nlisten = \"127.0.0.1:0\"\n\
         [cohort]\nthreat_model = \"honest-but-curious\"\nmin_clients = {CLIENTS}\nmax_clients = {CLIENTS}\n\
         [rounds]\nrounds = 1\ngather_seconds = 600.0\n\
         [update]\nvalue_bits = {VALUE_BITS}\n\
         [uploads]\nstall_seconds = 600.0\n\
         {}",
        deadlines.concat()
    )
}

fn succeed(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", display(command)))?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        display(command),
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn number(event: &Value, field: &str) -> Result<f64> {
    event[field]
        .as_f64()
        .with_context(|| format!("no number {field} in {event}"))
}
