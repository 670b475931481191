//! Who is connected, as the one task sees it that owns the round.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use secagg::ClientId;
use secagg_wire::{
    close::CloseCode,
    message::{CoordinatorMessage, NodeMessage},
    text::Reason,
};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Input, Link, Upload};
use crate::{events::Events, lies::Lies};

/// What happens to the task that owns the round.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A node is connected.
    Joined(ClientId),
    /// A node is not connected any more.
    Gone { client: ClientId, reason: String },
    /// A node has sent a message.
    Message {
        client: ClientId,
        message: NodeMessage,
    },
    /// A masked vector arrived whole.
    Upload { client: ClientId, upload: Upload },
    /// An upload came to nothing.
    UploadFailed {
        client: ClientId,
        serial: u64,
        reason: String,
    },
    /// The time is up that the caller gave.
    Deadline,
    /// The coordinator shall end.
    Shutdown,
}

/// Connected nodes, and everything that comes from them.
#[derive(Debug)]
pub(crate) struct Lobby {
    links: BTreeMap<ClientId, Link>,
    inputs: mpsc::Receiver<Input>,
    queue: VecDeque<Happening>,
    shutdown: watch::Receiver<bool>,
    events: Events,
    /// A test hook; a default build says what it means.
    pub(crate) lies: Lies,
}

impl Lobby {
    pub(crate) fn new(
        inputs: mpsc::Receiver<Input>,
        shutdown: watch::Receiver<bool>,
        events: Events,
        lies: Lies,
    ) -> Self {
        Self {
            links: BTreeMap::new(),
            inputs,
            queue: VecDeque::new(),
            shutdown,
            events,
            lies,
        }
    }

    pub(crate) fn link(&self, client: ClientId) -> Option<&Link> {
        self.links.get(&client)
    }

    pub(crate) fn links(&self) -> impl ExactSizeIterator<Item = &Link> {
        self.links.values()
    }

    /// Sends to a node, if it is connected.
    pub(crate) fn send(&mut self, client: ClientId, message: CoordinatorMessage) {
        if let Some(link) = self.links.get(&client) {
            link.send(self.lies.told(client, message));
        }
    }

    /// Closes a node's connection. It is reported gone with this reason.
    pub(crate) fn expel(&mut self, client: ClientId, code: CloseCode, reason: &str) {
        if let Some(link) = self.links.remove(&client) {
            link.close(code, reason);
            self.gone(client, reason.to_owned());
        }
    }

    /// The next thing that happens, [`Happening::Deadline`] at the latest then.
    pub(crate) async fn next(&mut self, deadline: Option<Instant>) -> Happening {
        loop {
            if let Some(happening) = self.queue.pop_front() {
                return happening;
            }
            let input = tokio::select! {
                biased;
                () = ended(&mut self.shutdown) => return Happening::Shutdown,
                // Before the inputs: a flood of messages moves no deadline.
                () = until(deadline) => return Happening::Deadline,
                input = self.inputs.recv() => input,
            };
            match input {
                Some(input) => self.take(input),
                // The accepting task holds a sender for as long as the coordinator runs.
                None => return Happening::Shutdown,
            }
        }
    }

    /// Tells every node that training is over, and waits until they were told.
    pub(crate) async fn finish(&mut self, reason: &str) {
        for link in self.links.values() {
            let finished = CoordinatorMessage::Finished {
                reason: Reason::fitted(reason),
            };
            link.send_last(finished, CloseCode::Done, "training is over");
        }
        let end = Instant::now() + FAREWELL;
        while !self.links.is_empty() {
            match self.next(Some(end)).await {
                Happening::Deadline | Happening::Shutdown => return,
                Happening::Joined(client) => {
                    if let Some(link) = self.links.get(&client) {
                        let finished = CoordinatorMessage::Finished {
                            reason: Reason::fitted(reason),
                        };
                        link.send_last(finished, CloseCode::Done, "training is over");
                    }
                }
                _ => {}
            }
        }
    }

    /// Tells every node that this coordinator stops.
    pub(crate) fn close(&mut self, reason: &str) {
        for link in self.links.values() {
            link.close(CloseCode::ShuttingDown, reason);
        }
        self.links.clear();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Connected(link) => self.connected(link),
            Input::Gone {
                client,
                connection_id,
                reason,
            } => {
                if self.is_current(client, connection_id) {
                    self.links.remove(&client);
                    self.gone(client, reason);
                }
            }
            Input::Message {
                client,
                connection_id,
                message: NodeMessage::Leave { reason },
            } => {
                if self.is_current(client, connection_id)
                    && let Some(link) = self.links.remove(&client)
                {
                    link.close(CloseCode::Done, "goodbye");
                    self.gone(client, format!("it left: {reason}"));
                }
            }
            Input::Message {
                client,
                connection_id,
                message,
            } => {
                if self.is_current(client, connection_id) {
                    self.hear(client, message);
                }
            }
            Input::Upload {
                client,
                connection_id,
                upload,
            } => {
                if self.is_current(client, connection_id) {
                    self.queue.push_back(Happening::Upload { client, upload });
                }
            }
            Input::UploadFailed {
                client,
                connection_id,
                serial,
                reason,
            } => {
                if self.is_current(client, connection_id) {
                    self.queue.push_back(Happening::UploadFailed {
                        client,
                        serial,
                        reason,
                    });
                }
            }
        }
    }

    fn hear(&mut self, client: ClientId, message: NodeMessage) {
        let (message, answers) = self.lies.heard(client, message);
        for (client, answer) in answers {
            if let Some(link) = self.links.get(&client) {
                link.send(answer);
            }
        }
        let message = message.map(|message| Happening::Message { client, message });
        self.queue.extend(message);
    }

    fn connected(&mut self, link: Link) {
        let client = link.client;
        let fields = json!({ "client": client.to_string(), "name": link.name });
        // One connection an identity: the newer one is the node that is alive.
        if let Some(old) = self.links.insert(client, link) {
            let reason = "the same identity connected again";
            old.close(CloseCode::DuplicateConnection, reason);
            self.gone(client, reason.to_owned());
        }
        self.events.event("node_connected", fields);
        self.queue.push_back(Happening::Joined(client));
    }

    fn gone(&mut self, client: ClientId, reason: String) {
        let fields = json!({ "client": client.to_string(), "reason": reason });
        self.events.event("node_gone", fields);
        self.queue.push_back(Happening::Gone { client, reason });
    }

    fn is_current(&self, client: ClientId, connection_id: u64) -> bool {
        self.links
            .get(&client)
            .is_some_and(|link| link.connection_id == connection_id)
    }
}

/// How long nodes have to read the last message.
const FAREWELL: Duration = Duration::from_secs(5);

async fn ended(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|ended| *ended).await.is_err() {
        // Nobody can ask for it any more.
        std::future::pending::<()>().await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
