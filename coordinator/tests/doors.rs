//! Who gets in, and what one bad client costs: itself.

mod common;

use common::{CONFIG, Client, Folder, Member};
use secagg_wire::{
    channel::{ChannelError, NodeChannel},
    close::{CloseCode, Lost},
    digest::Digest,
    enrol::{EnrolError, EnrolRefusal},
    identity::{IdentityKey, TlsIdentity},
    message::{CoordinatorMessage, NodeMessage},
    phase::Phase,
    text::{Name, Opaque},
};

fn assert_closed(error: &ChannelError, code: CloseCode, words: &str) {
    match error {
        ChannelError::Lost(Lost::Closed(closed)) => {
            assert!(closed.by_peer);
            assert_eq!(closed.code, code);
            assert!(closed.reason.as_str().contains(words), "{closed}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_one_node_once() {
    let folder = Folder::new(CONFIG);
    let mut running = folder.run();
    let token = folder.token();
    let client = running.enrol(&token, 1).await.unwrap();
    let enrolled = running.event("enrolled").await;
    assert_eq!(enrolled["client"], client.id().to_string());
    assert!(matches!(
        running.enrol(&token, 2).await,
        Err(EnrolError::Refused(EnrolRefusal::UnknownToken))
    ));
    let other = folder.token();
    assert!(matches!(
        running.enrol_again(&other, &client).await,
        Err(EnrolError::Refused(EnrolRefusal::AlreadyEnrolled))
    ));
    let refused = running.event("refused").await;
    assert!(refused["reason"].as_str().unwrap().contains("token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_certificate_is_refused() {
    let folder = Folder::new(CONFIG);
    let mut running = folder.run();
    let stranger = Client {
        number: 1,
        tls: TlsIdentity::generate().unwrap().into(),
        key: IdentityKey::generate().unwrap().into(),
        pinned: folder.token().coordinator(),
    };
    let link = stranger.connect(running.address).await;
    let error = match NodeChannel::open(&link.connection).await {
        Err(error) => error,
        Ok(mut channel) => {
            // Whether the hello still goes out does not matter.
            let _ = channel.send(&NodeMessage::hello("test")).await;
            channel.receive().await.unwrap_err()
        }
    };
    assert_closed(&error, CloseCode::UnknownIdentity, "secagg-node join");
    let refused = running.event("refused").await;
    assert!(
        refused["reason"]
            .as_str()
            .unwrap()
            .contains("not registered")
    );
}

async fn lone_member(folder: &Folder) -> (common::Running, Client, Member) {
    let (running, mut clients) = folder.run_with(1).await;
    let client = clients.remove(0);
    let member = client.join(running.address).await;
    (running, client, member)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_replaces_the_first() {
    let folder = Folder::new(CONFIG);
    let (mut running, client, first) = lone_member(&folder).await;
    running.event("node_connected").await;
    let second = client.join(running.address).await;
    let error = first.closed().await;
    assert_closed(&error, CloseCode::DuplicateConnection, "connected again");
    running.event("node_gone").await;
    running.event("node_connected").await;
    assert!(second.link.connection.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_never_offered_is_refused() {
    let folder = Folder::new(CONFIG);
    let (mut running, _, mut member) = lone_member(&folder).await;
    let digest = Digest::of(b"something else");
    member
        .channel
        .send(&NodeMessage::GetFile { digest })
        .await
        .unwrap();
    let error = member.closed().await;
    assert_closed(&error, CloseCode::NotAllowed, &digest.to_string());
    let gone = running.event("node_gone").await;
    assert!(gone["reason"].as_str().unwrap().contains("is offered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_costs_the_connection() {
    let folder = Folder::new(CONFIG);
    let (mut running, _, mut member) = lone_member(&folder).await;
    for _ in 0..64 {
        let accept = NodeMessage::Accept {
            round: 9,
            attempt: 9,
        };
        if member.channel.send(&accept).await.is_err() {
            break;
        }
    }
    let error = member.closed().await;
    assert_closed(&error, CloseCode::NotAllowed, "more than 64 messages");
    running.event("node_gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secagg_message_outside_a_round_is_oversized() {
    let folder = Folder::new(CONFIG);
    let (mut running, _, mut member) = lone_member(&folder).await;
    let message = NodeMessage::Secagg {
        round: 1,
        attempt: 1,
        phase: Phase::ShareKeys,
        body: Opaque(vec![0; 100_000]),
    };
    // It may be closed before all of it is sent.
    let _ = member.channel.send(&message).await;
    let error = member.closed().await;
    assert_closed(&error, CloseCode::Oversized, "at most");
    let gone = running.event("node_gone").await;
    assert!(gone["reason"].as_str().unwrap().contains("at most"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_advert_costs_its_sender_only() {
    let folder = Folder::new(&format!("{CONFIG}[cohort]\nmin_clients = 3\n"));
    let (mut running, clients) = folder.run_with(4).await;
    let mut members = Vec::new();
    for client in &clients {
        members.push(client.join(running.address).await);
    }
    let mut bad = members.pop().unwrap();
    let announced = bad.accept().await;
    bad.send(&announced, Phase::AdvertiseKeys, vec![1, 2, 3])
        .await;
    let error = bad.closed().await;
    assert_closed(&error, CloseCode::MalformedFrame, "does not decode");
    let mut tasks = tokio::task::JoinSet::new();
    for mut member in members {
        tasks.spawn(async move { member.take_part().await.1 });
    }
    tasks.join_all().await;
    let complete = running.event("round_complete").await;
    assert_eq!(complete["contributors"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_version_is_told() {
    let folder = Folder::new(CONFIG);
    let (running, clients) = folder.run_with(1).await;
    let link = clients[0].connect(running.address).await;
    let mut channel = NodeChannel::open(&link.connection).await.unwrap();
    let hello = NodeMessage::Hello {
        protocol: 99,
        software: Name::fitted("test"),
    };
    channel.send(&hello).await.unwrap();
    let error = channel.receive().await.unwrap_err();
    assert_closed(&error, CloseCode::ProtocolVersion, "not 99");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_a_round_that_is_over_are_declined_politely() {
    let config = CONFIG.replace("rounds = 1", "rounds = 2");
    let folder = Folder::new(&config);
    let (_running, clients) = folder.run_with(3).await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in clients {
        let address = _running.address;
        tasks.spawn(async move {
            let mut member = client.join(address).await;
            for _ in 0..2 {
                member.take_part().await;
            }
            member
        });
    }
    let mut members = tasks.join_all().await;
    // Announced now: the closing round, over the weights of round 2; before it those of round 1.
    let former = std::fs::read(folder.path().join("weights/round-0001.safetensors")).unwrap();
    let member = &mut members[0];
    let announced = member.accept().await;
    let digest = Digest::of(&former);
    member
        .channel
        .send(&NodeMessage::GetFile { digest })
        .await
        .unwrap();
    match member.next().await {
        CoordinatorMessage::Rejected { phase, reason, .. } => {
            assert_eq!(phase, Phase::Train);
            assert!(reason.as_str().contains("over"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(announced.round, 3);
}
