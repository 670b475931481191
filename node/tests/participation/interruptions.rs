//! What comes in between: a coordinator that goes away, rounds that end early, users who end a node.

use crate::support::{Coordinator, events, one, options, run};
use secagg_learning::{Budget, Plan, RoundKind, TrainingPlan};
use secagg_node::participate::node::Options;
use secagg_node::participate::service::{RunEnd, RunError};
use secagg_wire::close::CloseCode;
use secagg_wire::identity::TlsIdentity;
use secagg_wire::message::{NodeMessage, RoundResult};
use secagg_wire::phase::Phase;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_when_its_coordinator_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut client) = one(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let (announce, _) = coordinator.announce(1, &plan);
    client.send(&announce).await;
    client.accepts().await;
    // In the middle of the round.
    drop(client);
    let coordinator = coordinator.restart(None).await;
    let mut client = coordinator.welcome().await;
    let (announce, _) = coordinator.announce(2, &plan);
    client.send(&announce).await;
    client.accepts().await;
    client.secagg(Phase::AdvertiseKeys).await;
    // Everything was kept from before.
    assert_eq!(client.asked, []);
    client.finish().await;
    let log = running.events.clone();
    running.ended().await.unwrap();
    assert!(!events(&log, "reconnecting").is_empty());
    assert_eq!(events(&log, "connected").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_ends_while_a_node_trains_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut client) = one(&mut coordinator, folder.path()).await;
    // A thousand epochs: more than the test waits for.
    let plan = coordinator.plan(RoundKind::Train);
    let training = TrainingPlan {
        budget: Budget::Epochs(1000),
        batch: 1,
        ..*plan.training()
    };
    let long = Plan::new(plan.kind(), *plan.update(), training, *plan.server()).unwrap();
    let (announce, _) = coordinator.announce(1, &long);
    client.send(&announce).await;
    client.accepts().await;
    client.end(1, RoundResult::NotIncluded).await;
    let (announce, _) = coordinator.announce(2, &plan);
    client.send(&announce).await;
    client.accepts().await;
    client.secagg(Phase::AdvertiseKeys).await;
    client.finish().await;
    let log = running.events.clone();
    running.ended().await.unwrap();
    assert_eq!(events(&log, "round_end")[0]["result"], "not-included");
    assert!(events(&log, "declined").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_ends_a_node_makes_it_take_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut client) = one(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let (announce, _) = coordinator.announce(1, &plan);
    client.send(&announce).await;
    client.accepts().await;
    client.secagg(Phase::AdvertiseKeys).await;
    running.shutdown.request();
    let message = client.next().await;
    assert!(matches!(message, NodeMessage::Leave { .. }), "{message:?}");
    assert_eq!(running.ended().await.unwrap(), RunEnd::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_round_is_enough_where_the_user_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    coordinator.enrol(folder.path(), 3).await;
    let once = Options {
        once: true,
        ..options()
    };
    let running = run(folder.path(), once);
    let mut client = coordinator.welcome().await;
    let plan = coordinator.plan(RoundKind::Train);
    let (announce, _) = coordinator.announce(1, &plan);
    client.send(&announce).await;
    client.accepts().await;
    client.secagg(Phase::AdvertiseKeys).await;
    client.end(1, RoundResult::NotIncluded).await;
    let message = client.next().await;
    assert!(matches!(message, NodeMessage::Leave { .. }), "{message:?}");
    assert_eq!(running.ended().await.unwrap(), RunEnd::Once);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_patience_mends_ends_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    coordinator.enrol(folder.path(), 3).await;
    let running = run(folder.path(), options());
    coordinator.turn_away(CloseCode::UnknownIdentity).await;
    let error = running.ended().await.unwrap_err();
    assert!(matches!(error, RunError::NotEnrolled { .. }), "{error}");
    let running = run(folder.path(), options());
    coordinator.turn_away(CloseCode::DuplicateConnection).await;
    let error = running.ended().await.unwrap_err();
    assert!(matches!(error, RunError::Duplicate), "{error}");

    // Another coordinator at the same address.
    let expected = coordinator.identity.fingerprint();
    let other = coordinator
        .restart(Some(TlsIdentity::generate().unwrap()))
        .await;
    let running = run(folder.path(), options());
    let incoming = other.accept_and_fail();
    let (error, ()) = tokio::join!(running.ended(), incoming);
    let error = error.unwrap_err();
    let said = error.to_string();
    for fingerprint in [expected, other.identity.fingerprint()] {
        assert!(said.contains(&fingerprint.to_string()), "{said}");
    }
}
