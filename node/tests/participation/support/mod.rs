//! A small coordinator made of the server side of `secagg` and of the wire, for tests of a node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use secagg::{ClientId, Parameters, Session, ThreatModel};
use secagg_learning::{
    Budget, Compression, LocalOptimizer, Parts, Plan, RoundKind, ServerOptimizerConfig,
    TrainingPlan, UpdatePlan,
};
use secagg_node::model::{ModelDescription, ModelFiles, Sizes, Weights};
use secagg_node::participate::enrolment::{JoinRequest, join};
use secagg_node::vocabulary::Vocabulary;
use secagg_wire::channel::{CoordinatorChannel, EnrolCoordinatorChannel};
use secagg_wire::close::{CloseCode, close};
use secagg_wire::digest::{Digest, FileDigest};
use secagg_wire::endpoint::{Peer, Timeouts, accept, listen};
use secagg_wire::enrol::{EnrolRefusal, EnrolReply};
use secagg_wire::identity::{Fingerprint, TlsIdentity};
use secagg_wire::message::{CoordinatorMessage, NodeMessage};
use secagg_wire::plan::encode_plan;
use secagg_wire::text::Name;
use secagg_wire::token::Token;

mod client;
mod running;

pub(crate) use client::Client;
pub(crate) use running::{Running, events, messages, options, run};

pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// Words for a tiny vocabulary, and messages made of them.
const WORDS: &str = "see you soon at the station we can eat there then";

