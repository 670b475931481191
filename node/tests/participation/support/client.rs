//! The coordinator's end of one node's connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use secagg::ClientId;
use secagg_wire::channel::CoordinatorChannel;
use secagg_wire::digest::Digest;
use secagg_wire::digest::FileDigest;
use secagg_wire::message::{CoordinatorMessage, NodeMessage, RoundResult, RoundSummary};
use secagg_wire::phase::Phase;
use secagg_wire::text::Reason;
use secagg_wire::transfer::{Incoming, accept_stream, send_file};

use super::WAIT;

/// A node that said hello.
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) channel: CoordinatorChannel,
    pub(super) files: Arc<Mutex<BTreeMap<Digest, Bytes>>>,
    /// Files that were asked for.
    pub(crate) asked: Vec<Digest>,
}

impl Client {
    pub(crate) async fn send(&mut self, message: &CoordinatorMessage) {
        self.channel.send(message).await.unwrap();
    }

    /// The next message; files that are asked for meanwhile are sent.
    pub(crate) async fn next(&mut self) -> NodeMessage {
        loop {
            match self.channel.receive_within(WAIT).await.unwrap() {
                NodeMessage::GetFile { digest } => {
                    self.asked.push(digest);
                    let bytes = self.files.lock().unwrap().get(&digest).cloned();
                    let bytes = bytes.expect("the file is known");
                    let connection = self.channel.connection().clone();
                    tokio::spawn(async move {
                        send_file(&connection, FileDigest::of(&bytes), bytes, |_| ()).await
                    });
                }
                other => return other,
            }
        }
    }

    pub(crate) async fn accepts(&mut self) {
        let message = self.next().await;
        assert!(matches!(message, NodeMessage::Accept { .. }), "{message:?}");
    }

    /// The body of the next secagg message.
    pub(crate) async fn secagg(&mut self, expected: Phase) -> Vec<u8> {
        match self.next().await {
            NodeMessage::Secagg { phase, body, .. } if phase == expected => body.into_vec(),
            other => panic!("expected a message of {expected}, not {other:?}"),
        }
    }

    pub(crate) async fn open(&mut self, round: u64, phase: Phase, body: Vec<u8>) {
        let body = body.into();
        self.send(&CoordinatorMessage::Secagg {
            round,
            attempt: 1,
            phase,
            body,
        })
        .await;
    }

    pub(crate) async fn masked(&self, len: usize) -> Vec<u8> {
        let stream = accept_stream(self.channel.connection()).await.unwrap();
        match stream.header(WAIT).await.unwrap() {
            Incoming::Masked(masked) => masked.receive(len, WAIT, |_| ()).await.unwrap(),
            other @ Incoming::File(_) => panic!("expected a masked vector, not {other:?}"),
        }
    }

    pub(crate) async fn end(&mut self, round: u64, result: RoundResult) {
        self.send(&CoordinatorMessage::RoundEnd {
            round,
            attempt: 1,
            result,
            summary: RoundSummary::default(),
        })
        .await;
    }

    pub(crate) async fn finish(&mut self) {
        self.send(&CoordinatorMessage::Finished {
            reason: Reason::fitted("all rounds are done"),
        })
        .await;
    }
}
