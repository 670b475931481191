//! Secure aggregation: a server learns the sum of its clients' vectors, and nothing else.
//!
//! The protocol is that of Bonawitz et al., *Practical Secure Aggregation for Privacy-Preserving
//! Machine Learning* (CCS 2017). Each client hides its vector under one mask of its own and one
//! mask for each neighbour; the masks between two neighbours cancel in the sum. The seeds behind
//! the masks are shared among the neighbours, so that the sum can be opened when clients vanish
//! at any point, down to a threshold.
//!
//! | round | client → server | server → client | states |
//! |---|---|---|---|
//! | AdvertiseKeys | [`Advert`]: two public keys, a commitment, signed | [`Roster`] | [`client::AwaitRoster`], [`server::CollectAdverts`] |
//! | ShareKeys | [`ShareKeys`]: sealed shares of two seeds | [`Delivery`] | [`client::AwaitDelivery`], [`server::CollectShares`] |
//! | MaskedInput | [`MaskedInput`]: the masked vector | [`Survivors`] | [`client::AwaitSurvivors`], [`server::CollectMasked`] |
//! | ConsistencyCheck | [`ConsistencyCheck`]: a signature on the survivors | [`Signatures`] | [`client::AwaitSignatures`], [`server::CollectSignatures`] |
//! | Unmask | [`UnmaskShares`]: one share for each neighbour | | [`server::CollectUnmask`] |
//!
//! ConsistencyCheck, signatures and credentials are for servers that are not trusted, which is the
//! default ([`ThreatModel::Malicious`]); [`ThreatModel::HonestButCurious`] goes without them.
//!
//! The crate has no socket, no clock, no file and no randomness of its own: messages are bytes,
//! randomness is an argument, and when to stop waiting is the caller's policy.
//!
//! # A round with a dropout
//!
//! ```
//! use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use std::sync::Arc;
//!
//! use secagg::{
//!     Context, Federation, GraphKind, Layout, Member, Parameters, Policy, Segment, Session,
//!     SigningIdentity, ThreatModel, Trust, TrustedAuthority, Vector,
//!     client::{self, Unmasking},
//!     server::{self, AfterMasked},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What everybody agrees on: five clients at most, vectors of three 16-bit elements.
//! let layout = Layout::new(vec![Segment::new("histogram", 3, 16)?])?;
//! let parameters = Parameters::new(ThreatModel::Malicious, GraphKind::Complete, 3..=5, layout)?;
//! let context =
//!     Context { round: 1, nonce: [7; 32], model_digest: [0; 32], plan_digest: [0; 32] };
//! let session = Session::new(parameters, context);
//!
//! // Long before, and elsewhere: an authority vouches for each client's long-term identity.
//! let authority = SigningIdentity::from_seed(&[9; 32]);
//! let federation = Federation([1; 32]);
//! let trust: Arc<dyn Trust> =
//!     Arc::new(TrustedAuthority { key: authority.public(), federation, now: 1_800_000_000 });
//! let mut members = Vec::new();
//! for seed in 1..=5 {
//!     let key = Arc::new(SigningIdentity::from_seed(&[seed; 32]));
//!     let credential = authority.issue(key.public(), federation, 1_900_000_000);
//!     members.push(Member::signed(key, credential, trust.clone())?);
//! }
//!
//! // AdvertiseKeys. In real use every client has a generator seeded by its operating system.
//! let mut rng = ChaCha20Rng::from_seed([42; 32]);
//! let mut collect = server::CollectAdverts::new(session.clone(), Some(trust));
//! let mut clients = Vec::new();
//! for member in members {
//!     let id = member.id();
//!     let (state, advert) =
//!         client::AwaitRoster::start(session.clone(), member, Policy::default(), &mut rng)?;
//!     collect.receive(id, advert)?;
//!     clients.push((id, state));
//! }
//! // Everybody is everybody's neighbour (degree 4), and three shares open a seed.
//! let mut collect = collect.close(4, 3)?;
//!
//! // ShareKeys.
//! let mut waiting = Vec::new();
//! for (id, state) in clients {
//!     let roster = collect.roster_for(id).expect("everybody advertised");
//!     let (state, shares) = state.receive(roster, &mut rng)?;
//!     collect.receive(id, shares)?;
//!     waiting.push((id, state));
//! }
//! let mut collect = collect.close()?;
//!
//! // MaskedInput: the last client vanishes after it shared its keys.
//! let mut uploaded = Vec::new();
//! for (id, state) in waiting.into_iter().take(4) {
//!     let ready = state.receive(collect.delivery_for(id).expect("everybody shared"))?;
//!     let input = Vector::builder(&session).segment("histogram", [1, 2, 3])?.build()?;
//!     let (state, masked) = ready.mask(&input)?;
//!     collect.receive(id, &masked)?;
//!     uploaded.push((id, state));
//! }
//!
//! // ConsistencyCheck: everybody signs the set of those who uploaded.
//! let AfterMasked::Check(mut collect) = collect.close()? else { unreachable!() };
//! let mut signed = Vec::new();
//! for (id, state) in uploaded {
//!     let Unmasking::Check(state, check) = state.receive(collect.survivors())? else {
//!         unreachable!()
//!     };
//!     collect.receive(id, &check)?;
//!     signed.push((id, state));
//! }
//! let mut collect = collect.close()?;
//!
//! // Unmask.
//! for (id, state) in signed {
//!     let signatures = collect.signatures_for(id).expect("everybody signed");
//!     collect.receive(id, state.receive(signatures)?)?;
//! }
//! let outcome = collect.close()?;
//! assert!(outcome.sum.segment("histogram").unwrap().eq([4, 8, 12]));
//! assert_eq!(outcome.contributors.len(), 4);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - A client can add any vector within the ring: the sum of honest inputs is protected from being
//!   read, not from being spoilt. A dealer of wrong shares that uploads can force an abort.
//! - One malicious model that is shown to everybody can make a sum reveal one client's examples.
//! - Credentials are stable pseudonyms: server and neighbours can link a client's participation.
//! - The caller authenticates clients: the id given to `receive` must be that of the channel.
//! - Wrong shares are corrected as long as at most half of those beyond the threshold are wrong;
//!   more abort the round.
//!
//! # Features
//!
//! None that users need: `internals` shows inner functions to the benches and checks of this
//! crate's repository, and is no part of the API. The crate is `no_std` and needs `alloc`.
#![no_std]
#![warn(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(any(test, fuzzing))]
extern crate std;

