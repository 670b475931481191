//! `report.html`: one page with everything that the demo has shown. It needs nothing but itself.

use std::fmt::Write;

use super::arguments::Settings;
use super::format::{bytes, counted, duration, escape, fine_percent, list, percent, whole};
use super::metrics::{Check, Metrics};

mod bars;
mod chart;
mod exhibit;
mod learning;
mod tables;

/// The page.
pub(crate) fn html(metrics: &Metrics) -> String {
    let run = &metrics.run;
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en-GB\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Federated training of {} nodes</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        run.nodes,
        include_str!("report/style.css")
    );
    page.push_str(&opening(metrics));
    page.push_str(&tiles(metrics));
    page.push_str(&exhibit::section(&metrics.exhibit));
    page.push_str(&learning::section(metrics));
    page.push_str(&time(metrics));
    page.push_str(&traffic(metrics));
    page.push_str(&tables::nodes(metrics));
    page.push_str(&checks(&metrics.checks));
    page.push_str(&settings(metrics));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn opening(metrics: &Metrics) -> String {
    let run = &metrics.run;
    let text = match &run.corpus {
        None => format!("the messages of one of {} bundled people", run.nodes),
        Some(corpus) => format!(
            "the messages of one of the {} busiest people of <code>{}</code>",
            run.nodes,
            escape(corpus)
        ),
    };
    let mut html = format!(
        "<h1>{} nodes trained one model, and the coordinator saw only sums</h1>\n\
         <p>Each node held {text}. In {} on one machine they trained a next-word model of {} \
         parameters. A node's messages stayed with it, and what it sent was masked: the \
         coordinator could read the sum of all updates, and none of them.</p>\n",
        run.nodes,
        counted(run.rounds as usize, "round", "rounds"),
        whole(run.parameters)
    );
    if let Some(death) = metrics.deaths.first() {
        let names: Vec<String> = metrics
            .deaths
            .iter()
            .map(|death| escape(&death.name))
            .collect();
        let _ = writeln!(
            html,
            "<p>In round {}, after the nodes had shared their keys, {} {} killed. The others \
             helped to take the masks of the dead out of the sum, and the round was completed.</p>",
            death.round,
            list(&names),
            if names.len() == 1 { "was" } else { "were" }
        );
    }
    html
}

fn tiles(metrics: &Metrics) -> String {
    let quality = &metrics.quality;
    let mut tiles = vec![(
        format!(
            "{} → {}",
            percent(quality.before.top1),
            percent(quality.after.top1)
        ),
        "next word right (top-1), before and after".to_owned(),
    )];
    if let Some(pooled) = &quality.pooled {
        tiles.push((
            percent(quality.after.top1 / pooled.validation.top1),
            format!(
                "of what pooled training reaches ({})",
                percent(pooled.validation.top1)
            ),
        ));
    }
    tiles.push((
        fine_percent(metrics.time.cryptography_share),
        "of a node's computing went to cryptography".to_owned(),
    ));
    tiles.push((
        format!("{:.2} ×", metrics.traffic.up_ratio),
        "bytes sent, compared with plain 32-bit floats".to_owned(),
    ));
    let holds = metrics.checks.iter().filter(|check| check.holds).count();
    tiles.push((
        format!("{holds} of {}", metrics.checks.len()),
        "assertions of this run hold".to_owned(),
    ));
    let mut html = String::from("<ul class=\"tiles\">\n");
    for (figure, meaning) in tiles {
        let _ = writeln!(html, "<li><b>{figure}</b><span>{meaning}</span></li>");
    }
    html.push_str("</ul>\n");
    html
}

fn time(metrics: &Metrics) -> String {
    format!(
        "<h2>Where the time went</h2>\n<div class=\"two\">\n<figure><b>A node's time in each \
         round</b>{}{}<figcaption>Mean over the nodes in the sum, each by its own clock and event \
         file. The upright line is the end of the whole round, by the coordinator's \
         clock.</figcaption></figure>\n<div>{}<p class=\"small soft\">All {} nodes shared {} of one \
         machine, so that a node waits while others train. CPU time does not depend on that: the \
         cryptography took {} of the CPU time of cryptography and training in the nodes' \
         processes.</p>{}</div>\n</div>\n",
        bars::legend(),
        bars::svg(&metrics.rounds),
        tables::split(&metrics.time),
        metrics.run.nodes,
        counted(metrics.run.cores, "core", "cores"),
        fine_percent(metrics.time.cryptography_share),
        tables::phases(&metrics.rounds),
    )
}

