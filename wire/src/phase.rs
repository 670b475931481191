//! The phases of a round, named as in the papers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A phase of a round. Shown, parsed and logged by its name: `train`, `advertise-keys`,
/// `share-keys`, `masked-input`, `consistency-check`, `unmask`.
///
/// In a secagg message the phase also says which message it is. What the coordinator sends opens
/// the phase, what a node sends answers in it:
///
/// | phase | coordinator | node |
/// |---|---|---|
/// | AdvertiseKeys | (opened by `Selected`) | Advert |
/// | ShareKeys | Roster | ShareKeys |
/// | MaskedInput | Delivery | (a stream of its own) |
/// | ConsistencyCheck | Survivors | ConsistencyCheck |
/// | Unmask | Signatures, or Survivors where there is no consistency check | UnmaskShares |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Evaluation and training on the node, before anything of the protocol is sent.
    Train,
    /// Fresh public keys and the commitment to the self mask.
    AdvertiseKeys,
    /// Shamir shares of the seeds, sealed for each neighbour.
    ShareKeys,
    /// The masked vector.
    MaskedInput,
    /// Signatures on the set of survivors, where nodes do not trust the coordinator.
    ConsistencyCheck,
    /// Shares that open the sum.
    Unmask,
}

impl Phase {
    /// All phases in the order of a round.
    pub const ALL: [Self; 6] = [
        Self::Train,
        Self::AdvertiseKeys,
        Self::ShareKeys,
        Self::MaskedInput,
        Self::ConsistencyCheck,
        Self::Unmask,
    ];

    /// The name in events and on command lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::AdvertiseKeys => "advertise-keys",
            Self::ShareKeys => "share-keys",
            Self::MaskedInput => "masked-input",
            Self::ConsistencyCheck => "consistency-check",
            Self::Unmask => "unmask",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(name: &str) -> Result<Self, UnknownPhase> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.as_str() == name)
            .ok_or_else(|| UnknownPhase {
                name: name.to_owned(),
            })
    }
}

/// A name that is no phase's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no phase: write one of train, advertise-keys, share-keys, masked-input, \
     consistency-check, unmask"
)]
pub struct UnknownPhase {
    /// The name as written.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for phase in Phase::ALL {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        assert_eq!(
            "mask".parse::<Phase>(),
            Err(UnknownPhase {
                name: "mask".to_owned()
            })
        );
    }
}
