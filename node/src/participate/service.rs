//! Connecting, taking part, and connecting again when the connection is lost.

use std::io;
use std::sync::Arc;

use secagg_wire::channel::ChannelError;
use secagg_wire::close::{CloseCode, Closed, Lost};
use secagg_wire::endpoint::{ConnectError, Link, Timeouts, connect};
use secagg_wire::events::milliseconds;
use secagg_wire::text::Reason;
use secagg_wire::tls::Alpn;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::attend::{AttendError, Ending, attend};
use super::backoff::Backoff;
use super::conditions::Conditions;
use super::node::Node;
use super::shutdown::Shutdown;

/// How a node's run ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The training is over.
    Finished {
        /// Why, as the coordinator says.
        reason: Reason,
    },
    /// One round was enough.
    Once,
    /// The user ended it.
    Interrupted,
}

/// Why a node cannot go on, however often it tries.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// Another coordinator is there, or this machine cannot connect at all.
    #[error(transparent)]
    Connect(ConnectError),
    /// The coordinator does not know this node.
    #[error(
        "the coordinator at {coordinator} does not know this node ({reason}): join again with a new \
         token, `secagg-node join URL TOKEN --dir DIR --again`"
    )]
    NotEnrolled {
        /// Where the coordinator is.
        coordinator: String,
        /// What it said.
        reason: Reason,
    },
    /// The coordinator speaks another version.
    #[error("the coordinator at {coordinator} speaks another version: {reason}")]
    Version {
        /// Where the coordinator is.
        coordinator: String,
        /// What it said.
        reason: Reason,
    },
    /// Somebody else connected as this node.
    #[error(
        "another process connected as this node: is it running elsewhere with a copy of this \
         directory? Each node needs keys of its own"
    )]
    Duplicate,
    /// A test hook does not allow this coordinator.
    #[error("{0}")]
    Hook(String),
}

/// Why there is no connection at the moment.
#[derive(Debug, Error)]
enum Trouble {
    #[error("{host} is unknown: {source}")]
    Resolve { host: String, source: io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Attend(#[from] AttendError),
}

/// Takes part until the training is over, the user ends it, or nothing can come of it. A lost
/// connection is made again, with longer and longer waits between the attempts.
///
/// # Errors
/// A [`RunError`] that says what to do.
pub async fn run(node: Arc<Node>, mut shutdown: Shutdown) -> Result<RunEnd, RunError> {
    let heavy = Arc::new(Semaphore::new(1));
    let mut backoff = Backoff::new(node.settings.reconnect_max);
    let mut connected_before = false;
    let mut conditions = Conditions::watch(&node).await;
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(RunEnd::Interrupted),
            () = conditions.met(&node) => {}
        }
        let linked = tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(RunEnd::Interrupted),
            linked = link(&node, &backoff) => linked,
        };
        let (trouble, settled) = match linked {
            Err(trouble) => (trouble, false),
            Ok(link) => {
                connected_before = true;
                let peer = link.connection.remote_address();
                if let Err(error) = node.options.hooks.check_peer(peer) {
                    return Err(RunError::Hook(error.to_string()));
                }
                match attend(&node, &heavy, link, &mut conditions, &mut shutdown).await {
                    Ending::Finished(reason) if !node.options.keep_running => {
                        node.log
                            .event("finished", json!({ "reason": reason.as_str() }));
                        return Ok(RunEnd::Finished { reason });
                    }
                    Ending::Finished(reason) => {
                        tracing::info!("the training is over ({reason}); waiting for another one");
                        (AttendError::from(ChannelError::Ended).into(), false)
                    }
                    Ending::NotNow => {
                        backoff.reset();
                        continue;
                    }
                    Ending::Once => return ended(&node, RunEnd::Once),
                    Ending::Interrupted => return ended(&node, RunEnd::Interrupted),
                    Ending::Lost { error, settled } => (error.into(), settled),
                }
            }
        };
        let trouble = fatal(&node, trouble, connected_before)?;
        if settled {
            backoff.reset();
        }
        let wait = backoff.next();
        tracing::warn!("{trouble}; trying again in {:.1} s", wait.as_secs_f64());
        node.log.event(
            "reconnecting",
            json!({ "in_ms": milliseconds(wait), "reason": trouble.to_string() }),
        );
        tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(RunEnd::Interrupted),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn ended(node: &Node, end: RunEnd) -> Result<RunEnd, RunError> {
    node.log.event("left", Value::Null);
    Ok(end)
}

async fn link(node: &Node, backoff: &Backoff) -> Result<Link, Trouble> {
    let settings = &node.settings;
    let address = settings
        .coordinator
        .resolve()
        .await
        .map_err(|source| Trouble::Resolve {
            host: settings.coordinator.host().to_owned(),
            source,
        })?;
    let timeouts = Timeouts {
        handshake: backoff.patience(node.options.timeouts.handshake),
        ..node.options.timeouts
    };
    Ok(connect(
        address,
        &node.identity,
        settings.pinned,
        Alpn::Participate,
        &timeouts,
    )
    .await?)
}

/// Tells trouble that passes from trouble that does not.
///
/// Another certificate ends a node only where it was never connected: later, somebody on the network
/// who presents one must not be able to end it for good.
fn fatal(node: &Node, trouble: Trouble, connected_before: bool) -> Result<Trouble, RunError> {
    let trouble = match trouble {
        Trouble::Connect(error @ ConnectError::Endpoint(_)) => {
            return Err(RunError::Connect(error));
        }
        Trouble::Connect(error @ ConnectError::WrongFingerprint(_)) if !connected_before => {
            return Err(RunError::Connect(error));
        }
        other => other,
    };
    let (Trouble::Connect(ConnectError::Failed { error: lost, .. })
    | Trouble::Attend(AttendError::Channel(ChannelError::Lost(lost)))) = &trouble
    else {
        return Ok(trouble);
    };
    let Lost::Closed(Closed {
        by_peer: true,
        code,
        reason,
    }) = lost
    else {
        return Ok(trouble);
    };
    let (coordinator, reason) = (node.settings.coordinator.to_string(), reason.clone());
    match code {
        CloseCode::UnknownIdentity => Err(RunError::NotEnrolled {
            coordinator,
            reason,
        }),
        CloseCode::ProtocolVersion => Err(RunError::Version {
            coordinator,
            reason,
        }),
        CloseCode::DuplicateConnection => Err(RunError::Duplicate),
        _ => Ok(trouble),
    }
}
