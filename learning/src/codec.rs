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
//! Where the plan says so, the clipped update is rotated, and only a share of its coordinates is sent
//! ([`compression`](crate::compression)); the server puts zeros for the others, and rotates the mean
//! back. Then y above is a rotated coordinate, and the range that of the rotation. No sum can overflow
//! for the same reason as before: the clamp comes last, whatever the rotation makes of an update.
//!
//! Where only parts of the model are trained ([`Parts`](crate::Parts)), Δ above is made of those parts.
//! With [evolution strategies](crate::evolution) it has one number for each direction, and the server
//! makes the update of their mean.
//!
//! # Error feedback
//! With k of d coordinates sent, the mean is unbiased when it is multiplied by d/k. The other way is
//! error feedback (Seide et al. 2014; Karimireddy et al., "Error Feedback Fixes SignSGD", ICML 2019): a
//! client keeps the part of its clipped update that it did not send, as a [`Residual`], and adds it to
//! its next update, *before* that is clipped. So the clip bounds all that a client sends, its past
//! included, and the residual is never longer than clip_norm. What rounding adds is not kept: it is
//! unbiased, and averages out over clients. In the long run residuals make an update up to d/k times as
//! long as the last training's alone, and clip_norm has to leave room for that.
//!
//! # Security
//! Masked updates cannot be inspected: clipping and ranges bind honest clients only. A malicious
//! one can send any ring element, so each element of the sum is off by up to the whole ring for
//! each such client.

mod error;

use core::fmt;

use rand_core::CryptoRng;
use secagg::{Session, Vector};
use zeroize::Zeroizing;

use crate::{
    compression::Transform,
    counters::{Counter, Counters},
    evolution::Directions,
    plan::{COUNTERS_SEGMENT, Compression, Plan, RoundKind, UPDATE_SEGMENT},
    rounding::{Rounded, Rounding, clip, norm},
};

pub use self::error::CodecError;

/// Encodes updates and decodes sums under one plan.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateCodec {
    plan: Plan,
}

/// What a client has not sent of its updates so far: as private as they are, and wiped when dropped.
pub struct Residual(Zeroizing<Vec<f32>>);

impl fmt::Debug for Residual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Residual({} elements)", self.0.len())
    }
}

impl Residual {
    /// What was kept before, one f32 a trained parameter: for who saves it between rounds.
    #[must_use]
    pub fn new(values: Vec<f32>) -> Self {
        Self(Zeroizing::new(values))
    }

    /// One f32 a trained parameter, in the model's own units.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

/// A client's part of a round.
#[derive(Debug)]
pub struct Encoded {
    /// The masked input before masking.
    pub input: Vector,
    /// What is to be added to the client's next update if this one is really sent; `None` where the
    /// plan has no error feedback or clients only evaluate.
    pub residual: Option<Residual>,
}

/// What the sum of a round's masked vectors says.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedSum {
    /// The mean update, weighted by the clients' weights, one f32 a parameter, zero for those that
    /// are not trained; `None` where
    /// clients only evaluated or no contributor had an example to train on.
    pub mean_delta: Option<Vec<f32>>,
    /// With [evolution strategies](crate::evolution), what it was made of: how much the loss falls along
    /// each direction, weighted as it is.
    pub falls: Option<Vec<f32>>,
    /// The sums of the contributors' counters.
    pub counters: Counters,
}

