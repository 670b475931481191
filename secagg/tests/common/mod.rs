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

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    Advert, ClientId, Context, Delivery, GraphKind, Layout, MaskedInput, Parameters, Policy,
    Roster, Segment, Session, ShareKeys, Survivors, ThreatModel, UnmaskShares, Vector,
    client::{AwaitDelivery, AwaitRoster, AwaitSurvivors, ClientError},
    server::{CollectAdverts, CollectMasked, CollectShares, CollectUnmask, Rejection, Tally},
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

/// A session for up to `max` clients; `salt` makes it differ from others.
pub fn session(max: u32, salt: u8) -> Session {
    let parameters = Parameters::new(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        3..=max,
        layout(),
    );
    let context = Context {
        round: 1,
        nonce: [salt; 32],
        model_digest: [1; 32],
        plan_digest: [2; 32],
    };
    Session::new(parameters.unwrap(), context)
}

/// The id of the i-th client.
pub fn id(client: usize) -> ClientId {
    ClientId::from_identity_key(&[u8::try_from(client).unwrap(); 32])
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
    let (state, advert) = AwaitRoster::start(session.clone(), id(client), policy, &mut rng);
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
    Ok(state.receive(survivors)?.encode(session))
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

impl Receive for CollectUnmask {
    fn take(&mut self, session: &Session, from: usize, bytes: &[u8]) -> Result<(), Rejection> {
        self.receive(id(from), UnmaskShares::decode(bytes, session).unwrap())
    }

    fn progress(&self) -> Tally {
        self.tally()
    }
}
