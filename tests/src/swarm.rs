//! Clients that only speak the protocol, many in one process, each with identities of its own.
//!
//! Each runs in a thread with a runtime of its own, so that one can die as a killed process does:
//! without another packet. What they send is known ([`Updates`]), so that the weights after a round
//! can be held against the plain weighted mean.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use secagg::{ClientId, Federation, SigningIdentity};
use secagg_wire::{
    authority::AuthorityPin,
    endpoint::{self, Timeouts},
    enrol,
    events::EventLog,
    identity::{IdentityKey, TlsIdentity},
    text::Name,
    tls::Alpn,
    token::Token,
};
use tokio::sync::{Barrier, Semaphore, watch};

mod client;
mod connection;
mod round;
mod script;
mod update;

pub use script::{Act, Moment, Script, ScriptError};
pub use update::Updates;

use client::Client;

/// How the clients of a swarm behave, all alike but for their scripts.
#[derive(Clone, Debug)]
pub struct Options {
    /// What they send.
    pub updates: Updates,
    /// How often a client uploads for one model before it declines.
    pub uploads_per_model: u32,
    /// What single clients do wrong.
    pub scripts: Vec<Script>,
    /// Whether all clients start their uploads at once, when the last one has masked its vector.
    pub uploads_together: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            updates: Updates::default(),
            uploads_per_model: 2,
            scripts: Vec::new(),
            uploads_together: false,
        }
    }
}

/// Enrolled clients.
#[derive(Debug)]
pub struct Swarm {
    members: Vec<Member>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Member {
    client: Arc<Client>,
    thread: Option<JoinHandle<()>>,
    /// Whether the thread has said how the client ended: it stops at once, and may not have yet.
    ended: Arc<AtomicBool>,
}

impl Swarm {
    /// Enrols one client a token; none of them takes part yet. They write their events to `events`:
    /// `connected`, `announced`, `selected`, `held`, `uploaded`, `upload_stopped`, `rejected`,
    /// `round_end`, `closed`, `finished` and others, each with the client's `name`.
    ///
    /// # Errors
    /// When one cannot be enrolled.
    pub fn enrol(
        address: SocketAddr,
        tokens: &[Token],
        events: &Path,
        options: &Options,
    ) -> Result<Self> {
        let log = EventLog::to_file(events)?;
        let (stop, stopped) = watch::channel(false);
        let cores = thread::available_parallelism()?.get();
        let shared = Arc::new(Shared {
            address,
            log,
            options: options.clone(),
            stopped,
            working: Semaphore::new(cores),
            uploads: options.uploads_together.then(|| Barrier::new(tokens.len())),
        });
        let runtime = runtime()?;
        let mut members = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let client = runtime
                .block_on(enrolled(index, token, &shared))
                .with_context(|| format!("cannot enrol client {index}"))?;
            members.push(Member {
                client: Arc::new(client),
                thread: None,
                ended: Arc::default(),
            });
        }
        Ok(Self { members, stop })
    }

    /// The number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Starts all clients.
    ///
    /// # Errors
    /// When one runs already.
    pub fn start_all(&mut self) -> Result<()> {
        (0..self.len()).try_for_each(|index| self.start(index))
    }

    /// Starts a client, for the first time or after it has died. From then on it reconnects by
    /// itself.
    ///
    /// # Errors
    /// When it runs already.
    ///
    /// # Panics
    /// When it has died of a panic.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        if let Some(thread) = member
            .thread
            .take_if(|thread| thread.is_finished() || member.ended.load(Ordering::Acquire))
        {
            // It has said so, and is at its last line.
            thread.join().expect("a client ends with an event");
        }
        ensure!(member.thread.is_none(), "client {index} runs already");
        member.ended.store(false, Ordering::Release);
        let ended = Arc::clone(&member.ended);
        let client = Arc::clone(&member.client);
        let runtime = runtime()?;
        member.thread = Some(thread::spawn(move || {
            let end = runtime.block_on(client.run());
            // Nothing more is sent from here on: what the connections still have to say is lost.
            runtime.shutdown_background();
            ended.store(true, Ordering::Release);
            client.event("ended", serde_json::json!({ "how": end.as_str() }));
        }));
        Ok(())
    }

    /// Lets a client go on that a script holds.
    pub fn release(&self, index: usize) {
        self.members[index].client.release();
    }

    /// The client's name, in events of either side.
    #[must_use]
    pub fn name(&self, index: usize) -> &str {
        self.members[index].client.name()
    }

    /// The client's id, in events of the coordinator.
    #[must_use]
    pub fn id(&self, index: usize) -> ClientId {
        self.members[index].client.member.id()
    }

    /// Waits until all clients have ended by themselves.
    ///
    /// # Panics
    /// When one of them has.
    pub fn join(&mut self) {
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                thread.join().expect("a client ends with an event");
            }
        }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                // Its panic was printed.
                let _ = thread.join();
            }
        }
    }
}

/// What the clients of a swarm have in common.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    log: EventLog,
    options: Options,
    stopped: watch::Receiver<bool>,
    /// Clients that compute at a time: a hundred at once would take too much memory.
    working: Semaphore,
    uploads: Option<Barrier>,
}

/// Notices a dead coordinator in seconds, and survives a machine that is busy for a while.
const TIMEOUTS: Timeouts = Timeouts {
    idle: Duration::from_secs(6),
    keep_alive: Some(Duration::from_millis(500)),
    handshake: Duration::from_secs(10),
};

/// What one client runs in.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

fn authority() -> SigningIdentity {
    SigningIdentity::from_seed(&[0xa0; 32])
}

/// The pin of the authority that vouches for the clients of a swarm.
#[must_use]
pub fn authority_pin() -> AuthorityPin {
    AuthorityPin {
        key: authority().public(),
        federation: Federation([0xfe; 32]),
    }
}

async fn enrolled(index: usize, token: &Token, shared: &Arc<Shared>) -> Result<Client> {
    let identity = TlsIdentity::generate()?;
    let key = IdentityKey::generate()?;
    let pinned = token.coordinator();
    let name = Name::fitted(&format!("swarm-{index:03}"));
    let link = endpoint::connect(shared.address, &identity, pinned, Alpn::Enrol, &TIMEOUTS).await?;
    let own = identity.fingerprint();
    let reply = enrol::enrol(
        &link.connection,
        token,
        &key,
        &own,
        name.clone(),
        TIMEOUTS.handshake,
    );
    reply.await?;
    let key = Arc::new(key.signing());
    let credential = authority().issue(key.public(), authority_pin().federation, u64::MAX);
    // Credentials of the tests never expire.
    let member = secagg::Member::signed(key, credential, Arc::new(authority_pin().at(0)))?;
    Ok(Client::new(
        index,
        name,
        member,
        identity,
        pinned,
        Arc::clone(shared),
    ))
}