impl UpdateCodec {
    /// The codec of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone() }
    }

    /// A client's masked input before masking: `delta` (new minus old weights, flat, as long as
    /// the plan's parameters; how much the loss falls along each direction, with
    /// [evolution strategies](crate::evolution); empty where clients only evaluate) and the client's own
    /// `counters`. Of new minus old weights only the parts count that the plan trains.
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
        let encoded = self.encode_with_feedback(session, delta, None, counters, rng)?;
        Ok(encoded.input)
    }

    /// The same with error feedback, where the plan has it: `residual`, that of the client's last
    /// update that was sent, is added to `delta` before that is clipped. Where the plan has none,
    /// nothing is added and none comes back.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and [`CodecError::Residual`].
    ///
    /// # Security
    /// As [`encode`](Self::encode). A residual holds what is private of earlier rounds.
    pub fn encode_with_feedback(
        &self,
        session: &Session,
        delta: &[f32],
        residual: Option<&Residual>,
        counters: &Counters,
        rng: &mut impl CryptoRng,
    ) -> Result<Encoded, CodecError> {
        self.check_session(session)?;
        let expected = self.plan.update_len();
        if delta.len() != expected {
            let found = delta.len();
            return Err(CodecError::Length { found, expected });
        }
        let norm = norm(delta)?;
        let counters = self.capped(counters)?;
        let weight = counters.value(Counter::Weight);
        let mut builder = Vector::builder(session);
        let mut kept = None;
        let update = self.plan.update();
        if self.plan.kind() == RoundKind::Train {
            if self.is_plain() {
                let clip = clip(norm, update.clip_norm);
                let rounding = Rounding::new(&self.plan, clip, weight);
                builder = builder.segment(UPDATE_SEGMENT, Rounded::new(rounding, delta, rng))?;
            } else {
                let feedback = update.compression.feedback;
                let transform = Transform::new(update, session);
                let residual = residual.filter(|_| feedback);
                let mut rotated = self.rotated(&transform, delta, residual)?;
                let sent = Zeroizing::new(transform.select(&rotated).into_owned());
                let rounding = Rounding::new(&self.plan, 1.0, weight);
                builder = builder.segment(UPDATE_SEGMENT, Rounded::new(rounding, &sent, rng))?;
                if feedback {
                    self.subtract(&transform, &mut rotated, &sent, weight);
                    transform.unrotate(&mut rotated);
                    kept = Some(Residual(rotated));
                }
            }
        }
        let input = builder
            .segment(COUNTERS_SEGMENT, counters.values().iter().copied())?
            .build()?;
        Ok(Encoded {
            input,
            residual: kept,
        })
    }

    /// The mean update and the counters' sums, from the sum over `contributors` clients in `session`.
    ///
    /// # Errors
    /// [`CodecError::Layout`], [`CodecError::Cohort`], [`CodecError::Contributors`]; [`CodecError::ElementSum`] or
    /// [`CodecError::CounterSum`] where honest contributors cannot have sent such a sum.
    pub fn decode(
        &self,
        session: &Session,
        sum: &Vector,
        contributors: u32,
    ) -> Result<DecodedSum, CodecError> {
        self.check_session(session)?;
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
        let mean = match self.plan.kind() {
            RoundKind::Train => {
                let mean = self.mean(sum, contributors, total_weight)?;
                (total_weight > 0).then_some(mean)
            }
            RoundKind::EvaluateOnly => None,
        };
        let (mean_delta, falls) = match (mean, self.plan.evolution()) {
            (Some(falls), Some(_)) => {
                let delta = Directions::new(session).update(self.plan.update(), &falls);
                (Some(delta), Some(falls))
            }
            (mean, _) => (mean.map(|mean| self.expanded(session, mean)), None),
        };
        Ok(DecodedSum {
            mean_delta,
            falls,
            counters,
        })
    }

    /// The analytic bound on the error of one element of the mean update: how far
    /// [`decode`](Self::decode) can be from what it would give without rounding, which is the exact
    /// weighted mean of the clipped updates where no element was clamped to the range (with clamping:
    /// of the clamped ones) and all coordinates are sent.
    ///
    /// Each of the n contributors is off by less than one step before it is divided by its share
    /// of the weight: n·(range/max)·cap/Σw, and n·range·cap/Σw·2^−23 more for the floats, times d/k
    /// where k of d coordinates are sent without error feedback. With all clients at the cap that is
    /// one step. With a rotation, which can gather the errors of all coordinates in one element, it is
    /// [`error_norm_bound`](Self::error_norm_bound). Infinite where `total_weight` is 0.
    pub fn error_bound(&self, contributors: u32, total_weight: u64) -> f64 {
        match self.plan.update().compression.rotation {
            None => self.coordinate_bound(contributors, total_weight) * self.expansion(),
            Some(_) => self.error_norm_bound(contributors, total_weight),
        }
    }

    /// The analytic bound on the L2 norm of the mean update's error: √k times that of one coordinate,
    /// where k are sent, and what the floats of the rotation add. It says the more, the more
    /// coordinates there are: the typical error of one element is the norm's over √d.
    pub fn error_norm_bound(&self, contributors: u32, total_weight: u64) -> f64 {
        let update = self.plan.update();
        let sent = update.coordinates();
        let coordinate = self.coordinate_bound(contributors, total_weight);
        let rounded = f64::from(sent).sqrt() * coordinate;
        // There, of vectors up to the clip norm, and back.
        let rotated =
            Transform::rounding_error_of(update) * (2.0 * f64::from(update.clip_norm) + rounded);
        (rounded + rotated) * self.expansion()
    }

    fn coordinate_bound(&self, contributors: u32, total_weight: u64) -> f64 {
        let reach = f64::from(contributors)
            * self.plan.value_range()
            * f64::from(self.plan.update().weight_cap)
            / total_weight as f64;
        let slack = match self.is_plain() {
            true => FLOAT_SLACK,
            // The clip, the division by the share and the residual round once more each.
            false => 4.0 * FLOAT_SLACK,
        };
        reach / f64::from(self.plan.value_max()) + reach * slack
    }

    /// d/k where k of d coordinates are sent and nobody sends the others later.
    fn expansion(&self) -> f64 {
        let update = self.plan.update();
        match update.compression.feedback {
            true => 1.0,
            false => f64::from(update.trained()) / f64::from(update.coordinates()),
        }
    }

    /// Whether what a client has is sent as it is.
    fn is_plain(&self) -> bool {
        let update = self.plan.update();
        let whole = update.compression == Compression::NONE && update.parts.is_all();
        whole || self.plan.evolution().is_some()
    }

    /// The update with the residual, clipped and rotated.
    fn rotated(
        &self,
        transform: &Transform,
        delta: &[f32],
        residual: Option<&Residual>,
    ) -> Result<Zeroizing<Vec<f32>>, CodecError> {
        let mut update = Zeroizing::new(self.plan.update().parts.gather(delta));
        if let Some(Residual(residual)) = residual {
            let (found, expected) = (residual.len(), update.len());
            if found != expected {
                return Err(CodecError::Residual { found, expected });
            }
            for (element, &rest) in update.iter_mut().zip(residual.iter()) {
                *element += rest;
            }
        }
        let clip = clip(norm(&update)?, self.plan.update().clip_norm);
        for element in update.iter_mut() {
            *element = nearest(f64::from(*element) * clip);
        }
        transform.rotate(&mut update);
        Ok(update)
    }

    /// Takes what is sent, before it is rounded, from a rotated update. A client without weight sends
    /// nothing.
    fn subtract(&self, transform: &Transform, rotated: &mut [f32], sent: &[f32], weight: u64) {
        if weight == 0 {
            return;
        }
        let cap = f64::from(self.plan.update().weight_cap);
        let limit = self.plan.value_range() * cap / weight as f64;
        let left = |element: f32| {
            let element = f64::from(element);
            nearest(element - element.clamp(-limit, limit))
        };
        match transform.positions() {
            None => rotated
                .iter_mut()
                .for_each(|element| *element = left(*element)),
            Some(positions) => {
                for (&position, &element) in positions.iter().zip(sent) {
                    rotated[position as usize] = left(element);
                }
            }
        }
    }

    /// The mean update from the mean of the coordinates that were sent.
    fn expanded(&self, session: &Session, mut mean: Vec<f32>) -> Vec<f32> {
        let update = self.plan.update();
        if self.is_plain() {
            return mean;
        }
        let expansion = self.expansion();
        for element in &mut mean {
            *element = nearest(f64::from(*element) * expansion);
        }
        let transform = Transform::new(update, session);
        let mut mean = transform.spread(mean);
        transform.unrotate(&mut mean);
        update.parts.scatter(mean, update.parameters as usize)
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
                self.plan.value_range() * f64::from(self.plan.update().weight_cap)
                    / (max as f64 * weight as f64)
            }
        };
        let mut largest = 0;
        let elements_of_sum = elements(sum)?;
        let mut mean = Vec::with_capacity(elements_of_sum.len());
        mean.extend(elements_of_sum.map(|value| {
            largest = value.max(largest);
            nearest((value as f64 - offset as f64) * scale)
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

/// The nearest f32; the plan's bounds keep it finite.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds to the nearest f32, and nothing here is beyond its range"
)]
fn nearest(value: f64) -> f32 {
    value as f32
}

fn elements(sum: &Vector) -> Result<impl ExactSizeIterator<Item = u64>, CodecError> {
    sum.segment(UPDATE_SEGMENT).ok_or(CodecError::Layout)
}
