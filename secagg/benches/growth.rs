//! How the costs of a round grow with the cohort, the degree of the graph and the length of the
//! vector, one at a time, with the exponent that fits best: 1 is linear. 30 % of the clients drop
//! after ShareKeys, and the server is trusted.
//!
//! `--json FILE` writes the figures. It takes some minutes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap ends the benchmark"
)]

mod harness;
mod round;

use harness::Report;
use round::Setting;
use secagg::{GraphKind, ThreatModel};

/// What an exponent may reach by noise.
const LINEAR: f64 = 1.05;

const fn setting(cohort: u32, degree: u32, elements: u32) -> Setting {
    Setting {
        model: ThreatModel::HonestButCurious,
        graph: GraphKind::Sparse,
        cohort,
        degree,
        // Fewer than the 70 % that stay, more than the corrupt could have.
        threshold: degree * 9 / 20,
        dropouts: 30,
        elements,
        bits: 20,
    }
}

fn main() {
    let mut report = Report::default();
    let settings = [500, 1000, 2500, 5000, 10_000].map(|n| (n, setting(n, 88, 2000)));
    // A client of a larger cohort has a longer roster, and nothing else.
    measure(&mut report, "n", settings, (Some(LINEAR), None));

    let settings = [40, 80, 160, 320].map(|k| (k, setting(500, k, 20_000)));
    measure(&mut report, "k", settings, (Some(LINEAR), Some(LINEAR)));

    let settings = [100_000, 1_000_000, 10_000_000].map(|m| (m, setting(40, 20, m)));
    measure(&mut report, "m", settings, (Some(LINEAR), Some(LINEAR)));
    report.finish();
}

/// One quantity's settings, and the exponents that server and client may reach.
fn measure(
    report: &mut Report,
    quantity: &str,
    settings: impl IntoIterator<Item = (u32, Setting)>,
    limits: (Option<f64>, Option<f64>),
) {
    let (mut server, mut client) = (Vec::new(), Vec::new());
    for (value, setting) in settings {
        let costs = round::run(&setting);
        let Setting {
            cohort,
            degree,
            elements,
            ..
        } = setting;
        let name = format!("n{cohort}/k{degree}/m{elements}/drop30");
        let seconds = (costs.server.total(), costs.client.total());
        report.add(&format!("growth/server/{name}"), seconds.0, "s", None);
        report.add(&format!("growth/client/{name}"), seconds.1, "s", None);
        server.push((f64::from(value), seconds.0));
        client.push((f64::from(value), seconds.1));
    }
    for (who, costs, limit) in [("server", server, limits.0), ("client", client, limits.1)] {
        let name = format!("growth/{who}/exponent-in-{quantity}");
        report.add(&name, exponent(&costs), "", limit);
        // A term that grows faster shows at the end first.
        let name = format!("growth/{who}/exponent-in-{quantity}/last-step");
        report.add(&name, exponent(&costs[costs.len() - 2..]), "", None);
    }
}

/// The slope of the straight line through the logarithms, by least squares.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let logarithms = points.iter().map(|(x, y)| (x.ln(), y.ln()));
    let count = points.len() as f64;
    let sums = logarithms
        .clone()
        .fold((0.0, 0.0), |sums, (x, y)| (sums.0 + x, sums.1 + y));
    let means = (sums.0 / count, sums.1 / count);
    let (mut products, mut squares) = (0.0, 0.0);
    for (x, y) in logarithms {
        products += (x - means.0) * (y - means.1);
        squares += (x - means.0) * (x - means.0);
    }
    products / squares
}
