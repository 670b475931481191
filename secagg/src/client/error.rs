//! Why a client leaves a round.

use core::fmt;

use crate::{id::ClientId, message::AdvertError, params::ThreatModel, vector::InputError};

/// Why a client leaves a round. Its secrets are gone by then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// A number is below the floor of the client's policy, the session or the protocol.
    BelowFloor {
        /// What was too small.
        what: &'static str,
        /// The value that the server gave.
        value: u64,
        /// The floor.
        floor: u64,
    },
    /// A number is above what the session or the protocol allows.
    AboveCeiling {
        /// What was too large.
        what: &'static str,
        /// The value that the server gave.
        value: u64,
        /// The ceiling.
        ceiling: u64,
    },
    /// The session trusts the server more than the client's policy does.
    ThreatModel {
        /// The session's model.
        found: ThreatModel,
        /// The weakest that the policy accepts.
        floor: ThreatModel,
    },
    /// The session has the sparse graph, and the client's policy does not accept it.
    SparseGraph,
    /// The server is not trusted in this session, and the client has no credential to sign with.
    NoCredential,
    /// The session's kind of graph has no graph of this degree over so many clients.
    Degree {
        /// The degree that the server gave.
        degree: u32,
        /// Clients in the roster.
        cohort: usize,
    },
    /// The advert of a neighbour is missing, or is not the one whose digest stands in the roster.
    NeighbourMissing {
        /// The neighbour.
        client: ClientId,
    },
    /// The advert of a neighbour is not to be believed.
    Neighbour {
        /// The neighbour.
        client: ClientId,
        /// Why.
        error: AdvertError,
    },
    /// The roster does not hold this client.
    NotInRoster,
    /// The roster holds this client with another advert than it sent.
    AdvertChanged,
    /// A set or list has another size than this client's roster gives.
    WrongSize {
        /// What.
        what: &'static str,
        /// The size due.
        expected: usize,
        /// The size found.
        found: usize,
    },
    /// The survivor set leaves this client out.
    NotASurvivor,
    /// The survivor set holds a neighbour that did not share its keys with this client.
    SurvivorDidNotShare {
        /// The neighbour.
        client: ClientId,
    },
    /// The input does not fit the session.
    Input(InputError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowFloor { what, value, floor } => {
                write!(f, "the {what} is {value}, this client's floor is {floor}")
            }
            Self::AboveCeiling {
                what,
                value,
                ceiling,
            } => {
                write!(f, "the {what} is {value}, at most {ceiling} is allowed")
            }
            Self::ThreatModel { found, floor } => write!(
                f,
                "the session's threat model is {found}, this client's policy asks for {floor}"
            ),
            Self::SparseGraph => f.write_str(
                "the session's graph is sparse, this client's policy accepts the complete one only",
            ),
            Self::NoCredential => f.write_str(
                "the server is not trusted in this session, and this client has no credential",
            ),
            Self::Degree { degree, cohort } => write!(
                f,
                "a degree of {degree} over {cohort} clients is not one of the session's graphs"
            ),
            Self::NeighbourMissing { client } => write!(
                f,
                "the advert of neighbour {client} is missing or not that of the roster"
            ),
            Self::Neighbour { client, error } => {
                write!(
                    f,
                    "the advert of neighbour {client} is not believed: {error}"
                )
            }
            Self::NotInRoster => f.write_str("the roster does not hold this client"),
            Self::AdvertChanged => {
                f.write_str("the roster holds this client with another advert than it sent")
            }
            Self::WrongSize {
                what,
                expected,
                found,
            } => {
                write!(f, "the {what} is over {found} clients, not {expected}")
            }
            Self::NotASurvivor => f.write_str("the survivor set leaves this client out"),
            Self::SurvivorDidNotShare { client } => write!(
                f,
                "the survivor set holds client {client}, of which the server delivered no box to \
                 this client"
            ),
            Self::Input(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<InputError> for ClientError {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}
