//! Training on text that lies in one place, for `train-pooled` and `distil`: runs with one optimiser or
//! several, epochs with an evaluation after each, and the best weights of all.

mod method;
pub(super) mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use secagg_learning::LocalOptimizer;
use zeroize::Zeroizing;

use self::method::Method;
use self::report::{Baseline, EpochFigures, Figures, Report, Run};
use crate::clock::Clock;
use crate::evaluation::evaluate;
use crate::examples::Examples;
use crate::memory::PeakMemory;
use crate::model::{INITIAL_FILE, Model, ModelFiles, Weights};
use crate::progress::Progress;
use crate::store::HELD_OUT_EVERY;
use crate::text::{self, Format};
use crate::training::{
    DEFAULT_MEMORY_MB, Distillation, SchedulePoint, Trainer, TrainingError, TrainingProgress,
    TrainingTask, slow_precision,
};

/// How text in one place is trained on, and for how long.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Files or folders with messages to evaluate on. Without them, every tenth message of each
    /// training file is held out, as nodes do.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    validation: Vec<PathBuf>,
    /// How messages lie in the files.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    method: Method,
    /// End a run after so many epochs in which neither validation loss nor top-1 improved; 0 for
    /// never.
    #[arg(long, default_value_t = 2)]
    patience: usize,
    /// End after about so many seconds, shared evenly among the runs; an epoch that is cut off
    /// does not count.
    #[arg(long, value_name = "SECONDS")]
    budget_seconds: Option<u32>,
    /// MiB that training may take beside the model, by an estimate; a batch that needs more is
    /// worked through in pieces.
    #[arg(long, default_value_t = DEFAULT_MEMORY_MB)]
    memory_mb: u32,
    /// Fixes the order of the messages.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A model and the text that it learns from.
pub(super) struct Pooled<'a> {
    files: &'a ModelFiles,
    initial: Weights,
    options: &'a Options,
    training: Examples,
    pub(super) validation: Examples,
    pub(super) teacher: Option<Distillation<'a>>,
}

/// The best weights over all runs so far, and their top-1.
type BestWeights = Option<(f64, Weights)>;

impl<'a> Pooled<'a> {
    /// The model in a folder, from its initial weights on, and text for it.
    pub(super) fn read(
        folder: &Path,
        files: &'a ModelFiles,
        train: &[PathBuf],
        options: &'a Options,
    ) -> anyhow::Result<Self> {
        let initial = files.read_weights(&folder.join(INITIAL_FILE))?;
        let (training, validation) = read_texts(train, options, files)?;
        ensure!(!training.is_empty(), "there is no message to train on");
        ensure!(
            !validation.is_empty(),
            "there is no message to evaluate on: give --validation, or ten messages to train on"
        );
        Ok(Self {
            files,
            initial,
            options,
            training,
            validation,
            teacher: None,
        })
    }

    /// All runs, and the weights with the best validation top-1; none where no epoch came to its end.
    pub(super) fn train(&self) -> anyhow::Result<(Report, Option<Weights>)> {
        let (files, options) = (self.files, self.options);
        let mut model = Model::new(&files.description, &self.initial)?;
        let mut report = Report {
            parameters: files.description.parameters(),
            training_messages: self.training.len(),
            validation_messages: self.validation.len(),
            baseline: Baseline::new(files, &self.training, &self.validation),
            teacher: None,
            initial: Figures::from(&evaluate(&model, &self.validation)),
            runs: Vec::new(),
            best: None,
        };
        let grid = options.method.optimizers();
        if let Some(slow) = slow_precision(&options.method.plan(grid[0])?) {
            eprintln!("{slow}");
        }
        let mut budget = options
            .budget_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        let mut best = None;
        for (index, &optimizer) in grid.iter().enumerate() {
            let started = Instant::now();
            let left = u32::try_from(grid.len() - index).unwrap_or(u32::MAX);
            let deadline = budget.map(|budget| started + budget / left);
            model.load_flat(self.initial.values())?;
            report
                .runs
                .push(self.run(&model, optimizer, deadline, &mut best)?);
            budget = budget.map(|budget| budget.saturating_sub(started.elapsed()));
        }
        report.choose_best();
        Ok((report, best.map(|(_, weights)| weights)))
    }

