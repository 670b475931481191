//! What the fuzz targets do: the property that every decoder has, and a module for each of the
//! others.

pub mod choices;
pub mod client;
pub mod cohort;
pub mod server;
pub mod shamir;
pub mod sum;
pub mod update;

use std::sync::OnceLock;

use secagg::{Context, GraphKind, Layout, Parameters, Segment, Session, ThreatModel};

/// Sessions with every way of packing: a trusted server and the complete graph, and the opposite of
/// both.
pub fn sessions() -> &'static [Session; 2] {
    static SESSIONS: OnceLock<[Session; 2]> = OnceLock::new();
    SESSIONS.get_or_init(|| {
        [
            session(ThreatModel::HonestButCurious, GraphKind::Complete),
            session(ThreatModel::Malicious, GraphKind::Sparse),
        ]
    })
}

fn session(threat_model: ThreatModel, graph: GraphKind) -> Session {
    let segments = [("vertical", 600, 20), ("narrow", 7, 31), ("wide", 5, 48)];
    let segments = segments.map(|(name, len, bits)| {
        Segment::new(name, len, bits).expect("the segments are within the limits")
    });
    let layout = Layout::new(segments.into()).expect("the names are distinct");
    let parameters = Parameters::new(threat_model, graph, 3..=9, layout)
        .expect("the cohort is within the limits");
    let context = Context {
        round: 1,
        nonce: [3; 32],
        model_digest: [1; 32],
        plan_digest: [2; 32],
    };
    Session::new(parameters, context)
}

/// The header that a message of this kind begins with, so that the fuzzer gets past it.
#[must_use]
pub fn with_header(kind: u8, session: &Session, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, kind];
    bytes.extend_from_slice(&session.id().as_bytes()[..16]);
    bytes.extend_from_slice(body);
    bytes
}

/// Decodes `body` as the body of a message: it must encode to the same bytes, or be refused.
pub fn canonical<M, E>(
    kind: u8,
    body: &[u8],
    decode: impl Fn(&[u8], &Session) -> Result<M, E>,
    encode: impl Fn(M, &Session) -> Vec<u8>,
) {
    for session in sessions() {
        let bytes = with_header(kind, session, body);
        if let Ok(message) = decode(&bytes, session) {
            assert_eq!(encode(message, session), bytes, "one message, one encoding");
        }
    }
}
