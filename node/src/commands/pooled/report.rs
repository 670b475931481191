//! What `train-pooled` and `distil` report.

use secagg_learning::LocalOptimizer;
use serde::Serialize;

use crate::evaluation::Evaluation;
use crate::examples::Examples;
use crate::memory::MemoryPeak;
use crate::model::ModelFiles;

/// Everything, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(in super::super) struct Report {
    pub(super) parameters: usize,
    pub(super) training_messages: usize,
    pub(super) validation_messages: usize,
    pub(super) baseline: Option<Baseline>,
    /// What a student learns from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) teacher: Option<Teacher>,
    /// The initial weights' figures.
    pub(super) initial: Figures,
    pub(super) runs: Vec<Run>,
    pub(super) best: Option<Best>,
}

/// A teacher, and how much it counts.
#[derive(Debug, Serialize)]
pub(in super::super) struct Teacher {
    pub(in super::super) kind: &'static str,
    pub(in super::super) parameters: usize,
    /// Of the loss, beside the right answers.
    pub(in super::super) share: f64,
    pub(in super::super) temperature: f64,
    pub(in super::super) validation: Figures,
}

/// What always giving the most frequent answer of the training examples reaches.
#[derive(Debug, Serialize)]
pub(super) struct Baseline {
    pub(super) token: String,
    pub(super) top1: f64,
}

impl Baseline {
    /// `None` where there is no single most frequent answer to speak of.
    pub(super) fn new(
        files: &ModelFiles,
        training: &Examples,
        validation: &Examples,
    ) -> Option<Self> {
        let (token, _) = training.most_frequent_answer()?;
        Some(Self {
            token: files.vocabulary.word(token)?.to_owned(),
            top1: validation.count(token) as f64 / validation.all_targets() as f64,
        })
    }
}

/// An evaluation, as rates.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in super::super) struct Figures {
    pub(super) loss: f64,
    pub(super) perplexity: f64,
    pub(super) top1: f64,
    pub(super) top3: f64,
    pub(super) tokens: u64,
    /// The share of targets that are right throughout, where the examples are pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exact: Option<f64>,
}

impl From<&Evaluation> for Figures {
    fn from(evaluation: &Evaluation) -> Self {
        Self {
            loss: evaluation.loss(),
            perplexity: evaluation.perplexity(),
            top1: evaluation.top1_rate(),
            top3: evaluation.top3_rate(),
            tokens: evaluation.tokens,
            exact: evaluation.exact_rate(),
        }
    }
}

/// One optimiser with one rate.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    optimizer: &'static str,
    rate: f32,
    pub(super) epochs: Vec<EpochFigures>,
    /// Why the run ended before its last epoch.
    pub(super) ended: Option<String>,
    /// What its training took at its peak.
    memory: Option<RunMemory>,
}

/// Memory of a run's training, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
struct RunMemory {
    #[serde(flatten)]
    measured: MemoryPeak,
    /// What was estimated, beside the model.
    estimated_bytes: u64,
}

/// One epoch of a run.
#[derive(Debug, Serialize)]
pub(super) struct EpochFigures {
    pub(super) epoch: u32,
    pub(super) train_loss: f64,
    pub(super) train_seconds: f64,
    pub(super) milliseconds_a_step: f64,
    pub(super) validation: Figures,
}

/// The epoch with the best validation top-1 over all runs.
#[derive(Debug, Serialize)]
pub(super) struct Best {
    optimizer: &'static str,
    rate: f32,
    epoch: u32,
    validation: Figures,
}

impl Run {
    pub(super) fn new(optimizer: LocalOptimizer) -> Self {
        let (optimizer, rate) = match optimizer {
            LocalOptimizer::Sgd { rate } => ("sgd", rate),
            LocalOptimizer::Adam { rate } => ("adam", rate),
            LocalOptimizer::Momentum { rate, .. } => ("momentum", rate),
        };
        Self {
            optimizer,
            rate,
            epochs: Vec::new(),
            ended: None,
            memory: None,
        }
    }

    /// Takes an epoch's memory into account; the epoch that took the most counts.
    pub(super) fn add_memory(&mut self, measured: Option<MemoryPeak>, estimated_bytes: u64) {
        let Some(measured) = measured else { return };
        let most = self.memory.map(|memory| memory.measured.growth_bytes);
        if most.is_none_or(|most| measured.growth_bytes > most) {
            self.memory = Some(RunMemory {
                measured,
                estimated_bytes,
            });
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.optimizer, self.rate)
    }

