//! The figures of a client that travel beside its update, and their sums.

use core::fmt;

use crate::plan::Plan;

/// One element of the segment `counters`, in the order in which they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// A client's weight in the mean: its training examples, at most the plan's weight cap.
    Weight,
    /// Sum over the training tokens of their loss, in units of 1/65,536 nat.
    TrainLoss,
    /// Training tokens that were predicted.
    TrainTokens,
    /// Sum over the held-out tokens of their loss, in units of 1/65,536 nat.
    ValidationLoss,
    /// Held-out tokens whose most probable prediction was right.
    ValidationTop1,
    /// Held-out tokens that were among the three most probable predictions.
    ValidationTop3,
    /// Held-out tokens that were predicted.
    ValidationTokens,
    /// As [`Counter::ValidationLoss`], with what the client mixes in of its own.
    PersonalLoss,
    /// As [`Counter::ValidationTop1`], with what the client mixes in of its own.
    PersonalTop1,
    /// As [`Counter::ValidationTop3`], with what the client mixes in of its own.
    PersonalTop3,
}

impl Counter {
    /// Every counter, in the order of the segment.
    pub const ALL: [Self; 10] = [
        Self::Weight,
        Self::TrainLoss,
        Self::TrainTokens,
        Self::ValidationLoss,
        Self::ValidationTop1,
        Self::ValidationTop3,
        Self::ValidationTokens,
        Self::PersonalLoss,
        Self::PersonalTop1,
        Self::PersonalTop3,
    ];

    /// The counter's name in messages to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::TrainLoss => "train_loss",
            Self::TrainTokens => "train_tokens",
            Self::ValidationLoss => "validation_loss",
            Self::ValidationTop1 => "validation_top1",
            Self::ValidationTop3 => "validation_top3",
            Self::ValidationTokens => "validation_tokens",
            Self::PersonalLoss => "personal_loss",
            Self::PersonalTop1 => "personal_top1",
            Self::PersonalTop3 => "personal_top3",
        }
    }

    /// The largest value that one client may send under `plan`: the weight cap, 2^32 − 1 tokens,
    /// or a loss of 2^48 − 1 units (just below 2^32 nats).
    pub fn maximum(self, plan: &Plan) -> u64 {
        self.maximum_with_cap(plan.update().weight_cap)
    }

    pub(crate) fn maximum_with_cap(self, weight_cap: u32) -> u64 {
        match self {
            Self::Weight => u64::from(weight_cap),
            Self::TrainLoss | Self::ValidationLoss | Self::PersonalLoss => LOSS_MAXIMUM,
            Self::TrainTokens
            | Self::ValidationTop1
            | Self::ValidationTop3
            | Self::ValidationTokens
            | Self::PersonalTop1
            | Self::PersonalTop3 => u64::from(u32::MAX),
        }
    }

    /// A value above the maximum is clipped to it (weight, losses), or else refused (tokens).
    pub(crate) const fn clips(self) -> bool {
        matches!(
            self,
            Self::Weight | Self::TrainLoss | Self::ValidationLoss | Self::PersonalLoss
        )
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for each [`Counter`]: of one client before encoding, or the sum over the
/// contributors after decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    values: [u64; Counter::ALL.len()],
}

/// How well the weights that the clients received predict text that they were not trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Mean cross-entropy, nats a token.
    pub loss: f64,
    /// e to the power of `loss`.
    pub perplexity: f64,
    /// Share of the tokens, 0 to 1, whose most probable prediction was right.
    pub top1: f64,
    /// Share of the tokens, 0 to 1, that were among the three most probable predictions.
    pub top3: f64,
    /// The number of tokens.
    pub tokens: u64,
    /// The same tokens, predicted with what each client mixes in of its own; none in what was stored
    /// before there was such a thing.
    pub personal: Option<PersonalValidation>,
}

/// How well predictions are that are each client's own: those of the global weights, interpolated with
/// what the client's text says, where it does that, and else those of the global weights alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PersonalValidation {
    /// Mean cross-entropy, nats a token.
    pub loss: f64,
    /// Share of the tokens, 0 to 1, whose most probable prediction was right.
    pub top1: f64,
    /// Share of the tokens, 0 to 1, that were among the three most probable predictions.
    pub top3: f64,
}

