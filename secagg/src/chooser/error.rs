use core::fmt;

use crate::params::{MIN_COHORT, ThreatModel};

/// Why no degree and threshold were chosen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChooserError {
    /// The cohort is out of range for the kind of graph.
    Cohort {
        /// The clients in the roster.
        cohort: u32,
        /// The largest cohort of this kind of graph.
        max: u32,
    },
    /// A bound above the cohort.
    Clients {
        /// Which bound.
        what: &'static str,
        /// The bound.
        clients: u32,
        /// The clients in the roster.
        cohort: u32,
    },
    /// A fraction that is not within 0 and 1.
    Fraction {
        /// Which bound.
        what: &'static str,
        /// The fraction.
        fraction: f64,
    },
    /// No degree and threshold are safe from the corrupt and within reach of the survivors.
    Infeasible {
        /// What the server is trusted with.
        threat_model: ThreatModel,
        /// Clients in the roster.
        cohort: u32,
        /// Bound on corrupt clients.
        max_corrupt: u32,
        /// Bound on clients lost after the roster.
        max_dropped: u32,
        /// The certainty of secrecy asked for.
        security_bits: u32,
        /// The certainty of a result asked for.
        correctness_bits: u32,
        /// The largest bound on lost clients that would do, all else being equal.
        feasible_dropped: Option<u32>,
        /// The largest bound on corrupt clients that would do, all else being equal.
        feasible_corrupt: Option<u32>,
    },
}

impl fmt::Display for ChooserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cohort { cohort, max } => write!(
                f,
                "a cohort of {cohort} clients: allowed are {MIN_COHORT} to {max} in this kind of \
                 graph"
            ),
            Self::Clients {
                what,
                clients,
                cohort,
            } => write!(
                f,
                "a bound of {clients} {what} clients in a cohort of {cohort}"
            ),
            Self::Fraction { what, fraction } => {
                write!(
                    f,
                    "a fraction of {fraction} {what} clients, allowed are 0 to 1"
                )
            }
            Self::Infeasible {
                threat_model,
                cohort,
                max_corrupt,
                max_dropped,
                security_bits,
                correctness_bits,
                feasible_dropped,
                feasible_corrupt,
            } => {
                let server = if *threat_model == ThreatModel::HonestButCurious {
                    "a server that follows the protocol"
                } else {
                    "a malicious server"
                };
                write!(
                    f,
                    "no degree and threshold for {cohort} clients, {max_corrupt} corrupt and \
                     {max_dropped} lost, with {server}, {security_bits} bits of security and \
                     {correctness_bits} bits of correctness: "
                )?;
                if let Some(dropped) = feasible_dropped {
                    write!(f, "with {max_corrupt} corrupt, {dropped} may be lost; ")?;
                }
                if let Some(corrupt) = feasible_corrupt {
                    write!(f, "with {max_dropped} lost, {corrupt} may be corrupt; ")?;
                }
                f.write_str("lower a bound or enlarge the cohort")
            }
        }
    }
}

impl core::error::Error for ChooserError {}
