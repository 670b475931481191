//! What a completed round says, as an event and as a line.

use serde_json::{Value, json};

use super::Training;
use crate::store::{Round, history};

impl Training {
    /// Tells of the last completed round, for which so many nodes were asked; its weights have this share
    /// of zeros, where they are pruned.
    pub(super) fn completed_round(&self, announced: usize, sparsity: Option<f64>) {
        let Some(Round {
            completed,
            contributors,
            lost,
            ..
        }) = self.rounds.last()
        else {
            return;
        };
        let validation = completed.figures.validation;
        let validation = validation.as_ref().map(history::validation_json);
        self.environment.events.event(
            "round_complete",
            json!({
                "round": completed.round,
                "attempt": completed.attempt,
                "kind": history::kind_name(completed.kind),
                "contributors": contributors,
                "lost": lost,
                "wall_ms": completed.wall_ms,
                "bytes_up": completed.bytes_up,
                "bytes_down": completed.bytes_down,
                "train_loss": completed.figures.train_loss,
                "weight": completed.figures.weight,
                "validation": validation.unwrap_or(Value::Null),
                "sparsity": sparsity,
            }),
        );
        let figures = completed.figures.validation.map_or_else(
            || "no held-out text".to_owned(),
            |figures| {
                let personal = figures.personal.map_or_else(String::new, |personal| {
                    format!(" ({:.2} % with each node's own)", personal.top1 * 100.0)
                });
                format!(
                    "before it: loss {:.4}, perplexity {:.1}, top-1 {:.2} %{personal}, top-3 {:.2} %",
                    figures.loss,
                    figures.perplexity,
                    figures.top1 * 100.0,
                    figures.top3 * 100.0
                )
            },
        );
        let pruned = sparsity.map_or_else(String::new, |share| {
            format!("{:.2} % of the weights are pruned; ", share * 100.0)
        });
        self.environment.progress.round_done(&format!(
            "round {}: {contributors} of {announced} nodes contributed, {lost} lost; {figures}; \
             {pruned}{:.1} s",
            completed.round,
            completed.wall_ms / 1e3
        ));
    }
}
