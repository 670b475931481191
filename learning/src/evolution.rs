//! Evolution strategies: a round that sends a few numbers a client instead of an update.
//!
//! All clients hold the same weights w and draw the same random directions ε₁ … ε_P from public
//! randomness of the session. For each direction a client evaluates the weights w + σ·ε and w − σ·ε on
//! its own text, and what it sends is how much the loss falls along the direction:
//!
//! ```text
//! u_i = (L(w − σ·ε_i) − L(w + σ·ε_i)) / 2σ          nats a token
//! ```
//!
//! The P numbers are clipped, weighted, rounded and masked as an update is. From their weighted mean
//! the server makes the update of the trained parameters
//!
//! ```text
//! Δ = 1/P · Σ_i u_i·ε_i
//! ```
//!
//! and gives it to its optimiser like any other. Who holds the weights and the optimiser's state does the
//! same ([`Step`]): down go the seed of the directions and P numbers. As σ → 0 its expectation is −∇L, the negative
//! gradient of the cohort's mean loss. Pairs w ± σ·ε are antithetic sampling; see Salimans, Ho, Chen,
//! Sidor and Sutskever, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning" (2017),
//! section 2, whose directions are normal. Here they are ±1 in each parameter, as in Spall,
//! "Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient Approximation"
//! (IEEE Transactions on Automatic Control 37, 1992): E[ε·εᵀ] = I as well, all directions are of one
//! length, and a parameter takes one random bit, which is the same on every machine.
//!
//! With n trained parameters Δ has n/P times the length of the gradient it estimates, most of it noise
//! that only many rounds average out: this is for small models, or for many rounds of few bytes.
//!
//! # Security
//! The numbers of one client are masked like an update. Their mean tells the loss along P directions,
//! which an update tells along all of them.

mod step;

use secagg::Session;
use serde::{Deserialize, Serialize};

pub use self::step::{Step, StepError};
use crate::{
    plan::{PlanError, UpdatePlan, check},
    randomness::{session_seed, stream_of, with_signs},
};

/// How a round with evolution strategies looks around.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evolution {
    /// Directions P, each of them tried both ways: 1 to 65,536.
    pub pairs: u32,
    /// How far each parameter is moved, σ: 1e-9 to 1e9, in the model's own units.
    pub sigma: f32,
}

impl Evolution {
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        // A server that asks for endless evaluations must not get them.
        check::integer("evolution.pairs", self.pairs, 1, 65_536)?;
        check::size("evolution.sigma", self.sigma)
    }
}

/// The directions of one session: the same for the server and all clients.
#[derive(Clone, Debug)]
pub struct Directions {
    seed: [u8; 32],
}

impl Directions {
    /// Those of a session. Its id binds the nonce of the attempt and the digests of plan and weights,
    /// so that each attempt has directions of its own, which both sides know.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        Self::from_seed(session_seed(b"secagg-learning/v1/evolution", session))
    }

    /// Those of a seed: for what has no session, such as tests and simulations.
    #[must_use]
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// What they follow from.
    #[must_use]
    pub const fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// Adds `step` times the direction of a pair to the trained parameters.
    pub fn add(&self, pair: u32, step: f32, parameters: &mut [f32]) {
        let random = stream_of(self.seed, u64::from(pair));
        with_signs(random, step, parameters, |element, step| *element += step);
    }

    /// The update of so many trained parameters from the mean of what the clients have sent, one
    /// number a direction.
    #[must_use]
    pub fn combine(&self, falls: &[f32], trained: usize) -> Vec<f32> {
        let mut update = vec![0.0; trained];
        for (pair, fall) in (0..).zip(falls) {
            self.add(pair, fall / falls.len() as f32, &mut update);
        }
        update
    }

    /// The same for all parameters of a plan's model; zero for those that are not trained.
    #[must_use]
    pub fn update(&self, plan: &UpdatePlan, falls: &[f32]) -> Vec<f32> {
        let update = self.combine(falls, plan.trained() as usize);
        plan.parts.scatter(update, plan.parameters as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTIONS: Directions = Directions { seed: [7; 32] };

    fn direction(pair: u32, len: usize) -> Vec<f32> {
        let mut direction = vec![0.0; len];
        DIRECTIONS.add(pair, 1.0, &mut direction);
        direction
    }

    #[test]
    fn directions_are_signs_and_differ() {
        let [first, second] = [0, 1].map(|pair| direction(pair, 10_000));
        assert!(first.iter().all(|sign| sign.abs() == 1.0));
        // Sums and products of 10,000 fair signs have a standard deviation of 100.
        let sum: f32 = first.iter().sum();
        let product: f32 = first.iter().zip(&second).map(|(a, b)| a * b).sum();
        assert!(
            sum.abs() < 400.0 && product.abs() < 400.0,
            "{sum} {product}"
        );
        // A shorter model has the same first signs.
        assert_eq!(direction(0, 77), first[..77]);
    }

    #[test]
    fn a_step_there_and_back_is_no_step() {
        let mut parameters: Vec<f32> = (0..100_u8).map(f32::from).collect();
        DIRECTIONS.add(3, 0.25, &mut parameters);
        assert!(
            parameters
                .iter()
                .zip(0_u8..)
                .all(|(p, n)| (p - f32::from(n)).abs() == 0.25)
        );
        DIRECTIONS.add(3, -0.25, &mut parameters);
        assert!(
            parameters
                .iter()
                .zip(0_u8..)
                .all(|(p, n)| *p == f32::from(n))
        );
    }

    #[test]
    fn the_combination_is_the_gradient_where_directions_are_many() {
        // L(w) = g·w falls by −g·ε along ε. With P directions an element of Δ has the expectation −g_j
        // and a variance of ‖g‖²/P.
        let gradient: Vec<f32> = (0..64_u8).map(|n| f32::from(n) / 8.0 - 4.0).collect();
        let pairs = 4096;
        let falls: Vec<f32> = (0..pairs)
            .map(|pair| {
                let direction = direction(pair, gradient.len());
                let slope = direction.iter().zip(&gradient).map(|(e, g)| e * g);
                -slope.sum::<f32>()
            })
            .collect();
        let update = DIRECTIONS.combine(&falls, gradient.len());
        let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        let deviation = norm / (pairs as f32).sqrt();
        for (found, gradient) in update.iter().zip(&gradient) {
            let error = (found + gradient).abs();
            assert!(error < 4.5 * deviation, "{found} {gradient} {deviation}");
        }
    }
}
