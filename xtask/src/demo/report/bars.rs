//! Time bars: one a round, stacked by what the time went to.

use std::fmt::Write;

use crate::demo::events::SpanKind;
use crate::demo::format::duration;
use crate::demo::metrics::Round;

const WIDTH: f64 = 460.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 84.0;
const ROW: f64 = 21.0;
const BAR: f64 = 14.0;
const TOP: f64 = 20.0;

/// The bars as an `svg` element.
pub(super) fn svg(rounds: &[Round]) -> String {
    let longest = rounds
        .iter()
        .map(|round| round.wall_ms.max(round.node_ms.wall_sum()))
        .fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let height = TOP + ROW * rounds.len() as f64 + 6.0;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Time of \
         each round by what it went to\"><text x=\"{:.1}\" y=\"12\" text-anchor=\"end\">round</text>\
         <text x=\"{:.1}\" y=\"12\">whole round</text>",
        LEFT - 6.0,
        WIDTH - RIGHT + 8.0
    );
    let mut top = TOP;
    for round in rounds {
        let baseline = top + BAR - 3.0;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            round.round
        );
        let mut x = LEFT;
        for kind in SpanKind::ALL {
            let wall = round.node_ms.wall(kind);
            let width = wall * scale;
            if width > 0.0 {
                let _ = write!(
                    svg,
                    "<rect class=\"{}\" x=\"{x:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" \
                     height=\"{BAR}\"><title>round {}, {}: {}</title></rect>",
                    kind.name(),
                    round.round,
                    kind.name(),
                    duration(wall)
                );
            }
            x += width;
        }
        let end = LEFT + round.wall_ms * scale;
        let _ = write!(
            svg,
            "<line class=\"whole\" x1=\"{end:.2}\" x2=\"{end:.2}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <text x=\"{:.1}\" y=\"{baseline:.1}\">{}{}</text>",
            top - 2.0,
            top + BAR + 2.0,
            WIDTH - RIGHT + 8.0,
            duration(round.wall_ms),
            if round.killed.is_empty() { "" } else { " ✕" }
        );
        top += ROW;
    }
    svg.push_str("</svg>");
    svg
}

/// What the colours mean.
pub(super) fn legend() -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for kind in SpanKind::ALL {
        let name = kind.name();
        let _ = write!(html, "<li><span class=\"chip {name}\"></span>{name}</li>");
    }
    html.push_str("</ul>");
    html
}
