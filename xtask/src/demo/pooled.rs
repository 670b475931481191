//! What pooled training reaches: `secagg-node train-pooled` over a small grid.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::children::output_of;
use super::events::Validation;
use super::metrics::{MostFrequent, Pooled, PooledRun};
use super::parallel::in_parallel;
use super::people::Person;
use super::site::Site;

/// Optimisers and rates that are tried; those most likely to win come first.
const GRID: [(&str, f64); 4] = [("adam", 0.002), ("sgd", 1.0), ("adam", 0.005), ("sgd", 0.3)];

/// Messages a batch.
const BATCH: u32 = 16;

/// What `train-pooled --json` prints, as far as it is used.
#[derive(Debug, Deserialize)]
struct Printed {
    baseline: MostFrequentPrinted,
    runs: Vec<RunPrinted>,
}

#[derive(Debug, Deserialize)]
struct MostFrequentPrinted {
    token: String,
    top1: f64,
}

#[derive(Debug, Deserialize)]
struct RunPrinted {
    optimizer: String,
    rate: f64,
    epochs: Vec<EpochPrinted>,
    ended: Option<String>,
}

#[derive(Debug, Deserialize)]
struct EpochPrinted {
    epoch: u32,
    validation: Validation,
}

/// Tries the first `tries` of the grid, as many runs at a time as there are cores, and returns the
/// best epoch of the best run.
///
/// # Errors
///
/// When a run fails.
pub(crate) fn train(
    site: &Site,
    people: &[Person],
    tries: usize,
    most_epochs: u32,
    seed: u32,
) -> Result<(Pooled, MostFrequent)> {
    let run = |&(optimizer, rate): &(&str, f64)| -> Result<Printed> {
        let name = format!("pooled-{optimizer}-{rate}");
        let mut command = site.node();
        command.arg("train-pooled").arg("--model").arg(site.model());
        command
            .arg("--train")
            .args(people.iter().map(|person| &person.messages));
        let held_out: Vec<_> = people
            .iter()
            .filter_map(|person| person.held_out.as_ref())
            .collect();
        if !held_out.is_empty() {
            command.arg("--validation").args(held_out);
        }
        command.args(["--json", "--optimizer", optimizer]);
        for (flag, value) in [
            ("--rate", rate.to_string()),
            ("--batch", BATCH.to_string()),
            ("--epochs", most_epochs.to_string()),
            ("--seed", seed.to_string()),
        ] {
            command.args([flag, &value]);
        }
        let text = output_of(&name, &mut command, &site.log(&name))?;
        serde_json::from_str(&text).with_context(|| format!("{name} printed something else"))
    };
    let grid: Vec<_> = GRID.iter().copied().take(tries).collect();
    let printed = in_parallel(&grid, run)?;
    choose(printed, most_epochs)
}

fn choose(printed: Vec<Printed>, most_epochs: u32) -> Result<(Pooled, MostFrequent)> {
    let mut best: Option<Pooled> = None;
    let mut tried = Vec::new();
    let mut most_frequent = None;
    for printed in printed {
        most_frequent = Some(MostFrequent {
            token: printed.baseline.token,
            top1: printed.baseline.top1,
        });
        for run in printed.runs {
            for epoch in &run.epochs {
                let top1 = epoch.validation.top1;
                if best.as_ref().is_none_or(|best| top1 > best.validation.top1) {
                    best = Some(Pooled {
                        optimizer: run.optimizer.clone(),
                        rate: run.rate,
                        epoch: epoch.epoch,
                        most_epochs,
                        validation: epoch.validation,
                        tried: Vec::new(),
                    });
                }
            }
            let top1s = run.epochs.iter().map(|epoch| epoch.validation.top1);
            tried.push(PooledRun {
                optimizer: run.optimizer,
                rate: run.rate,
                epochs: run.epochs.last().map_or(0, |epoch| epoch.epoch),
                top1: top1s.fold(0.0, f64::max),
                ended: run.ended,
            });
        }
    }
    let mut best = best.context("no pooled run has finished an epoch")?;
    best.tried = tried;
    Ok((best, most_frequent.context("no pooled run was tried")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(optimizer: &str, rate: f64, top1s: &[f64]) -> Printed {
        let epochs: Vec<_> = (1..)
            .zip(top1s)
            .map(|(epoch, top1)| {
                serde_json::json!({
                    "epoch": epoch, "train_loss": 4.0, "train_seconds": 1.0,
                    "validation":
                        { "loss": 5.0, "perplexity": 9.0, "top1": top1, "top3": 0.3, "tokens": 9 },
                })
            })
            .collect();
        let value = serde_json::json!({
            "parameters": 7,
            "baseline": { "token": ".", "top1": 0.1 },
            "runs": [{ "optimizer": optimizer, "rate": rate, "epochs": epochs, "ended": null }],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_best_epoch_of_all_runs_wins() {
        let runs = vec![
            printed("adam", 0.002, &[0.1, 0.19, 0.18]),
            printed("sgd", 1.0, &[0.05, 0.17]),
        ];
        let (pooled, most) = choose(runs, 30).unwrap();
        assert_eq!(
            (&*pooled.optimizer, pooled.epoch, pooled.most_epochs),
            ("adam", 2, 30)
        );
        assert_eq!(pooled.tried.len(), 2);
        assert_eq!(pooled.tried[1].epochs, 2);
        assert_eq!(most.token, ".");
    }

    #[test]
    fn a_grid_without_an_epoch_is_an_error() {
        let error = choose(vec![printed("adam", 9.0, &[])], 3).unwrap_err();
        assert!(error.to_string().contains("no pooled run"), "{error}");
    }
}
