//! How text in one place is trained on, from the arguments.

use std::str::FromStr;

use anyhow::Context;
use secagg_learning::{Budget, LocalOptimizer, Precision, Schedule, TrainingPlan};

use crate::vocabulary::TextUnits;

/// The rates that `--grid` tries with stochastic gradient descent.
const SGD_RATES: [f32; 3] = [0.3, 1.0, 3.0];
/// The rates that `--grid` tries with Adam.
const ADAM_RATES: [f32; 3] = [0.001, 0.002, 0.005];

#[derive(Debug, clap::Args)]
pub(super) struct Method {
    /// The most epochs of a run.
    #[arg(long, default_value_t = 5)]
    pub(super) epochs: u32,
    /// End a run after so many steps, in place of epochs.
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<u32>,
    /// Messages a batch.
    #[arg(long, default_value_t = 16)]
    batch: u32,
    /// Batches a step.
    #[arg(long, default_value_t = 1)]
    accumulate: u32,
    /// Longer gradients (L2 norm over all parameters) are shortened to this.
    #[arg(long, default_value_t = 5.0)]
    gradient_clip: f32,
    /// Try plain gradient descent and Adam with several rates, and report the best.
    #[arg(long, conflicts_with_all = ["optimizer", "rate", "beta"])]
    grid: bool,
    /// The optimiser of a single run.
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: OptimizerName,
    /// The rate of a single run [default: 0.002 for Adam, 1 for SGD, 0.1 with momentum].
    #[arg(long)]
    rate: Option<f32>,
    /// The decay of the momentum.
    #[arg(long, default_value_t = 0.9)]
    beta: f32,
    /// What the rate is multiplied by at each step, as in coordinator.toml: constant,
    /// "{ step = { every = 100, factor = 0.5 } }", "{ cosine = { steps = 1000, floor = 0.1 } }" or
    /// "{ noam = { warm_up = 100 } }".
    #[arg(long, default_value = "constant")]
    schedule: ScheduleText,
    /// Weight decay, 0 to below 1; apart from the gradient with Adam.
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f32,
    /// Dropout between layers, 0 to below 1: the probability with which a number is left out.
    #[arg(long, default_value_t = 0.0)]
    dropout: f32,
    /// What the network is computed in; bf16 is faster only on processors with AVX512-BF16 or AMX.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PrecisionName {
    F32,
    Bf16,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OptimizerName {
    Sgd,
    Momentum,
    Adam,
}

/// A schedule as a value of TOML; quotes around a single word may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ScheduleText(Schedule);

impl FromStr for ScheduleText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Value {
            schedule: Schedule,
        }
        let word = text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        let quote = if word { "\"" } else { "" };
        toml::from_str(&format!("schedule = {quote}{text}{quote}"))
            .map(|Value { schedule }| Self(schedule))
            .map_err(|error| error.message().to_owned())
    }
}

impl Method {
    /// The optimisers to try.
    pub(super) fn optimizers(&self) -> Vec<LocalOptimizer> {
        if self.grid {
            let sgd = SGD_RATES.map(|rate| LocalOptimizer::Sgd { rate });
            let adam = ADAM_RATES.map(|rate| LocalOptimizer::Adam { rate });
            return [adam, sgd].concat();
        }
        vec![match self.optimizer {
            OptimizerName::Sgd => LocalOptimizer::Sgd {
                rate: self.rate.unwrap_or(1.0),
            },
            OptimizerName::Momentum => LocalOptimizer::Momentum {
                rate: self.rate.unwrap_or(0.1),
                beta: self.beta,
            },
            OptimizerName::Adam => LocalOptimizer::Adam {
                rate: self.rate.unwrap_or(0.002),
            },
        }]
    }

    /// The plan with one of them.
    pub(super) fn plan(&self, optimizer: LocalOptimizer) -> anyhow::Result<TrainingPlan> {
        let plan = TrainingPlan {
            budget: self
                .steps
                .map_or(Budget::Epochs(self.epochs), Budget::Steps),
            batch: self.batch,
            accumulate: self.accumulate,
            optimizer,
            schedule: self.schedule.0,
            weight_decay: self.weight_decay,
            dropout: self.dropout,
            gradient_clip: self.gradient_clip,
            max_words: u32::try_from(TextUnits::Words.usual_most())?,
            precision: match self.precision {
                PrecisionName::F32 => Precision::F32,
                PrecisionName::Bf16 => Precision::Bf16,
            },
            ..TrainingPlan::DEFAULT
        };
        plan.check().context("this training is refused")?;
        Ok(plan)
    }

    /// Steps of an epoch over so many messages.
    pub(super) fn steps_an_epoch(&self, messages: usize) -> u64 {
        let step = u64::from(self.batch) * u64::from(self.accumulate);
        (messages as u64).div_ceil(step.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        method: Method,
    }

    fn method(arguments: &str) -> Result<Method, clap::Error> {
        let arguments = arguments.split_terminator('|');
        let line = <Line as clap::Parser>::try_parse_from(["line"].into_iter().chain(arguments));
        line.map(|line| line.method)
    }

    #[test]
    fn arguments_become_a_plan() {
        let method = method(
            "--steps|40|--accumulate|4|--optimizer|momentum|--rate|0.5|--beta|0.8|\
             --weight-decay|0.25|--dropout|0.5|--precision|bf16|--schedule|{ cosine = { steps = 9, floor = 0.5 } }",
        )
        .unwrap();
        let [optimizer] = method.optimizers()[..] else {
            panic!("one optimiser");
        };
        let expected = TrainingPlan {
            budget: Budget::Steps(40),
            accumulate: 4,
            optimizer: LocalOptimizer::Momentum {
                rate: 0.5,
                beta: 0.8,
            },
            schedule: Schedule::Cosine {
                steps: 9,
                floor: 0.5,
            },
            weight_decay: 0.25,
            dropout: 0.5,
            max_words: u32::try_from(TextUnits::Words.usual_most()).unwrap(),
            precision: Precision::Bf16,
            ..TrainingPlan::DEFAULT
        };
        assert_eq!(method.plan(optimizer).unwrap(), expected);
        assert_eq!(method.steps_an_epoch(129), 3);
    }

    #[test]
    fn without_arguments_it_is_adam_for_five_epochs() {
        let method = method("").unwrap();
        let plan = method.plan(method.optimizers()[0]).unwrap();
        assert_eq!(plan.budget, Budget::Epochs(5));
        assert_eq!(plan.optimizer, LocalOptimizer::Adam { rate: 0.002 });
        assert_eq!(plan.schedule, Schedule::Constant);
    }

    #[test]
    fn bad_values_are_named() {
        let said = method("--schedule|slow").unwrap_err().to_string();
        assert!(said.contains("slow") && said.contains("noam"), "{said}");
        let said = method("--schedule|{ noam = 3 }").unwrap_err().to_string();
        assert!(said.contains("noam"), "{said}");
        let method = method("--accumulate|0").unwrap();
        let error = method.plan(LocalOptimizer::Sgd { rate: 1.0 }).unwrap_err();
        assert!(
            format!("{error:#}").contains("training.accumulate is 0"),
            "{error:#}"
        );
    }
}
