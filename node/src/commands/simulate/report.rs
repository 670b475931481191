//! What a simulation ends with.

use std::path::PathBuf;

use serde::Serialize;

use crate::simulate::results::{Results, RoundLine, Seconds, ValidationLine};

/// The figures of a whole run, earlier parts of it included.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    experiment: String,
    out: PathBuf,
    rounds: u32,
    abandoned: usize,
    reason: String,
    /// The lowest loss.
    best: Option<Evaluated>,
    last: Option<Evaluated>,
    bytes_up: u64,
    /// The mean over the rounds.
    bytes_down: u64,
    /// The share of the last weights that is pruned, where any are.
    #[serde(skip_serializing_if = "Option::is_none")]
    sparsity: Option<f64>,
    /// The mean over the rounds, but for round 0.
    seconds_a_round: Seconds,
    /// The protocol's share of the rounds' CPU time without evaluation, 0 to 1.
    cryptography: f64,
}

#[derive(Debug, Serialize)]
struct Evaluated {
    round: u32,
    #[serde(flatten)]
    figures: ValidationLine,
}

impl Report {
    pub(super) fn new(results: &Results, reason: String, out: PathBuf) -> Self {
        let evaluated = |line: &RoundLine| {
            let round = line.round;
            line.validation.map(|figures| Evaluated { round, figures })
        };
        let all = || results.rounds.iter().filter_map(evaluated);
        let loss = |one: &Evaluated| one.figures.loss.unwrap_or(f64::INFINITY);
        let trained = results.rounds.get(1..).unwrap_or_default();
        let seconds = mean(trained);
        let without_evaluation = seconds.cpu - seconds.evaluation;
        let protocol = seconds.client_cryptography + seconds.server_cryptography;
        let last = results.rounds.last();
        Self {
            experiment: results.header.experiment.clone(),
            out,
            rounds: last.map_or(0, |line| line.round),
            abandoned: trained.iter().filter(|line| line.abandoned).count(),
            reason,
            best: all().min_by(|one, other| loss(one).total_cmp(&loss(other))),
            last: all().next_back(),
            bytes_up: last.map_or(0, |line| line.bytes_up),
            bytes_down: mean_down(trained),
            sparsity: last.and_then(|line| line.sparsity),
            seconds_a_round: seconds,
            cryptography: if without_evaluation > 0.0 {
                protocol / without_evaluation
            } else {
                0.0
            },
        }
    }

    pub(super) fn print(&self) {
        println!("{}: {}", self.experiment, self.reason);
        if self.abandoned > 0 {
            println!(
                "{} were abandoned: too many clients were lost",
                self.abandoned
            );
        }
        for (name, evaluated) in [("best", &self.best), ("last", &self.last)] {
            let Some(Evaluated { round, figures }) = evaluated else {
                continue;
            };
            let loss = figures.loss.unwrap_or(f64::NAN);
            println!(
                "  {name}    round {round:>5}   loss {loss:.4}   top-1 {:>6.2} %   top-3 {:>6.2} %",
                100.0 * figures.top1,
                100.0 * figures.top3
            );
        }
        let Seconds {
            training,
            codec,
            client_cryptography,
            server_cryptography,
            optimizer,
            evaluation,
            cpu,
            clock,
        } = self.seconds_a_round;
        println!(
            "  a round {clock:.2} s; CPU {cpu:.2} s: training {training:.2}, codec {codec:.2}, protocol at the \
             clients {client_cryptography:.2} and at the server {server_cryptography:.2}, optimiser \
             {optimizer:.2}, evaluation {evaluation:.2}"
        );
        println!(
            "  the protocol takes {:.1} % of the CPU time without evaluation",
            100.0 * self.cryptography
        );
        println!(
            "  a client sends {:.1} kB a round and receives {:.1} kB",
            self.bytes_up as f64 / 1e3,
            self.bytes_down as f64 / 1e3
        );
        if let Some(sparsity) = self.sparsity {
            println!("  {:.2} % of the weights are pruned", 100.0 * sparsity);
        }
        println!("  {}", self.out.display());
    }
}

/// With evolution strategies it is not the same in every round.
fn mean_down(lines: &[RoundLine]) -> u64 {
    let bytes: u64 = lines.iter().map(|line| line.bytes_down).sum();
    bytes.div_ceil(lines.len().max(1) as u64)
}

fn mean(lines: &[RoundLine]) -> Seconds {
    let mean = |of: fn(&Seconds) -> f64| {
        let sum: f64 = lines.iter().map(|line| of(&line.seconds)).sum();
        sum / lines.len().max(1) as f64
    };
    Seconds {
        training: mean(|seconds| seconds.training),
        codec: mean(|seconds| seconds.codec),
        client_cryptography: mean(|seconds| seconds.client_cryptography),
        server_cryptography: mean(|seconds| seconds.server_cryptography),
        optimizer: mean(|seconds| seconds.optimizer),
        evaluation: mean(|seconds| seconds.evaluation),
        cpu: mean(|seconds| seconds.cpu),
        clock: mean(|seconds| seconds.clock),
    }
}
