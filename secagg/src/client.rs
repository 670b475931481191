//! The client, one state after the other. Each state is named after what it waits for and is
//! consumed by handling it, so a client reveals at most once, and an error drops the secrets.

use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    codec::to_u32,
    graph::Graph,
    id::ClientId,
    mask,
    message::{
        Advert, BOX_LEN, Delivery, MaskedInput, Revealed, Roster, ShareKeys, Survivors,
        UnmaskShares,
    },
    params::Policy,
    primitives::{self, BoxKey, KeyPair},
    secret::{Seed, Share},
    session::{RoundId, Session},
    shamir,
    vector::{InputError, Vector},
    words::Sign,
};

/// Has advertised its keys; waits for the roster.
pub struct AwaitRoster {
    session: Session,
    policy: Policy,
    advert: Advert,
    mask_seed: Seed,
    self_seed: Seed,
    mask_pair: KeyPair,
    channel_pair: KeyPair,
}

impl AwaitRoster {
    /// AdvertiseKeys: draws fresh seeds and makes the advert.
    ///
    /// # Security
    ///
    /// `rng` must be a cryptographic generator seeded by the operating system. `id` must be the
    /// id of this client's own identity key.
    pub fn start(
        session: Session,
        id: ClientId,
        policy: Policy,
        rng: &mut dyn CryptoRng,
    ) -> (Self, Advert) {
        let mask_seed = Seed::random(rng);
        let self_seed = Seed::random(rng);
        let mask_pair = KeyPair::mask(&mask_seed, session.id(), id);
        let channel_pair = KeyPair::channel(&Seed::random(rng), session.id(), id);
        let advert = Advert {
            id,
            mask_key: *mask_pair.public(),
            channel_key: *channel_pair.public(),
            self_mask_commitment: primitives::self_mask_commitment(session.id(), id, &self_seed),
        };
        let state = Self {
            session,
            policy,
            advert: advert.clone(),
            mask_seed,
            self_seed,
            mask_pair,
            channel_pair,
        };
        (state, advert)
    }

    /// ShareKeys: checks the roster against the session and the client's own policy, splits both
    /// seeds and seals a share of each for every neighbour.
    ///
    /// # Errors
    ///
    /// When the roster is below the policy or does not hold this client's advert unchanged.
    pub fn receive(
        self,
        roster: Roster,
        rng: &mut dyn CryptoRng,
    ) -> Result<(AwaitDelivery, ShareKeys), ClientError> {
        let cohort = roster.adverts.len();
        let count = cohort as u64;
        // A tiny cohort would make the sum one client's input.
        at_least("cohort", count, self.policy.min_cohort)?;
        let range = self.session.parameters().cohort();
        at_least("cohort", count, *range.start())?;
        if count > u64::from(*range.end()) {
            let (value, ceiling) = (count, u64::from(*range.end()));
            return Err(ClientError::AboveCeiling {
                what: "cohort",
                value,
                ceiling,
            });
        }
        let graph = Graph::new(self.session.parameters().graph(), cohort);
        let degree = to_u32(graph.degree());
        // A low threshold would let corrupt clients alone open every seed.
        at_least(
            "threshold",
            roster.threshold.into(),
            self.policy.min_threshold(),
        )?;
        if roster.threshold > degree {
            let (value, ceiling) = (roster.threshold.into(), degree.into());
            return Err(ClientError::AboveCeiling {
                what: "threshold",
                value,
                ceiling,
            });
        }
        // A swapped key would let the server read this client's shares or cancel its masks.
        let own_rank = roster
            .adverts
            .binary_search_by_key(&self.advert.id, Advert::id)
            .map_err(|_| ClientError::NotInRoster)?;
        if roster.adverts.get(own_rank) != Some(&self.advert) {
            return Err(ClientError::AdvertChanged);
        }

        let round = RoundId::new(
            self.session.id(),
            &roster.digest(),
            to_u32(cohort),
            degree,
            roster.threshold,
        );
        let id = self.advert.id;
        let mask_shares = shamir::split(&self.mask_seed, roster.threshold, degree, rng);
        let self_shares = shamir::split(&self.self_seed, roster.threshold, degree, rng);
        let mut peers = Vec::with_capacity(graph.degree());
        let mut boxes = Vec::with_capacity(graph.degree());
        let shares = mask_shares.iter().zip(&self_shares);
        for (rank, (mask_share, self_share)) in graph.neighbours(own_rank).zip(shares) {
            let Some(advert) = roster.adverts.get(rank) else {
                continue;
            };
            let (outgoing, incoming) =
                self.channel_pair
                    .box_keys(&round, id, advert.id, &advert.channel_key);
            boxes.push(seal(outgoing, mask_share, self_share));
            peers.push(Peer {
                rank,
                advert: advert.clone(),
                incoming,
            });
        }
        let state = AwaitDelivery {
            common: Common {
                session: self.session,
                policy: self.policy,
                id,
                own_rank,
                cohort,
                threshold: roster.threshold,
                round,
            },
            self_seed: self.self_seed,
            mask_pair: self.mask_pair,
            peers,
        };
        Ok((state, ShareKeys { boxes }))
    }
}

