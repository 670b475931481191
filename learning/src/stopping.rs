//! When training ends, and which round's weights were best: pure functions of the history.

use serde::{Deserialize, Serialize};

/// Stop after `max_rounds`, or when validation stops improving.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppingRule {
    /// Training rounds R after which training ends.
    pub max_rounds: u32,
    /// Evaluated rounds P in a row without an improvement after which training ends; `None`: never.
    pub patience: Option<u32>,
    /// An improvement lowers the best validation loss by more than this, in nats a token.
    pub min_delta: f64,
}

/// The validation loss of the weights as they stood after a round.
///
/// The weights after round r are evaluated by the clients that receive them in round r + 1, so a
/// round's figure arrives one round later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundFigure {
    /// The round that made the weights; 0 for the initial weights.
    pub round: u32,
    /// Mean loss in nats a token; `None` where no client had held-out text.
    pub validation_loss: Option<f64>,
}

/// Why training ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All rounds are done.
    RoundsDone {
        /// How many.
        rounds: u32,
    },
    /// The validation loss stopped improving.
    NoImprovement {
        /// The last round that improved.
        best_round: u32,
        /// Evaluated rounds since then.
        rounds_since: u32,
    },
}

impl StoppingRule {
    /// Whether to stop now that `completed` training rounds are done, given the figures so far in
    /// the order of their rounds.
    ///
    /// A round without a figure neither improves nor counts against the patience. A loss that is
    /// not a finite number counts as no improvement.
    pub fn decide(&self, completed: u32, history: &[RoundFigure]) -> Option<StopReason> {
        if completed >= self.max_rounds {
            return Some(StopReason::RoundsDone { rounds: completed });
        }
        let patience = self.patience?;
        let mut best: Option<(u32, f64)> = None;
        let mut first = None;
        let mut rounds_since = 0_u32;
        for figure in history {
            let Some(loss) = figure.validation_loss else {
                continue;
            };
            first.get_or_insert(figure.round);
            let improves = loss.is_finite()
                && best.is_none_or(|(_, best_loss)| loss < best_loss - self.min_delta);
            if improves {
                best = Some((figure.round, loss));
                rounds_since = 0;
            } else {
                rounds_since = rounds_since.saturating_add(1);
            }
        }
        let best_round = best.map(|(round, _)| round).or(first)?;
        (rounds_since >= patience.max(1)).then_some(StopReason::NoImprovement {
            best_round,
            rounds_since,
        })
    }
}

/// The round whose weights had the lowest finite validation loss, the earliest among equals;
/// `None` where there is no figure.
pub fn best_round(history: &[RoundFigure]) -> Option<u32> {
    let mut best: Option<(u32, f64)> = None;
    for figure in history {
        if let Some(loss) = figure.validation_loss.filter(|loss| loss.is_finite())
            && best.is_none_or(|(_, best_loss)| loss < best_loss)
        {
            best = Some((figure.round, loss));
        }
    }
    best.map(|(round, _)| round)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(losses: &[Option<f64>]) -> Vec<RoundFigure> {
        (0..)
            .zip(losses)
            .map(|(round, &validation_loss)| RoundFigure {
                round,
                validation_loss,
            })
            .collect()
    }

    const RULE: StoppingRule = StoppingRule {
        max_rounds: 10,
        patience: Some(2),
        min_delta: 0.1,
    };

    #[test]
    fn goes_on_while_validation_improves() {
        let improving = history(&[Some(9.0), Some(8.0), Some(7.0)]);
        assert_eq!(RULE.decide(3, &improving), None);
        assert_eq!(RULE.decide(0, &[]), None);
    }

    #[test]
    fn stops_when_all_rounds_are_done() {
        assert_eq!(
            RULE.decide(10, &history(&[Some(9.0), Some(8.0)])),
            Some(StopReason::RoundsDone { rounds: 10 })
        );
    }

    #[test]
    fn stops_after_two_rounds_without_improvement() {
        // 7.95 and 7.92 are lower, but by no more than 0.1 in all.
        let flat = history(&[Some(9.0), Some(8.0), Some(7.95), Some(7.92)]);
        assert_eq!(
            RULE.decide(4, &flat),
            Some(StopReason::NoImprovement {
                best_round: 1,
                rounds_since: 2
            })
        );
        assert_eq!(RULE.decide(3, &flat[..3]), None);
        // The best weights are nevertheless those of the lowest loss.
        assert_eq!(best_round(&flat), Some(3));
    }

    #[test]
    fn an_improvement_resets_the_patience() {
        let slow = history(&[Some(9.0), Some(9.0), Some(8.0), Some(8.0)]);
        assert_eq!(RULE.decide(4, &slow), None);
    }

    #[test]
    fn missing_figures_do_not_count() {
        let gaps = history(&[Some(9.0), None, Some(9.0), None, None]);
        assert_eq!(RULE.decide(5, &gaps), None);
    }

    #[test]
    fn losses_that_are_no_number_count_as_no_improvement() {
        let diverged = history(&[Some(9.0), Some(f64::NAN), Some(f64::INFINITY)]);
        assert_eq!(
            RULE.decide(3, &diverged),
            Some(StopReason::NoImprovement {
                best_round: 0,
                rounds_since: 2
            })
        );
        assert_eq!(best_round(&diverged), Some(0));
        let never = history(&[None, Some(f64::NAN), Some(f64::NAN)]);
        assert_eq!(
            RULE.decide(3, &never),
            Some(StopReason::NoImprovement {
                best_round: 1,
                rounds_since: 2
            })
        );
        assert_eq!(best_round(&never), None);
    }

    #[test]
    fn without_patience_only_the_rounds_count() {
        let rule = StoppingRule {
            patience: None,
            ..RULE
        };
        assert_eq!(rule.decide(9, &history(&[Some(1.0); 9])), None);
    }

    #[test]
    fn the_earliest_of_equal_rounds_is_best() {
        assert_eq!(
            best_round(&history(&[Some(3.0), Some(2.0), Some(2.0)])),
            Some(1)
        );
    }
}
