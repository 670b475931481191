//! One round, with the time that each side spends in each phase.
#![allow(dead_code, reason = "each benchmark uses a part of this module")]

mod clients;

use std::{env, fs, path::Path, process::Command};

use secagg::{
    Advert, ClientId, ConsistencyCheck, Context, GraphKind, Layout, MaskedInput, Parameters,
    Segment, Session, ShareKeys, ThreatModel, UnmaskShares, Vector,
    server::{AfterMasked, CollectAdverts},
};

use self::clients::{Clients, Live, Recorded, Recording};
use crate::harness::{argument, cpu_seconds, wall_seconds};

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) model: ThreatModel,
    pub(crate) graph: GraphKind,
    pub(crate) cohort: u32,
    pub(crate) degree: u32,
    pub(crate) threshold: u32,
    /// Of a hundred clients, how many are lost after they shared their keys.
    pub(crate) dropouts: u32,
    pub(crate) elements: u32,
    pub(crate) bits: u8,
}

impl Setting {
    /// The same with clients that trust the server as given. A malicious server needs a higher
    /// threshold: that of two thirds of the neighbours.
    pub(crate) const fn with(self, model: ThreatModel) -> Self {
        match model {
            ThreatModel::Malicious => {
                let two_thirds = 2 * self.degree / 3;
                let threshold = if self.threshold > two_thirds {
                    self.threshold
                } else {
                    // 30 % of a client's neighbours may be lost, and some more by chance.
                    self.degree * 11 / 20 + 1
                };
                Self {
                    model,
                    threshold,
                    ..self
                }
            }
            _ => Self { model, ..self },
        }
    }

    pub(crate) fn name(&self) -> String {
        let graph = match self.graph {
            GraphKind::Complete => "complete".into(),
            _ => format!("k{}", self.degree),
        };
        let Self {
            cohort,
            dropouts,
            model,
            ..
        } = self;
        format!("n{cohort}/{graph}/drop{dropouts}/{model}")
    }

    /// How many clients are lost.
    const fn lost(&self) -> u32 {
        self.cohort * self.dropouts / 100
    }

    /// Bytes of keystream that the server needs: about as many masks as pairs of neighbours of
    /// which one is lost, and one of each client that stays.
    pub(crate) fn keystream(&self) -> f64 {
        let [lost, cohort, degree] = [self.lost(), self.cohort, self.degree].map(f64::from);
        let staying = cohort - lost;
        let masks = lost * degree * staying / (cohort - 1.0) + staying;
        masks * f64::from(self.elements) * f64::from(self.bits) / 8.0
    }

    fn session(&self) -> Session {
        let segment = Segment::new("update", self.elements, self.bits);
        let layout = Layout::new(vec![segment.unwrap()]).unwrap();
        let parameters = Parameters::new(self.model, self.graph, 3..=self.cohort, layout);
        let context = Context {
            round: 1,
            nonce: [7; 32],
            model_digest: [0; 32],
            plan_digest: [0; 32],
        };
        Session::new(parameters.unwrap(), context)
    }
}

/// Seconds by phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases([f64; 5]);

impl Phases {
    const NAMES: [&str; 5] = ["advertise", "share", "mask", "check", "unmask"];

    pub(crate) fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, f64)> {
        Self::NAMES.into_iter().zip(self.0)
    }

    fn add(&mut self, phase: usize, seconds: f64) {
        self.0[phase] += seconds;
    }

    fn time<T>(&mut self, phase: usize, work: impl FnOnce() -> T) -> T {
        let start = cpu_seconds();
        let result = work();
        self.add(phase, cpu_seconds() - start);
        result
    }
}

/// What a round costs.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) server: Phases,
    /// Of one client that stays to the end, on average.
    pub(crate) client: Phases,
    /// Of the last step of the server, on the wall.
    pub(crate) recovery_wall: f64,
    /// Bytes that one client that stays to the end sends and receives in all.
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// The most memory that a process with nothing but the server had, in bytes.
    pub(crate) server_memory: Option<u64>,
}

/// Runs a round. The sum is checked.
pub(crate) fn run(setting: &Setting) -> Costs {
    let session = setting.session();
    let mut clients = Live::new(setting, &session);
    let served = serve(setting, &session, &mut clients);
    costs(setting, served, clients)
}

/// The same, and then once more in a process of its own with the server alone, for its memory.
/// `main` has to begin with [`replay`].
pub(crate) fn run_and_replay(setting: &Setting) -> Costs {
    let session = setting.session();
    let mut clients = Live::new(setting, &session);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("round.recording");
    let served = serve(setting, &session, &mut Recorded::new(&mut clients, &path));
    let mut costs = costs(setting, served, clients);
    let mut alone = Command::new(env::current_exe().unwrap());
    alone.args(["--replay", &setting.name()]).arg(&path);
    let printed = alone.output().unwrap();
    assert!(printed.status.success(), "the replay failed: {printed:?}");
    fs::remove_file(&path).unwrap();
    costs.server_memory = String::from_utf8(printed.stdout)
        .unwrap()
        .trim()
        .parse()
        .ok();
    costs
}

