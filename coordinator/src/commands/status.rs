//! `status`: the rounds so far and the nodes, as a table or as JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use secagg_learning::{RoundKind, Shapes, best_round, pruning::sparsity};
use serde_json::{Value, json};

use crate::{
    config::Config,
    folder::Folder,
    store::{Abandoned, Node, Round, Store, WeightsFolder, history, unix_now},
};

pub(super) fn run(dir: &Path, as_json: bool) -> anyhow::Result<()> {
    let folder = Folder::new(dir);
    if !folder.history().exists() {
        bail!(
            "{} is no coordinator's folder: run `secagg-coordinator init` first",
            dir.display()
        );
    }
    let config = Config::load(&folder.config())?;
    let store = Store::open(&folder.history())?;
    let (rounds, abandoned, nodes) = (store.rounds()?, store.abandoned()?, store.nodes()?);
    let open_tokens = store.open_tokens(unix_now())?;
    let best = best_round(&history::validation_by_weights(&rounds));
    let last = history::last_training(&rounds).map_or(0, |last| last.completed.round);
    let weights = weights_after(&folder, last)?;
    let best_weights = match best {
        Some(round) => Some(weights_after(&folder, u64::from(round))?).filter(|path| path.exists()),
        None => None,
    };
    let sparsity = match config.rounds.pruning {
        Some(_) => Some(sparsity_of(&weights)?),
        None => None,
    };
    if as_json {
        let status = json!({
            "federation": config.federation.as_str(),
            "rounds": rounds.iter().map(round_json).collect::<Vec<_>>(),
            "abandoned": abandoned.iter().map(abandoned_json).collect::<Vec<_>>(),
            "nodes": nodes.iter().map(node_json).collect::<Vec<_>>(),
            "open_tokens": open_tokens,
            "best_round": best,
            "best_weights": best_weights.map(|path| path.display().to_string()),
            "weights": weights.display().to_string(),
            "sparsity": sparsity,
        });
        println!("{status}");
        return Ok(());
    }
    print!("{}", table(&rounds));
    for attempt in &abandoned {
        println!(
            "round {}, attempt {}: abandoned in {}: {}",
            attempt.round,
            attempt.attempt,
            attempt.phase.as_deref().unwrap_or("an unknown phase"),
            attempt
                .reason
                .as_deref()
                .unwrap_or("it runs, or the process ended"),
        );
    }
    println!();
    println!("{} nodes, {open_tokens} open tokens", nodes.len());
    for node in &nodes {
        let last = node
            .last_round
            .map_or_else(|| "never".to_owned(), |round| format!("in round {round}"));
        println!(
            "  {}  {:<20} {} uploads, the last {last}",
            node.client, node.name, node.uploads
        );
    }
    match (best, best_weights) {
        (Some(best), Some(path)) => {
            println!("best weights: {} (after round {best})", path.display());
        }
        (Some(best), None) => println!(
            "best weights: those after round {best}, which are not kept; keep them with \
             weights.keep_best = true"
        ),
        (None, _) => {}
    }
    println!("last weights: {} (after round {last})", weights.display());
    if let Some(share) = sparsity {
        println!(
            "{:.2} % of them are pruned, in tensors that can be",
            share * 100.0
        );
    }
    std::io::Write::flush(&mut std::io::stdout()).context("cannot write")
}

/// The file of the weights after a training round; 0 for the initial ones.
fn weights_after(folder: &Folder, round: u64) -> anyhow::Result<PathBuf> {
    Ok(match round {
        0 => folder.model().join(crate::model::INITIAL),
        round => WeightsFolder::new(folder.weights())?.weights_of(round),
    })
}

/// The share of zeros in a file of weights, among those that pruning can reach.
fn sparsity_of(weights: &Path) -> anyhow::Result<f64> {
    let name = || weights.display().to_string();
    let bytes = std::fs::read(weights).with_context(name)?;
    let shapes = Shapes::read(&bytes).with_context(name)?;
    let flat = shapes.flat(&bytes).with_context(name)?;
    let dimensions = shapes.tensors().map(|(_, dimensions)| dimensions);
    Ok(sparsity(dimensions, &flat))
}

/// A row holds the figures of the weights that the nodes received in that round.
fn table(rounds: &[Round]) -> String {
    let mut text = format!(
        "{:>5}  {:<8} {:>8} {:>11} {:>7} {:>7} {:>8} {:>12} {:>4} {:>8} {:>9} {:>9}\n",
        "round",
        "kind",
        "loss",
        "perplexity",
        "top-1",
        "top-3",
        "personal",
        "contributors",
        "lost",
        "seconds",
        "MB up",
        "MB down",
    );
    for round in rounds {
        let completed = &round.completed;
        let figures = completed.figures.validation;
        let personal = figures.and_then(|figures| figures.personal);
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let kind = match completed.kind {
            RoundKind::Train => "train",
            RoundKind::EvaluateOnly => "evaluate",
        };
        text += &format!(
            "{:>5}  {:<8} {:>8} {:>11} {:>7} {:>7} {:>8} {:>12} {:>4} {:>8.1} {:>9.3} {:>9.3}\n",
            completed.round,
            kind,
            cell(figures.map(|figures| figures.loss), 4),
            cell(figures.map(|figures| figures.perplexity), 1),
            cell(figures.map(|figures| figures.top1 * 100.0), 2),
            cell(figures.map(|figures| figures.top3 * 100.0), 2),
            cell(personal.map(|figures| figures.top1 * 100.0), 2),
            round.contributors,
            round.lost,
            completed.wall_ms / 1e3,
            completed.bytes_up as f64 / 1e6,
            completed.bytes_down as f64 / 1e6,
        );
    }
    text + "loss, perplexity, top-1 and top-3 (in %) are those of the weights before the round; \
            personal is top-1 with what each node mixes in of its own text\n"
}

fn round_json(round: &Round) -> Value {
    let completed = &round.completed;
    let validation = completed.figures.validation;
    let validation = validation.as_ref().map(history::validation_json);
    json!({
        "round": completed.round,
        "attempt": completed.attempt,
        "kind": history::kind_name(completed.kind),
        "contributors": round.contributors,
        "lost": round.lost,
        "attempts": round.attempts,
        "wall_ms": completed.wall_ms,
        "bytes_up": completed.bytes_up,
        "bytes_down": completed.bytes_down,
        "train_loss": completed.figures.train_loss,
        "train_tokens": completed.figures.train_tokens,
        "weight": completed.figures.weight,
        "validation": validation,
    })
}

fn abandoned_json(attempt: &Abandoned) -> Value {
    json!({
        "round": attempt.round,
        "attempt": attempt.attempt,
        "phase": attempt.phase,
        "reason": attempt.reason,
    })
}

fn node_json(node: &Node) -> Value {
    json!({
        "client": node.client.to_string(),
        "name": node.name,
        "enrolled_at": node.enrolled_at,
        "uploads": node.uploads,
        "last_round": node.last_round,
    })
}
