//! One round as a client goes through it.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use secagg::{
    Context, Delivery, Parameters, Policy, Roster, Session, Signatures, Survivors, ThreatModel,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, Unmasking},
};
use secagg_learning::{Plan, UpdateCodec};
use secagg_wire::{
    digest::{Digest, FileDigest, UploadDigest, model_digest, plan_digest},
    frame,
    message::{CoordinatorMessage, DeclineReason, NodeMessage},
    phase::Phase,
    plan::decode_plan,
    text::{Opaque, Reason},
    transfer::{Outgoing, StreamHeader, TransferError},
};
use serde_json::json;

use super::{
    Act, Moment,
    client::{Client, End, Files, Flow},
    connection::Control,
};

/// What an announcement says.
pub(super) struct Announced {
    number: (u64, u32),
    parameters: Parameters,
    nonce: [u8; 32],
    plan: Plan,
    plan_digest: [u8; 32],
    weights: FileDigest,
}

impl Announced {
    pub(super) fn new(message: CoordinatorMessage) -> Result<Self> {
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
            bail!("{message:?} is no announcement");
        };
        Ok(Self {
            number: (round, attempt),
            parameters: Parameters::decode(&parameters).context("the announced parameters")?,
            nonce,
            plan: decode_plan(&plan)?,
            plan_digest: plan_digest(&plan),
            weights,
        })
    }
}

/// A round that a client takes part in.
pub(super) struct Round<'a> {
    client: &'a Client,
    files: &'a Files,
    announced: Announced,
    stage: Stage,
}

/// What the client waits for.
enum Stage {
    Selection,
    Roster(Session, Box<AwaitRoster>),
    Delivery(Session, Box<AwaitDelivery>),
    Survivors(Session, Box<AwaitSurvivors>),
    Signatures(Session, Box<AwaitSignatures>),
    /// A stalled upload stays open for as long as it is kept here.
    Nothing(Option<Outgoing>),
}

impl<'a> Round<'a> {
    pub(super) fn new(client: &'a Client, files: &'a Files, announced: Announced) -> Self {
        Self {
            client,
            files,
            announced,
            stage: Stage::Selection,
        }
    }

    pub(super) fn number(&self) -> (u64, u32) {
        self.announced.number
    }

    /// Answers the announcement.
    pub(super) async fn announced(&mut self, control: &mut Control) -> Result<Flow> {
        let (round, attempt) = self.number();
        let plan = &self.announced.plan;
        let fields = json!({ "round": round, "attempt": attempt, "plan": plan });
        self.client.event("announced", fields);
        if !self.client.may_upload(self.announced.weights.sha256) {
            self.client.round_event("declined", round, attempt);
            return self.decline(control, DeclineReason::UploadsUsedUp).await;
        }
        let accept = NodeMessage::Accept { round, attempt };
        self.send(control, Moment::Announced, accept).await
    }

    /// Goes on with a message of this round.
    pub(super) async fn step(
        &mut self,
        control: &mut Control,
        message: CoordinatorMessage,
    ) -> Result<Flow> {
        let stage = std::mem::replace(&mut self.stage, Stage::Nothing(None));
        match (message, stage) {
            (CoordinatorMessage::Selected { .. }, Stage::Selection) => {
                self.advertise(control).await
            }
            (CoordinatorMessage::Secagg { phase, body, .. }, stage) => match (phase, stage) {
                (Phase::ShareKeys, Stage::Roster(session, state)) => {
                    let roster = Roster::decode(&body, &session)?;
                    let (state, shares) = state.receive(roster, &mut random()?)?;
                    let body = shares.encode(&session);
                    self.stage = Stage::Delivery(session, Box::new(state));
                    self.send_secagg(control, Moment::ShareKeys, Phase::ShareKeys, body)
                        .await
                }
                (Phase::MaskedInput, Stage::Delivery(session, state)) => {
                    let delivery = Delivery::decode(&body, &session)?;
                    self.upload(control, session, *state, delivery).await
                }
                (
                    phase @ (Phase::ConsistencyCheck | Phase::Unmask),
                    Stage::Survivors(session, state),
                ) => {
                    let survivors = Survivors::decode(&body, &session)?;
                    let (moment, body) = match state.receive(survivors)? {
                        Unmasking::Reveal(shares) => (Moment::Unmask, shares.encode(&session)),
                        Unmasking::Check(state, check) => {
                            let body = check.encode(&session);
                            self.stage = Stage::Signatures(session, Box::new(state));
                            (Moment::ConsistencyCheck, body)
                        }
                    };
                    self.send_secagg(control, moment, phase, body).await
                }
                (Phase::Unmask, Stage::Signatures(session, state)) => {
                    let signatures = Signatures::decode(&body, &session)?;
                    let body = state.receive(signatures)?.encode(&session);
                    self.send_secagg(control, Moment::Unmask, Phase::Unmask, body)
                        .await
                }
                (phase, Stage::Nothing(kept)) => {
                    self.stage = Stage::Nothing(kept);
                    self.client
                        .event("ignored", json!({ "phase": phase.as_str() }));
                    Ok(Flow::On)
                }
                (phase, _) => bail!("a secagg message of {phase} out of turn"),
            },
            (
                CoordinatorMessage::NotSelected { .. }
                | CoordinatorMessage::Rejected { .. }
                | CoordinatorMessage::RoundEnd { .. },
                _,
            ) => Ok(Flow::Forget),
            (message, _) => bail!("{message:?} out of turn"),
        }
    }

