//! The section on loss, accuracy, and what the model writes.

use std::fmt::Write;

use super::chart::{Chart, Line, Reference};
use crate::demo::events::Validation;
use crate::demo::format::{counted, escape, percent};
use crate::demo::metrics::{Completion, Continuation, Metrics};

/// The whole section.
pub(super) fn section(metrics: &Metrics) -> String {
    let tokens = metrics.quality.after.tokens;
    format!(
        "<h2>What was learned</h2>\n<div class=\"two\">\n<figure><b>Loss, nats a \
         token</b>{}</figure>\n<figure><b>Accuracy</b>{}</figure>\n</div>\n<p class=\"small soft\">\
         Measured on {} of held-out text. Each node evaluates the weights that it receives before \
         it trains, so that a round's figures travel as sums inside the masked vectors of the next \
         round; where nodes are dead, they are those of the others.</p>\n{}{}",
        loss(metrics).svg(),
        accuracy(metrics).svg(),
        counted(
            usize::try_from(tokens).unwrap_or(usize::MAX),
            "token",
            "tokens"
        ),
        comparison(metrics),
        completions(&metrics.completions),
    )
}

fn loss(metrics: &Metrics) -> Chart<'_> {
    let training = metrics
        .rounds
        .iter()
        .filter_map(|round| Some((round.round, round.train_loss.filter(|_| round.trains)?)));
    let mut lines = vec![line(metrics, "validation", "first", |figures| figures.loss)];
    lines.push(Line {
        label: "training",
        class: "third",
        points: training.collect(),
    });
    Chart {
        title: "Loss after each round",
        format: |value| format!("{value:.2}"),
        references: references(metrics, |figures| figures.loss, None),
        ..chart(metrics, lines)
    }
}

fn accuracy(metrics: &Metrics) -> Chart<'_> {
    let lines = vec![
        line(metrics, "top-3", "third", |figures| figures.top3),
        line(metrics, "top-1", "first", |figures| figures.top1),
    ];
    let most_frequent = metrics.quality.most_frequent.as_ref();
    Chart {
        title: "Accuracy after each round",
        format: |value| format!("{:.0}\u{a0}%", 100.0 * value),
        references: references(
            metrics,
            |figures| figures.top1,
            most_frequent.map(|most| most.top1),
        ),
        ..chart(metrics, lines)
    }
}

fn chart(metrics: &Metrics, lines: Vec<Line>) -> Chart<'static> {
    let trained = metrics.rounds.iter().filter(|round| round.trains);
    let killed = metrics
        .rounds
        .iter()
        .filter(|round| !round.killed.is_empty());
    Chart {
        title: "",
        format: |value| value.to_string(),
        rounds: trained.map(|round| round.round).max().unwrap_or(0),
        lines,
        references: Vec::new(),
        marks: killed
            .map(|round| (round.round, format!("{} killed", round.killed.len())))
            .collect(),
    }
}

/// A line from before the first round to after the last training round.
fn line(
    metrics: &Metrics,
    label: &'static str,
    class: &'static str,
    figure: fn(&Validation) -> f64,
) -> Line {
    let after = metrics
        .rounds
        .iter()
        .filter_map(|round| Some((round.round, figure(round.validation_after.as_ref()?))));
    Line {
        label,
        class,
        points: [(0, figure(&metrics.quality.before))]
            .into_iter()
            .chain(after)
            .collect(),
    }
}

fn references(
    metrics: &Metrics,
    figure: fn(&Validation) -> f64,
    most_frequent: Option<f64>,
) -> Vec<Reference> {
    let pooled = metrics.quality.pooled.as_ref().map(|pooled| Reference {
        label: "pooled",
        class: "second",
        value: figure(&pooled.validation),
    });
    let most_frequent = most_frequent.map(|value| Reference {
        label: "most frequent",
        class: "neutral",
        value,
    });
    pooled.into_iter().chain(most_frequent).collect()
}

fn comparison(metrics: &Metrics) -> String {
    let quality = &metrics.quality;
    let mut html = String::from(
        "<div class=\"wide\"><table><thead><tr><th></th><th>loss</th><th>perplexity</th>\
         <th>top-1</th><th>top-3</th></tr></thead><tbody>\n",
    );
    let mut row = |name: &str, figures: &Validation| {
        let _ = writeln!(
            html,
            "<tr><td>{name}</td><td>{:.3}</td><td>{:.1}</td><td>{}</td><td>{}</td></tr>",
            figures.loss,
            figures.perplexity,
            percent(figures.top1),
            percent(figures.top3)
        );
    };
    row("before: initial weights", &quality.before);
    row("after: federated training", &quality.after);
    if let Some(personal) = quality.after.personal() {
        row("the same, with each node's own text mixed in", &personal);
    }
    if let Some(pooled) = &quality.pooled {
        row("pooled training", &pooled.validation);
    }
    if let Some(most) = &quality.most_frequent {
        let _ = writeln!(
            html,
            "<tr><td>always <code>{}</code></td><td></td><td></td><td>{}</td><td></td></tr>",
            escape(&most.token),
            percent(most.top1)
        );
    }
    html.push_str("</tbody></table></div>\n");
    if let Some(pooled) = &quality.pooled {
        let _ = writeln!(
            html,
            "<p class=\"small soft\">Pooled training has all text in one place, which is what \
             federated training avoids: same code, model and initial weights, batch 16, the better \
             of SGD and Adam over {}, best epoch of at most {}: {} at {}, epoch {}.</p>",
            counted(pooled.tried.len(), "run", "runs"),
            pooled.most_epochs,
            if pooled.optimizer == "sgd" {
                "SGD"
            } else {
                "Adam"
            },
            pooled.rate,
            pooled.epoch
        );
    }
    html
}

fn completions(completions: &[Completion]) -> String {
    let mut html = String::from(
        "<h3>What the model makes of a phrase</h3>\n<table class=\"words\"><thead><tr>\
         <th>phrase</th><th>before</th><th>after</th></tr></thead><tbody>\n",
    );
    for completion in completions {
        let _ = writeln!(
            html,
            "<tr><td>{} …</td><td>{}</td><td>{}</td></tr>",
            escape(&completion.phrase),
            continuation(&completion.before),
            continuation(&completion.after)
        );
    }
    html.push_str("</tbody></table>\n");
    html
}

fn continuation(continuation: &Continuation) -> String {
    let suggestions: Vec<String> = continuation
        .suggestions
        .iter()
        .map(|(word, probability)| format!("“{}”&nbsp;({})", escape(word), percent(*probability)))
        .collect();
    let text = if continuation.text.is_empty() {
        "(ends here)".to_owned()
    } else {
        escape(&continuation.text)
    };
    format!(
        "{text}<br><span class=\"small soft\">{}</span>",
        suggestions.join(", ")
    )
}