/// A figure that no honest computation gives.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CountersError {
    /// A sum of losses must be a number, and cross-entropy is never negative.
    #[error("{counter} is {nats} nats; it must be a number and not negative")]
    Loss {
        /// Which of the two losses.
        counter: Counter,
        /// The value given, in nats.
        nats: f64,
    },
}

impl Counters {
    /// All zero: a client that neither trained nor evaluated.
    pub const fn new() -> Self {
        Self {
            values: [0; Counter::ALL.len()],
        }
    }

    /// Counters from their values in the order of [`Counter::ALL`]; losses in 1/65,536 nat.
    pub const fn from_values(values: [u64; Counter::ALL.len()]) -> Self {
        Self { values }
    }

    /// The values in the order of [`Counter::ALL`]; losses in 1/65,536 nat.
    pub const fn values(&self) -> &[u64; Counter::ALL.len()] {
        &self.values
    }

    /// One value; losses in 1/65,536 nat.
    pub const fn value(&self, counter: Counter) -> u64 {
        self.values[counter.index()]
    }

    /// Adds what training saw: `examples` enter the weight; `loss_nats` is the *sum* of the losses
    /// over `tokens`. Values that are too large stay at the largest u64; an infinite loss as well
    /// (the codec then clips it to the client's maximum).
    ///
    /// # Errors
    /// [`CountersError::Loss`] where `loss_nats` is not a number or negative; nothing is added.
    pub fn record_training(
        &mut self,
        examples: u64,
        loss_nats: f64,
        tokens: u64,
    ) -> Result<(), CountersError> {
        let loss = fixed_point(Counter::TrainLoss, loss_nats)?;
        self.add(Counter::Weight, examples);
        self.add(Counter::TrainLoss, loss);
        self.add(Counter::TrainTokens, tokens);
        Ok(())
    }

    /// Adds what evaluation on held-out text saw: `loss_nats` is the *sum* of the losses over
    /// `tokens`, of which `top1` were predicted first and `top3` among the first three. Values
    /// that are too large stay at the largest u64, as in [`Self::record_training`].
    ///
    /// # Errors
    /// [`CountersError::Loss`] where `loss_nats` is not a number or negative; nothing is added.
    pub fn record_validation(
        &mut self,
        loss_nats: f64,
        top1: u64,
        top3: u64,
        tokens: u64,
    ) -> Result<(), CountersError> {
        let loss = fixed_point(Counter::ValidationLoss, loss_nats)?;
        self.add(Counter::ValidationLoss, loss);
        self.add(Counter::ValidationTop1, top1);
        self.add(Counter::ValidationTop3, top3);
        self.add(Counter::ValidationTokens, tokens);
        Ok(())
    }

    /// Adds what evaluation on the same held-out text saw, with what the client mixes in of its own:
    /// where it mixes in nothing, the figures of [`Self::record_validation`] once more.
    ///
    /// # Errors
    /// [`CountersError::Loss`] where `loss_nats` is not a number or negative; nothing is added.
    pub fn record_personal(
        &mut self,
        loss_nats: f64,
        top1: u64,
        top3: u64,
    ) -> Result<(), CountersError> {
        let loss = fixed_point(Counter::PersonalLoss, loss_nats)?;
        self.add(Counter::PersonalLoss, loss);
        self.add(Counter::PersonalTop1, top1);
        self.add(Counter::PersonalTop3, top3);
        Ok(())
    }

    /// Mean training loss, nats a token; `None` where no token was trained on.
    pub fn train_loss(&self) -> Option<f64> {
        self.mean_loss(Counter::TrainLoss, Counter::TrainTokens)
    }

