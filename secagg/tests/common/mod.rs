//! What the tests of whole rounds share: sessions, inputs, and clients whose messages travel as
//! bytes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

use std::sync::Arc;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    Advert, ClientId, ConsistencyCheck, Context, Credential, Delivery, Federation, GraphKind,
    Layout, MaskedInput, Member, Parameters, Policy, Roster, Segment, Session, ShareKeys,
    Signatures, SigningIdentity, Survivors, ThreatModel, Trust, TrustedAuthority, UnmaskShares,
    Vector,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, ClientError, Unmasking},
    server::{
        CollectAdverts, CollectMasked, CollectShares, CollectSignatures, CollectUnmask, Rejection,
        Tally,
    },
};

/// The layout of the tests: every way of packing, and a group that is not full.
pub fn layout() -> Layout {
    Layout::new(vec![
        Segment::new("update", 600, 20).unwrap(),
        Segment::new("words", 7, 31).unwrap(),
        Segment::new("counters", 5, 48).unwrap(),
    ])
    .unwrap()
}

/// A session for up to `max` clients in the model in which the server is trusted, over the
/// complete graph; `salt` makes it differ from others.
pub fn session(max: u32, salt: u8) -> Session {
    session_of(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        max,
        salt,
    )
}

/// A session of any kind.
pub fn session_of(model: ThreatModel, graph: GraphKind, max: u32, salt: u8) -> Session {
    let parameters = Parameters::new(model, graph, 3..=max, layout());
    let context = Context {
        round: 1,
        nonce: [salt; 32],
        model_digest: [1; 32],
        plan_digest: [2; 32],
    };
    Session::new(parameters.unwrap(), context)
}

/// Floors of three, at most one corrupt client, and any threat model.
pub const LENIENT: Policy = Policy {
    threat_model: ThreatModel::HonestButCurious,
    sparse_graph: true,
    max_corrupt: 1,
    // What small rings can have.
    security_bits: 1,
    min_cohort: 3,
    min_survivors: 3,
    max_bits: 64,
    max_vector_bytes: 1 << 20,
};

/// The federation of the tests.
pub const FEDERATION: Federation = Federation([6; 32]);

/// The time of the tests.
pub const NOW: u64 = 1_000;

/// The authority that everybody trusts.
pub fn authority() -> SigningIdentity {
    SigningIdentity::from_seed(&[0xa0; 32])
}

/// Trust in that authority.
pub fn trust() -> Arc<dyn Trust> {
    Arc::new(TrustedAuthority {
        key: authority().public(),
        federation: FEDERATION,
        now: NOW,
    })
}

/// The identity of the i-th client.
pub fn identity(client: usize) -> SigningIdentity {
    SigningIdentity::from_seed(&[u8::try_from(client).unwrap(); 32])
}

/// The credential of the i-th client.
pub fn credential(client: usize) -> Credential {
    authority().issue(identity(client).public(), FEDERATION, NOW + 1)
}

/// The i-th client as a member that signs.
pub fn member(client: usize) -> Member {
    Member::signed(Arc::new(identity(client)), credential(client), trust()).unwrap()
}

/// The id of the i-th client.
pub fn id(client: usize) -> ClientId {
    identity(client).client_id()
}

/// A server that has opened a round.
pub fn open(session: &Session) -> CollectAdverts {
    CollectAdverts::new(session.clone(), Some(trust()))
}

/// A generator with fixed coins for one client in one session.
pub fn coins(client: usize, salt: u8) -> ChaCha20Rng {
    let mut seed = [salt; 32];
    seed[0] = u8::try_from(client).unwrap();
    ChaCha20Rng::from_seed(seed)
}

/// Element i of a client's segment: the largest input there is, now and then.
pub fn element(session: &Session, client: usize, segment: &Segment, i: usize) -> u64 {
    let max = session.max_input(segment);
    match (client + i) % 5 {
        0 => max,
        1 => 0,
        _ => (client as u64 * 7_919 + i as u64 * 104_729) % (max + 1),
    }
}

/// A client's input.
pub fn input(session: &Session, client: usize) -> Vector {
    let mut builder = Vector::builder(session);
    for segment in session.layout().segments() {
        let elements = 0..segment.len() as usize;
        let elements = elements.map(|i| element(session, client, segment, i));
        builder = builder.segment(segment.name(), elements).unwrap();
    }
    builder.build().unwrap()
}

