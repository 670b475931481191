//! The section with the picture that makes the point.

use std::fmt::Write;

use crate::demo::exhibit::{Exhibit, Tests};
use crate::demo::format::{chi_square, correlation, counted, escape, percent, probability, whole};
use crate::demo::statistics::{CORRELATION_DEVIATIONS, UNIFORM_P};

/// The whole section.
pub(super) fn section(exhibit: &Exhibit) -> String {
    let node = escape(&exhibit.node);
    let mut html = format!(
        "<h2>What the coordinator saw of one update</h2>\n\
         <p>The update of {node} in round {}: the part that belongs to the embedding of the most \
         frequent words of the vocabulary. A column is a word, a row one of the numbers that stand \
         for it; blue is less, orange is more, pale is no change.</p>\n",
        exhibit.round
    );
    html.push_str(&pictures(exhibit, &node));
    html.push_str(&tests(exhibit));
    let _ = writeln!(
        html,
        "<p class=\"small soft\">A vector looks like noise when it passes both tests: its bytes are \
         uniform (χ² with 255 degrees of freedom, p above {UNIFORM_P}; a fair mask fails this once \
         in {} runs), and its {} numbers are uncorrelated with the clear update (|r| below \
         {CORRELATION_DEVIATIONS}/√m = {:.4}). Only a build with test hooks writes a node's own \
         update, and only towards a coordinator on the same machine. BLAKE3 of the vector that \
         {node} sent: <code>{}</code>; of the vector that the coordinator received: \
         <code>{}</code>.</p>",
        (1.0 / UNIFORM_P).round(),
        whole(exhibit.elements),
        exhibit.masked.correlation_limit,
        escape(&exhibit.sent_blake3),
        if exhibit.hashes_agree() {
            "the same".to_owned()
        } else {
            escape(&exhibit.received_blake3)
        },
    );
    html
}

fn pictures(exhibit: &Exhibit, node: &str) -> String {
    let Some(pictures) = &exhibit.pictures else {
        return String::new();
    };
    let updates = counted(exhibit.contributors as usize, "update", "updates");
    let captions = [
        (
            "In the clear",
            format!("What {node} computed. It never left the node's process unmasked."),
        ),
        (
            "As received",
            format!("The same numbers, masked: all that the coordinator received from {node}."),
        ),
        (
            "In the sum",
            if exhibit.plain_mean {
                format!("What the coordinator decoded: the mean of {updates}.")
            } else {
                format!("What the coordinator's optimiser made of the mean of {updates}.")
            },
        ),
    ];
    let mut html = String::from("<div class=\"three\">\n");
    for (picture, (title, caption)) in pictures.iter().zip(captions) {
        let (width, height) = picture.size();
        let _ = writeln!(
            html,
            "<figure><b>{title}</b><img src=\"{}\" width=\"{width}\" height=\"{height}\" \
             style=\"height:auto\" alt=\"{caption}\"><figcaption>{caption}</figcaption></figure>",
            picture.data_uri()
        );
    }
    html.push_str("</div>\n");
    html
}

fn tests(exhibit: &Exhibit) -> String {
    let both = [&exhibit.masked, &exhibit.unmasked];
    let mut html = String::from(
        "<table><thead><tr><th></th><th>masked, as received</th><th>the same, not \
         masked</th></tr></thead><tbody>\n",
    );
    let mut row = |name: &str, cell: &dyn Fn(&Tests) -> String| {
        let cells: String = both
            .iter()
            .map(|tests| format!("<td>{}</td>", cell(tests)))
            .collect();
        let _ = writeln!(html, "<tr><td>{name}</td>{cells}</tr>");
    };
    row("χ² over the bytes", &|tests| {
        chi_square(tests.bytes.chi_square)
    });
    row("p, if they were uniform", &|tests| {
        probability(tests.bytes.p)
    });
    row("correlation r with the clear update", &|tests| {
        correlation(tests.correlation)
    });
    row("r² (variance explained)", &|tests| {
        percent(tests.correlation.powi(2))
    });
    row("looks like noise", &|tests| {
        let (class, word) = if tests.looks_like_noise {
            ("passes", "yes")
        } else {
            ("fails-test", "no")
        };
        format!("<span class=\"{class}\">{word}</span>")
    });
    html.push_str("</tbody></table>\n");
    html
}
