//! The client, one state after the other. Each state is named after what it waits for and is
//! consumed by handling it, so a client reveals at most once, and an error drops the secrets.

mod error;
#[cfg(test)]
mod tests;
mod unmasking;

use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    agreement,
    codec::to_u32,
    graph::Graph,
    id::ClientId,
    identity::Member,
    mask::{self, Mask},
    message::{Advert, BOX_LEN, Delivery, MaskedInput, Roster, ShareKeys},
    parallel,
    params::ThreatModel,
    policy::{Policy, at_least},
    primitives::{self, BoxKey, End, KeyPair},
    secret::{Seed, Share},
    session::{RoundId, Session},
    shamir,
    vector::Vector,
    words::Sign,
};

use self::unmasking::Held;
pub use self::{
    error::ClientError,
    unmasking::{AwaitSignatures, AwaitSurvivors, Unmasking},
};

/// Has advertised its keys; waits for the roster.
pub struct AwaitRoster {
    session: Session,
    member: Member,
    policy: Policy,
    advert: Advert,
    mask_seed: Seed,
    self_seed: Seed,
    mask_pair: KeyPair,
    channel_pair: KeyPair,
}

impl AwaitRoster {
    /// AdvertiseKeys: checks the session against the client's own policy, draws fresh seeds and
    /// makes the advert.
    ///
    /// # Errors
    ///
    /// When the session is below the policy, or the server is not trusted in it and `member` has
    /// no credential.
    ///
    /// # Security
    ///
    /// `rng` must be a cryptographic generator seeded by the operating system.
    pub fn start(
        session: Session,
        member: Member,
        policy: Policy,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Self, Advert), ClientError> {
        policy.accepts(session.parameters())?;
        let id = member.id();
        // V-29. A seed that the server learnt in one round would open this client's masks in another.
        let mask_seed = Seed::random(rng);
        let self_seed = Seed::random(rng);
        let mask_pair = KeyPair::mask(&mask_seed, session.id(), id);
        // V-28. The mask seed is opened when this client is lost: the boxes to and from it are not.
        let channel_pair = KeyPair::channel(&Seed::random(rng), session.id(), id);
        let mut advert = Advert {
            id,
            mask_key: *mask_pair.public(),
            channel_key: *channel_pair.public(),
            self_mask_commitment: primitives::self_mask_commitment(session.id(), id, &self_seed),
            proof: None,
        };
        if session.parameters().threat_model() == ThreatModel::Malicious {
            let signed = member.signed.as_ref().ok_or(ClientError::NoCredential)?;
            advert.sign(session.id(), signed);
        }
        let state = Self {
            session,
            member,
            policy,
            advert: advert.clone(),
            mask_seed,
            self_seed,
            mask_pair,
            channel_pair,
        };
        Ok((state, advert))
    }

    /// ShareKeys: checks the roster against the session and the client's own policy, computes the
    /// client's neighbourhood and checks who is in it, splits both seeds and seals a share of each
    /// for every neighbour.
    ///
    /// # Errors
    ///
    /// When the roster is below the policy or does not hold this client's advert unchanged, or a
    /// neighbour's advert is missing or not to be believed.
    pub fn receive(
        self,
        roster: Roster,
        rng: &mut dyn CryptoRng,
    ) -> Result<(AwaitDelivery, ShareKeys), ClientError> {
        let Roster {
            degree, threshold, ..
        } = roster;
        let cohort = roster.entries.len();
        self.policy
            .accepts_roster(&self.session, cohort, degree, threshold)?;
        // V-08. A swapped key would let the server read this client's shares or cancel its masks.
        let id = self.advert.id;
        let own_rank = roster
            .entries
            .binary_search_by_key(&id, |entry| entry.id)
            .map_err(|_| ClientError::NotInRoster)?;
        let own = self.advert.digest();
        if roster.entries.get(own_rank).map(|entry| entry.digest) != Some(own) {
            return Err(ClientError::AdvertChanged);
        }

        // V-13. From here on everything binds to the whole roster: a server that shows clients
        // different ones is left with masks that do not cancel and boxes that do not open.
        let digest = roster.digest();
        let round = RoundId::new(
            self.session.id(),
            &digest,
            to_u32(cohort),
            degree,
            threshold,
        );
        let graph = Graph::new(cohort, degree, &digest);
        let neighbours = self.neighbours(&roster, &graph, own_rank)?;

        let mask_shares = shamir::split(&self.mask_seed, threshold, degree, rng);
        let self_shares = shamir::split(&self.self_seed, threshold, degree, rng);
        let ends: Vec<End<'_>> = neighbours
            .iter()
            .map(|(_, advert)| advert.channel_end())
            .collect();
        let keys = parallel::map_chunks(&ends, agreement::BATCH, |peers| {
            self.channel_pair.keys_of_boxes(&round, id, peers)
        });
        let mut peers = Vec::with_capacity(neighbours.len());
        let mut boxes = Vec::with_capacity(neighbours.len());
        let dealt = keys.into_iter().zip(mask_shares.iter().zip(&self_shares));
        for ((rank, advert), (keys, shares)) in neighbours.into_iter().zip(dealt) {
            let ((outgoing, incoming), (mask_share, self_share)) = (keys, shares);
            boxes.push(seal(outgoing, mask_share, self_share));
            peers.push(Peer {
                rank,
                advert,
                incoming,
            });
        }
        let state = AwaitDelivery {
            common: Common {
                session: self.session,
                member: self.member,
                policy: self.policy,
                own_rank,
                cohort,
                threshold,
                round,
            },
            self_seed: self.self_seed,
            mask_pair: self.mask_pair,
            peers,
        };
        Ok((state, ShareKeys { boxes }))
    }

