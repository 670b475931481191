//! What is printed at the end.

use std::fmt::Write;

use super::events::{SpanKind, Validation};
use super::format::{
    bytes, chi_square, correlation, duration, fine_percent, percent, probability, whole,
};
use super::metrics::{Continuation, Metrics};

/// Everything in plain text.
pub(crate) fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    quality(&mut text, metrics);
    time(&mut text, metrics);
    deaths(&mut text, metrics);
    let exhibit = &metrics.exhibit;
    let _ = writeln!(
        text,
        "\nThe update of {} in round {}, {} numbers:",
        exhibit.node,
        exhibit.round,
        whole(exhibit.elements)
    );
    for (name, tests) in [
        ("masked", &exhibit.masked),
        ("not masked", &exhibit.unmasked),
    ] {
        let _ = writeln!(
            text,
            "  {name:<12} χ² of bytes {:>10} (p {}), correlation {}: {}",
            chi_square(tests.bytes.chi_square),
            probability(tests.bytes.p),
            correlation(tests.correlation),
            if tests.looks_like_noise {
                "noise"
            } else {
                "no noise"
            }
        );
    }
    let _ = writeln!(text, "\nPhrases, before → after:");
    for completion in &metrics.completions {
        let _ = writeln!(
            text,
            "  {} …  {} → {}",
            completion.phrase,
            continuation(&completion.before),
            continuation(&completion.after)
        );
    }
    let _ = writeln!(text, "\nWhat this run asserts:");
    for check in &metrics.checks {
        let mark = if check.holds { "✓" } else { "✕" };
        let _ = writeln!(text, "  {mark} {}\n      {}", check.claim, check.found);
    }
    text
}

fn quality(text: &mut String, metrics: &Metrics) {
    let quality = &metrics.quality;
    let _ = writeln!(text, "\n{:<24} loss  perplexity   top-1   top-3", "");
    let mut row = |name: &str, figures: &Validation| {
        let _ = writeln!(
            text,
            "  {name:<22}{:>6.3} {:>11.1} {:>7} {:>7}",
            figures.loss,
            figures.perplexity,
            percent(figures.top1),
            percent(figures.top3)
        );
    };
    row("before", &quality.before);
    row("after", &quality.after);
    if let Some(personal) = quality.after.personal() {
        row("after, personal", &personal);
    }
    if let Some(pooled) = &quality.pooled {
        row(
            &format!("pooled ({} {})", pooled.optimizer, pooled.rate),
            &pooled.validation,
        );
    }
    if let Some(most) = &quality.most_frequent {
        let name = format!("always \"{}\"", most.token);
        let _ = writeln!(text, "  {name:<22}{:>26}", percent(most.top1));
    }
}

fn time(text: &mut String, metrics: &Metrics) {
    let (time, traffic) = (&metrics.time, &metrics.traffic);
    let parts: Vec<String> = SpanKind::ALL
        .iter()
        .map(|&kind| format!("{} {}", kind.name(), duration(time.node_ms.wall(kind))))
        .collect();
    let _ = writeln!(
        text,
        "\nA training round takes {}; of a node's time: {}.\nThe cryptography takes {} of the CPU \
         time of cryptography and training in the nodes.\nA node sends {} a round, {:.2} × a plain \
         update of {}, and receives {}, {:.2} ×.",
        duration(time.round_ms),
        parts.join(", "),
        fine_percent(time.cryptography_share),
        bytes(traffic.up_bytes),
        traffic.up_ratio,
        bytes(traffic.clear_bytes as f64),
        bytes(traffic.down_bytes),
        traffic.down_ratio
    );
}

fn deaths(text: &mut String, metrics: &Metrics) {
    for death in &metrics.deaths {
        let _ = writeln!(
            text,
            "{} was killed in round {} before {}; missed in {}; {}.",
            death.name,
            death.round,
            death.before_phase,
            death.missed_in.as_deref().unwrap_or("no phase"),
            match death.back_in_round {
                Some(round) => format!("back in the sum of round {round}"),
                None => "never back in a sum".to_owned(),
            }
        );
    }
}

fn continuation(continuation: &Continuation) -> String {
    if continuation.text.is_empty() {
        "(ends)".to_owned()
    } else {
        format!("\"{}\"", continuation.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;

    #[test]
    fn all_figures_are_said() {
        let text = text(&sample::metrics());
        for part in [
            "before",
            "pooled (adam 0.002)",
            "always \".\"",
            "was killed in round 2",
            "✓",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
