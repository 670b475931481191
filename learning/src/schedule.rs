//! How a learning rate changes from step to step.

use serde::{Deserialize, Serialize};

use crate::plan::{PlanError, check};

/// What a rate is multiplied by at each step; 1 at its highest.
///
/// What a step is, the user of a schedule says: a round for the server's rate and for the rate of
/// the nodes' local optimiser, a batch where text is trained on in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// Multiplied by `factor` after every so many steps.
    Step {
        /// Steps between two changes, at least 1.
        every: u32,
        /// The factor, above 0 and at most 1.
        factor: f32,
    },
    /// Half a cosine from 1 down to `floor` (Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5,
    /// without restarts), which is kept from then on.
    Cosine {
        /// Steps until the floor is reached, at least 1.
        steps: u32,
        /// The lowest factor, 0 to 1.
        floor: f32,
    },
    /// Linear growth for `warm_up` steps, then as the inverse square root of the step (Vaswani et
    /// al., "Attention Is All You Need", NIPS 2017, section 5.3), scaled to be 1 at its highest.
    Noam {
        /// Steps until the highest rate, at least 1.
        warm_up: u32,
    },
}

/// What a schedule's values are called in messages to people: each schedule stands in a table of its
/// own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) every: &'static str,
    pub(crate) factor: &'static str,
    pub(crate) steps: &'static str,
    pub(crate) floor: &'static str,
    pub(crate) warm_up: &'static str,
}

impl Schedule {
    /// The factor at a step; the first step is 1, and 0 counts as 1.
    #[must_use]
    pub fn factor(&self, step: u64) -> f64 {
        let done = step.max(1) - 1;
        match *self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => {
                let changes = done / u64::from(every.max(1));
                f64::from(factor).powf(changes as f64)
            }
            Self::Cosine { steps, floor } => {
                let floor = f64::from(floor);
                let part = (done as f64 / f64::from(steps.max(1))).min(1.0);
                floor + (1.0 - floor) * (1.0 + (std::f64::consts::PI * part).cos()) / 2.0
            }
            Self::Noam { warm_up } => {
                let part = (done + 1) as f64 / f64::from(warm_up.max(1));
                part.min(part.sqrt().recip())
            }
        }
    }

    /// Whether the values are in their bounds.
    pub(crate) fn check(&self, names: Names) -> Result<(), PlanError> {
        match *self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => {
                check::integer(names.every, every, 1, u32::MAX)?;
                check::float(names.factor, factor, f32::MIN_POSITIVE, 1.0)
            }
            Self::Cosine { steps, floor } => {
                check::integer(names.steps, steps, 1, u32::MAX)?;
                check::float(names.floor, floor, 0.0, 1.0)
            }
            Self::Noam { warm_up } => check::integer(names.warm_up, warm_up, 1, u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        every: "every",
        factor: "factor",
        steps: "steps",
        floor: "floor",
        warm_up: "warm_up",
    };

    fn factors<const N: usize>(schedule: Schedule, steps: [u64; N]) -> [f64; N] {
        steps.map(|step| schedule.factor(step))
    }

    fn near<const N: usize>(found: [f64; N], expected: [f64; N]) {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn factors_are_those_of_the_formulas() {
        near(factors(Schedule::Constant, [0, 1, 9]), [1.0; 3]);
        let step = Schedule::Step {
            every: 2,
            factor: 0.5,
        };
        near(
            factors(step, [0, 1, 2, 3, 4, 5]),
            [1.0, 1.0, 1.0, 0.5, 0.5, 0.25],
        );
        let cosine = Schedule::Cosine {
            steps: 4,
            floor: 0.5,
        };
        let quarter = 0.5 + 0.5 * (1.0 + 0.5_f64.sqrt()) / 2.0;
        near(
            factors(cosine, [1, 2, 3, 5, 6, u64::MAX]),
            [1.0, quarter, 0.75, 0.5, 0.5, 0.5],
        );
        let noam = Schedule::Noam { warm_up: 4 };
        near(
            factors(noam, [1, 2, 4, 16, 64]),
            [0.25, 0.5, 1.0, 0.5, 0.25],
        );
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        let bad = [
            (
                Schedule::Step {
                    every: 0,
                    factor: 0.5,
                },
                "every is 0",
            ),
            (
                Schedule::Step {
                    every: 1,
                    factor: 0.0,
                },
                "factor is 0",
            ),
            (
                Schedule::Step {
                    every: 1,
                    factor: 1.5,
                },
                "factor is 1.5",
            ),
            (
                Schedule::Cosine {
                    steps: 0,
                    floor: 0.0,
                },
                "steps is 0",
            ),
            (
                Schedule::Cosine {
                    steps: 1,
                    floor: f32::NAN,
                },
                "floor is NaN",
            ),
            (
                Schedule::Cosine {
                    steps: 1,
                    floor: -0.0,
                },
                "floor is -0",
            ),
            (Schedule::Noam { warm_up: 0 }, "warm_up is 0"),
        ];
        for (schedule, problem) in bad {
            let error = schedule.check(NAMES).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        let good = Schedule::Cosine {
            steps: 1,
            floor: 0.0,
        };
        assert_eq!(good.check(NAMES), Ok(()));
    }
}
