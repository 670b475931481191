//! A client that speaks the protocol only: it "trains" by answering a given update.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use secagg::{
    ClientId, Context, Delivery, Parameters, Policy, Roster, Session, Survivors, Vector,
    client::{AwaitDelivery, AwaitRoster, AwaitSurvivors, Unmasking},
};
use secagg_learning::{Counters, Plan, RoundKind, UpdateCodec};
use secagg_wire::{
    channel::{ChannelError, NodeChannel},
    digest::{Digest, FileDigest, model_digest, plan_digest},
    endpoint::{Link, Timeouts, connect},
    identity::{Fingerprint, IdentityKey, TlsIdentity},
    message::{CoordinatorMessage, NodeMessage, RoundResult, RoundSummary},
    phase::Phase,
    plan::decode_plan,
    text::Opaque,
    tls::Alpn,
    transfer::{Incoming, Outgoing, accept_stream},
};

use super::{INITIAL, PATIENCE, flat};

/// An enrolled client.
#[derive(Clone)]
pub struct Client {
    pub number: u8,
    pub tls: Arc<TlsIdentity>,
    pub key: Arc<IdentityKey>,
    pub pinned: Fingerprint,
}

impl Client {
    pub fn id(&self) -> ClientId {
        ClientId::from_identity_key(&self.key.public())
    }

    /// A connection, without a word said.
    pub async fn connect(&self, address: SocketAddr) -> Link {
        let timeouts = Timeouts::default();
        connect(
            address,
            &self.tls,
            self.pinned,
            Alpn::Participate,
            &timeouts,
        )
        .await
        .unwrap()
    }

    /// Connects, says hello, and fetches the model.
    pub async fn join(&self, address: SocketAddr) -> Member {
        let link = self.connect(address).await;
        let mut channel = NodeChannel::open(&link.connection).await.unwrap();
        channel.send(&NodeMessage::hello("test")).await.unwrap();
        let welcome = channel.receive_within(PATIENCE).await.unwrap();
        let CoordinatorMessage::Welcome {
            description,
            vocabulary,
            initial,
            ..
        } = welcome
        else {
            panic!("{welcome:?}");
        };
        let mut member = Member {
            rng: ChaCha20Rng::from_seed([self.number; 32]),
            number: self.number,
            id: self.id(),
            channel,
            link,
            description: description.sha256,
            vocabulary: vocabulary.sha256,
        };
        assert_eq!(flat(&member.fetch(&initial).await), INITIAL);
        member
    }
}

/// A connected client.
pub struct Member {
    pub number: u8,
    pub id: ClientId,
    pub channel: NodeChannel,
    pub link: Link,
    rng: ChaCha20Rng,
    description: Digest,
    vocabulary: Digest,
}

/// A round that was announced and accepted.
pub struct Announced {
    pub round: u64,
    pub attempt: u32,
    pub session: Session,
    pub plan: Plan,
    /// The weights as received.
    pub weights: Vec<f32>,
}

impl Member {
    pub async fn next(&mut self) -> CoordinatorMessage {
        self.channel.receive_within(PATIENCE).await.unwrap()
    }

    /// Fetches a file.
    pub async fn fetch(&mut self, file: &FileDigest) -> Vec<u8> {
        let digest = file.sha256;
        let wanted = NodeMessage::GetFile { digest };
        self.channel.send(&wanted).await.unwrap();
        let stream = accept_stream(&self.link.connection).await.unwrap();
        match stream.header(PATIENCE).await.unwrap() {
            Incoming::File(incoming) => incoming
                .receive(file, 1 << 20, PATIENCE, |_| ())
                .await
                .unwrap(),
            Incoming::Masked(_) => panic!("the coordinator uploads"),
        }
    }

    /// Waits for an announcement, accepts it, and fetches the weights.
    pub async fn accept(&mut self) -> Announced {
        let message = self.next().await;
        let CoordinatorMessage::Announce {
            round,
            attempt,
            parameters,
            nonce,
            plan,
            weights,
            ..
        } = message
        else {
            panic!("{message:?}");
        };
        let accept = NodeMessage::Accept { round, attempt };
        self.channel.send(&accept).await.unwrap();
        assert_eq!(
            self.next().await,
            CoordinatorMessage::Selected { round, attempt }
        );
        let bytes = self.fetch(&weights).await;
        let context = Context {
            round,
            nonce,
            model_digest: model_digest(&self.description, &self.vocabulary, &Digest::of(&bytes)),
            plan_digest: plan_digest(&plan),
        };
        let parameters = Parameters::decode(&parameters).unwrap();
        let session = Session::new(parameters, context);
        let longest = Roster::max_encoded_len(&session).max(Delivery::max_encoded_len(&session));
        self.channel.limit().allow(longest);
        Announced {
            round,
            attempt,
            session,
            plan: decode_plan(&plan).unwrap(),
            weights: flat(&bytes),
        }
    }

