//! Whole rounds in one process: processor seconds of the server and of one client by phase, the
//! bytes of one client, and the memory of a process with the server alone. Every message travels
//! as bytes. Clients drop after ShareKeys.
//!
//! `--only TEXT` runs the rounds whose names hold the text, `--all` also those that take minutes,
//! `--json FILE` writes the figures. With the feature `parallel` and `RAYON_NUM_THREADS` the same
//! runs on several threads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap ends the benchmark"
)]

mod harness;
mod round;

use harness::{Report, argument, flag, openssl_rate};
use round::{Costs, Setting};
use secagg::{GraphKind, ThreatModel};

/// The rounds, with the limits in seconds for the server and for one client. Each is at least five
/// times below what the best known implementation needs.
const ROUNDS: &[(Setting, Option<f64>, Option<f64>, bool)] = &[
    (sparse(1000, 88, 36, 30), Some(1.9), Some(0.015), false),
    (sparse(1000, 88, 36, 10), None, Some(0.015), false),
    (sparse(1000, 88, 36, 0), None, Some(0.015), false),
    (sparse(500, 76, 31, 30), None, None, false),
    (sparse(500, 76, 31, 10), None, None, true),
    (sparse(500, 76, 31, 0), None, None, true),
    (sparse(100, 50, 26, 30), Some(0.12), None, false),
    (sparse(100, 50, 26, 10), None, None, false),
    (sparse(100, 50, 26, 0), None, None, false),
    (complete(100, 69, 30), None, None, false),
    (complete(100, 69, 10), None, None, false),
    (complete(100, 69, 0), None, None, false),
    (complete(500, 349, 30), Some(5.2), None, true),
    (complete(500, 349, 10), None, None, true),
    (complete(500, 349, 0), None, None, true),
    (complete(1000, 699, 30), Some(20.6), Some(0.170), true),
    (complete(1000, 699, 10), None, Some(0.170), true),
    (complete(1000, 699, 0), None, Some(0.170), true),
];

/// What a server with the largest cohort may have beyond three vectors, in bytes.
const MEMORY: f64 = 64e6;

const fn sparse(cohort: u32, degree: u32, threshold: u32, dropouts: u32) -> Setting {
    Setting {
        model: ThreatModel::HonestButCurious,
        graph: GraphKind::Sparse,
        cohort,
        degree,
        threshold,
        dropouts,
        elements: 100_000,
        bits: 20,
    }
}

const fn complete(cohort: u32, threshold: u32, dropouts: u32) -> Setting {
    Setting {
        graph: GraphKind::Complete,
        ..sparse(cohort, cohort - 1, threshold, dropouts)
    }
}

const MODELS: [ThreatModel; 2] = [ThreatModel::HonestButCurious, ThreatModel::Malicious];

fn main() {
    let settings = ROUNDS.iter();
    if round::replay(settings.flat_map(|(setting, ..)| MODELS.map(|model| setting.with(model)))) {
        return;
    }
    let mut report = Report::default();
    let only = argument("--only").unwrap_or_default();
    let openssl = openssl_rate();
    for (setting, server, client, long) in ROUNDS {
        for model in MODELS {
            let setting = setting.with(model);
            let name = setting.name();
            if !name.contains(&only) || *long && !flag("--all") {
                continue;
            }
            let limits = (model == ThreatModel::HonestButCurious).then_some((*server, *client));
            let (server, client) = limits.unwrap_or_default();
            let costs = round::run_and_replay(&setting);
            print(&mut report, &setting, &costs, server, client);
            if let Some(rate) = openssl {
                let seconds = setting.keystream() / rate * 1e-9;
                report.add(&format!("keystream-alone/{name}"), seconds, "s", None);
            }
        }
    }
    report.finish();
}

fn print(
    report: &mut Report,
    setting: &Setting,
    costs: &Costs,
    server: Option<f64>,
    client: Option<f64>,
) {
    let name = setting.name();
    let Costs {
        server: phases,
        client: steps,
        ..
    } = costs;
    report.add(&format!("server/{name}"), phases.total(), "s", server);
    for (phase, seconds) in phases.each() {
        report.add(&format!("server/{name}/{phase}"), seconds, "s", None);
    }
    let wall = costs.recovery_wall;
    report.add(&format!("server/{name}/recovery-wall"), wall, "s", None);
    if let Some(bytes) = costs.server_memory {
        let vector = f64::from(setting.elements) * 4.0;
        let limit = (setting.cohort == 1000).then_some((MEMORY + 3.0 * vector) * 1e-6);
        let name = format!("server-memory/{name}");
        report.add(&name, bytes as f64 * 1e-6, "MB", limit);
    }
    report.add(&format!("client/{name}"), steps.total(), "s", client);
    for (phase, seconds) in steps.each() {
        report.add(&format!("client/{name}/{phase}"), seconds, "s", None);
    }
    report.add(&format!("up/{name}"), costs.up as f64, "bytes", None);
    report.add(&format!("down/{name}"), costs.down as f64, "bytes", None);
}
