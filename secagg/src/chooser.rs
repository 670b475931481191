//! The chooser of degree and threshold, and the inequalities that a client checks by itself.
//!
//! Bell et al., *Secure Single-Server Aggregation with (Poly)Logarithmic Overhead* (CCS 2020),
//! with exact hypergeometric tails in place of their bounds. `specs/parameters.md` derives the
//! formulas. All probabilities are rounded up, so what is accepted holds.

mod error;
mod search;
#[cfg(test)]
mod tests;

pub use self::error::ChooserError;
use self::search::Counts;
use crate::{
    hypergeometric::Hypergeometric,
    params::{CORRECTNESS_BITS, GraphKind, MAX_COHORT, MAX_SPARSE_COHORT, MIN_COHORT, ThreatModel},
};

/// A bound on how many clients of a roster do something.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Bound {
    /// At most so many clients.
    Clients(u32),
    /// At most this fraction of the roster, from 0 to 1, rounded down to whole clients.
    Fraction(f64),
}

/// What is assumed about the clients of one roster, and how sure the answer must be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Assumptions {
    /// What the server is trusted with.
    pub threat_model: ThreatModel,
    /// Whether a sparse graph may be chosen.
    pub graph: GraphKind,
    /// Clients in the roster (n).
    pub cohort: u32,
    /// Bound on corrupt clients in the roster (A, or γ as a fraction).
    pub corrupt: Bound,
    /// Bound on clients that are lost after the roster (D, or δ as a fraction).
    pub dropped: Bound,
    /// Corrupt clients break the secrecy of some honest client with probability at most
    /// 2^−`security_bits` (σ), over the draw of the graph.
    pub security_bits: u32,
    /// The seed of some client cannot be opened with probability at most 2^−`correctness_bits`
    /// (η), over the draw of the graph.
    pub correctness_bits: u32,
}

impl Assumptions {
    /// Assumptions with the usual certainties: σ from [`security_bits`], η = 20.
    #[must_use]
    pub const fn new(
        threat_model: ThreatModel,
        graph: GraphKind,
        cohort: u32,
        corrupt: Bound,
        dropped: Bound,
    ) -> Self {
        Self {
            threat_model,
            graph,
            cohort,
            corrupt,
            dropped,
            security_bits: security_bits(threat_model) as u32,
            correctness_bits: CORRECTNESS_BITS as u32,
        }
    }

    /// The smallest even degree, with its smallest threshold, that meets the assumptions; else
    /// the complete graph, if that does.
    ///
    /// # Errors
    ///
    /// When the cohort or a bound is out of range, or no degree and threshold will do; the error
    /// then says which smaller bounds would.
    pub fn choose(&self) -> Result<Choice, ChooserError> {
        let Self {
            threat_model,
            cohort,
            security_bits,
            correctness_bits,
            ..
        } = *self;
        let complete_only = matches!(self.graph, GraphKind::Complete);
        let max = if complete_only {
            MAX_COHORT
        } else {
            MAX_SPARSE_COHORT
        };
        if !(MIN_COHORT..=max).contains(&cohort) {
            return Err(ChooserError::Cohort { cohort, max });
        }
        let counts = Counts {
            malicious: is_malicious(threat_model),
            complete_only,
            cohort,
            corrupt: self.corrupt.clients("corrupt", cohort)?,
            dropped: self.dropped.clients("dropped", cohort)?,
            security_bits,
            correctness_bits,
        };
        counts.choose().ok_or_else(|| ChooserError::Infeasible {
            threat_model,
            cohort,
            max_corrupt: counts.corrupt,
            max_dropped: counts.dropped,
            security_bits,
            correctness_bits,
            feasible_dropped: counts.largest_feasible(|dropped| Counts { dropped, ..counts }),
            feasible_corrupt: counts.largest_feasible(|corrupt| Counts { corrupt, ..counts }),
        })
    }
}

impl Bound {
    /// The bound as a number of clients of this cohort.
    fn clients(self, what: &'static str, cohort: u32) -> Result<u32, ChooserError> {
        match self {
            Self::Clients(clients) if clients <= cohort => Ok(clients),
            Self::Clients(clients) => Err(ChooserError::Clients {
                what,
                clients,
                cohort,
            }),
            Self::Fraction(fraction) if (0.0..=1.0).contains(&fraction) => {
                Ok(floor(fraction * f64::from(cohort)))
            }
            Self::Fraction(fraction) => Err(ChooserError::Fraction { what, fraction }),
        }
    }
}

/// A product that is a whole number in decimals may fall short of it in binary (0.29 · 100 does):
/// what is missing is far below 10^−9.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of a cohort is within 0 and the cohort"
)]
fn floor(clients: f64) -> u32 {
    libm::floor(clients + 1e-9) as u32
}

