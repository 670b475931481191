//! A client's model update to a ring vector, and the sum of such vectors back to a mean update.
//!
//! With v value bits, max = 2^(v−1) − 1, and one *step* = range/max, a client with update Δ and
//! weight w = min(examples, cap) sends for each element
//!
//! ```text
//! y = clamp(min(1, clip_norm/‖Δ‖₂)·Δ·w/cap, ±range)      in f64
//! q = y/step, rounded down or up to a whole number         |q| ≤ max
//! q + max                                                  0 to 2·max, modulo 2^b
//! ```
//!
//! Rounding is stochastic: up with a probability equal to the fractional part, so that the expected
//! q is y/step. The fraction is held to 28 bits: rounding it to them shifts the expectation by
//! less than 2^−27 of a step, up or down alike.
//!
//! From the sum S over n contributors the server computes (S − n·max)·step·cap/Σw: the mean of the
//! clipped updates, weighted by w. An element that is clamped is biased towards zero;
//! range = clip_norm never clamps, a smaller one buys a finer step.
//!
//! # Security
//! Masked updates cannot be inspected: clipping and ranges bind honest clients only. A malicious
//! one can send any ring element, so each element of the sum is off by up to the whole ring for
//! each such client.

use rand_core::CryptoRng;
use secagg::{InputError, Session, Vector};

use crate::{
    counters::{Counter, Counters},
    plan::{COUNTERS_SEGMENT, Plan, RoundKind, UPDATE_SEGMENT},
    rounding::{Rounded, Rounding, norm},
};

/// Encodes updates and decodes sums under one plan.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateCodec {
    plan: Plan,
}

/// What the sum of a round's masked vectors says.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedSum {
    /// The mean update, weighted by the clients' weights, one f32 a parameter; `None` where
    /// clients only evaluated or no contributor had an example to train on.
    pub mean_delta: Option<Vec<f32>>,
    /// The sums of the contributors' counters.
    pub counters: Counters,
}

/// Why an update or a sum was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The session or the sum has another layout than the plan.
    #[error("the layout is not that of the plan")]
    Layout,
    /// The session allows more clients than the plan has room for.
    #[error("the session allows {session} clients; the plan has room for {plan}")]
    Cohort {
        /// The session's largest cohort.
        session: u32,
        /// The plan's largest cohort.
        plan: u32,
    },
    /// The update has another length than the plan says.
    #[error("the update has {found} elements; the plan says {expected}")]
    Length {
        /// The update's length.
        found: usize,
        /// The plan's; 0 where clients only evaluate.
        expected: usize,
    },
    /// An element of the update is infinite or not a number.
    #[error("element {index} of the update is {value}")]
    NotFinite {
        /// Where.
        index: usize,
        /// Which value.
        value: f32,
    },
    /// A count is larger than one client may send.
    #[error("{counter} is {value}; one client may send at most {maximum}")]
    Counter {
        /// Which counter.
        counter: Counter,
        /// Its value.
        value: u64,
        /// The largest value allowed.
        maximum: u64,
    },
    /// The protocol refused the vector.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A sum has at least one contributor and at most the plan's largest cohort.
    #[error("a sum of {contributors} clients; the plan has room for 1 to {max_cohort}")]
    Contributors {
        /// How many were said to be in the sum.
        contributors: u32,
        /// The plan's largest cohort.
        max_cohort: u32,
    },
    /// An element of the sum is larger than the contributors can have sent.
    #[error("element {index} of the summed update is {value}; the contributors can reach {bound}")]
    ElementSum {
        /// Where.
        index: usize,
        /// Its value.
        value: u64,
        /// The largest sum that honest contributors can reach.
        bound: u64,
    },
    /// The sum of a counter is larger than the contributors can have sent.
    #[error("the sum of {counter} is {value}; the contributors can reach {bound}")]
    CounterSum {
        /// Which counter.
        counter: Counter,
        /// Its value.
        value: u64,
        /// The largest sum that honest contributors can reach.
        bound: u64,
    },
}