    /// Trains from the model's present weights; keeps the best weights over all runs in `best`.
    fn run(
        &self,
        model: &Model,
        optimizer: LocalOptimizer,
        deadline: Option<Instant>,
        best: &mut BestWeights,
    ) -> anyhow::Result<Run> {
        let options = self.options;
        let plan = options.method.plan(optimizer)?;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&options.seed.to_le_bytes());
        let task = TrainingTask {
            plan: &plan,
            schedule: SchedulePoint::Steps,
            seed,
            memory: u64::from(options.memory_mb) << 20,
            clock: Clock::default(),
            teacher: self.teacher,
        };
        let mut trainer = Trainer::new(model, &self.training, &task)?;
        let mut run = Run::new(optimizer);
        let mut before = 0;
        for epoch in 1.. {
            if trainer.is_done() {
                break;
            }
            let started = Instant::now();
            let label = format!("{}, epoch {epoch}", run.name());
            let steps = options.method.steps_an_epoch(self.training.len());
            let mut progress = Progress::new(&label, steps);
            let mut last = before;
            let mut show = |now: TrainingProgress| {
                last = now.step;
                progress.set(last - before, || format!("loss {:.3}", now.loss));
                match deadline {
                    Some(deadline) if Instant::now() >= deadline => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            };
            let peak = PeakMemory::start();
            let loss = match trainer.epoch(&mut show) {
                Ok(loss) => loss,
                Err(error @ (TrainingError::Stopped | TrainingError::Diverged { .. })) => {
                    progress.finish(&error.to_string());
                    run.ended = Some(match error {
                        TrainingError::Stopped => "the time was up".to_owned(),
                        error => error.to_string(),
                    });
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let train_seconds = started.elapsed().as_secs_f64();
            run.add_memory(peak.finish(), trainer.memory());
            let evaluation = evaluate(model, &self.validation);
            progress.finish(&format!(
                "top-1 {:.2} %, perplexity {:.1}",
                100.0 * evaluation.top1_rate(),
                evaluation.perplexity()
            ));
            if best
                .as_ref()
                .is_none_or(|(top1, _)| evaluation.top1_rate() > *top1)
            {
                *best = Some((evaluation.top1_rate(), model.to_weights()?));
            }
            run.epochs.push(EpochFigures {
                epoch,
                train_loss: loss.sum / loss.tokens as f64,
                train_seconds,
                milliseconds_a_step: 1000.0 * train_seconds / (last - before) as f64,
                validation: Figures::from(&evaluation),
            });
            before = last;
            if options.patience > 0 && run.epochs_without_improvement() >= options.patience {
                run.ended = Some(format!("no improvement in {} epochs", options.patience));
                break;
            }
        }
        Ok(run)
    }
}

fn read_texts(
    train: &[PathBuf],
    options: &Options,
    files: &ModelFiles,
) -> anyhow::Result<(Examples, Examples)> {
    let hold_out = options.validation.is_empty();
    let mut training: Vec<Zeroizing<String>> = Vec::new();
    let mut validation = Vec::new();
    for path in train {
        let messages = text::read(path, options.format, None)?;
        for (place, message) in (1_u64..).zip(messages) {
            let held_out = hold_out && place.is_multiple_of(HELD_OUT_EVERY);
            if held_out {
                &mut validation
            } else {
                &mut training
            }
            .push(message.text);
        }
    }
    for path in &options.validation {
        let messages = text::read(path, options.format, None)?;
        validation.extend(messages.into_iter().map(|message| message.text));
    }
    let most = files.vocabulary.tokenization().usual_most();
    let examples = |lines: &[Zeroizing<String>], which: &'static str| {
        let lines = lines.iter().map(|line| line.as_str());
        Examples::new(files, lines, most).context(which)
    };
    Ok((
        examples(&training, "the messages to train on")?,
        examples(&validation, "the messages to evaluate on")?,
    ))
}