/// The plain sum of these clients' inputs.
pub fn plain_sum(session: &Session, clients: &[usize]) -> Vec<Vec<u64>> {
    let segments = session.layout().segments().iter();
    segments
        .map(|segment| {
            let sum = |i| {
                clients
                    .iter()
                    .map(|c| element(session, *c, segment, i))
                    .sum()
            };
            (0..segment.len() as usize).map(sum).collect()
        })
        .collect()
}

/// The elements of a vector, segment by segment.
pub fn elements(vector: &Vector) -> Vec<Vec<u64>> {
    let segments = vector.layout().segments().iter();
    segments
        .map(|segment| vector.segment(segment.name()).unwrap().collect())
        .collect()
}

/// A client's start, with the advert as bytes.
pub fn start(session: &Session, client: usize, policy: Policy) -> (AwaitRoster, Vec<u8>) {
    let mut rng = coins(client, session.context().nonce[0]);
    let (state, advert) =
        AwaitRoster::start(session.clone(), member(client), policy, &mut rng).unwrap();
    (state, advert.encode(session))
}

/// A client's share keys as bytes, from the roster's bytes.
pub fn share(
    session: &Session,
    client: usize,
    state: AwaitRoster,
    roster: &[u8],
) -> Result<(AwaitDelivery, Vec<u8>), ClientError> {
    let mut rng = coins(client, session.context().nonce[0] ^ 0x80);
    let roster = Roster::decode(roster, session).unwrap();
    let (state, shares) = state.receive(roster, &mut rng)?;
    Ok((state, shares.encode(session)))
}

/// A client's masked input as bytes, from the delivery's bytes.
pub fn upload(
    session: &Session,
    client: usize,
    state: AwaitDelivery,
    delivery: &[u8],
) -> Result<(AwaitSurvivors, Vec<u8>), ClientError> {
    let ready = state.receive(Delivery::decode(delivery, session).unwrap())?;
    let (state, masked) = ready.mask(&input(session, client))?;
    Ok((state, masked.into_vec()))
}

/// A client's revealed shares as bytes, from the survivors' bytes.
pub fn reveal(
    session: &Session,
    state: AwaitSurvivors,
    survivors: &[u8],
) -> Result<Vec<u8>, ClientError> {
    let survivors = Survivors::decode(survivors, session).unwrap();
    match state.receive(survivors)? {
        Unmasking::Reveal(shares) => Ok(shares.encode(session)),
        Unmasking::Check(..) => panic!("a client that trusts the server signs nothing"),
    }
}

/// A client's signature on the survivor set as bytes, from the survivors' bytes.
pub fn sign(
    session: &Session,
    state: AwaitSurvivors,
    survivors: &[u8],
) -> Result<(AwaitSignatures, Vec<u8>), ClientError> {
    let survivors = Survivors::decode(survivors, session).unwrap();
    match state.receive(survivors)? {
        Unmasking::Check(state, check) => Ok((state, check.encode(session))),
        Unmasking::Reveal(_) => panic!("a client that does not trust the server signs first"),
    }
}

/// A client's revealed shares as bytes, from the signatures' bytes.
pub fn reveal_signed(
    session: &Session,
    state: AwaitSignatures,
    signatures: &[u8],
) -> Result<Vec<u8>, ClientError> {
    let signatures = Signatures::decode(signatures, session).unwrap();
    Ok(state.receive(signatures)?.encode(session))
}

/// Server phases that take a client's bytes.
pub trait Receive {
    /// Decodes and takes a message.
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection>;

    /// How far the phase is.
    fn progress(&self) -> Tally;
}

impl Receive for CollectAdverts {
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection> {
        self.receive(id(from), Advert::decode(bytes, session).unwrap())
    }

    fn progress(&self) -> Tally {
        self.tally()
    }
}

impl Receive for CollectShares {
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection> {
        self.receive(id(from), ShareKeys::decode(bytes, session).unwrap())
    }

    fn progress(&self) -> Tally {
        self.tally()
    }
}

impl Receive for CollectMasked {
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection> {
        self.receive(
            id(from),
            &MaskedInput::from_vec(bytes.to_vec(), session).unwrap(),
        )
    }

    fn progress(&self) -> Tally {
        self.tally()
    }
}

impl Receive for CollectSignatures {
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection> {
        self.receive(id(from), &ConsistencyCheck::decode(bytes, session).unwrap())
    }

    fn progress(&self) -> Tally {
        self.tally()
    }
}

impl Receive for CollectUnmask {
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection> {
        self.receive(id(from), UnmaskShares::decode(bytes, session).unwrap())
    }

    fn progress(&self) -> Tally {
        self.tally()
    }
}