    /// Fetches the weights, opens the session over what was received, and advertises its keys.
    async fn advertise(&mut self, control: &mut Control) -> Result<Flow> {
        let weights = Digest::of(&control.fetch(&self.announced.weights).await?);
        let (description, vocabulary) = (&self.files.description, &self.files.vocabulary);
        let context = Context {
            round: self.announced.number.0,
            nonce: self.announced.nonce,
            model_digest: model_digest(description, vocabulary, &weights),
            plan_digest: self.announced.plan_digest,
        };
        let session = Session::new(self.announced.parameters.clone(), context);
        let fields = json!({
            "round": context.round,
            "attempt": self.announced.number.1,
            "parameters": self.announced.parameters.encode(),
            "nonce": context.nonce,
            "model_digest": context.model_digest,
            "plan_digest": context.plan_digest,
        });
        self.client.event("session", fields);
        let longest = [
            Roster::max_encoded_len(&session),
            Delivery::max_encoded_len(&session),
            Survivors::max_encoded_len(&session),
            Signatures::max_encoded_len(&session),
        ];
        longest
            .into_iter()
            .for_each(|len| control.limit().allow(len));
        match self.reach(control, Moment::Train).await? {
            Flow::On => {}
            other => return Ok(other),
        }
        let (state, advert) = AwaitRoster::start(
            session.clone(),
            self.client.member.clone(),
            Policy {
                threat_model: ThreatModel::HonestButCurious,
                ..Policy::default()
            },
            &mut random()?,
        )?;
        let body = advert.encode(&session);
        self.stage = Stage::Roster(session, Box::new(state));
        self.send_secagg(control, Moment::AdvertiseKeys, Phase::AdvertiseKeys, body)
            .await
    }

    /// Masks the update and uploads it.
    async fn upload(
        &mut self,
        control: &mut Control,
        session: Session,
        state: AwaitDelivery,
        delivery: Delivery,
    ) -> Result<Flow> {
        let (state, mut bytes, digest) = self.mask(&session, state, delivery).await?;
        if let Some(barrier) = &self.client.shared.uploads {
            barrier.wait().await;
        }
        let (round, attempt) = self.number();
        let header_len = bytes.len() as u64;
        match self.client.act(round, Moment::MaskedInput) {
            Some(Act::WrongLength) => bytes.push(0),
            Some(Act::CutShort) => {
                bytes.truncate(bytes.len() / 2);
                return self.cut_short(control, header_len, &bytes).await;
            }
            Some(act) => match self.behave(control, Moment::MaskedInput, act).await? {
                Flow::On => {}
                other => return Ok(other),
            },
            None => {}
        }
        self.client.count_upload(self.announced.weights.sha256);
        self.client.round_event("uploading", round, attempt);
        let (bytes, half) = (Bytes::from(bytes), header_len / 2);
        let mut upload =
            Outgoing::masked(control.connection(), round, attempt, bytes.clone()).await?;
        let sent = upload.send_until(usize::try_from(half)?, |_| ()).await;
        if let Err(error) = sent {
            return self.upload_failed(error);
        }
        match self.reach(control, Moment::Upload).await? {
            Flow::On => {}
            Flow::Forget => {
                self.stage = Stage::Nothing(Some(upload));
                return Ok(Flow::On);
            }
            other => return Ok(other),
        }
        if let Err(error) = upload.finish(|_| ()).await {
            return self.upload_failed(error);
        }
        let fields = json!({
            "round": round, "attempt": attempt, "bytes": bytes.len(), "blake3": digest.to_string(),
        });
        self.client.event("uploaded", fields);
        self.stage = Stage::Survivors(session, Box::new(state));
        self.reach(control, Moment::Uploaded).await
    }

