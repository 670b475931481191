//! What the demo asserts. A claim that does not hold ends it with an error.

use super::format::{correlation, fine_percent, list, percent, probability};
use super::metrics::{Check, Metrics};

/// The least share of pooled training's top-1 that the bundled run must reach.
const SHARE_OF_POOLED: f64 = 0.85;

/// How much better than the most frequent token the bundled run must be, in top-1.
const ABOVE_MOST_FREQUENT: f64 = 0.03;

/// The most of a node's CPU time that the cryptography may take.
const CRYPTOGRAPHY: f64 = 0.10;

/// Every claim, with its figures. `nodes` is how many took part.
pub(crate) fn checks(metrics: &Metrics) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut check = |claim: &str, found: String, holds: bool| {
        checks.push(Check {
            claim: claim.to_owned(),
            found,
            holds,
        });
    };
    if metrics.run.kill > 0 {
        let (found, holds) = survival(metrics);
        check(
            "the round goes on without killed nodes, and they come back",
            found,
            holds,
        );
    }
    let trained = metrics.rounds.iter().filter(|round| round.trains).count();
    check(
        "every round has its sum",
        format!("{trained} of {} training rounds", metrics.run.rounds),
        trained == metrics.run.rounds as usize,
    );
    let (before, after) = (&metrics.quality.before, &metrics.quality.after);
    check(
        "training lowers the validation loss",
        format!("from {:.3} to {:.3} nats a token", before.loss, after.loss),
        after.loss < before.loss,
    );
    // How good training is on other text is for its user to judge.
    if metrics.run.corpus.is_none() {
        if let Some(pooled) = &metrics.quality.pooled {
            let share = after.top1 / pooled.validation.top1;
            check(
                "top-1 is at least 0.85 of what pooled training reaches",
                format!(
                    "{} and {}: {share:.3}",
                    percent(after.top1),
                    percent(pooled.validation.top1)
                ),
                share >= SHARE_OF_POOLED,
            );
        }
        if let Some(most) = &metrics.quality.most_frequent {
            check(
                "top-1 is at least 3 points above always answering the most frequent token",
                format!("{} and {}", percent(after.top1), percent(most.top1)),
                after.top1 >= most.top1 + ABOVE_MOST_FREQUENT,
            );
        }
    }
    check(
        "the cryptography takes less than 10 % of a node's computing",
        fine_percent(metrics.time.cryptography_share),
        metrics.time.cryptography_share < CRYPTOGRAPHY,
    );
    let exhibit = &metrics.exhibit;
    check(
        "the masked vector in the picture is the one that the coordinator received (BLAKE3)",
        if exhibit.hashes_agree() {
            format!("both {}", exhibit.sent_blake3)
        } else {
            format!(
                "sent {}, received {}",
                exhibit.sent_blake3, exhibit.received_blake3
            )
        },
        exhibit.hashes_agree(),
    );
    check(
        "the masked vector looks like noise: bytes uniform (p > 0.001), |r| below 4/√m",
        figures(&exhibit.masked),
        exhibit.masked.looks_like_noise,
    );
    check(
        "the same vector fails both tests when it is not masked",
        figures(&exhibit.unmasked),
        exhibit.unmasked.fails_both(),
    );
    checks
}

fn figures(tests: &super::exhibit::Tests) -> String {
    format!(
        "p {}, r {}, limit {:.4}",
        probability(tests.bytes.p),
        correlation(tests.correlation),
        tests.correlation_limit
    )
}

fn survival(metrics: &Metrics) -> (String, bool) {
    let mut round_survived = true;
    let mut said = Vec::new();
    for death in &metrics.deaths {
        let mut rounds = metrics.rounds.iter();
        let round = rounds.find(|round| round.round == death.round);
        round_survived &= round.is_some_and(|round| {
            round.contributors as usize == metrics.run.nodes - metrics.run.kill
        });
        said.push(match death.back_in_round {
            Some(back) => format!("{} (back in round {back})", death.name),
            None => format!("{} (not back)", death.name),
        });
    }
    let all_back = metrics
        .deaths
        .iter()
        .all(|death| death.back_in_round.is_some());
    let all_killed = metrics.deaths.len() == metrics.run.kill;
    let found = match metrics.deaths.first() {
        Some(death) => format!("killed in round {}: {}", death.round, list(&said)),
        None => "nobody was killed".to_owned(),
    };
    (found, round_survived && all_back && all_killed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;

    fn failing(metrics: &Metrics) -> Vec<String> {
        let checks = checks(metrics);
        let failing = checks.into_iter().filter(|check| !check.holds);
        failing.map(|check| check.claim).collect()
    }

    #[test]
    fn a_good_run_holds() {
        assert_eq!(failing(&sample::metrics()), [""; 0]);
        assert_eq!(checks(&sample::metrics()).len(), 9);
    }

    #[test]
    fn each_claim_can_fail() {
        let fails = |change: &dyn Fn(&mut Metrics), words: &str| {
            let mut metrics = sample::metrics();
            change(&mut metrics);
            let failing = failing(&metrics);
            assert!(
                failing.iter().any(|claim| claim.contains(words)),
                "{words}: {failing:?}"
            );
        };
        fails(&|m| m.deaths[0].back_in_round = None, "killed nodes");
        fails(&|m| m.deaths.clear(), "killed nodes");
        fails(&|m| m.rounds[1].contributors = 1, "killed nodes");
        fails(&|m| drop(m.rounds.remove(0)), "every round");
        fails(&|m| m.quality.after.loss = 99.0, "lowers");
        fails(&|m| m.quality.after.top1 = 0.17, "0.85 of");
        fails(&|m| m.quality.after.top1 = 0.12, "3 points");
        fails(&|m| m.time.cryptography_share = 0.1, "10 %");
        fails(&|m| m.exhibit.received_blake3 = "00".to_owned(), "BLAKE3");
        fails(&|m| m.exhibit.masked.looks_like_noise = false, "noise");
        fails(&|m| m.exhibit.unmasked.bytes.p = 0.5, "not masked");
    }

    #[test]
    fn other_text_is_not_judged_by_its_accuracy() {
        let mut metrics = sample::metrics();
        metrics.run.corpus = Some("other.jsonl".to_owned());
        metrics.quality.after.top1 = 0.01;
        assert_eq!(failing(&metrics), [""; 0]);
    }
}