    /// The adverts of this client's neighbours, by rank.
    fn neighbours(
        &self,
        roster: &Roster,
        graph: &Graph,
        own_rank: usize,
    ) -> Result<Vec<(usize, Advert)>, ClientError> {
        let trust = match self.session.parameters().threat_model() {
            ThreatModel::HonestButCurious => None,
            ThreatModel::Malicious => {
                let signed = self.member.signed.as_ref();
                Some(&*signed.ok_or(ClientError::NoCredential)?.trust)
            }
        };
        let of_rank = |rank: usize| {
            let entry = roster
                .entries
                .get(rank)
                .expect("neighbours are in the roster");
            let client = entry.id;
            // V-14. The neighbours are those that the graph gives, with the adverts that the
            // roster's digest covers: the server does not choose who surrounds a client.
            let advert = roster
                .advert(client)
                .filter(|advert| advert.digest() == entry.digest)
                .ok_or(ClientError::NeighbourMissing { client })?;
            if let Some(trust) = trust {
                advert
                    .verify(self.session.id(), trust)
                    .map_err(|error| ClientError::Neighbour { client, error })?;
            }
            Ok((rank, advert.clone()))
        };
        graph.neighbours(own_rank).map(of_rank).collect()
    }
}

/// What every later state knows.
struct Common {
    session: Session,
    member: Member,
    policy: Policy,
    own_rank: usize,
    cohort: usize,
    threshold: u32,
    round: RoundId,
}

/// A neighbour whose box is awaited.
struct Peer {
    rank: usize,
    advert: Advert,
    incoming: BoxKey,
}

/// Has shared its keys; waits for its neighbours' boxes.
pub struct AwaitDelivery {
    common: Common,
    self_seed: Seed,
    mask_pair: KeyPair,
    peers: Vec<Peer>,
}

impl AwaitDelivery {
    /// What everything from here on is bound to. Clients of one round have the same.
    #[must_use]
    pub fn round_id(&self) -> &RoundId {
        &self.common.round
    }

    /// Learns which neighbours shared their keys (U2) and opens their boxes. A box that does not
    /// open blames nobody: dealer, server and receiver can each be lying. Its sender stays in U2.
    ///
    /// # Errors
    ///
    /// When fewer neighbours than the threshold shared their keys, or the set is not one over
    /// this client's neighbours.
    pub fn receive(self, delivery: Delivery) -> Result<ReadyToMask, ClientError> {
        if delivery.sharers.range() != self.peers.len() {
            let (expected, found) = (self.peers.len(), delivery.sharers.range());
            return Err(ClientError::WrongSize {
                what: "set of sharers",
                expected,
                found,
            });
        }
        // V-15. With fewer than t neighbours in U2 this client would mask with few others, and its
        // own seeds could not be reconstructed.
        at_least(
            "number of neighbours that shared their keys",
            delivery.sharers.count() as u64,
            self.common.threshold.into(),
        )?;
        if delivery.boxes.len() != delivery.sharers.count() {
            let (expected, found) = (delivery.sharers.count(), delivery.boxes.len());
            return Err(ClientError::WrongSize {
                what: "list of boxes",
                expected,
                found,
            });
        }
        let mut neighbours = Vec::with_capacity(delivery.boxes.len());
        let mut absent = Vec::new();
        let mut boxes = delivery.boxes.into_iter();
        for (position, peer) in self.peers.into_iter().enumerate() {
            if !delivery.sharers.contains(position) {
                absent.push((peer.rank, peer.advert.id));
                continue;
            }
            // V-16. To abort here, or to blame the sender, would let one lie drop an honest client.
            let shares = boxes
                .next()
                .and_then(|sealed| unseal(peer.incoming, sealed));
            neighbours.push(Neighbour {
                rank: peer.rank,
                advert: peer.advert,
                shares,
            });
        }
        Ok(ReadyToMask {
            common: self.common,
            self_seed: self.self_seed,
            mask_pair: self.mask_pair,
            neighbours,
            absent,
        })
    }
}