/// Changes a node's policy.
pub(crate) fn set_policy(directory: &Path, from: &str, to: &str) {
    let policy = directory.join("policy.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    assert!(text.contains(from), "no {from} in\n{text}");
    std::fs::write(policy, text.replace(from, to)).unwrap();
}

/// A coordinator that listens on loopback and knows the nodes that joined.
pub(crate) struct Coordinator {
    endpoint: quinn::Endpoint,
    pub(crate) identity: TlsIdentity,
    pub(crate) address: SocketAddr,
    pub(crate) model: ModelFiles,
    /// What nodes may ask for.
    pub(crate) files: Arc<Mutex<BTreeMap<Digest, Bytes>>>,
    pub(crate) welcome: CoordinatorMessage,
    pub(crate) initial: Bytes,
    ids: BTreeMap<Fingerprint, ClientId>,
}

impl Coordinator {
    pub(crate) fn new() -> Self {
        let identity = TlsIdentity::generate().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let endpoint = listen(address, &identity, &Timeouts::default()).unwrap();
        Self::over(endpoint, identity, BTreeMap::new())
    }

    /// Goes away, and comes back at the same address, perhaps as somebody else.
    pub(crate) async fn restart(self, other: Option<TlsIdentity>) -> Self {
        let Self {
            endpoint,
            identity,
            address,
            ids,
            ..
        } = self;
        endpoint.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
        drop(endpoint);
        let identity = other.unwrap_or(identity);
        // The socket is released when the endpoint's task has ended.
        let endpoint = loop {
            match listen(address, &identity, &Timeouts::default()) {
                Ok(endpoint) => break endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        Self::over(endpoint, identity, ids)
    }

    fn over(
        endpoint: quinn::Endpoint,
        identity: TlsIdentity,
        ids: BTreeMap<Fingerprint, ClientId>,
    ) -> Self {
        let vocabulary = Vocabulary::from_text([WORDS], 15).unwrap();
        let sizes = Sizes {
            vocabulary: u32::try_from(vocabulary.len()).unwrap(),
            embedding: 4,
            units: 6,
            output_bias: true,
        };
        let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
        let initial = Bytes::from(Weights::initial(&description).to_safetensors());
        let model = ModelFiles::new(description, vocabulary).unwrap();
        let [description, vocabulary] = [model.description.to_toml(), model.vocabulary.to_text()]
            .map(|text| Bytes::from(text.into_bytes()));
        let welcome = CoordinatorMessage::Welcome {
            federation: Name::fitted("test"),
            description: FileDigest::of(&description),
            vocabulary: FileDigest::of(&vocabulary),
            initial: FileDigest::of(&initial),
        };
        let files = [description, vocabulary, initial.clone()];
        let files = files.map(|bytes| (Digest::of(&bytes), bytes)).into();
        Self {
            address: endpoint.local_addr().unwrap(),
            endpoint,
            identity,
            model,
            files: Arc::new(Mutex::new(files)),
            welcome,
            initial,
            ids,
        }
    }

    pub(crate) async fn peer(&self) -> Peer {
        let incoming = self.endpoint.accept().await.unwrap();
        accept(incoming, &Timeouts::default()).await.unwrap()
    }

    /// Has a node join in `directory` and gives it text.
    pub(crate) async fn enrol(&mut self, directory: &Path, messages: usize) {
        let token = Token::generate(self.identity.fingerprint()).unwrap();
        let request = JoinRequest {
            directory,
            coordinator: self.address.into(),
            token: &token,
            name: Name::fitted("node"),
            authority: None,
            again: false,
        };
        let timeouts = Timeouts::default();
        let (joined, ()) = tokio::join!(join(&request, &timeouts), self.answer_enrolment(None));
        assert_eq!(joined.unwrap().federation, "test");
        running::add_text(directory, messages);
        // This coordinator speaks the protocol of the weaker threat model.
        set_policy(directory, "= \"malicious\"", "= \"honest-but-curious\"");
        set_policy(directory, "uploads_per_model = 1", "uploads_per_model = 2");
    }

    /// Answers one enrolment: registers, or refuses.
    pub(crate) async fn answer_enrolment(&mut self, refusal: Option<EnrolRefusal>) {
        let peer = self.peer().await;
        let mut channel = EnrolCoordinatorChannel::accept(&peer.connection, WAIT)
            .await
            .unwrap();
        let request = channel.receive().await.unwrap();
        request
            .verify(&peer.fingerprint, &self.identity.fingerprint())
            .unwrap();
        let reply = match refusal {
            Some(reason) => EnrolReply::Refused { reason },
            None => {
                self.ids.insert(peer.fingerprint, request.client_id());
                EnrolReply::Enrolled {
                    client_id: *request.client_id().as_bytes(),
                    federation: Name::fitted("test"),
                }
            }
        };
        channel.send(&reply).await.unwrap();
        peer.connection.closed().await;
    }

    /// The next node that connects and says hello.
    pub(crate) async fn welcome(&self) -> Client {
        let peer = self.peer().await;
        let Some(id) = self.ids.get(&peer.fingerprint) else {
            panic!("an unknown node");
        };
        let mut channel = CoordinatorChannel::accept(&peer.connection, WAIT)
            .await
            .unwrap();
        let hello = channel.receive_within(WAIT).await.unwrap();
        assert!(
            matches!(hello, NodeMessage::Hello { protocol: 1, .. }),
            "{hello:?}"
        );
        channel.limit().allow(1 << 20);
        channel.send(&self.welcome).await.unwrap();
        Client {
            id: *id,
            channel,
            files: Arc::clone(&self.files),
            asked: Vec::new(),
        }
    }

    /// Lets the next handshake run into the other side's refusal.
    pub(crate) async fn accept_and_fail(&self) {
        let incoming = self.endpoint.accept().await.unwrap();
        accept(incoming, &Timeouts::default()).await.unwrap_err();
    }

    /// Refuses the next connection with a code.
    pub(crate) async fn turn_away(&self, code: CloseCode) {
        let peer = self.peer().await;
        close(&peer.connection, code, "test");
        peer.connection.closed().await;
    }

    pub(crate) fn plan(&self, kind: RoundKind) -> Plan {
        self.plan_with(kind, Compression::NONE)
    }

    pub(crate) fn plan_with(&self, kind: RoundKind, compression: Compression) -> Plan {
        let update = UpdatePlan {
            parameters: u32::try_from(self.model.description.parameters()).unwrap(),
            clip_norm: 10.0,
            range: 10.0,
            value_bits: 20,
            weight_cap: 100,
            max_cohort: 5,
            compression,
            parts: Parts::ALL,
        };
        let training = TrainingPlan {
            budget: Budget::Epochs(1),
            batch: 64,
            optimizer: LocalOptimizer::Sgd { rate: 0.5 },
            gradient_clip: 5.0,
            max_words: 10,
            ..TrainingPlan::DEFAULT
        };
        Plan::new(
            kind,
            update,
            training,
            ServerOptimizerConfig::FedAvg { rate: 1.0 },
        )
        .unwrap()
    }

    /// An announcement of the initial weights, and the parameters in it.
    pub(crate) fn announce(&self, round: u64, plan: &Plan) -> (CoordinatorMessage, Parameters) {
        let parameters = Parameters::new(
            ThreatModel::HonestButCurious,
            secagg::GraphKind::Complete,
            3..=5,
            plan.layout(),
        )
        .unwrap();
        let announce = CoordinatorMessage::Announce {
            round,
            attempt: 1,
            parameters: parameters.encode().into(),
            nonce: [u8::try_from(round).unwrap(); 32],
            plan: encode_plan(plan).unwrap().into(),
            weights: FileDigest::of(&self.initial),
            following: None,
        };
        (announce, parameters)
    }

    /// The session that honest nodes have for an announcement.
    pub(crate) fn session(&self, announce: &CoordinatorMessage, parameters: Parameters) -> Session {
        let CoordinatorMessage::Announce {
            round,
            nonce,
            plan,
            weights,
            ..
        } = announce
        else {
            panic!("not an announcement");
        };
        let CoordinatorMessage::Welcome {
            description,
            vocabulary,
            ..
        } = &self.welcome
        else {
            panic!("not a welcome");
        };
        let model_digest = secagg_wire::digest::model_digest(
            &description.sha256,
            &vocabulary.sha256,
            &weights.sha256,
        );
        let plan_digest = secagg_wire::digest::plan_digest(plan);
        let (round, nonce) = (*round, *nonce);
        let context = secagg::Context {
            round,
            nonce,
            model_digest,
            plan_digest,
        };
        Session::new(parameters, context)
    }

    pub(crate) fn add_file(&self, bytes: Bytes) -> FileDigest {
        let file = FileDigest::of(&bytes);
        self.files.lock().unwrap().insert(file.sha256, bytes);
        file
    }
}

/// One node, connected.
pub(crate) async fn one(coordinator: &mut Coordinator, directory: &Path) -> (Running, Client) {
    coordinator.enrol(directory, 3).await;
    (run(directory, options()), coordinator.welcome().await)
}
