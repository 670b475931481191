//! The server, one struct a phase.
//!
//! Every phase has the same verbs. `receive` takes one client's message; it never ends the round,
//! it rejects one message and says why. `drop_client` says that a client is gone. `tally` tells
//! the caller, who has the clock, how far the phase is. `close` moves on, or aborts.

mod adverts;
mod consistency;
mod masked;
mod recovery;
mod shares;
mod unmask;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;

pub use self::{
    adverts::CollectAdverts,
    consistency::CollectSignatures,
    masked::{AfterMasked, CollectMasked},
    shares::CollectShares,
    unmask::CollectUnmask,
};
use crate::{
    graph::Graph,
    id::ClientId,
    message::{AdvertError, Roster},
    session::{RoundId, Session},
    vector::Vector,
};

/// The rounds of the protocol, by the names of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Clients advertise their public keys.
    AdvertiseKeys,
    /// Clients deal the shares of their seeds.
    ShareKeys,
    /// Clients upload their masked vectors.
    MaskedInput,
    /// Clients sign the survivor set, where the server is not trusted.
    ConsistencyCheck,
    /// Clients reveal shares.
    Unmask,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdvertiseKeys => "advertise-keys",
            Self::ShareKeys => "share-keys",
            Self::MaskedInput => "masked-input",
            Self::ConsistencyCheck => "consistency-check",
            Self::Unmask => "unmask",
        })
    }
}

/// How far a phase is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Clients whose message was accepted.
    pub have: usize,
    /// Clients that are still awaited. Empty while adverts are collected: anybody may come.
    pub missing: Vec<ClientId>,
    /// With fewer than this many, `close` aborts.
    pub needed: usize,
}

/// What a finished round gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The sum of the contributors' inputs, element by element modulo 2^b.
    pub sum: Vector,
    /// The clients whose inputs are in the sum (U3), ascending.
    pub contributors: Vec<ClientId>,
    /// The clients that were lost, and the phase in which they were.
    pub lost: Vec<(ClientId, Phase)>,
    /// The shares that were found wrong, ascending by dealer and holder; the sum is right all the
    /// same. Only where the first t shares of a seed do not give it are all examined.
    pub wrong_shares: Vec<WrongShare>,
}

/// A wrong share was revealed of a seed that was opened nevertheless.
///
/// The dealer dealt it or the holder changed it, and nothing tells which: neither is to be
/// excluded on one report. Who lies often appears in many pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrongShare {
    /// The owner of the seed, who dealt the share.
    pub dealer: ClientId,
    /// The client that revealed it.
    pub holder: ClientId,
}

/// One client's message was not accepted. The round goes on; the caller may drop the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The client, by its authenticated channel.
    pub client: ClientId,
    /// Why.
    pub reason: RejectionReason,
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionReason {
    /// The client takes no part in this phase: it is not in the roster, or was lost before.
    NotExpected,
    /// Its message of this phase was accepted before; the first one counts.
    Duplicate,
    /// The advert names another client than the one whose channel it came on.
    ForeignAdvert {
        /// The client that the advert names.
        claimed: ClientId,
    },
    /// The advert is not to be believed.
    Advert(AdvertError),
    /// The signature is not one of this client on the survivor set of this round.
    WrongSignature,
    /// The roster is full.
    CohortFull {
        /// The largest cohort.
        max: u32,
    },
    /// The message has another number of boxes or shares than the client has neighbours.
    WrongCount {
        /// The number due.
        expected: usize,
        /// The number found.
        found: usize,
    },
    /// The client reveals the wrong kind of share about a neighbour.
    WrongShare {
        /// The neighbour.
        owner: ClientId,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message of client {} rejected: ", self.client)?;
        match &self.reason {
            RejectionReason::NotExpected => f.write_str("it takes no part in this phase"),
            RejectionReason::Duplicate => f.write_str("its message was accepted before"),
            RejectionReason::ForeignAdvert { claimed } => {
                write!(f, "the advert is that of client {claimed}")
            }
            RejectionReason::Advert(error) => write!(f, "{error}"),
            RejectionReason::WrongSignature => {
                f.write_str("its signature is not one on the survivor set of this round")
            }
            RejectionReason::CohortFull { max } => write!(f, "the cohort of {max} is full"),
            RejectionReason::WrongCount { expected, found } => {
                write!(f, "{found} entries where {expected} are due")
            }
            RejectionReason::WrongShare { owner } => {
                write!(f, "the wrong kind of share of client {owner}")
            }
        }
    }
}

impl core::error::Error for Rejection {}