    /// How many epochs ago the validation loss or top-1 last improved.
    pub(super) fn epochs_without_improvement(&self) -> usize {
        let (mut loss, mut top1) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut since = 0;
        for epoch in &self.epochs {
            let improved = epoch.validation.loss < loss || epoch.validation.top1 > top1;
            since = if improved { 0 } else { since + 1 };
            loss = loss.min(epoch.validation.loss);
            top1 = top1.max(epoch.validation.top1);
        }
        since
    }
}

impl Report {
    pub(super) fn choose_best(&mut self) {
        self.best = self
            .runs
            .iter()
            .flat_map(|run| run.epochs.iter().map(move |epoch| (run, epoch)))
            // The first of equal ones, as for the weights that are kept.
            .reduce(
                |best, next| match next.1.validation.top1 > best.1.validation.top1 {
                    true => next,
                    false => best,
                },
            )
            .map(|(run, epoch)| Best {
                optimizer: run.optimizer,
                rate: run.rate,
                epoch: epoch.epoch,
                validation: epoch.validation,
            });
    }

    pub(in super::super) fn print(&self) {
        println!(
            "{} parameters, {} messages to train on, {} to evaluate on",
            self.parameters, self.training_messages, self.validation_messages
        );
        println!("run           epoch  train loss  perplexity   top-1   top-3  ms a step");
        for run in &self.runs {
            for epoch in &run.epochs {
                let EpochFigures { validation, .. } = epoch;
                println!(
                    "{:<12}  {:>5}  {:>10.3}  {:>10.1}  {:>4.2} %  {:>4.2} %  {:>9.1}",
                    run.name(),
                    epoch.epoch,
                    epoch.train_loss,
                    validation.perplexity,
                    100.0 * validation.top1,
                    100.0 * validation.top3,
                    epoch.milliseconds_a_step
                );
            }
            if let Some(memory) = run.memory {
                println!(
                    "{:<12}  memory: {} MiB at the peak, {} MiB of them for training (estimated {})",
                    run.name(),
                    memory.measured.peak_bytes >> 20,
                    memory.measured.growth_bytes >> 20,
                    memory.estimated_bytes >> 20
                );
            }
            if let Some(ended) = &run.ended {
                println!("{:<12}  ended: {ended}", run.name());
            }
        }
        if let Some(teacher) = &self.teacher {
            println!(
                "the teacher, {} with {} parameters: perplexity {:.1}, top-1 {:.2} %",
                teacher.kind,
                teacher.parameters,
                teacher.validation.perplexity,
                100.0 * teacher.validation.top1
            );
        }
        if let Some(best) = &self.best {
            println!(
                "best: {} {}, epoch {}: top-1 {:.2} %",
                best.optimizer,
                best.rate,
                best.epoch,
                100.0 * best.validation.top1
            );
        }
        if let Some(Baseline { token, top1 }) = &self.baseline {
            println!("always \"{token}\": top-1 {:.2} %", 100.0 * top1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(figures: &[(f64, f64)]) -> Run {
        let mut run = Run::new(LocalOptimizer::Sgd { rate: 1.0 });
        for (epoch, &(loss, top1)) in (1..).zip(figures) {
            let validation = Figures {
                loss,
                perplexity: loss.exp(),
                top1,
                top3: top1,
                tokens: 9,
                exact: None,
            };
            run.epochs.push(EpochFigures {
                epoch,
                train_loss: loss,
                train_seconds: 1.0,
                milliseconds_a_step: 1.0,
                validation,
            });
        }
        run
    }

    #[test]
    fn either_figure_counts_as_improvement() {
        assert_eq!(run(&[]).epochs_without_improvement(), 0);
        assert_eq!(
            run(&[(3.0, 0.1), (3.1, 0.2)]).epochs_without_improvement(),
            0
        );
        assert_eq!(
            run(&[(3.0, 0.1), (2.9, 0.1)]).epochs_without_improvement(),
            0
        );
        assert_eq!(
            run(&[(3.0, 0.1), (3.1, 0.1), (3.0, 0.0)]).epochs_without_improvement(),
            2
        );
    }

    #[test]
    fn the_best_top1_wins_over_all_runs() {
        let mut report = Report {
            parameters: 1,
            training_messages: 1,
            validation_messages: 1,
            baseline: None,
            teacher: None,
            initial: run(&[(9.0, 0.0)]).epochs[0].validation,
            runs: vec![run(&[(3.0, 0.1), (3.0, 0.3)]), run(&[(2.0, 0.2)])],
            best: None,
        };
        report.choose_best();
        let best = report.best.unwrap();
        assert_eq!(
            (best.epoch, best.validation.top1.to_bits()),
            (2, 0.3_f64.to_bits())
        );
    }
}