/// In a process that [`run_and_replay`] started: serves the recorded clients, prints the most
/// memory that the process had, in bytes, and returns true.
pub(crate) fn replay(settings: impl IntoIterator<Item = Setting>) -> bool {
    let Some(name) = argument("--replay") else {
        return false;
    };
    let mut settings = settings.into_iter();
    let setting = settings.find(|setting| setting.name() == name).unwrap();
    let path = argument(&name).unwrap();
    let mut clients = Recording::open(Path::new(&path));
    drop(serve(&setting, &setting.session(), &mut clients));
    if let Some(bytes) = peak_memory() {
        println!("{bytes}");
    }
    true
}

/// Where the system tells.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn costs(setting: &Setting, served: Served, clients: Live) -> Costs {
    assert!(served.sum == clients.expected, "the sum is wrong");
    let mut client = clients.spent;
    let survivors = setting.cohort - setting.lost();
    for (phase, seconds) in client.0.iter_mut().enumerate() {
        let clients = if phase < 2 { setting.cohort } else { survivors };
        *seconds /= f64::from(clients);
    }
    Costs {
        server: served.spent,
        client,
        recovery_wall: served.recovery_wall,
        up: served.up / u64::from(survivors),
        down: served.down / u64::from(survivors),
        server_memory: None,
    }
}

struct Served {
    spent: Phases,
    recovery_wall: f64,
    sum: Vector,
    /// Bytes of all clients that stay to the end.
    up: u64,
    down: u64,
}

/// The server's part.
fn serve(setting: &Setting, session: &Session, clients: &mut impl Clients) -> Served {
    let signed = setting.model == ThreatModel::Malicious;
    let trust = signed.then(clients::trust);
    let mut spent = Phases::default();
    let (mut up, mut down) = (0, 0);

    let mut collect = CollectAdverts::new(session.clone(), trust);
    let mut ids: Vec<ClientId> = Vec::new();
    for i in 0..setting.cohort {
        let (id, bytes) = clients.advertise();
        up += if i < setting.lost() { 0 } else { bytes.len() };
        spent.time(0, || {
            let advert = Advert::decode(&bytes, session).unwrap();
            collect.receive(id, advert).unwrap();
        });
        ids.push(id);
    }
    let (degree, threshold) = (setting.degree, setting.threshold);
    let mut collect = spent.time(0, || collect.close(degree, threshold).unwrap());

    let (lost, staying) = ids.split_at(setting.lost() as usize);
    for id in &ids {
        let (all, own) = spent.time(1, || collect.roster_bytes_for(*id).unwrap());
        let roster = [&all[..], &own[..]].concat();
        let bytes = clients.answer(*id, &roster);
        if !lost.contains(id) {
            down += roster.len();
            up += bytes.len();
        }
        spent.time(1, || {
            let shares = ShareKeys::decode(&bytes, session).unwrap();
            collect.receive(*id, shares).unwrap();
        });
    }
    let mut collect = spent.time(1, || collect.close().unwrap());

    for id in staying {
        let delivery = spent.time(2, || collect.delivery_for(*id).unwrap().encode(session));
        let bytes = clients.answer(*id, &delivery);
        down += delivery.len();
        up += bytes.len();
        spent.time(2, || {
            let masked = MaskedInput::from_vec(bytes, session).unwrap();
            collect.receive(*id, &masked).unwrap();
        });
    }

    let mut reveals: Vec<Vec<u8>> = Vec::new();
    let mut collect = match spent.time(2, || collect.close().unwrap()) {
        AfterMasked::Unmask(collect) => {
            for id in staying {
                let survivors = spent.time(4, || collect.survivors().encode(session));
                reveals.push(clients.answer(*id, &survivors));
                down += survivors.len();
            }
            collect
        }
        AfterMasked::Check(mut collect) => {
            for id in staying {
                let survivors = spent.time(3, || collect.survivors().encode(session));
                let bytes = clients.answer(*id, &survivors);
                down += survivors.len();
                up += bytes.len();
                spent.time(3, || {
                    let check = ConsistencyCheck::decode(&bytes, session).unwrap();
                    collect.receive(*id, &check).unwrap();
                });
            }
            let collect = spent.time(3, || collect.close().unwrap());
            for id in staying {
                let signatures = spent.time(4, || {
                    let signatures = collect.signatures_for(*id).unwrap();
                    signatures.encode(session)
                });
                reveals.push(clients.answer(*id, &signatures));
                down += signatures.len();
            }
            collect
        }
    };
    for (id, bytes) in staying.iter().zip(reveals) {
        up += bytes.len();
        spent.time(4, || {
            let shares = UnmaskShares::decode(&bytes, session).unwrap();
            collect.receive(*id, shares).unwrap();
        });
    }
    let start = wall_seconds();
    let outcome = spent.time(4, || collect.close().unwrap());
    Served {
        spent,
        recovery_wall: wall_seconds() - start,
        sum: outcome.sum,
        up: up as u64,
        down: down as u64,
    }
}
