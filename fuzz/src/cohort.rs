//! The clients, sessions and inputs of the state machines' targets.

use std::sync::{Arc, OnceLock};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    ClientId, Context, Federation, GraphKind, Layout, Member, Parameters, Segment, Session,
    SigningIdentity, ThreatModel, Trust, TrustedAuthority, Vector,
};

use crate::choices::Choices;

/// The most clients of a session.
pub const MOST: usize = 8;

/// One of the clients there are.
#[derive(Debug)]
pub struct Person {
    /// Its id.
    pub id: ClientId,
    /// Its identity.
    pub key: Arc<SigningIdentity>,
    /// What it takes part as.
    pub member: Member,
}

/// Whom everybody trusts.
#[must_use]
pub fn trust() -> TrustedAuthority {
    TrustedAuthority {
        key: SigningIdentity::from_seed(&[0xa0; 32]).public(),
        federation: Federation([6; 32]),
        now: 1_000,
    }
}

/// One client more than a session has room for, ascending by id: a place among them is a rank.
pub fn people() -> &'static [Person] {
    static PEOPLE: OnceLock<Vec<Person>> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let authority = SigningIdentity::from_seed(&[0xa0; 32]);
        let trust = trust();
        let person = |seed: u8| {
            let key = Arc::new(SigningIdentity::from_seed(&[seed; 32]));
            let credential = authority.issue(key.public(), trust.federation, trust.now + 1);
            let believes: Arc<dyn Trust> = Arc::new(trust);
            let member = Member::signed(Arc::clone(&key), credential, believes);
            Person {
                id: key.client_id(),
                member: member.expect("the authority's own credential"),
                key,
            }
        };
        let most = u8::try_from(MOST).expect("a handful");
        let mut people: Vec<Person> = (0..=most).map(person).collect();
        people.sort_unstable_by_key(|person| person.id);
        people
    })
}

/// The sessions: each threat model, graph and largest cohort.
pub fn sessions() -> &'static [Session] {
    static SESSIONS: OnceLock<Vec<Session>> = OnceLock::new();
    SESSIONS.get_or_init(|| {
        let mut sessions = Vec::new();
        for model in [ThreatModel::HonestButCurious, ThreatModel::Malicious] {
            for graph in [GraphKind::Complete, GraphKind::Sparse] {
                for most in [MOST, 5] {
                    sessions.push(new_session(model, graph, most));
                }
            }
        }
        sessions
    })
}

/// One of the sessions.
pub fn session(choices: &mut Choices<'_>) -> Session {
    choices.one_of(sessions()).clone()
}

fn new_session(model: ThreatModel, graph: GraphKind, most: usize) -> Session {
    // Elements are packed one after the other: see `sum.rs`.
    let segments = [("narrow", 5, 9), ("wide", 2, 40)]
        .map(|(name, len, bits)| Segment::new(name, len, bits).expect("within the limits"));
    let layout = Layout::new(segments.into()).expect("the names are distinct");
    let most = u32::try_from(most).expect("a handful");
    let parameters = Parameters::new(model, graph, 3..=most, layout).expect("within the limits");
    let context = Context {
        round: 1,
        nonce: [most as u8; 32],
        model_digest: [1; 32],
        plan_digest: [2; 32],
    };
    Session::new(parameters, context)
}

/// A client's coins: the same in each round, so that its keys need not be new to be looked at.
#[must_use]
pub fn coins(client: usize, phase: u8) -> ChaCha20Rng {
    let mut seed = [phase; 32];
    seed[0] = client as u8;
    ChaCha20Rng::from_seed(seed)
}

/// A client's input: as large as can be, now and then.
#[must_use]
pub fn input(session: &Session, client: usize) -> Vector {
    let mut builder = Vector::builder(session);
    for segment in session.layout().segments() {
        let most = session.max_input(segment);
        let elements = (0..u64::from(segment.len())).map(|i| match (client as u64 + i) % 3 {
            0 => most,
            _ => (client as u64 * 104_729 + i * 7_919) % (most + 1),
        });
        builder = builder
            .segment(segment.name(), elements)
            .expect("a segment of the session");
    }
    builder.build().expect("every segment is set")
}

/// Whether there is a graph of this degree over so many clients, by the definition.
#[must_use]
pub fn has_degree(kind: GraphKind, cohort: usize, degree: usize) -> bool {
    let ring =
        kind == GraphKind::Sparse && degree >= 2 && degree.is_multiple_of(2) && degree + 1 < cohort;
    ring || degree + 1 == cohort
}