    /// Loss, perplexity and accuracies on held-out text; `None` where there was none.
    pub fn validation(&self) -> Option<Validation> {
        let loss = self.mean_loss(Counter::ValidationLoss, Counter::ValidationTokens)?;
        let personal_loss = self.mean_loss(Counter::PersonalLoss, Counter::ValidationTokens)?;
        let tokens = self.value(Counter::ValidationTokens);
        let share = |counter| self.value(counter) as f64 / tokens as f64;
        Some(Validation {
            loss,
            perplexity: loss.exp(),
            top1: share(Counter::ValidationTop1),
            top3: share(Counter::ValidationTop3),
            tokens,
            personal: Some(PersonalValidation {
                loss: personal_loss,
                top1: share(Counter::PersonalTop1),
                top3: share(Counter::PersonalTop3),
            }),
        })
    }

    fn add(&mut self, counter: Counter, value: u64) {
        let sum = &mut self.values[counter.index()];
        *sum = sum.saturating_add(value);
    }

    fn mean_loss(&self, loss: Counter, tokens: Counter) -> Option<f64> {
        match self.value(tokens) {
            0 => None,
            tokens => Some(self.value(loss) as f64 / UNITS_PER_NAT / tokens as f64),
        }
    }
}

/// Losses travel in fixed point: 1/65,536 nat.
const UNITS_PER_NAT: f64 = 65_536.0;

/// One client's largest sum of losses, in units.
const LOSS_MAXIMUM: u64 = (1 << 48) - 1;

fn fixed_point(counter: Counter, nats: f64) -> Result<u64, CountersError> {
    // A comparison with NaN is false, so NaN is refused as well.
    if nats >= 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative and not NaN; `as` saturates at the largest u64"
        )]
        let units = (nats * UNITS_PER_NAT).round() as u64;
        Ok(units)
    } else {
        Err(CountersError::Loss { counter, nats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_segment_is_the_order_of_the_list() {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter.index(), index);
            assert_eq!(
                Counters::from_values([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).value(counter),
                index as u64 + 1
            );
        }
    }

    #[test]
    fn figures_add_up() {
        let mut counters = Counters::new();
        counters.record_training(10, 1.5, 4).unwrap();
        counters.record_training(5, 0.25, 3).unwrap();
        counters.record_validation(3.0, 2, 3, 4).unwrap();
        counters.record_personal(1.0, 3, 4).unwrap();
        assert_eq!(
            counters.values(),
            // 1.75, 3 and 1 × 65,536.
            &[15, 114_688, 7, 196_608, 2, 3, 4, 65_536, 3, 4]
        );
        assert_eq!(counters.train_loss(), Some(0.25));
        let validation = counters.validation().unwrap();
        assert_eq!(validation.loss, 0.75);
        assert_eq!(validation.perplexity, 0.75_f64.exp());
        assert_eq!(validation.top1, 0.5);
        assert_eq!(validation.top3, 0.75);
        assert_eq!(validation.tokens, 4);
        let personal = PersonalValidation {
            loss: 0.25,
            top1: 0.75,
            top3: 1.0,
        };
        assert_eq!(validation.personal, Some(personal));
    }

    #[test]
    fn no_tokens_no_mean() {
        assert_eq!(Counters::new().train_loss(), None);
        assert_eq!(Counters::new().validation(), None);
    }

    #[test]
    fn a_loss_is_a_number_and_not_negative() {
        let mut counters = Counters::new();
        assert_eq!(
            counters.record_training(1, -0.5, 1),
            Err(CountersError::Loss {
                counter: Counter::TrainLoss,
                nats: -0.5
            })
        );
        assert!(matches!(
            counters.record_validation(f64::NAN, 0, 0, 1),
            Err(CountersError::Loss { counter: Counter::ValidationLoss, nats }) if nats.is_nan()
        ));
        assert!(counters.record_personal(f64::NAN, 0, 0).is_err());
        assert_eq!(counters, Counters::new());
    }

    #[test]
    fn large_values_saturate() {
        let mut counters = Counters::new();
        counters
            .record_training(u64::MAX, f64::INFINITY, u64::MAX)
            .unwrap();
        counters.record_training(1, 1.0, 1).unwrap();
        assert_eq!(
            counters.values(),
            &[u64::MAX, u64::MAX, u64::MAX, 0, 0, 0, 0, 0, 0, 0]
        );
        // A negative zero is zero.
        counters.record_validation(-0.0, 0, 0, 1).unwrap();
        assert_eq!(counters.value(Counter::ValidationLoss), 0);
    }
}
