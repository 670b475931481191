//! Nodes take part in rounds of a small coordinator, over QUIC on loopback.

use std::path::Path;
use std::time::Duration;

use crate::support::{Client, Coordinator, Running, WAIT, events, messages, one, options, run};
use bytes::Bytes;
use secagg::{Advert, MaskedInput, ShareKeys, UnmaskShares, server};
use secagg_learning::{Compression, Counter, Plan, RoundKind, UpdateCodec, compression::Transform};
use secagg_node::examples::Examples;
use secagg_node::model::{Model, Weights};
use secagg_node::participate::service::RunEnd;
use secagg_node::training::{TrainingTask, train};
use secagg_wire::digest::{Digest, FileDigest};
use secagg_wire::frame::encode;
use secagg_wire::message::{CoordinatorMessage, DeclineReason, NodeMessage, RoundResult};
use secagg_wire::phase::Phase;
use secagg_wire::text::Reason;
use secagg_wire::transfer::StreamHeader;

/// Three nodes with 3, 4 and 5 messages, connected.
pub(crate) async fn three(
    coordinator: &mut Coordinator,
    folder: &Path,
) -> (Vec<Running>, Vec<Client>) {
    let mut running = Vec::new();
    let mut clients = Vec::new();
    for count in 3..6 {
        let directory = folder.join(format!("node-{count}"));
        coordinator.enrol(&directory, count).await;
        running.push(run(&directory, options()));
        clients.push(coordinator.welcome().await);
    }
    (running, clients)
}

/// Announces, and runs the protocol to its sum.
pub(crate) async fn round(
    coordinator: &Coordinator,
    clients: &mut [Client],
    announce: &CoordinatorMessage,
    parameters: secagg::Parameters,
) -> server::Outcome {
    let session = coordinator.session(announce, parameters);
    let round = session.context().round;
    for client in &mut *clients {
        client.send(announce).await;
    }
    let mut collect = server::CollectAdverts::new(session.clone(), None);
    for client in &mut *clients {
        client.accepts().await;
        let body = client.secagg(Phase::AdvertiseKeys).await;
        collect
            .receive(client.id, Advert::decode(&body, &session).unwrap())
            .unwrap();
    }
    let degree = u32::try_from(clients.len()).unwrap() - 1;
    let mut collect = collect.close(degree, 2).unwrap();
    for client in &mut *clients {
        let roster = collect.roster_for(client.id).unwrap().encode(&session);
        client.open(round, Phase::ShareKeys, roster).await;
        let body = client.secagg(Phase::ShareKeys).await;
        collect
            .receive(client.id, ShareKeys::decode(&body, &session).unwrap())
            .unwrap();
    }
    let mut collect = collect.close().unwrap();
    for client in &mut *clients {
        let delivery = collect.delivery_for(client.id).unwrap().encode(&session);
        client.open(round, Phase::MaskedInput, delivery).await;
        let bytes = client.masked(MaskedInput::encoded_len(&session)).await;
        collect
            .receive(client.id, &MaskedInput::from_vec(bytes, &session).unwrap())
            .unwrap();
    }
    let server::AfterMasked::Unmask(mut collect) = collect.close().unwrap() else {
        panic!("these rounds have no consistency check");
    };
    for client in &mut *clients {
        client
            .open(round, Phase::Unmask, collect.survivors().encode(&session))
            .await;
        let body = client.secagg(Phase::Unmask).await;
        collect
            .receive(client.id, UnmaskShares::decode(&body, &session).unwrap())
            .unwrap();
        client.end(round, RoundResult::Included).await;
    }
    collect.close().unwrap()
}

