//! From the survivor set to the shares that open the sum.

use alloc::vec::Vec;

use super::{ClientError, Common};
use crate::{
    id::ClientId,
    identity::IdentityKey,
    message::{ConsistencyCheck, Revealed, Signatures, Survivors, UnmaskShares, has_signed},
    params::ThreatModel,
    policy::at_least,
    secret::Share,
    set::Set,
};

/// What a client holds of a neighbour in its U2.
pub(super) struct Held {
    pub(super) rank: usize,
    /// Where the server is not trusted.
    pub(super) identity: Option<IdentityKey>,
    /// The shares of its mask seed and its self-mask seed, if its box opened.
    pub(super) shares: Option<(Share, Share)>,
}

/// Has uploaded its masked input; waits for the survivors.
pub struct AwaitSurvivors {
    pub(super) common: Common,
    /// By rank, over this client's U2.
    pub(super) held: Vec<Held>,
    /// Neighbours that are not in this client's U2, by rank.
    pub(super) absent: Vec<(usize, ClientId)>,
}

/// What follows when a client accepts the survivor set.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "one value a round; what a box would move is wiped in place already"
)]
pub enum Unmasking {
    /// The server is trusted to follow the protocol: the shares go out.
    Reveal(UnmaskShares),
    /// It is not: the signature goes out, and the shares after enough others have signed the same.
    Check(AwaitSignatures, ConsistencyCheck),
}

impl AwaitSurvivors {
    /// Checks the survivor set (U3). Where the server is trusted this client reveals its shares;
    /// else it signs the set, once.
    ///
    /// # Errors
    ///
    /// When the set leaves this client out, is below the policy's floor or the threshold, or
    /// holds a neighbour that was not in this client's U2.
    ///
    /// # Security
    ///
    /// V-23. Two answers would open this client's neighbours: one set is answered, and there is no
    /// state left to answer another from.
    ///
    /// ```compile_fail,E0382
    /// use secagg::{Survivors, client::{AwaitSurvivors, ClientError, Unmasking}};
    ///
    /// fn equivocate(
    ///     client: AwaitSurvivors,
    ///     one: Survivors,
    ///     another: Survivors,
    /// ) -> Result<(Unmasking, Unmasking), ClientError> {
    ///     Ok((client.receive(one)?, client.receive(another)?))
    /// }
    /// ```
    pub fn receive(self, survivors: Survivors) -> Result<Unmasking, ClientError> {
        self.accepts(&survivors.set)?;
        let Self {
            common,
            held,
            absent,
        } = self;
        let survivors = survivors.set;
        match common.session.parameters().threat_model() {
            ThreatModel::HonestButCurious => Ok(Unmasking::Reveal(reveal(held, &survivors))),
            ThreatModel::Malicious => {
                let signed = common.member.signed.as_ref();
                let key = &signed.ok_or(ClientError::NoCredential)?.key;
                let check = ConsistencyCheck::sign(key, &common.round, &survivors);
                let state = AwaitSignatures {
                    common,
                    held,
                    absent,
                    survivors,
                };
                Ok(Unmasking::Check(state, check))
            }
        }
    }

    fn accepts(&self, set: &Set) -> Result<(), ClientError> {
        let common = &self.common;
        if set.range() != common.cohort {
            let (expected, found) = (common.cohort, set.range());
            return Err(ClientError::WrongSize {
                what: "survivor set",
                expected,
                found,
            });
        }
        // V-18. Whoever is told that it was lost would have its mask seed opened by the others,
        // who are told so too; it must not help to open its own vector.
        if !set.contains(common.own_rank) {
            return Err(ClientError::NotASurvivor);
        }
        // V-19. A sum over few is nearly one client's input.
        let floor = common.policy.min_survivors.into();
        at_least("number of survivors", set.count() as u64, floor)?;
        // V-21. A server that withholds boxes and lists their owners as survivors would get a sum
        // over far fewer clients than this one believes.
        if let Some((_, client)) = self.absent.iter().find(|(rank, _)| set.contains(*rank)) {
            return Err(ClientError::SurvivorDidNotShare { client: *client });
        }
        // V-20. With fewer, nobody could open this client's self mask but corrupt neighbours.
        let survived = self.held.iter().filter(|held| set.contains(held.rank));
        at_least(
            "number of surviving neighbours",
            survived.count() as u64,
            common.threshold.into(),
        )
    }
}

/// Has signed the survivor set; waits for the signatures of its neighbours.
pub struct AwaitSignatures {
    common: Common,
    held: Vec<Held>,
    /// Neighbours that are not in this client's U2, by rank.
    absent: Vec<(usize, ClientId)>,
    survivors: Set,
}

impl AwaitSignatures {
    /// Unmask: reveals its shares if at least t neighbours among the survivors have signed the
    /// very set that this client has signed, its own signature not counted.
    ///
    /// # Errors
    ///
    /// When too few have, or the list is not one over this client's neighbours.
    ///
    /// # Security
    ///
    /// V-23. Nothing is revealed twice, and what waits cannot be kept for a second try.
    ///
    /// ```compile_fail,E0277
    /// use secagg::client::AwaitSignatures;
    ///
    /// fn keep<State: Clone>(state: &State) -> State {
    ///     state.clone()
    /// }
    ///
    /// let _ = keep::<AwaitSignatures>;
    /// ```
    pub fn receive(self, signatures: Signatures) -> Result<UnmaskShares, ClientError> {
        let (expected, found) = (
            self.held.len() + self.absent.len(),
            signatures.signers.range(),
        );
        if found != expected {
            return Err(ClientError::WrongSize {
                what: "set of signers",
                expected,
                found,
            });
        }
        // V-22. The server may tell others another set: but any t neighbours of one client and
        // any t of it on another set have an honest one in common, who signs once.
        at_least(
            "number of valid signatures on the survivor set",
            self.valid(&signatures),
            self.common.threshold.into(),
        )?;
        Ok(reveal(self.held, &self.survivors))
    }

    /// Signatures of distinct survivors among the neighbours on the set that this client signed.
    fn valid(&self, signatures: &Signatures) -> u64 {
        // Ranks of all neighbours, ascending: those of U2, and those that are absent from it.
        let present = self.held.iter().map(|held| (held.rank, held.identity));
        let absent = self.absent.iter().map(|(rank, _)| (*rank, None));
        let mut neighbours: Vec<(usize, Option<IdentityKey>)> = present.chain(absent).collect();
        neighbours.sort_unstable_by_key(|(rank, _)| *rank);
        let round = &self.common.round;
        let signers = signatures.signers.iter().zip(&signatures.signatures);
        let valid = signers.filter(|(position, signature)| {
            let Some((rank, Some(key))) = neighbours.get(*position) else {
                return false;
            };
            self.survivors.contains(*rank) && has_signed(*key, round, &self.survivors, signature)
        });
        valid.count() as u64
    }
}

/// For each neighbour in U2, a share of the self-mask seed if it survived and of the mask seed if
/// it did not.
///
/// V-23. Never both of one neighbour: together they would open its input. The set decides, and
/// there is one answer, because it consumes what it is made from.
fn reveal(held: Vec<Held>, survivors: &Set) -> UnmaskShares {
    let shares = held.into_iter().map(|held| match held.shares {
        None => Revealed::Nothing,
        Some((_, self_share)) if survivors.contains(held.rank) => Revealed::SelfMask(self_share),
        Some((mask_share, _)) => Revealed::MaskSeed(mask_share),
    });
    UnmaskShares {
        shares: shares.collect(),
    }
}
