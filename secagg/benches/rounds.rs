//! Whole rounds in one process: processor seconds of the server and of one client by phase, and
//! bytes. Every message travels as bytes. Clients drop after ShareKeys.
//!
//! `--only TEXT` runs the rounds whose names hold the text, `--all` also those that take minutes,
//! `--json FILE` writes the figures.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap ends the benchmark"
)]

mod harness;
mod round;

use harness::{Report, argument, flag};
use round::{Costs, Setting};
use secagg::{GraphKind, ThreatModel};

/// The rounds, with the limits in seconds for the server and for one client. Each is at least five
/// times below what the best known implementation needs.
const ROUNDS: &[(Setting, Option<f64>, Option<f64>, bool)] = &[
    (sparse(1000, 88, 36, 30), Some(1.9), Some(0.015), false),
    (sparse(1000, 88, 36, 10), None, Some(0.015), false),
    (sparse(1000, 88, 36, 0), None, Some(0.015), false),
    (sparse(500, 76, 31, 30), None, None, false),
    (sparse(100, 50, 26, 30), Some(0.12), None, false),
    (complete(100, 69, 30), None, None, false),
    (complete(500, 349, 30), Some(5.2), None, true),
    (complete(1000, 690, 30), Some(20.6), Some(0.170), true),
];

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

fn main() {
    let mut report = Report::default();
    let only = argument("--only").unwrap_or_default();
    for (setting, server, client, long) in ROUNDS {
        let models = [ThreatModel::HonestButCurious, ThreatModel::Malicious];
        for model in models {
            let setting = setting.with(model);
            let name = setting.name();
            if !name.contains(&only) || *long && !flag("--all") {
                continue;
            }
            let limits = (model == ThreatModel::HonestButCurious).then_some((*server, *client));
            let (server, client) = limits.unwrap_or_default();
            print(&mut report, &name, &round::run(&setting), server, client);
        }
    }
    report.finish();
}

fn print(report: &mut Report, name: &str, costs: &Costs, server: Option<f64>, client: Option<f64>) {
    let Costs {
        server: phases,
        client: steps,
        ..
    } = costs;
    report.add(&format!("server/{name}"), phases.total(), "s", server);
    for (phase, seconds) in phases.each() {
        report.add(&format!("server/{name}/{phase}"), seconds, "s", None);
    }
    report.add(
        &format!("server/{name}/recovery-wall"),
        costs.recovery_wall,
        "s",
        None,
    );
    report.add(&format!("client/{name}"), steps.total(), "s", client);
    for (phase, seconds) in steps.each() {
        report.add(&format!("client/{name}/{phase}"), seconds, "s", None);
    }
    report.add(&format!("up/{name}"), costs.up as f64, "bytes", None);
    report.add(&format!("down/{name}"), costs.down as f64, "bytes", None);
}