/// Why a round ends without a sum.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abort {
    /// Too few clients were left when a phase closed.
    TooFewClients {
        /// The phase.
        phase: Phase,
        /// The clients left.
        have: usize,
        /// The clients needed.
        needed: usize,
    },
    /// The threshold does not suit the cohort.
    Threshold {
        /// The threshold asked for.
        threshold: u32,
        /// The smallest threshold that the protocol allows.
        min: u32,
        /// The largest threshold: the number of neighbours.
        max: u32,
    },
    /// The session's kind of graph has no graph of this degree over the cohort.
    Degree {
        /// The degree asked for.
        degree: u32,
        /// The clients in the roster.
        cohort: usize,
    },
    /// Too few shares of a client's seed were revealed.
    TooFewShares {
        /// The owner of the seed.
        owner: ClientId,
        /// Shares that were revealed.
        have: usize,
        /// Shares needed.
        needed: usize,
    },
    /// The shares of a client's seed do not give what its advert committed to, and too many are
    /// wrong to be corrected: the dealer or at least one of the holders lied, and it is undecided
    /// who.
    WrongShares {
        /// The owner of the seed, who dealt the shares.
        dealer: ClientId,
        /// The holders of the t shares that were combined first.
        holders: Vec<ClientId>,
    },
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewClients {
                phase,
                have,
                needed,
            } => {
                write!(
                    f,
                    "{have} clients were left when {phase} closed, {needed} are needed"
                )
            }
            Self::Threshold {
                threshold,
                min,
                max,
            } => {
                write!(f, "threshold {threshold} is not within {min} to {max}")
            }
            Self::Degree { degree, cohort } => write!(
                f,
                "a degree of {degree} over {cohort} clients is not one of the session's graphs"
            ),
            Self::TooFewShares {
                owner,
                have,
                needed,
            } => write!(
                f,
                "{have} shares of a seed of client {owner} were revealed, {needed} are needed"
            ),
            Self::WrongShares { dealer, holders } => write!(
                f,
                "the shares of a seed of client {dealer} from {} holders do not give what it \
                 committed to: the dealer or a holder lied, undecided",
                holders.len()
            ),
        }
    }
}

impl core::error::Error for Abort {}

/// What every phase after the roster knows.
#[derive(Debug)]
struct Common {
    session: Session,
    /// With the adverts of all clients.
    roster: Roster,
    graph: Graph,
    round: RoundId,
    lost: BTreeMap<ClientId, Phase>,
}

impl Common {
    fn cohort(&self) -> usize {
        self.roster.entries.len()
    }

    fn threshold(&self) -> usize {
        self.roster.threshold as usize
    }

    fn rank(&self, client: ClientId) -> Option<usize> {
        self.roster
            .entries
            .binary_search_by_key(&client, |entry| entry.id)
            .ok()
    }

    fn id(&self, rank: usize) -> ClientId {
        self.roster
            .entries
            .get(rank)
            .map(|entry| entry.id)
            .expect("ranks are in the roster")
    }

    fn ids(&self, ranks: impl IntoIterator<Item = usize>) -> Vec<ClientId> {
        ranks.into_iter().map(|rank| self.id(rank)).collect()
    }

    /// Those of these members that were not lost.
    fn awaited(&self, ranks: impl IntoIterator<Item = usize>) -> Vec<ClientId> {
        let mut awaited = self.ids(ranks);
        awaited.retain(|id| !self.lost.contains_key(id));
        awaited
    }

    /// Marks every member that is not in `kept` and was not lost before as lost in this phase.
    fn lose_all_but<V>(&mut self, kept: &BTreeMap<usize, V>, phase: Phase) {
        for rank in 0..self.cohort() {
            if !kept.contains_key(&rank) {
                self.lost.entry(self.id(rank)).or_insert(phase);
            }
        }
    }

    /// The rank of a client whose message is due: among `due`, and not in `done` yet.
    ///
    /// V-32. A second vector would weigh twice in the sum, a late one has its masks opened, and a
    /// stranger's would add what nobody masks.
    fn expect<V>(
        &self,
        from: ClientId,
        due: impl FnOnce(usize) -> bool,
        done: &BTreeMap<usize, V>,
    ) -> Result<usize, Rejection> {
        let reject = |reason| Rejection {
            client: from,
            reason,
        };
        let rank = self
            .rank(from)
            .filter(|rank| due(*rank) && !self.lost.contains_key(&from))
            .ok_or_else(|| reject(RejectionReason::NotExpected))?;
        if done.contains_key(&rank) {
            return Err(reject(RejectionReason::Duplicate));
        }
        Ok(rank)
    }
}

/// Removes clients that have fewer than `threshold` neighbours in the set until nothing changes:
/// their secrets could not be reconstructed.
fn prune<V>(members: &mut BTreeMap<usize, V>, graph: &Graph, threshold: usize) {
    loop {
        let weak: BTreeSet<usize> = members
            .keys()
            .copied()
            .filter(|rank| {
                let neighbours = graph.neighbours(*rank);
                neighbours
                    .filter(|other| members.contains_key(other))
                    .count()
                    < threshold
            })
            .collect();
        if weak.is_empty() {
            return;
        }
        members.retain(|rank, _| !weak.contains(rank));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_with_too_few_neighbours_are_removed() {
        let graph = Graph::new(5, 4, &[0; 32]);
        let left = |threshold| {
            let mut members = BTreeMap::from([(0, ()), (2, ()), (4, ())]);
            prune(&mut members, &graph, threshold);
            members.len()
        };
        assert_eq!((left(2), left(3)), (3, 0));
    }
}
