//! MaskedInput: masked vectors arrive on streams of their own and are added one by one.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use secagg::{
    ClientId, MaskedInput,
    server::{AfterMasked, CollectMasked},
};
use secagg_wire::{close::CloseCode, digest::UploadDigest, message::NodeMessage, phase::Phase};
use serde_json::json;

use super::{Attempt, Failure, deadline::Decision};
use crate::{
    server::{Happening, Upload, Window},
    store::{self, Attempt as Number},
};

impl Attempt<'_> {
    pub(super) async fn masked_input(
        &mut self,
        state: CollectMasked,
    ) -> Result<AfterMasked, Failure> {
        self.open(Phase::MaskedInput).await;
        let serial = self.open_window(&state);
        let state = self.collect_vectors(state, serial).await;
        // Uploads that are still on their way are told to stop.
        self.environment.window.send_replace(None);
        state?.close().map_err(|abort| self.abandoned(abort))
    }

    /// Lets uploads in, and only then sends the deliveries that they answer.
    fn open_window(&mut self, state: &CollectMasked) -> u64 {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut deliveries = Vec::new();
        for client in self.members.untold() {
            match state.delivery_for(client) {
                Some(delivery) => deliveries.push((client, delivery)),
                None => self.exclude(client),
            }
        }
        let Number { round, attempt } = self.number();
        let members: BTreeSet<ClientId> = deliveries.iter().map(|(client, _)| *client).collect();
        self.environment.window.send_replace(Some(Arc::new(Window {
            serial,
            round,
            attempt,
            len: MaskedInput::encoded_len(self.session()),
            members,
        })));
        for (client, delivery) in deliveries {
            self.send_secagg(client, delivery.encode(self.session()));
        }
        serial
    }

    async fn collect_vectors(
        &mut self,
        mut state: CollectMasked,
        serial: u64,
    ) -> Result<CollectMasked, Failure> {
        let rule = self.environment.config.deadlines.masked_input;
        loop {
            let tally = state.tally();
            let (have, missing) = (tally.have, tally.missing.len());
            self.environment.progress.count(have, have + missing);
            let elapsed = self.opened.elapsed();
            let at = match rule.decide(elapsed, have, missing, tally.needed) {
                Decision::WaitUntil(at) => at,
                Decision::Close => {
                    for client in tally.missing {
                        self.members
                            .lose(client, self.phase, "its vector did not arrive in time");
                    }
                    self.closed(have);
                    return Ok(state);
                }
            };
            match self.next(at).await? {
                Happening::Upload { client, upload } if upload.serial == serial => {
                    state = self.add(state, client, upload).await?;
                }
                Happening::UploadFailed {
                    client,
                    serial: of,
                    reason,
                } if of == serial => {
                    state.drop_client(client);
                    self.reject(client, &reason);
                }
                Happening::Gone { client, reason } => {
                    // Who has uploaded stays in the sum.
                    if tally.missing.contains(&client) {
                        self.members.lose(client, self.phase, &reason);
                    }
                    state.drop_client(client);
                }
                // It leaves the round and stays connected: nobody waits for it.
                Happening::Message {
                    client,
                    message:
                        NodeMessage::Decline {
                            round,
                            attempt,
                            reason,
                        },
                } if self.is_now(round, attempt) => {
                    if tally.missing.contains(&client) {
                        self.members.lose(
                            client,
                            self.phase,
                            &format!("it left the round: {reason}"),
                        );
                    }
                    state.drop_client(client);
                }
                Happening::Message {
                    client,
                    message:
                        NodeMessage::Secagg {
                            round,
                            attempt,
                            phase,
                            ..
                        },
                } if self.is_now(round, attempt) && phase >= Phase::MaskedInput => {
                    state.drop_client(client);
                    let reason = format!("a message of {phase} during {}", self.phase);
                    self.expel(client, CloseCode::UnexpectedMessage, &reason);
                }
                _ => {}
            }
        }
    }

    /// Adds one vector on a blocking thread, then frees its memory and its slot.
    async fn add(
        &mut self,
        mut state: CollectMasked,
        client: ClientId,
        upload: Upload,
    ) -> Result<CollectMasked, Failure> {
        let session = self.session().clone();
        let logged = self.environment.events.is_on();
        let added = tokio::task::spawn_blocking(move || {
            let Upload { bytes, slot, .. } = upload;
            let len = bytes.len() as u64;
            let digest = logged.then(|| UploadDigest::of(&bytes));
            let result = match MaskedInput::from_vec(bytes, &session) {
                Ok(input) => state
                    .receive(client, &input)
                    .map_err(|rejection| rejection.to_string()),
                Err(error) => Err(format!("its masked vector does not decode: {error}")),
            };
            drop(slot);
            (state, result.map(|()| (digest, len)))
        })
        .await;
        let Ok((mut state, result)) = added else {
            return Err(self.abandoned("internal error: adding a vector panicked"));
        };
        match result {
            Ok((digest, bytes)) => self.uploaded(client, digest, bytes).await?,
            Err(reason) => {
                state.drop_client(client);
                self.reject(client, &reason);
            }
        }
        Ok(state)
    }

    async fn uploaded(
        &mut self,
        client: ClientId,
        digest: Option<UploadDigest>,
        bytes: u64,
    ) -> Result<(), Failure> {
        let Number { round, attempt } = self.number();
        self.environment.events.event(
            "upload",
            json!({
                "round": round,
                "attempt": attempt,
                "client": client.to_string(),
                "name": self.members.name(client),
                "bytes": bytes,
                "blake3": digest.map(|digest| digest.to_string()),
            }),
        );
        let upload = store::Upload {
            round,
            attempt,
            client,
            bytes,
        };
        let store = &self.environment.store;
        Ok(store
            .with(move |store| store.record_upload(&upload))
            .await?)
    }
}
