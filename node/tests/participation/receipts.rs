//! What a node keeps of its rounds, and the limits that rest on it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use secagg_learning::RoundKind;
use secagg_node::participate::ledger::{Hash, Record};
use secagg_node::participate::receipts::{Outcome, Receipt, receipts};
use secagg_wire::message::{CoordinatorMessage, DeclineReason, RoundResult};
use secagg_wire::phase::Phase;
use secagg_wire::text::Reason;
use serde_json::Value;

use crate::rounds::{reason, round, three};
use crate::support::{Coordinator, one, set_policy};

fn audit(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secagg-node"))
        .args(["audit", "--dir"])
        .arg(directory)
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn receipts_of(directory: &Path) -> Vec<Receipt> {
    let record = Record::read(directory).unwrap();
    receipts(record.lines.iter().map(|(_, entry)| entry))
}

fn policy_reason(message: secagg_wire::message::NodeMessage) -> String {
    match reason(message) {
        DeclineReason::Policy(reason) => reason.as_str().to_owned(),
        other => panic!("another reason: {other:?}"),
    }
}

/// Two rounds that three nodes complete, and one that is abandoned: all three have the same
/// receipts, with the session of the coordinator.
#[tokio::test(flavor = "multi_thread")]
async fn every_round_leaves_a_receipt_that_nodes_can_compare() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut clients) = three(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let mut sessions = Vec::new();
    for number in [1, 2] {
        let (announce, parameters) = coordinator.announce(number, &plan);
        let session = coordinator.session(&announce, parameters.clone());
        sessions.push(Hash::from_bytes(*session.id().as_bytes()));
        round(&coordinator, &mut clients, &announce, parameters).await;
    }
    for (client, running) in clients.iter_mut().zip(running) {
        client.finish().await;
        running.ended().await.unwrap();
    }
    let directory = |count: usize| folder.path().join(format!("node-{count}"));
    let all: Vec<Vec<Receipt>> = (3..6).map(|count| receipts_of(&directory(count))).collect();
    for own in &all {
        assert_eq!(own.len(), 2);
        for ((receipt, session), other) in own.iter().zip(&sessions).zip(&all[0]) {
            assert_eq!(receipt.session, *session);
            assert_eq!(receipt.outcome(), Outcome::Revealed);
            let upload = receipt.upload.as_ref().unwrap();
            assert_eq!((upload.cohort, upload.degree, upload.threshold), (3, 2, 2));
            assert_eq!(receipt.reveal.as_ref().unwrap().survivors, 3);
            // What nodes of one round have in common.
            assert_eq!(
                (&receipt.join, &receipt.upload, &receipt.reveal),
                (&other.join, &other.upload, &other.reveal)
            );
        }
        assert_ne!(own[0].upload, own[1].upload);
    }

    let directory = directory(3);
    let text = said(&audit(&directory, &[]));
    assert_eq!(text.matches("helped to open the sum").count(), 2, "{text}");
    assert!(text.contains("6 lines, none changed"), "{text}");
    let shown: Value = serde_json::from_str(&said(&audit(&directory, &["--json"]))).unwrap();
    assert_eq!(shown["lines"].as_array().unwrap().len(), 6);
    let check = |line: usize| shown["lines"][line]["check"].as_str().unwrap().to_owned();
    assert_eq!(shown["check"], check(5));
    assert!(text.contains(&check(5)), "{text}");
    assert_eq!(shown["lines"][4]["entry"]["step"], "upload");
    assert_eq!(shown["below_policy"], serde_json::json!([]));

    // The owner tightened the policy since.
    set_policy(&directory, "min_survivors = 3", "min_survivors = 4");
    let text = said(&audit(&directory, &[]));
    let finding = "round 2, attempt 1: the number of nodes in the sum was 3, the policy asks for 4";
    assert!(text.contains(finding), "{text}");

    let ledger = directory.join("ledger");
    let whole = fs::read_to_string(&ledger).unwrap();
    // Whole lines cut off at the end show only to who has noted a later check.
    let last = whole.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&ledger, &whole[..last]).unwrap();
    said(&audit(&directory, &["--noted", &check(2)]));
    let error = refused(&audit(&directory, &["--noted", &check(5)]));
    assert!(error.contains("lines were removed or rewritten"), "{error}");
    // Changed lines show always.
    fs::write(&ledger, whole.replacen("\"cohort\":3", "\"cohort\":4", 1)).unwrap();
    let error = refused(&audit(&directory, &[]));
    assert!(error.contains("line 2: changed or damaged"), "{error}");
    fs::remove_file(&ledger).unwrap();
    let error = refused(&audit(&directory, &[]));
    assert!(error.contains("has taken part in no round"), "{error}");
}

/// A node that leaves says in its receipt how far it went, and why.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_keeps_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut client) = one(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let (mut announce, _) = coordinator.announce(1, &plan);
    if let CoordinatorMessage::Announce { weights, .. } = &mut announce {
        *weights = coordinator.add_file(Bytes::from_static(b"no weights"));
    }
    client.send(&announce).await;
    client.accepts().await;
    reason(client.next().await);
    client.finish().await;
    running.ended().await.unwrap();
    let receipts = receipts_of(folder.path());
    let Outcome::Left {
        uploaded: false,
        reason,
    } = receipts[0].outcome()
    else {
        panic!("{receipts:?}");
    };
    assert!(reason.contains("safetensors"), "{reason}");
}

/// A coordinator that makes rounds without end, to learn from their differences.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_rounds_a_day_than_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    coordinator.enrol(folder.path(), 4).await;
    set_policy(folder.path(), "rounds_per_day = 100", "rounds_per_day = 2");
    let (running, mut client) = one_that_joined(&coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    for number in [1, 2] {
        client.send(&coordinator.announce(number, &plan).0).await;
        client.accepts().await;
        client.secagg(Phase::AdvertiseKeys).await;
        let reason = Reason::fitted("too few nodes");
        client.end(number, RoundResult::Abandoned { reason }).await;
    }
    client.send(&coordinator.announce(3, &plan).0).await;
    assert_eq!(
        policy_reason(client.next().await),
        "2 rounds were joined within 24 hours, the policy's rounds_per_day is 2"
    );
    client.finish().await;
    running.ended().await.unwrap();
}

/// A coordinator that waits with the roster, to draw its graph again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_roster_that_comes_too_late_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    coordinator.enrol(folder.path(), 4).await;
    let (long, short) = ("roster_wait_seconds = 1800", "roster_wait_seconds = 1");
    set_policy(folder.path(), long, short);
    let (running, mut client) = one_that_joined(&coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    client.send(&coordinator.announce(1, &plan).0).await;
    client.accepts().await;
    client.secagg(Phase::AdvertiseKeys).await;
    assert_eq!(
        policy_reason(client.next().await),
        "the roster did not come within 1 seconds after this node's keys, as its policy asks"
    );
    client.finish().await;
    running.ended().await.unwrap();
}

async fn one_that_joined(
    coordinator: &Coordinator,
    directory: &Path,
) -> (crate::support::Running, crate::support::Client) {
    let running = crate::support::run(directory, crate::support::options());
    let client = coordinator.welcome().await;
    (running, client)
}
