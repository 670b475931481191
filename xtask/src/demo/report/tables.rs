//! Tables of times, phases and nodes.

use std::fmt::Write;

use crate::demo::events::SpanKind;
use crate::demo::format::{bytes, duration, escape, fine_percent};
use crate::demo::metrics::{Metrics, Round, Time};

/// The mean training round of a node.
pub(super) fn split(time: &Time) -> String {
    let whole = time.node_ms.wall_sum().max(f64::MIN_POSITIVE);
    let mut html = format!(
        "<table><caption>A training round takes {} on average; a node's part of it:</caption>\
         <thead><tr><th></th><th>on the clock</th><th>share</th><th>CPU</th></tr></thead><tbody>\n",
        duration(time.round_ms)
    );
    for kind in SpanKind::ALL {
        let wall = time.node_ms.wall(kind);
        let _ = writeln!(
            html,
            "<tr><td><span class=\"chip {name}\"></span>{name}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            duration(wall),
            fine_percent(wall / whole),
            match kind {
                SpanKind::Network | SpanKind::Waiting => String::new(),
                _ => duration(time.node_ms.cpu(kind)),
            },
            name = kind.name()
        );
    }
    html.push_str("</tbody></table>\n");
    html
}

/// The phases of every round, folded away.
pub(super) fn phases(rounds: &[Round]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for phase in rounds.iter().flat_map(|round| &round.phases) {
        if !names.contains(&&*phase.phase) {
            names.push(&phase.phase);
        }
    }
    let mut html = String::from(
        "<details><summary>Phases by the coordinator's clock</summary><div class=\"wide\"><table>\
         <thead><tr><th>round</th>",
    );
    for name in &names {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html.push_str("<th>in the sum</th></tr></thead><tbody>\n");
    for round in rounds {
        let _ = write!(html, "<tr><td>{}</td>", round.round);
        for name in &names {
            let mut phases = round.phases.iter().filter(|phase| phase.phase == **name);
            let wall = phases.next().map(|phase| duration(phase.wall_ms));
            let _ = write!(html, "<td>{}</td>", wall.unwrap_or_default());
        }
        let _ = writeln!(html, "<td>{}</td></tr>", round.contributors);
    }
    html.push_str("</tbody></table></div></details>\n");
    html
}

/// Every node, with what the coordinator knows apart from what only the node knows.
pub(super) fn nodes(metrics: &Metrics) -> String {
    let mut html = String::from(
        "<h2>The nodes</h2>\n<p>The coordinator knows a node's name, identity, address, and which \
         of its messages arrived. What stands on the right comes from each node's own event file, \
         which is sent to nobody. How many messages a node trained on, its losses and its accuracy \
         travel as sums only.</p>\n<div class=\"wide\"><table class=\"dense\"><thead>\
         <tr class=\"group\"><th class=\"group\"></th><th class=\"group\" colspan=\"2\">known to \
         the coordinator</th><th class=\"group\" colspan=\"4\">from the node's own event \
         file</th></tr>\
         <tr><th>node</th><th>vectors</th><th>killed in</th><th>train CPU</th>\
         <th>crypt. CPU</th><th>sent</th><th>received</th></tr></thead><tbody>\n",
    );
    for node in &metrics.nodes {
        let death = metrics.deaths.iter().find(|death| death.name == node.name);
        let death = death.map_or_else(String::new, |death| format!("round {}", death.round));
        let _ = writeln!(
            html,
            "<tr><td title=\"{}\">{}</td><td>{}</td><td>{death}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td></tr>",
            escape(&node.client),
            escape(&node.name),
            node.uploads,
            duration(node.own_ms.cpu(SpanKind::Training)),
            duration(node.own_ms.cpu(SpanKind::Cryptography)),
            bytes(node.own_up_bytes as f64),
            bytes(node.own_down_bytes as f64)
        );
    }
    html.push_str("</tbody></table></div>\n");
    for death in &metrics.deaths {
        let missed = match &death.missed_in {
            Some(phase) => format!("missed by the coordinator in {}", escape(phase)),
            None => "not missed by the coordinator".to_owned(),
        };
        let back = match death.back_in_round {
            Some(round) => format!("back in the sum of round {round}"),
            None => "not back in any later sum".to_owned(),
        };
        let _ = writeln!(
            html,
            "<p class=\"small soft\">{} was killed in round {} before its {}, {missed}, and \
             {back}.</p>",
            escape(&death.name),
            death.round,
            escape(&death.before_phase)
        );
    }
    html
}