impl UpdateCodec {
    /// The codec of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone() }
    }

    /// A client's masked input before masking: `delta` (new minus old weights, flat, as long as
    /// the plan's parameters; empty where clients only evaluate) and the client's own `counters`.
    ///
    /// The weight is clipped to the plan's cap, the losses to their maxima
    /// ([`Counter::maximum`]); `rng` decides the rounding, 4 bytes an element.
    ///
    /// # Errors
    /// [`CodecError::Layout`] or [`CodecError::Cohort`] where the session is not the plan's;
    /// [`CodecError::Length`], [`CodecError::NotFinite`], [`CodecError::Counter`].
    ///
    /// # Security
    /// `rng` must be unpredictable: who knows the rounding bits learns a little more about an
    /// element from a sum that contains it.
    pub fn encode(
        &self,
        session: &Session,
        delta: &[f32],
        counters: &Counters,
        rng: &mut impl CryptoRng,
    ) -> Result<Vector, CodecError> {
        self.check_session(session)?;
        let expected = self.plan.update_len();
        if delta.len() != expected {
            let found = delta.len();
            return Err(CodecError::Length { found, expected });
        }
        let norm = norm(delta)?;
        let counters = self.capped(counters)?;
        let mut builder = Vector::builder(session);
        if self.plan.kind() == RoundKind::Train {
            let rounding = Rounding::new(&self.plan, norm, counters.value(Counter::Weight));
            builder = builder.segment(UPDATE_SEGMENT, Rounded::new(rounding, delta, rng))?;
        }
        let vector = builder
            .segment(COUNTERS_SEGMENT, counters.values().iter().copied())?
            .build()?;
        Ok(vector)
    }

    /// The mean update and the counters' sums, from the sum over `contributors` clients.
    ///
    /// # Errors
    /// [`CodecError::Layout`], [`CodecError::Contributors`]; [`CodecError::ElementSum`] or
    /// [`CodecError::CounterSum`] where honest contributors cannot have sent such a sum.
    pub fn decode(&self, sum: &Vector, contributors: u32) -> Result<DecodedSum, CodecError> {
        let max_cohort = self.plan.update().max_cohort;
        if *sum.layout() != self.plan.layout() {
            return Err(CodecError::Layout);
        }
        if !(1..=max_cohort).contains(&contributors) {
            return Err(CodecError::Contributors {
                contributors,
                max_cohort,
            });
        }
        let counters = self.summed_counters(sum, contributors)?;
        let total_weight = counters.value(Counter::Weight);
        let mean_delta = match self.plan.kind() {
            RoundKind::Train => {
                let mean = self.mean(sum, contributors, total_weight)?;
                (total_weight > 0).then_some(mean)
            }
            RoundKind::EvaluateOnly => None,
        };
        Ok(DecodedSum {
            mean_delta,
            counters,
        })
    }

    /// The analytic bound on the error of one element of the mean update: how far
    /// [`decode`](Self::decode) can be from the exact weighted mean of the clipped updates, where
    /// no element was clamped to the range (with clamping: from the mean of the clamped ones).
    ///
    /// Each of the n contributors is off by less than one step before it is divided by its share
    /// of the weight: n·(range/max)·cap/Σw, and n·range·cap/Σw·2^−23 more for the floats. With all
    /// clients at the cap that is one step. Infinite where `total_weight` is 0.
    pub fn error_bound(&self, contributors: u32, total_weight: u64) -> f64 {
        let reach = f64::from(contributors)
            * f64::from(self.plan.update().range)
            * f64::from(self.plan.update().weight_cap)
            / total_weight as f64;
        reach / f64::from(self.plan.value_max()) + reach * FLOAT_SLACK
    }

    fn check_session(&self, session: &Session) -> Result<(), CodecError> {
        if *session.layout() != self.plan.layout() {
            return Err(CodecError::Layout);
        }
        let plan = self.plan.update().max_cohort;
        let session = *session.parameters().cohort().end();
        if session > plan {
            return Err(CodecError::Cohort { session, plan });
        }
        Ok(())
    }

    fn capped(&self, counters: &Counters) -> Result<Counters, CodecError> {
        let mut values = *counters.values();
        for (counter, value) in Counter::ALL.into_iter().zip(&mut values) {
            let maximum = counter.maximum(&self.plan);
            if *value > maximum {
                if !counter.clips() {
                    let value = *value;
                    return Err(CodecError::Counter {
                        counter,
                        value,
                        maximum,
                    });
                }
                *value = maximum;
            }
        }
        Ok(Counters::from_values(values))
    }

    fn summed_counters(&self, sum: &Vector, contributors: u32) -> Result<Counters, CodecError> {
        let elements = sum.segment(COUNTERS_SEGMENT).ok_or(CodecError::Layout)?;
        let mut values = [0; Counter::ALL.len()];
        for ((counter, value), element) in Counter::ALL.into_iter().zip(&mut values).zip(elements) {
            // The plan proved that this product is below 2^64.
            let bound = counter.maximum(&self.plan) * u64::from(contributors);
            if element > bound {
                return Err(CodecError::CounterSum {
                    counter,
                    value: element,
                    bound,
                });
            }
            *value = element;
        }
        Ok(Counters::from_values(values))
    }

    /// (S − n·max)·range·cap/(max·Σw) for each element; all zero where Σw is 0.
    fn mean(
        &self,
        sum: &Vector,
        contributors: u32,
        total_weight: u64,
    ) -> Result<Vec<f32>, CodecError> {
        let max = u64::from(self.plan.value_max());
        let offset = max * u64::from(contributors);
        let bound = 2 * offset;
        let scale = match total_weight {
            0 => 0.0,
            weight => {
                f64::from(self.plan.update().range) * f64::from(self.plan.update().weight_cap)
                    / (max as f64 * weight as f64)
            }
        };
        let mut largest = 0;
        let mut mean = Vec::with_capacity(self.plan.update_len());
        mean.extend(elements(sum)?.map(|value| {
            largest = value.max(largest);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounds to the nearest f32; the plan's bounds keep it finite"
            )]
            let element = ((value as f64 - offset as f64) * scale) as f32;
            element
        }));
        if largest <= bound {
            return Ok(mean);
        }
        let (index, value) = elements(sum)?
            .enumerate()
            .find(|&(_, value)| value > bound)
            .expect("the largest element is above the bound");
        Err(CodecError::ElementSum {
            index,
            value,
            bound,
        })
    }
}

/// Relative to the reach of the mean: half a unit in the last place of an f32, and as much again for
/// everything that is computed in f64.
const FLOAT_SLACK: f64 = f32::EPSILON as f64;

fn elements(sum: &Vector) -> Result<impl ExactSizeIterator<Item = u64>, CodecError> {
    sum.segment(UPDATE_SEGMENT).ok_or(CodecError::Layout)
}
