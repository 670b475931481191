//! Nodes take part in rounds of a small coordinator, over QUIC on loopback.

mod support;

use rand_chacha::ChaCha20Rng;
use secagg::{Advert, MaskedInput, ShareKeys, UnmaskShares, server};
use secagg_learning::{Counter, RoundKind, UpdateCodec};
use secagg_node::model::{Model, Weights};
use secagg_node::participate::service::RunEnd;
use secagg_node::training::train;
use secagg_node::vocabulary::TokenizedText;
use secagg_wire::message::{CoordinatorMessage, RoundResult};
use secagg_wire::phase::Phase;
use support::{Client, Coordinator, Running, events, messages, options, run};

/// Three nodes with 3, 4 and 5 messages, connected.
async fn three(
    coordinator: &mut Coordinator,
    folder: &std::path::Path,
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
async fn round(
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
    let mut collect = server::CollectAdverts::new(session.clone());
    for client in &mut *clients {
        client.accepts().await;
        let body = client.secagg(Phase::AdvertiseKeys).await;
        collect
            .receive(client.id, Advert::decode(&body, &session).unwrap())
            .unwrap();
    }
    let mut collect = collect.close(2).unwrap();
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
    let mut collect = collect.close().unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_is_the_weighted_mean_of_what_the_nodes_trained() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let (running, mut clients) = three(&mut coordinator, folder.path()).await;
    let plan = coordinator.plan(RoundKind::Train);
    let (announce, parameters) = coordinator.announce(1, &plan);
    let outcome = round(&coordinator, &mut clients, &announce, parameters).await;
    let decoded = UpdateCodec::new(&plan).decode(&outcome.sum, 3).unwrap();
    assert_eq!(decoded.counters.value(Counter::Weight), 3 + 4 + 5);
    assert_eq!(decoded.counters.value(Counter::ValidationTokens), 3 * 2 * 5);

    // The same training here; the batch holds all messages, so that their order does not matter.
    let model = &coordinator.model;
    let initial = Weights::initial(&model.description);
    let mut expected = vec![0.0; model.description.parameters()];
    for count in 3..6 {
        let (training, _) = messages(count);
        let text = TokenizedText::new(&model.vocabulary, training.iter().map(String::as_str), 10);
        let mut network = Model::new(&model.description, &initial).unwrap();
        let mut go_on = |_| std::ops::ControlFlow::Continue(());
        let trained = train(
            &mut network,
            initial.values(),
            &text,
            plan.training(),
            [0; 32],
            &mut go_on,
        )
        .unwrap();
        for (sum, delta) in expected.iter_mut().zip(&trained.delta) {
            *sum += f64::from(*delta) * count as f64 / 12.0;
        }
    }
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
    let outcome = round(&coordinator, &mut clients, &announce, parameters).await;
    let decoded = UpdateCodec::new(&plan).decode(&outcome.sum, 3).unwrap();
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