    /// AdvertiseKeys.
    pub async fn advertise(&mut self, announced: &Announced) -> AwaitRoster {
        let session = announced.session.clone();
        let policy = Policy {
            threat_model: secagg::ThreatModel::HonestButCurious,
            ..Policy::default()
        };
        let (state, advert) = AwaitRoster::start(
            session,
            secagg::Member::unsigned(self.id),
            policy,
            &mut self.rng,
        )
        .unwrap();
        let body = advert.encode(&announced.session);
        self.send(announced, Phase::AdvertiseKeys, body).await;
        state
    }

    /// ShareKeys.
    pub async fn share(&mut self, announced: &Announced, state: AwaitRoster) -> AwaitDelivery {
        let body = self.secagg(announced, Phase::ShareKeys).await;
        let roster = Roster::decode(&body, &announced.session).unwrap();
        let (state, shares) = state.receive(roster, &mut self.rng).unwrap();
        let body = shares.encode(&announced.session);
        self.send(announced, Phase::ShareKeys, body).await;
        state
    }

    /// Waits for the delivery, and masks the update.
    pub async fn mask(
        &mut self,
        announced: &Announced,
        state: AwaitDelivery,
        input: &Vector,
    ) -> (AwaitSurvivors, Bytes) {
        let body = self.secagg(announced, Phase::MaskedInput).await;
        let delivery = Delivery::decode(&body, &announced.session).unwrap();
        let ready = state.receive(delivery).unwrap();
        let (state, masked) = ready.mask(input).unwrap();
        (state, masked.into_vec().into())
    }

    /// Starts an upload.
    pub async fn upload(&self, announced: &Announced, bytes: Bytes) -> Outgoing {
        let Announced { round, attempt, .. } = announced;
        Outgoing::masked(&self.link.connection, *round, *attempt, bytes)
            .await
            .unwrap()
    }

    /// Unmask.
    pub async fn unmask(&mut self, announced: &Announced, state: AwaitSurvivors) {
        let body = self.secagg(announced, Phase::Unmask).await;
        let survivors = Survivors::decode(&body, &announced.session).unwrap();
        let Unmasking::Reveal(shares) = state.receive(survivors).unwrap() else {
            panic!("these rounds have no consistency check");
        };
        let body = shares.encode(&announced.session);
        self.send(announced, Phase::Unmask, body).await;
    }

    /// How the round ended for this client.
    pub async fn end(&mut self, announced: &Announced) -> (RoundResult, RoundSummary) {
        match self.next().await {
            CoordinatorMessage::RoundEnd {
                round,
                attempt,
                result,
                summary,
            } => {
                assert_eq!((round, attempt), (announced.round, announced.attempt));
                (result, summary)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A whole round with the update that [`encode`] gives.
    pub async fn take_part(&mut self) -> (Announced, RoundResult, RoundSummary) {
        let announced = self.accept().await;
        let state = self.advertise(&announced).await;
        let state = self.share(&announced, state).await;
        let input = self.input(&announced);
        let (state, bytes) = self.mask(&announced, state, &input).await;
        let upload = self.upload(&announced, bytes).await;
        upload.finish(|_| ()).await.unwrap();
        self.unmask(&announced, state).await;
        let (result, summary) = self.end(&announced).await;
        (announced, result, summary)
    }

    pub fn input(&mut self, announced: &Announced) -> Vector {
        encode(announced, self.number, &mut self.rng)
    }

    pub async fn send(&mut self, announced: &Announced, phase: Phase, body: Vec<u8>) {
        let message = NodeMessage::Secagg {
            round: announced.round,
            attempt: announced.attempt,
            phase,
            body: Opaque(body),
        };
        self.channel.send(&message).await.unwrap();
    }

    /// The protocol's next message, which opens that phase.
    async fn secagg(&mut self, announced: &Announced, expected: Phase) -> Vec<u8> {
        match self.next().await {
            CoordinatorMessage::Secagg {
                round,
                attempt,
                phase,
                body,
            } => {
                let current = (announced.round, announced.attempt, expected);
                assert_eq!((round, attempt, phase), current);
                body.into_vec()
            }
            other => panic!("{other:?} instead of {expected}"),
        }
    }

    /// Why the coordinator closed the connection.
    pub async fn closed(mut self) -> ChannelError {
        loop {
            match self.channel.receive_within(PATIENCE).await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

/// What a client of that number sends: weight `number`, every element of the update `number / 16`,
/// and figures of 10 held-out tokens.
pub fn encode(announced: &Announced, number: u8, rng: &mut ChaCha20Rng) -> Vector {
    let mut counters = Counters::new();
    let mut delta = Vec::new();
    if announced.plan.kind() == RoundKind::Train {
        delta = vec![f32::from(number) / 16.0; INITIAL.len()];
        counters
            .record_training(u64::from(number), 20.0, 10)
            .unwrap();
    }
    counters.record_validation(30.0, 2, 4, 10).unwrap();
    UpdateCodec::new(&announced.plan)
        .encode(&announced.session, &delta, &counters, rng)
        .unwrap()
}