    /// Encodes and masks this round's known update, a few clients at a time, and hashes the result:
    /// an upload is measured, and that is no part of it.
    async fn mask(
        &self,
        session: &Session,
        state: AwaitDelivery,
        delivery: Delivery,
    ) -> Result<(AwaitSurvivors, Vec<u8>, UploadDigest)> {
        let _working = self.client.shared.working.acquire().await?;
        let (updates, index) = (self.client.shared.options.updates, self.client.index);
        let (plan, round) = (self.announced.plan.clone(), self.announced.number.0);
        let session = session.clone();
        // On another thread, so that this one keeps the connection alive.
        let work = move || -> Result<_> {
            let delta = updates.delta(index, round, plan.update_len());
            let counters = updates.counters(index, round, plan.kind())?;
            let input =
                UpdateCodec::new(&plan).encode(&session, &delta, &counters, &mut random()?)?;
            let (state, masked) = state.receive(delivery)?.mask(&input)?;
            let bytes = masked.into_vec();
            let digest = UploadDigest::of(&bytes);
            Ok((state, bytes, digest))
        };
        tokio::task::spawn_blocking(work).await?
    }

    /// Announces a whole vector and ends the stream after less.
    async fn cut_short(&self, control: &Control, len: u64, bytes: &[u8]) -> Result<Flow> {
        let (round, attempt) = self.number();
        let header = StreamHeader::Masked {
            round,
            attempt,
            len,
        };
        let mut stream = control.connection().open_uni().await?;
        stream.write_all(&frame::encode(&header)?).await?;
        stream.write_all(bytes).await?;
        stream.finish()?;
        Ok(Flow::On)
    }

    fn upload_failed(&mut self, error: TransferError) -> Result<Flow> {
        let TransferError::Stopped(code) = error else {
            return Err(error.into());
        };
        let (round, attempt) = self.number();
        let code = code.to_string();
        let fields = json!({ "round": round, "attempt": attempt, "code": code });
        self.client.event("upload_stopped", fields);
        Ok(Flow::On)
    }

    async fn send_secagg(
        &mut self,
        control: &mut Control,
        moment: Moment,
        phase: Phase,
        body: Vec<u8>,
    ) -> Result<Flow> {
        let (round, attempt) = self.number();
        let message = NodeMessage::Secagg {
            round,
            attempt,
            phase,
            body: Opaque(body),
        };
        self.send(control, moment, message).await
    }

    /// Sends a message, or what a script says instead.
    async fn send(
        &mut self,
        control: &mut Control,
        moment: Moment,
        mut message: NodeMessage,
    ) -> Result<Flow> {
        let bytes = frame::encode(&message)?;
        match self.client.act(self.number().0, moment) {
            None => control.send_raw(&bytes).await?,
            Some(Act::Twice) => {
                control.send_raw(&bytes).await?;
                control.send_raw(&bytes).await?;
            }
            Some(Act::Oversized) => {
                // The right kind, with a length that no cap allows.
                let kind = bytes.get(4).copied().unwrap_or_default();
                control.send_raw(&[0xff, 0xff, 0xff, 0x7f, kind]).await?;
            }
            Some(Act::Truncated) => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                control.send_raw(half).await?;
                control.end_stream();
            }
            Some(Act::UnknownKind) => control.send_raw(&[0, 0, 0, 0, 0x7f]).await?,
            Some(Act::Garbage) => {
                if let NodeMessage::Secagg { body, .. } = &mut message {
                    body.0.truncate(body.0.len() / 2);
                }
                control.send(&message).await?;
            }
            Some(Act::Decline) => {
                let reason = DeclineReason::Other(Reason::fitted("the script says so"));
                return self.decline(control, reason).await;
            }
            Some(act) => {
                let flow = self.behave(control, moment, act).await?;
                if matches!(flow, Flow::On) {
                    control.send_raw(&bytes).await?;
                }
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    async fn decline(&self, control: &mut Control, reason: DeclineReason) -> Result<Flow> {
        let (round, attempt) = self.number();
        let decline = NodeMessage::Decline {
            round,
            attempt,
            reason,
        };
        control.send(&decline).await?;
        Ok(Flow::Forget)
    }

    /// A moment at which nothing is sent.
    async fn reach(&self, control: &Control, moment: Moment) -> Result<Flow> {
        match self.client.act(self.number().0, moment) {
            None => Ok(Flow::On),
            Some(act) => self.behave(control, moment, act).await,
        }
    }

    /// Acts that need no message.
    async fn behave(&self, control: &Control, moment: Moment, act: Act) -> Result<Flow> {
        match act {
            Act::Die => Ok(Flow::End(End::Died)),
            Act::Leave => Ok(Flow::End(End::Left)),
            Act::Silent => Ok(Flow::Forget),
            Act::Hold => {
                self.client.hold(control, self.number().0, moment).await?;
                Ok(Flow::On)
            }
            act => bail!("the act {act} does not fit the moment {moment}"),
        }
    }
}

/// Fresh randomness of the operating system.
fn random() -> Result<ChaCha20Rng> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(ChaCha20Rng::from_seed(seed))
}
