//! The server offers weaker rules than the client's own policy.

use secagg::{
    Context, DecodeError, GraphKind, Layout, Member, Parameters, Policy, Segment, Session,
    ThreatModel,
    client::{AwaitRoster, ClientError},
};

use crate::{
    common::{self, session_of},
    world::{MODELS, POLICY},
};

fn start(session: Session, member: Member, policy: Policy) -> ClientError {
    AwaitRoster::start(session, member, policy, &mut common::coins(0, 0)).unwrap_err()
}

/// In the model in which it is trusted a server could swap keys and show two survivor sets, and so
/// read any one input (V-01). The default policy does not take part.
#[test]
fn the_weaker_threat_model_is_refused() {
    let session = session_of(ThreatModel::HonestButCurious, GraphKind::Complete, 6, 0);
    let error = ClientError::ThreatModel {
        found: ThreatModel::HonestButCurious,
        floor: ThreatModel::Malicious,
    };
    let member = common::member(0);
    assert_eq!(start(session, member, Policy::default()), error);
}

/// With few neighbours fewer corrupt clients are enough to open a seed: who wants the complete
/// graph only, gets no other (V-02).
#[test]
fn the_sparse_graph_is_refused_by_a_client_that_does_not_want_it() {
    let policy = Policy {
        sparse_graph: false,
        ..POLICY
    };
    for model in MODELS {
        let session = session_of(model, GraphKind::Sparse, 20, 0);
        let error = start(session, common::member(0), policy);
        assert_eq!(error, ClientError::SparseGraph);
    }
}

/// A suite that this crate does not know could be one that is broken (V-02).
#[test]
fn another_suite_is_refused() {
    let session = session_of(ThreatModel::Malicious, GraphKind::Complete, 6, 0);
    let mut parameters = session.parameters().encode();
    parameters[0] = 2;
    let error = DecodeError::OutOfRange {
        what: "suite",
        value: 2,
        min: 1,
        max: 1,
    };
    assert_eq!(Parameters::decode(&parameters).unwrap_err(), error);
}

/// A client that is asked to trust nobody, but has no key to sign with, would be one whose keys
/// anybody can swap (V-11).
#[test]
fn a_client_without_a_credential_does_not_join_where_signatures_are_due() {
    let session = session_of(ThreatModel::Malicious, GraphKind::Complete, 6, 0);
    let member = Member::unsigned(common::id(0));
    let error = start(session, member, POLICY);
    assert_eq!(error, ClientError::NoCredential);
}

fn session_with(len: u32, bits: u8) -> Session {
    let layout = Layout::new(vec![Segment::new("update", len, bits).unwrap()]).unwrap();
    let parameters = Parameters::new(ThreatModel::Malicious, GraphKind::Complete, 3..=6, layout);
    let context = Context {
        round: 1,
        nonce: [0; 32],
        model_digest: [1; 32],
        plan_digest: [2; 32],
    };
    Session::new(parameters.unwrap(), context)
}

/// Valid parameters may describe a vector of terabytes: a client would be stopped by its memory
/// (V-43).
#[test]
fn a_vector_beyond_the_clients_policy_is_refused() {
    let policy = Policy {
        max_bits: 20,
        max_vector_bytes: 1_000,
        ..POLICY
    };
    let refused = |len, bits| start(session_with(len, bits), common::member(0), policy);
    let above = |what, value, ceiling| ClientError::AboveCeiling {
        what,
        value,
        ceiling,
    };
    assert_eq!(refused(400, 21), above("modulus in bits", 21, 20));
    assert_eq!(refused(401, 20), above("vector in bytes", 1_003, 1_000));
    let mut coins = common::coins(0, 0);
    assert!(
        AwaitRoster::start(session_with(400, 20), common::member(0), policy, &mut coins).is_ok()
    );
}