fn traffic(metrics: &Metrics) -> String {
    let traffic = &metrics.traffic;
    format!(
        "<h2>Bytes of a node in a round</h2>\n<div class=\"wide\"><table><thead><tr><th></th>\
         <th>measured</th><th>as plain 32-bit floats</th><th>ratio</th></tr></thead><tbody>\
         <tr><td>up: masked update, keys, shares</td><td>{}</td><td>{clear}</td><td>{:.2}</td></tr>\
         <tr><td>of it, the masked update</td><td>{}</td><td>{clear}</td><td>{:.2}</td></tr>\
         <tr><td>down: weights, keys, shares</td><td>{}</td><td>{clear}</td><td>{:.2}</td></tr>\
         </tbody></table></div>\n<p class=\"small soft\">Mean over the training rounds after the \
         first, whose weights come with the model, and over the nodes in their sums, from the nodes' own event files; what was \
         sent twice because a packet was lost counts twice. Masking costs few bytes, because a number \
         of an update travels in {} bits instead of 32.</p>\n",
        bytes(traffic.up_bytes),
        traffic.up_ratio,
        bytes(traffic.vector_bytes),
        traffic.vector_ratio,
        bytes(traffic.down_bytes),
        traffic.down_ratio,
        metrics.exhibit.bits,
        clear = bytes(traffic.clear_bytes as f64),
    )
}

fn checks(checks: &[Check]) -> String {
    let mut html = String::from("<h2>What this run asserts</h2>\n<ul class=\"checks\">\n");
    for check in checks {
        let _ = writeln!(
            html,
            "<li class=\"{}\">{}<span>{}</span></li>",
            if check.holds { "holds" } else { "fails" },
            escape(&check.claim),
            escape(&check.found)
        );
    }
    html.push_str("</ul>\n");
    html
}

fn settings(metrics: &Metrics) -> String {
    let run = &metrics.run;
    let Settings {
        vocabulary: _,
        embedding,
        units,
        local_epochs,
        batch,
        local_optimizer,
        local_rate,
        server_optimizer,
        server_rate,
        server_momentum,
        server_tau,
        clip_norm,
        range,
        weight_cap,
    } = metrics.settings;
    let held_out = match &run.validation {
        Some(file) => format!("the same people's part of <code>{}</code>", escape(file)),
        None => "every tenth message of each node, never trained on".to_owned(),
    };
    let local_name = format!("{local_optimizer:?}").to_lowercase();
    let server_name = format!("{server_optimizer:?}").to_lowercase();
    let server = match &*server_name {
        "fedavg" => format!("{server_name}, rate {server_rate}"),
        "fedavgm" => format!("{server_name}, rate {server_rate}, momentum {server_momentum}"),
        _ => format!("{server_name}, rate {server_rate}, β₁ {server_momentum}, τ {server_tau}"),
    };
    let rows = [
        (
            "Vocabulary",
            format!(
                "{} words, made from <code>{}</code>{}",
                whole(run.vocabulary as usize),
                escape(&run.vocabulary_from),
                if run.corpus.is_some() {
                    ", which holds the text that is trained on: for this measurement only; a \
                     deployment takes public text"
                } else {
                    ", public text that none of the people wrote"
                }
            ),
        ),
        (
            "Model",
            format!(
                "CIFG-LSTM, embedding and projection {embedding}, {units} units, output bias: {} \
                 parameters",
                whole(run.parameters)
            ),
        ),
        ("Held out", held_out),
        (
            "Local training",
            format!(
                "{} of batches of {batch}, {local_name} at {local_rate}",
                counted(local_epochs as usize, "epoch", "epochs")
            ),
        ),
        ("Coordinator", server),
        (
            "Update",
            format!(
                "clipped to an L2 norm of {clip_norm}, elements to ±{range}, weights to \
                 {weight_cap} messages; {} bits a masked number",
                metrics.exhibit.bits
            ),
        ),
        ("Seed", run.seed.to_string()),
        (
            "Threat model",
            match run.threat_model.as_str() {
                "malicious" => "malicious: nodes trust the coordinator with nothing".to_owned(),
                other => format!("{other}: nodes trust the coordinator to follow the protocol"),
            },
        ),
        (
            "Took",
            format!(
                "{} federated, {} pooled, {} altogether, after the build",
                duration(1_000.0 * run.federated_seconds),
                duration(1_000.0 * run.pooled_seconds),
                duration(1_000.0 * run.total_seconds)
            ),
        ),
    ];
    let mut html = String::from("<h2>Settings</h2>\n<table class=\"words\"><tbody>\n");
    for (name, value) in rows {
        let _ = writeln!(html, "<tr><td>{name}</td><td>{value}</td></tr>");
    }
    html.push_str("</tbody></table>\n");
    html
}

#[cfg(test)]
mod tests;