/// The README's example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod client;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub mod server;

// INSECURE under `--cfg fuzzing`, which `cargo fuzz` sets and nothing else may: seals and signatures
// that anybody can forge take the place of the real ones, agreements are remembered, and inner
// functions are public. No other line of this crate depends on it. The binaries refuse to be
// compiled with it.
#[cfg(not(fuzzing))]
mod agreement;
#[cfg(fuzzing)]
#[path = "fuzzing/agreement.rs"]
mod agreement;
#[cfg(not(fuzzing))]
mod authentic;
#[cfg(fuzzing)]
#[path = "fuzzing/forgeable.rs"]
mod authentic;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(fuzzing))]
mod group;
#[cfg(fuzzing)]
#[path = "fuzzing/group.rs"]
mod group;

mod chooser;
mod codec;
mod decoding;
mod evaluation;
mod field;
mod graph;
mod hypergeometric;
mod id;
mod identity;
mod kernel;
#[cfg(test)]
mod known_answers;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod mask;
mod message;
mod parallel;
mod params;
mod policy;
mod primitives;
mod secret;
mod session;
mod set;
mod shamir;
mod vector;
#[cfg(test)]
mod vectors;
mod words;

pub use self::{
    chooser::{
        Assumptions, Bound, Choice, ChooserError, log2_disconnected, min_threshold, security_bits,
    },
    codec::DecodeError,
    id::ClientId,
    identity::{
        Credential, CredentialError, Federation, IdentityKey, Member, SigningIdentity, Trust,
        TrustedAuthority,
    },
    message::{
        Advert, AdvertError, ConsistencyCheck, Delivery, MaskedInput, Roster, ShareKeys,
        Signatures, Survivors, Traffic, UnmaskShares,
    },
    params::{
        CORRECTNESS_BITS, GraphKind, MAX_COHORT, MAX_SPARSE_COHORT, MIN_COHORT, Parameters,
        ParametersError, ThreatModel,
    },
    policy::Policy,
    session::{Context, RoundId, Session, SessionId},
    vector::{InputError, Layout, Segment, Vector, VectorBuilder},
};
