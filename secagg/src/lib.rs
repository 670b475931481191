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
//! | AdvertiseKeys | [`Advert`]: two public keys, a commitment | [`Roster`] | [`client::AwaitRoster`], [`server::CollectAdverts`] |
//! | ShareKeys | [`ShareKeys`]: sealed shares of two seeds | [`Delivery`] | [`client::AwaitDelivery`], [`server::CollectShares`] |
//! | MaskedInput | [`MaskedInput`]: the masked vector | [`Survivors`] | [`client::AwaitSurvivors`], [`server::CollectMasked`] |
//! | Unmask | [`UnmaskShares`]: one share for each neighbour | | [`server::CollectUnmask`] |
//!
//! The crate has no socket, no clock, no file and no randomness of its own: messages are bytes,
//! randomness is an argument, and when to stop waiting is the caller's policy.
//!
//! # A round with a dropout
//!
//! ```
//! use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use secagg::{
//!     ClientId, Context, GraphKind, Layout, Parameters, Policy, Segment, Session, ThreatModel,
//!     Vector, client, server,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What everybody agrees on: four clients at most, vectors of three 16-bit elements.
//! let layout = Layout::new(vec![Segment::new("histogram", 3, 16)?])?;
//! let parameters =
//!     Parameters::new(ThreatModel::HonestButCurious, GraphKind::Complete, 3..=4, layout)?;
//! let context =
//!     Context { round: 1, nonce: [7; 32], model_digest: [0; 32], plan_digest: [0; 32] };
//! let session = Session::new(parameters, context);
//!
//! // In real use every client has a generator seeded by its operating system.
//! let mut rng = ChaCha20Rng::from_seed([42; 32]);
//! let ids: Vec<ClientId> = (1..=4).map(|i| ClientId::from_identity_key(&[i; 32])).collect();
//!
//! // AdvertiseKeys.
//! let mut collect = server::CollectAdverts::new(session.clone());
//! let mut clients = Vec::new();
//! for id in &ids {
//!     let (state, advert) =
//!         client::AwaitRoster::start(session.clone(), *id, Policy::default(), &mut rng);
//!     collect.receive(*id, advert)?;
//!     clients.push((*id, state));
//! }
//! let mut collect = collect.close(2)?;
//!
//! // ShareKeys.
//! let mut waiting = Vec::new();
//! for (id, state) in clients {
//!     let roster = collect.roster_for(id).expect("everybody advertised").clone();
//!     let (state, shares) = state.receive(roster, &mut rng)?;
//!     collect.receive(id, shares)?;
//!     waiting.push((id, state));
//! }
//! let mut collect = collect.close()?;
//!
//! // MaskedInput: the last client vanishes after it shared its keys.
//! let mut uploaded = Vec::new();
//! for (id, state) in waiting.into_iter().take(3) {
//!     let ready = state.receive(collect.delivery_for(id).expect("everybody shared"))?;
//!     let input = Vector::builder(&session).segment("histogram", [1, 2, 3])?.build()?;
//!     let (state, masked) = ready.mask(&input)?;
//!     collect.receive(id, &masked)?;
//!     uploaded.push((id, state));
//! }
//! let mut collect = collect.close()?;
//!
//! // Unmask.
//! for (id, state) in uploaded {
//!     let shares = state.receive(collect.survivors())?;
//!     collect.receive(id, shares)?;
//! }
//! let outcome = collect.close()?;
//! assert!(outcome.sum.segment("histogram").unwrap().eq([3, 6, 9]));
//! assert_eq!(outcome.contributors.len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - The server is trusted to follow the protocol ([`ThreatModel::HonestButCurious`]). A server
//!   that lies about the roster or tells clients different survivor sets is not caught yet.
//! - A client can add any vector within the ring: the sum of honest inputs is protected from being
//!   read, not from being spoilt.
//! - The caller authenticates clients: the id given to `receive` must be that of the channel.
//! - Wrong shares are corrected as long as at most half of those beyond the threshold are wrong;
//!   more abort the round.
#![no_std]
#![warn(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod client;
pub mod server;

mod chooser;
mod codec;
mod decoding;
mod field;
mod graph;
mod hypergeometric;
mod id;
#[cfg(test)]
mod known_answers;
mod mask;
mod message;
mod params;
mod primitives;
mod secret;
mod session;
mod set;
mod shamir;
mod vector;
mod words;

pub use self::{
    chooser::{
        Assumptions, Bound, Choice, ChooserError, MAX_SPARSE_COHORT, log2_disconnected,
        min_threshold, security_bits,
    },
    codec::DecodeError,
    id::ClientId,
    message::{Advert, Delivery, MaskedInput, Roster, ShareKeys, Survivors, UnmaskShares},
    params::{
        GraphKind, MAX_COHORT, MIN_COHORT, Parameters, ParametersError, Policy, ThreatModel,
        choose_threshold,
    },
    session::{Context, RoundId, Session, SessionId},
    vector::{InputError, Layout, Segment, Vector, VectorBuilder},
};
