//! `train-pooled`: what the same model reaches when all text lies in one place. Federated training
//! is compared with this; nobody's private text belongs here.

mod method;
mod report;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use secagg_learning::LocalOptimizer;
use secagg_wire::process::disable_core_dumps;
use zeroize::Zeroizing;

use self::method::Method;
use self::report::{Baseline, EpochFigures, Figures, Report, Run};
use super::model_source::read_model;
use super::print_json;
use crate::clock::Clock;
use crate::evaluation::evaluate;
use crate::examples::Examples;
use crate::memory::{self, PeakMemory};
use crate::model::{INITIAL_FILE, Model, ModelFiles, Weights};
use crate::progress::Progress;
use crate::store::HELD_OUT_EVERY;
use crate::text::{self, Format};
use crate::training::{
    DEFAULT_MEMORY_MB, SchedulePoint, Trainer, TrainingError, TrainingProgress, TrainingTask,
    slow_precision,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The model's folder; training starts from its initial weights.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Files or folders with messages to train on.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
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
    /// Write the weights with the best validation top-1 (safetensors).
    #[arg(long, value_name = "FILE")]
    weights_out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    memory::prepare();
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let files = read_model(&arguments.model)?;
    let initial = files.read_weights(&arguments.model.join(INITIAL_FILE))?;
    let (training, validation) = read_texts(arguments, &files)?;
    ensure!(!training.is_empty(), "there is no message to train on");
    ensure!(
        !validation.is_empty(),
        "there is no message to evaluate on: give --validation, or ten messages to train on"
    );
    let mut model = Model::new(&files.description, &initial)?;
    let mut report = Report {
        parameters: files.description.parameters(),
        training_messages: training.len(),
        validation_messages: validation.len(),
        baseline: Baseline::new(&files, &training, &validation),
        initial: Figures::from(&evaluate(&model, &validation)),
        runs: Vec::new(),
        best: None,
    };
    let grid = arguments.method.optimizers();
    if let Some(slow) = slow_precision(&arguments.method.plan(grid[0])?) {
        eprintln!("{slow}");
    }
    let mut budget = arguments
        .budget_seconds
        .map(|seconds| Duration::from_secs(seconds.into()));
    let mut best: Option<(f64, Weights)> = None;
    for (index, &optimizer) in grid.iter().enumerate() {
        let started = Instant::now();
        let left = u32::try_from(grid.len() - index).unwrap_or(u32::MAX);
        let deadline = budget.map(|budget| started + budget / left);
        model.load_flat(initial.values())?;
        let pooled = Pooled {
            arguments,
            training: &training,
            validation: &validation,
            deadline,
        };
        report.runs.push(pooled.run(&model, optimizer, &mut best)?);
        budget = budget.map(|budget| budget.saturating_sub(started.elapsed()));
    }
    report.choose_best();
    if let (Some(path), Some((_, weights))) = (&arguments.weights_out, &best) {
        std::fs::write(path, weights.to_safetensors())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if arguments.json {
        return print_json(&report);
    }
    report.print();
    Ok(())
}

/// One run's surroundings.
struct Pooled<'a> {
    arguments: &'a Arguments,
    training: &'a Examples,
    validation: &'a Examples,
    deadline: Option<Instant>,
}

impl Pooled<'_> {
    /// Trains from the model's present weights; keeps the best weights over all runs in `best`.
    fn run(
        &self,
        model: &Model,
        optimizer: LocalOptimizer,
        best: &mut Option<(f64, Weights)>,
    ) -> anyhow::Result<Run> {
        let arguments = self.arguments;
        let plan = arguments.method.plan(optimizer)?;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&arguments.seed.to_le_bytes());
        let task = TrainingTask {
            plan: &plan,
            schedule: SchedulePoint::Steps,
            seed,
            memory: u64::from(arguments.memory_mb) << 20,
            clock: Clock::default(),
        };
        let mut trainer = Trainer::new(model, self.training, &task)?;
        let mut run = Run::new(optimizer);
        let mut before = 0;
        for epoch in 1.. {
            if trainer.is_done() {
                break;
            }
            let started = Instant::now();
            let label = format!("{}, epoch {epoch}", run.name());
            let steps = arguments.method.steps_an_epoch(self.training.len());
            let mut progress = Progress::new(&label, steps);
            let mut last = before;
            let mut show = |now: TrainingProgress| {
                last = now.step;
                progress.set(last - before, || format!("loss {:.3}", now.loss));
                match self.deadline {
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
            let evaluation = evaluate(model, self.validation);
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
            if arguments.patience > 0 && run.epochs_without_improvement() >= arguments.patience {
                run.ended = Some(format!("no improvement in {} epochs", arguments.patience));
                break;
            }
        }
        Ok(run)
    }
}

fn read_texts(arguments: &Arguments, files: &ModelFiles) -> anyhow::Result<(Examples, Examples)> {
    let hold_out = arguments.validation.is_empty();
    let mut training: Vec<Zeroizing<String>> = Vec::new();
    let mut validation = Vec::new();
    for path in &arguments.train {
        let messages = text::read(path, arguments.format, None)?;
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
    for path in &arguments.validation {
        let messages = text::read(path, arguments.format, None)?;
        validation.extend(messages.into_iter().map(|message| message.text));
    }
    let most = files.vocabulary.units().usual_most();
    let examples = |lines: &[Zeroizing<String>], which: &'static str| {
        let lines = lines.iter().map(|line| line.as_str());
        Examples::new(files, lines, most).context(which)
    };
    Ok((
        examples(&training, "the messages to train on")?,
        examples(&validation, "the messages to evaluate on")?,
    ))
}