/// A neighbour in this client's U2, with the two shares it dealt, if its box opened.
struct Neighbour {
    rank: usize,
    advert: Advert,
    shares: Option<(Share, Share)>,
}

/// Knows its U2; waits for its own input.
pub struct ReadyToMask {
    common: Common,
    self_seed: Seed,
    mask_pair: KeyPair,
    neighbours: Vec<Neighbour>,
    absent: Vec<(usize, ClientId)>,
}

impl ReadyToMask {
    /// MaskedInput: masks the input with the self mask, always, and with one pairwise mask for
    /// each neighbour in U2.
    ///
    /// # Errors
    ///
    /// When the input has another layout than the session, or an element so large that the sum over
    /// the largest cohort could wrap around.
    ///
    /// # Security
    ///
    /// V-23. Two inputs under the same masks would tell the server their difference.
    ///
    /// ```compile_fail,E0382
    /// use secagg::{MaskedInput, Vector, client::{AwaitSurvivors, ClientError, ReadyToMask}};
    ///
    /// fn twice(
    ///     client: ReadyToMask,
    ///     one: &Vector,
    ///     another: &Vector,
    /// ) -> Result<[(AwaitSurvivors, MaskedInput); 2], ClientError> {
    ///     Ok([client.mask(one)?, client.mask(another)?])
    /// }
    /// ```
    pub fn mask(self, input: &Vector) -> Result<(AwaitSurvivors, MaskedInput), ClientError> {
        // V-45. An input that was added up, or made for a smaller cohort, could wrap the sum.
        input.check_input(&self.common.session)?;
        let Common { session, round, .. } = &self.common;
        let id = self.common.member.id();
        let mut masked = input.clone();
        // V-17. Always on: a vector that arrives after its owner was declared lost stays hidden.
        let mut masks = Vec::with_capacity(1 + self.neighbours.len());
        masks.push(Mask {
            key: primitives::self_mask(round, id, &self.self_seed),
            sign: Sign::Plus,
        });
        let adverts = self.neighbours.iter().map(|neighbour| &neighbour.advert);
        let ends: Vec<End<'_>> = adverts.map(Advert::mask_end).collect();
        let keys = parallel::map_chunks(&ends, agreement::BATCH, |peers| {
            self.mask_pair.pairwise_masks(round, id, peers)
        });
        masks.extend(ends.iter().zip(keys).map(|(peer, key)| Mask {
            key,
            sign: mask::sign(id, peer.id),
        }));
        mask::apply(&masks, &mut masked);
        masked.reduce();
        let mut bytes = MaskedInput::begin(session);
        masked.pack(&mut bytes);
        let held = self.neighbours.into_iter().map(|neighbour| Held {
            rank: neighbour.rank,
            identity: neighbour
                .advert
                .proof
                .map(|proof| proof.credential.identity_key()),
            shares: neighbour.shares,
        });
        let state = AwaitSurvivors {
            common: self.common,
            held: held.collect(),
            absent: self.absent,
        };
        Ok((state, MaskedInput::from_parts(bytes)))
    }
}

pub(crate) fn seal(key: BoxKey, mask_share: &Share, self_share: &Share) -> [u8; BOX_LEN] {
    let mut buffer = Zeroizing::new(Vec::with_capacity(BOX_LEN));
    buffer.extend_from_slice(mask_share.as_bytes());
    buffer.extend_from_slice(self_share.as_bytes());
    key.seal(&mut *buffer);
    buffer
        .as_slice()
        .try_into()
        .expect("two shares and the seal fill a box")
}

fn unseal(key: BoxKey, sealed: [u8; BOX_LEN]) -> Option<(Share, Share)> {
    let mut buffer = Zeroizing::new(Vec::from(sealed));
    key.open(&mut *buffer).ok()?;
    let (chunks, _) = buffer.as_chunks::<32>();
    match chunks {
        [mask_share, self_share] => Some((
            Share::from_bytes(*mask_share),
            Share::from_bytes(*self_share),
        )),
        _ => None,
    }
}

macro_rules! redacted_debug {
    ($($state:ident)*) => {$(
        impl fmt::Debug for $state {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($state)).finish_non_exhaustive()
            }
        }
    )*};
}

redacted_debug!(AwaitRoster AwaitDelivery ReadyToMask AwaitSurvivors AwaitSignatures);