/// What every later state knows.
struct Common {
    session: Session,
    policy: Policy,
    id: ClientId,
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
        // With fewer than t neighbours in U2 the masks could be opened by the rest alone.
        at_least(
            "number of neighbours that shared their keys",
            delivery.sharers.count() as u64,
            self.common.threshold,
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
    /// When the input has another layout than the session.
    pub fn mask(self, input: &Vector) -> Result<(AwaitSurvivors, MaskedInput), ClientError> {
        if input.layout() != self.common.session.layout() {
            return Err(ClientError::Input(InputError::OtherLayout));
        }
        let Common {
            session, id, round, ..
        } = &self.common;
        let mut masked = input.clone();
        mask::apply(
            &primitives::self_mask(round, *id, &self.self_seed),
            Sign::Plus,
            &mut masked,
        );
        for Neighbour { advert, .. } in &self.neighbours {
            let key = self
                .mask_pair
                .pairwise_mask(round, *id, advert.id, &advert.mask_key);
            mask::apply(&key, mask::sign(*id, advert.id), &mut masked);
        }
        masked.reduce();
        let mut bytes = MaskedInput::begin(session);
        masked.pack(&mut bytes);
        let shares = self
            .neighbours
            .into_iter()
            .map(|n| (n.rank, n.shares))
            .collect();
        let state = AwaitSurvivors {
            common: self.common,
            shares,
            absent: self.absent,
        };
        Ok((state, MaskedInput::from_parts(bytes)))
    }
}

/// Has uploaded its masked input; waits for the survivors.
pub struct AwaitSurvivors {
    common: Common,
    /// By rank, over this client's U2.
    shares: Vec<(usize, Option<(Share, Share)>)>,
    /// Neighbours that are not in this client's U2, by rank.
    absent: Vec<(usize, ClientId)>,
}

impl AwaitSurvivors {
    /// Unmask: reveals, for each neighbour in U2, a share of the self-mask seed if it survived and
    /// of the mask seed if it did not. Which of the two, this client derives from the survivor
    /// set; there is one answer, and then the state is gone.
    ///
    /// # Errors
    ///
    /// When the set leaves this client out, is below the policy's floor or the threshold, or
    /// holds a neighbour that was not in this client's U2.
    pub fn receive(self, survivors: Survivors) -> Result<UnmaskShares, ClientError> {
        let Common {
            policy,
            own_rank,
            cohort,
            threshold,
            ..
        } = self.common;
        let set = survivors.set;
        if set.range() != cohort {
            let (expected, found) = (cohort, set.range());
            return Err(ClientError::WrongSize {
                what: "survivor set",
                expected,
                found,
            });
        }
        // Whoever is left out of the sum has no reason to help opening it.
        if !set.contains(own_rank) {
            return Err(ClientError::NotASurvivor);
        }
        at_least(
            "number of survivors",
            set.count() as u64,
            policy.min_survivors,
        )?;
        // A server that withholds boxes and lists their owners as survivors would get a sum over
        // far fewer clients than this one believes.
        if let Some((_, client)) = self.absent.iter().find(|(rank, _)| set.contains(*rank)) {
            return Err(ClientError::SurvivorDidNotShare { client: *client });
        }
        let survived = self
            .shares
            .iter()
            .filter(|(rank, _)| set.contains(*rank))
            .count() as u64;
        at_least("number of surviving neighbours", survived, threshold)?;
        let shares = self
            .shares
            .into_iter()
            .map(|(rank, shares)| match shares {
                None => Revealed::Nothing,
                Some((_, self_share)) if set.contains(rank) => Revealed::SelfMask(self_share),
                Some((mask_share, _)) => Revealed::MaskSeed(mask_share),
            })
            .collect();
        Ok(UnmaskShares { shares })
    }
}

fn seal(key: BoxKey, mask_share: &Share, self_share: &Share) -> [u8; BOX_LEN] {
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

fn at_least(what: &'static str, value: u64, floor: u32) -> Result<(), ClientError> {
    if value >= u64::from(floor) {
        return Ok(());
    }
    Err(ClientError::BelowFloor {
        what,
        value,
        floor: floor.into(),
    })
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

redacted_debug!(AwaitRoster AwaitDelivery ReadyToMask AwaitSurvivors);

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
                "the survivor set holds client {client}, which shared no keys with this client"
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