/// The weighted mean of what the nodes train from the initial weights: the same training here; the
/// batch holds all messages, so that their order does not matter.
fn trained_here(coordinator: &Coordinator, plan: &Plan) -> Vec<f64> {
    let model = &coordinator.model;
    let initial = Weights::initial(&model.description);
    let mut expected = vec![0.0; model.description.parameters()];
    for count in 3..6 {
        let (training, _) = messages(count);
        let text = Examples::new(model, training.iter().map(String::as_str), 10).unwrap();
        let mut network = Model::new(&model.description, &initial).unwrap();
        let mut go_on = |_| std::ops::ControlFlow::Continue(());
        let trained = train(
            &mut network,
            initial.values(),
            &text,
            &TrainingTask::new(plan.training(), 1, [0; 32]),
            &mut go_on,
        )
        .unwrap();
        for (sum, delta) in expected.iter_mut().zip(&trained.delta) {
            *sum += f64::from(*delta) * count as f64 / 12.0;
        }
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_is_the_weighted_mean_of_what_the_nodes_trained() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut clients) = three(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let (announce, parameters) = coordinator.announce(1, &plan);
    let session = coordinator.session(&announce, parameters.clone());
    let outcome = round(&coordinator, &mut clients, &announce, parameters).await;
    let decoded = UpdateCodec::new(&plan)
        .decode(&session, &outcome.sum, 3)
        .unwrap();
    assert_eq!(decoded.counters.value(Counter::Weight), 3 + 4 + 5);
    assert_eq!(decoded.counters.value(Counter::ValidationTokens), 3 * 2 * 5);

    let expected = trained_here(&coordinator, &plan);
    let bound = UpdateCodec::new(&plan).error_bound(3, 12) + 1e-5;
    let mean = decoded.mean_delta.unwrap();
    assert!(
        mean.iter().any(|value| value.abs() > 0.01),
        "the update says something"
    );
    for (found, expected) in mean.iter().zip(&expected) {
        assert!(
            (f64::from(*found) - expected).abs() <= bound,
            "{found} {expected} {bound}"
        );
    }

    // One closing round carries evaluation only; then the training is over.
    let plan = coordinator.plan(RoundKind::EvaluateOnly);
    let (announce, parameters) = coordinator.announce(2, &plan);
    let session = coordinator.session(&announce, parameters.clone());
    let outcome = round(&coordinator, &mut clients, &announce, parameters).await;
    let decoded = UpdateCodec::new(&plan)
        .decode(&session, &outcome.sum, 3)
        .unwrap();
    assert_eq!(decoded.mean_delta, None);
    assert_eq!(decoded.counters.value(Counter::Weight), 0);
    assert_eq!(decoded.counters.value(Counter::ValidationTokens), 3 * 2 * 5);
    for (client, running) in clients.iter_mut().zip(running) {
        client.finish().await;
        let log = running.events.clone();
        assert!(matches!(running.ended().await, Ok(RunEnd::Finished { .. })));
        // Description, vocabulary and initial weights: each asked for once, the weights not again.
        assert_eq!(client.asked.len(), 3);
        assert_eq!(events(&log, "uploaded").len(), 2);
        assert_eq!(events(&log, "round_end").len(), 2);
        let spans = events(&log, "span");
        for name in [
            "evaluation",
            "training",
            "encode",
            "keygen",
            "shares",
            "masking",
            "unmask",
        ] {
            assert!(spans.iter().any(|span| span["name"] == name), "{name}");
        }
        let bytes = events(&log, "bytes");
        assert!(
            bytes.iter().all(|bytes| bytes["up"].as_u64() > Some(0)),
            "{bytes:?}"
        );
    }
}

pub(crate) fn reason(message: NodeMessage) -> DeclineReason {
    match message {
        NodeMessage::Decline { reason, .. } => reason,
        other => panic!("expected a decline, not {other:?}"),
    }
}

/// Announces `weights` and returns why the node leaves the round.
async fn declines(coordinator: &Coordinator, client: &mut Client, weights: Bytes) -> String {
    let plan = coordinator.plan(RoundKind::Train);
    let (mut announce, _) = coordinator.announce(1, &plan);
    if let CoordinatorMessage::Announce { weights: file, .. } = &mut announce {
        *file = coordinator.add_file(weights);
    }
    client.send(&announce).await;
    client.accepts().await;
    match reason(client.next().await) {
        DeclineReason::Other(reason) => reason.as_str().to_owned(),
        other => panic!("another reason: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_another_shape_or_not_finite_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut client) = one(&mut coordinator, folder.path()).await;
    let good = coordinator.initial.clone();
    let changed = |from: &[u8], to: &[u8]| {
        let place = good
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        let mut bytes = good.to_vec();
        bytes[place..place + to.len()].copy_from_slice(to);
        Bytes::from(bytes)
    };

    let mut bytes = good.to_vec();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let said = declines(&coordinator, &mut client, bytes.into()).await;
    assert!(said.contains("\"projection\" holds NaN"), "{said}");

    let bytes = changed(b"\"shape\":[18,4]", b"\"shape\":[4,18]");
    let said = declines(&coordinator, &mut client, bytes).await;
    assert!(said.contains("has the shape [4, 18]"), "{said}");

    let bytes = changed(b"\"projection\"", b"\"projektion\"");
    let said = declines(&coordinator, &mut client, bytes).await;
    assert!(said.contains("\"projektion\""), "{said}");
    // Nothing of it was kept.
    assert!(!folder.path().join("model/current.safetensors").exists());
    client.finish().await;
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_not_the_announced_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut client) = one(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let (mut announce, _) = coordinator.announce(1, &plan);
    let expected = FileDigest {
        sha256: Digest::of(b"other weights"),
        len: coordinator.initial.len() as u64,
    };
    if let CoordinatorMessage::Announce { weights, .. } = &mut announce {
        *weights = expected;
    }
    client.send(&announce).await;
    client.accepts().await;
    let asked = client.channel.receive_within(WAIT).await.unwrap();
    assert_eq!(
        asked,
        NodeMessage::GetFile {
            digest: expected.sha256
        }
    );
    // The header says what was asked for, the bytes are others.
    let mut stream = client.channel.connection().open_uni().await.unwrap();
    let header = encode(&StreamHeader::File { file: expected }).unwrap();
    stream.write_all(&header).await.unwrap();
    stream.write_all(&coordinator.initial).await.unwrap();
    stream.finish().unwrap();
    match reason(client.next().await) {
        DeclineReason::Other(reason) => {
            let found = Digest::of(&coordinator.initial);
            let said = format!(
                "the file's SHA-256 is {found}, expected {}",
                expected.sha256
            );
            assert!(reason.as_str().contains(&said), "{reason}");
        }
        other => panic!("another reason: {other:?}"),
    }
    client.finish().await;
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_round_goes_on_after_it_was_abandoned_until_the_uploads_are_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut clients) = three(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    // While it trains or waits for the roster: abandoned, and nothing is recorded.
    let (announce, _) = coordinator.announce(1, &plan);
    for client in &mut clients {
        client.send(&announce).await;
        client.accepts().await;
        let reason = Reason::fitted("too few nodes");
        client.end(1, RoundResult::Abandoned { reason }).await;
    }
    for client in &mut clients {
        // An advert that was on its way.
        if let Ok(Ok(message)) =
            tokio::time::timeout(Duration::from_millis(300), client.channel.receive()).await
        {
            let expected = Phase::AdvertiseKeys;
            assert!(matches!(message, NodeMessage::Secagg { phase, .. } if phase == expected));
        }
    }
    for number in [2, 3] {
        let (announce, parameters) = coordinator.announce(number, &plan);
        let outcome = round(&coordinator, &mut clients, &announce, parameters).await;
        assert_eq!(outcome.contributors.len(), 3);
    }
    let (announce, _) = coordinator.announce(4, &plan);
    for client in &mut clients {
        client.send(&announce).await;
        assert_eq!(reason(client.next().await), DeclineReason::UploadsUsedUp);
        client.finish().await;
    }
    for running in running {
        let log = running.events.clone();
        running.ended().await.unwrap();
        let declined = events(&log, "declined");
        assert_eq!(declined.len(), 1);
        assert_eq!(declined[0]["round"], 4);
        let ends = events(&log, "round_end");
        assert_eq!(ends[0]["result"], "abandoned");
        assert_eq!(ends[1]["result"], "included");
    }
}

/// Half of the coordinates are sent in each round; what a node did not send in the first one comes in
/// the second on top of that one's update, where that coordinate is drawn.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_comes_with_the_next_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut clients) = three(&mut coordinator, folder.path()).await;
    let compression = Compression {
        fraction: 0.5,
        feedback: true,
        ..Compression::NONE
    };
    let plan = coordinator.plan_with(RoundKind::Train, compression);
    let expected = trained_here(&coordinator, &plan);
    let bound = UpdateCodec::new(&plan).error_bound(3, 12) + 1e-5;
    // Both rounds train from the same weights, and so to the same update.
    let mut owed = vec![0.0; expected.len()];
    let mut late = 0;
    for number in 1..=2 {
        let (announce, parameters) = coordinator.announce(number, &plan);
        let session = coordinator.session(&announce, parameters.clone());
        let outcome = round(&coordinator, &mut clients, &announce, parameters).await;
        let decoded = UpdateCodec::new(&plan)
            .decode(&session, &outcome.sum, 3)
            .unwrap();
        let transform = Transform::new(plan.update(), &session);
        let drawn = transform.positions().unwrap();
        assert_eq!(drawn.len(), expected.len().div_ceil(2));
        for (index, found) in decoded.mean_delta.unwrap().into_iter().enumerate() {
            owed[index] += expected[index];
            let mut sent = 0.0;
            if drawn.binary_search(&u32::try_from(index).unwrap()).is_ok() {
                sent = std::mem::take(&mut owed[index]);
                late += usize::from((sent - expected[index]).abs() > 0.01);
            }
            assert!(
                (f64::from(found) - sent).abs() <= bound,
                "round {number}, {index}: {found}, not {sent}"
            );
        }
    }
    assert!(late > 10, "much of the first round comes in the second");
    for (client, running) in clients.iter_mut().zip(running) {
        client.finish().await;
        assert!(matches!(running.ended().await, Ok(RunEnd::Finished { .. })));
    }
}