/// The usual statistical security parameter (σ), in bits.
///
/// A server that follows the protocol draws one graph: 40. A malicious server draws a graph with
/// each roster that it tries before it shows one, so the bound on one draw must leave room for
/// its tries: 80 leaves 2^−40 after 2^40 of them.
#[must_use]
pub const fn security_bits(threat_model: ThreatModel) -> u8 {
    if is_malicious(threat_model) { 80 } else { 40 }
}

/// The smallest threshold that a client accepts, by its own bound on corrupt clients in the
/// roster and its own σ (see [`security_bits`]). A degree of `cohort` − 1 is the complete graph.
///
/// With t_A one more than the corrupt neighbours of any client, but for probability 2^−(σ+1) in a
/// sparse graph: t ≥ max(t_A, 2), so that corrupt neighbours alone open nothing; against a
/// malicious server 2t ≥ k + t_A, so that no two sets of t holders, one for each secret of a
/// client, are disjoint but for corrupt holders.
#[must_use]
pub fn min_threshold(
    threat_model: ThreatModel,
    cohort: u32,
    degree: u32,
    max_corrupt: u32,
    security_bits: u32,
) -> u32 {
    let corrupt_floor = if degree >= cohort.saturating_sub(1) {
        max_corrupt.saturating_add(1)
    } else {
        search::corrupt_floor(cohort, degree, max_corrupt, security_bits)
    };
    search::floor_of_threshold(is_malicious(threat_model), degree, corrupt_floor)
}

/// log2 of a bound on the probability that the clients of a sparse graph that are neither corrupt
/// nor lost fall into parts of which none has a neighbour in another; −∞ if they cannot.
///
/// `missing` bounds the corrupt and the lost together.
#[must_use]
pub fn log2_disconnected(cohort: u32, degree: u32, missing: u32) -> f64 {
    // A ring in which everybody is the neighbour of the k/2 nearest on each side falls apart only
    // at two gaps of k/2 missing positions each. There are n(n − k − 1)/2 places for them.
    let others = cohort.saturating_sub(degree).saturating_sub(1);
    let places = f64::from(cohort) * f64::from(others) / 2.0;
    libm::log2(places) + Hypergeometric::new(cohort, missing, degree).log2_tail(degree)
}

/// A degree and a threshold, and how sure they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    degree: u32,
    threshold: u32,
    complete: bool,
    max_corrupt: u32,
    max_dropped: u32,
    corrupt_floor: u32,
    survivor_ceiling: u32,
    log2_disconnected: f64,
    log2_insecure: f64,
    log2_incorrect: f64,
}

impl Choice {
    /// Neighbours of each client (k).
    #[must_use]
    pub const fn degree(&self) -> u32 {
        self.degree
    }

    /// Shares that open a seed (t).
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Whether everybody is everybody's neighbour.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The bound on corrupt clients in the roster (A), in whole clients.
    #[must_use]
    pub const fn max_corrupt(&self) -> u32 {
        self.max_corrupt
    }

    /// The bound on clients that are lost after the roster (D), in whole clients.
    #[must_use]
    pub const fn max_dropped(&self) -> u32 {
        self.max_dropped
    }

    /// The smallest number of neighbours (t_A) that are all corrupt nowhere in the graph, but for
    /// half of 2^−σ.
    #[must_use]
    pub const fn corrupt_floor(&self) -> u32 {
        self.corrupt_floor
    }

    /// The largest number of neighbours (t_S) that survive everywhere in the graph, but for 2^−η.
    #[must_use]
    pub const fn survivor_ceiling(&self) -> u32 {
        self.survivor_ceiling
    }

    /// log2 of a bound on the probability that the graph falls apart without the corrupt and the
    /// lost; −∞ in a complete graph.
    #[must_use]
    pub const fn log2_disconnected(&self) -> f64 {
        self.log2_disconnected
    }

    /// log2 of a bound on the probability that any client has so many corrupt neighbours that
    /// they, with a malicious server if that is assumed, learn what they must not; −∞ in a
    /// complete graph.
    #[must_use]
    pub const fn log2_insecure(&self) -> f64 {
        self.log2_insecure
    }

    /// log2 of a bound on the probability that fewer than the threshold survive among any
    /// client's neighbours, so that the round ends without a sum; −∞ in a complete graph.
    #[must_use]
    pub const fn log2_incorrect(&self) -> f64 {
        self.log2_incorrect
    }
}

/// A model that this file does not know is taken for the worst.
const fn is_malicious(threat_model: ThreatModel) -> bool {
    !matches!(threat_model, ThreatModel::HonestButCurious)
}
