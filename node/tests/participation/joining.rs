//! Joining, over QUIC on loopback.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Coordinator, options};
use secagg_node::participate::enrolment::{JoinError, JoinRequest, join};
use secagg_node::participate::node::{Node, NodeError};
use secagg_node::participate::policy::NodePolicy;
use secagg_node::participate::settings::Settings;
use secagg_wire::endpoint::{ConnectError, Timeouts};
use secagg_wire::enrol::{EnrolError, EnrolRefusal};
use secagg_wire::events::EventLog;
use secagg_wire::identity::{Fingerprint, IdentityKey};
use secagg_wire::text::Name;
use secagg_wire::token::Token;

fn request<'a>(
    coordinator: &Coordinator,
    directory: &'a std::path::Path,
    token: &'a Token,
    again: bool,
) -> JoinRequest<'a> {
    JoinRequest {
        directory,
        coordinator: coordinator.address.into(),
        token,
        name: Name::fitted("anna"),
        authority: None,
        again,
    }
}

#[tokio::test]
async fn a_directory_joins_once_unless_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("anna");
    let mut coordinator = Coordinator::new();
    coordinator.enrol(&directory, 3).await;
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let settings = Settings::read(&directory).unwrap();
    assert_eq!(settings.pinned, coordinator.identity.fingerprint());
    NodePolicy::read(&directory).unwrap();

    let token = Token::generate(coordinator.identity.fingerprint()).unwrap();
    let timeouts = Timeouts::default();
    let error = join(&request(&coordinator, &directory, &token, false), &timeouts).await;
    assert!(
        matches!(&error, Err(JoinError::AlreadyJoined { name, .. }) if name == "node"),
        "{error:?}"
    );
    // The coordinator knows these keys: all is as it was, with the new name.
    let again = request(&coordinator, &directory, &token, true);
    let refusal = Some(EnrolRefusal::AlreadyEnrolled);
    let (joined, ()) = tokio::join!(
        join(&again, &timeouts),
        coordinator.answer_enrolment(refusal)
    );
    let joined = joined.unwrap();
    assert_eq!(joined.client_id, settings.client_id);
    assert_eq!(
        (joined.federation.as_str(), joined.name.as_str()),
        ("test", "anna")
    );
    assert_eq!(Settings::read(&directory).unwrap(), joined);
}

#[tokio::test]
async fn a_refused_token_leaves_no_node_and_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let token = Token::generate(coordinator.identity.fingerprint()).unwrap();
    let timeouts = Timeouts::default();
    let directory = folder.path();
    for refusal in [EnrolRefusal::UnknownToken, EnrolRefusal::ExpiredToken] {
        let request = request(&coordinator, directory, &token, false);
        let answer = coordinator.answer_enrolment(Some(refusal.clone()));
        let (joined, ()) = tokio::join!(join(&request, &timeouts), answer);
        let error = joined.unwrap_err();
        assert!(
            matches!(&error, JoinError::Enrol(EnrolError::Refused(found)) if *found == refusal),
            "{error}"
        );
        assert!(
            error.to_string().contains("ask the operator for a new one"),
            "{error}"
        );
    }
    assert!(!directory.join("node.toml").exists());
    let key = IdentityKey::load(&directory.join("identity")).unwrap();
    coordinator.enrol(directory, 3).await;
    let settings = Settings::read(directory).unwrap();
    assert_eq!(
        settings.client_id,
        secagg::ClientId::from_identity_key(&key.public())
    );
}

#[tokio::test]
async fn another_coordinator_than_the_tokens_is_named_with_both_fingerprints() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::new();
    let expected = Fingerprint::of_certificate(b"another certificate");
    let token = Token::generate(expected).unwrap();
    let timeouts = Timeouts::default();
    let request = request(&coordinator, folder.path(), &token, false);
    let (joined, ()) = tokio::join!(join(&request, &timeouts), coordinator.accept_and_fail());
    let error = joined.unwrap_err();
    let JoinError::Connect(ConnectError::WrongFingerprint(wrong)) = &error else {
        panic!("another error: {error}");
    };
    assert_eq!(wrong.expected, expected);
    assert_eq!(wrong.presented, coordinator.identity.fingerprint());
    for fingerprint in [wrong.expected, wrong.presented] {
        assert!(
            error.to_string().contains(&fingerprint.to_string()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn another_identity_key_than_the_one_that_joined_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    coordinator.enrol(folder.path(), 3).await;
    let open = || Node::open(folder.path(), EventLog::none(), options());
    open().unwrap();
    let other = IdentityKey::generate().unwrap();
    other.save(&folder.path().join("identity")).unwrap();
    let found = secagg::ClientId::from_identity_key(&other.public());
    let error = open().unwrap_err();
    assert!(
        matches!(error, NodeError::OtherIdentity { found: id, .. } if id == found),
        "{error}"
    );
}
