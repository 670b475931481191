//! A plain transfer over QUIC with nothing of the protocol: what the machine can do, to compare a
//! coordinator's uploads with.
//!
//! Same TLS, same socket, same number of connections, same bytes; the transport has quinn's own
//! settings. One process takes everything and throws it away, the other one sends.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, ServerConfig, TransportConfig,
};
use secagg_wire::{
    endpoint::listening_socket,
    events::{EventLog, milliseconds},
    identity::{Fingerprint, SERVER_NAME, TlsIdentity},
    tls::{Alpn, client_config, server_config},
};
use serde_json::json;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Barrier,
    task::JoinSet,
};

use crate::swarm;

/// Takes so many connections with one stream each. Writes the events `listening` and, when the last
/// byte is there, `drained`.
///
/// # Errors
/// When a connection fails.
pub fn sink(connections: usize, events: &Path) -> Result<()> {
    let log = EventLog::to_file(events)?;
    // As the coordinator's.
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let identity = TlsIdentity::generate()?;
        let config = ServerConfig::with_crypto(Arc::new(server_config(&identity)?));
        let socket = listening_socket(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let runtime = quinn::default_runtime().context("no asynchronous runtime")?;
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
        let fields = json!({
            "addr": endpoint.local_addr()?.to_string(),
            "fingerprint": identity.fingerprint().to_string(),
        });
        log.event("listening", fields);
        let mut streams = JoinSet::new();
        for _ in 0..connections {
            let incoming = endpoint.accept().await.context("the endpoint is closed")?;
            streams.spawn(async move {
                let connection = incoming.await?;
                let drained = drain(connection.accept_uni().await?).await?;
                // It closes when it knows that everything is here.
                connection.closed().await;
                anyhow::Ok(drained)
            });
        }
        let drained = streams.join_all().await;
        let drained: Vec<Drained> = drained.into_iter().collect::<Result<_>>()?;
        let first = drained.iter().map(|stream| stream.first).min();
        let last = drained.iter().map(|stream| stream.last).max();
        let (first, last) = first.zip(last).context("no connections")?;
        let bytes: u64 = drained.iter().map(|stream| stream.bytes).sum();
        let fields = json!({ "bytes": bytes, "ms": milliseconds(last - first) });
        log.event("drained", fields);
        Ok(())
    })
}

struct Drained {
    /// When the first byte was there.
    first: Instant,
    /// When the last one was.
    last: Instant,
    bytes: u64,
}

async fn drain(mut stream: RecvStream) -> Result<Drained> {
    let mut bytes = 0;
    let mut first = None;
    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
        first.get_or_insert_with(Instant::now);
        bytes += chunk.bytes.len() as u64;
    }
    Ok(Drained {
        first: first.context("a stream without a byte")?,
        last: Instant::now(),
        bytes,
    })
}

/// Opens so many connections, and then sends `len` bytes through each of them at once: each in a thread
/// with a runtime and a socket of its own, as the swarm's clients.
///
/// # Errors
/// When a connection fails.
pub fn flood(
    address: SocketAddr,
    pinned: Fingerprint,
    connections: usize,
    len: usize,
) -> Result<()> {
    let identity = TlsIdentity::generate()?;
    let data = Bytes::from(vec![0xA5; len]);
    let open = Barrier::new(connections);
    // Before the first thread: one that ended without waiting would keep the others waiting.
    let runtimes = (0..connections).map(|_| swarm::runtime());
    let runtimes: Vec<Runtime> = runtimes.collect::<Result<_>>()?;
    thread::scope(|scope| {
        let senders: Vec<_> = runtimes
            .iter()
            .map(|runtime| {
                scope.spawn(|| runtime.block_on(send(address, pinned, &identity, &data, &open)))
            })
            .collect();
        senders
            .into_iter()
            .try_for_each(|sender| match sender.join() {
                Ok(sent) => sent,
                Err(_) => bail!("a sender panicked"),
            })
    })
}

/// Opens a connection, waits until all are `open`, and sends `data`.
async fn send(
    address: SocketAddr,
    pinned: Fingerprint,
    identity: &TlsIdentity,
    data: &Bytes,
    open: &Barrier,
) -> Result<()> {
    let connected = connect(address, pinned, identity).await;
    // Whoever has failed waits too, or the others would wait for ever.
    open.wait().await;
    let (endpoint, connection) = connected?;
    let mut stream = connection.open_uni().await?;
    stream.write_chunk(data.clone()).await?;
    stream.finish()?;
    let refused = stream.stopped().await?;
    ensure!(refused.is_none(), "the stream was refused");
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

async fn connect(
    address: SocketAddr,
    pinned: Fingerprint,
    identity: &TlsIdentity,
) -> Result<(Endpoint, Connection)> {
    let tls = client_config(identity, pinned, Alpn::Participate)?;
    let mut config = ClientConfig::new(Arc::new(tls.into_config()));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(IDLE.try_into()?));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0)))?;
    let connection = endpoint.connect_with(config, address, SERVER_NAME)?.await?;
    Ok((endpoint, connection))
}

/// A hundred connections on two cores may keep each other waiting.
const IDLE: Duration = Duration::from_secs(60);
