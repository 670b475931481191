//! QUIC endpoints: listening, connecting, and how much memory a connection may take.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustix::net::sockopt::set_socket_recv_buffer_size;

pub use crate::address::{Address, AddressError};
use crate::{
    close::{CloseCode, Lost, close},
    identity::{Fingerprint, SERVER_NAME, TlsIdentity},
    tls::{Alpn, WrongFingerprint, client_config, peer_fingerprint, server_config},
};

/// How a connection notices that the other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// How long nothing may arrive before the connection counts as lost.
    pub idle: Duration,
    /// How often to send something when there is nothing to say; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long a handshake may take.
    pub handshake: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(8)),
            handshake: Duration::from_secs(10),
        }
    }
}

/// A QUIC transport with small windows.
///
/// A receiver that waits holds at most 128 KiB a stream and 512 KiB a connection of what it has
/// not read: the sender waits by flow control, so that a coordinator with a hundred uploads in
/// progress needs a few megabytes for them. On a path with 100 ms of round-trip time this still
/// carries more than 1 MB/s a stream.
#[must_use]
pub fn transport_config(timeouts: &Timeouts) -> TransportConfig {
    let mut config = TransportConfig::default();
    // QUIC counts milliseconds in 62 bits: a longer timeout is as good as none.
    config
        .max_idle_timeout(IdleTimeout::try_from(timeouts.idle).ok())
        .keep_alive_interval(timeouts.keep_alive)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_TRANSFERS))
        .datagram_receive_buffer_size(None);
    config
}

/// What a receiver buffers for one stream at most, in bytes.
pub const STREAM_WINDOW: u32 = 128 << 10;

/// Transfers that the other side may have open at a time. Together they leave a stream's window of
/// the connection's to the control stream.
pub const MAX_TRANSFERS: u32 = 3;

/// What either side buffers for one connection at most, in bytes.
pub const CONNECTION_WINDOW: u32 = 512 << 10;

/// Listens on a UDP address (port 0 for any free one; see [`quinn::Endpoint::local_addr`]).
/// Take connections from the endpoint with `accept` and hand each to [`accept`].
///
/// # Errors
/// When the address cannot be bound or the identity cannot be used.
pub fn listen(
    address: SocketAddr,
    identity: &TlsIdentity,
    timeouts: &Timeouts,
) -> Result<quinn::Endpoint, EndpointError> {
    let tls = server_config(identity)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(Arc::new(transport_config(timeouts)))
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    let bound = || {
        let socket = listening_socket(address)?;
        let runtime =
            quinn::default_runtime().ok_or_else(|| io::Error::other("no asynchronous runtime"))?;
        let endpoint = quinn::EndpointConfig::default();
        quinn::Endpoint::new(endpoint, Some(config), socket, runtime)
    };
    bound().map_err(|error| EndpointError::Bind { address, error })
}

/// A UDP socket with a large buffer for what arrives.
///
/// Many nodes upload at once through one such socket: with the usual 208 KiB the kernel drops what
/// they send and they send it again. The system may grant less, or nothing.
///
/// # Errors
/// When the address cannot be bound.
pub fn listening_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    let _ = set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    Ok(socket)
}

/// What the system is asked to buffer of what arrives at a listening socket, in bytes.
const SOCKET_BUFFER: usize = 4 << 20;

/// A connection whose other side has proven its certificate.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The connection.
    pub connection: quinn::Connection,
    /// What it is for.
    pub alpn: Alpn,
    /// The certificate at the other end. Whether it is known is for the caller to find out.
    pub fingerprint: Fingerprint,
}

/// Finishes the handshake of an incoming connection.
///
/// # Errors
/// When the handshake fails or takes longer than `timeouts.handshake`.
pub async fn accept(incoming: quinn::Incoming, timeouts: &Timeouts) -> Result<Peer, AcceptError> {
    let address = incoming.remote_address();
    let connecting = incoming.accept().map_err(|error| AcceptError::Handshake {
        address,
        error: error.into(),
    })?;
    let connection = tokio::time::timeout(timeouts.handshake, connecting)
        .await
        .map_err(|_| AcceptError::TimedOut { address })?
        .map_err(|error| AcceptError::Handshake {
            address,
            error: error.into(),
        })?;
    let (Some(alpn), Some(fingerprint)) = (Alpn::of(&connection), peer_fingerprint(&connection))
    else {
        close(
            &connection,
            CloseCode::UnknownIdentity,
            "one certificate is needed",
        );
        return Err(AcceptError::NoIdentity { address });
    };
    Ok(Peer {
        connection,
        alpn,
        fingerprint,
    })
}

/// A connection to a coordinator, with the local endpoint that carries it.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub connection: quinn::Connection,
    endpoint: quinn::Endpoint,
}

impl Link {
    /// Closes the connection and waits until the other side was told.
    pub async fn close(self, code: CloseCode, reason: &str) {
        close(&self.connection, code, reason);
        self.endpoint.wait_idle().await;
    }
}

/// Connects to the coordinator with the pinned certificate.
///
/// # Errors
/// [`ConnectError::WrongFingerprint`] when another certificate is presented.
pub async fn connect(
    address: SocketAddr,
    identity: &TlsIdentity,
    pinned: Fingerprint,
    alpn: Alpn,
    timeouts: &Timeouts,
) -> Result<Link, ConnectError> {
    let tls = client_config(identity, pinned, alpn).map_err(EndpointError::from)?;
    let presented = tls.presented();
    let mut config = quinn::ClientConfig::new(Arc::new(tls.into_config()));
    config.transport_config(Arc::new(transport_config(timeouts)));
    let local = local_for(address);
    let endpoint = quinn::Endpoint::client(local).map_err(|error| EndpointError::Bind {
        address: local,
        error,
    })?;
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| ConnectError::Address { address, error })?;
    let connected = tokio::time::timeout(timeouts.handshake, connecting)
        .await
        .map_err(|_| ConnectError::TimedOut { address })?;
    match (connected, presented.fingerprint()) {
        (Ok(connection), _) => Ok(Link {
            connection,
            endpoint,
        }),
        (Err(_), Some(presented)) if presented != pinned => Err(WrongFingerprint {
            expected: pinned,
            presented,
        }
        .into()),
        (Err(quinn::ConnectionError::TimedOut), _) => Err(ConnectError::TimedOut { address }),
        (Err(error), _) => Err(ConnectError::Failed {
            address,
            error: error.into(),
        }),
    }
}

/// Bytes of UDP payload that a connection has carried, handshake included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent by this side.
    pub sent: u64,
    /// Received by this side.
    pub received: u64,
}

impl Traffic {
    /// What `connection` has carried so far.
    #[must_use]
    pub fn of(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
        }
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
        }
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The identity cannot be used.
    #[error("the TLS identity cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why an incoming connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error("the handshake with {address} failed: {error}")]
    Handshake {
        /// The other side.
        address: SocketAddr,
        /// Why.
        error: Lost,
    },
    /// The handshake took too long.
    #[error("the handshake with {address} took too long")]
    TimedOut {
        /// The other side.
        address: SocketAddr,
    },
    /// No single certificate or no known protocol was presented.
    #[error("{address} presented no identity")]
    NoIdentity {
        /// The other side.
        address: SocketAddr,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Another certificate is at the other end.
    #[error(transparent)]
    WrongFingerprint(#[from] WrongFingerprint),
    /// Nobody answered.
    #[error(
        "no answer from {address}: is the coordinator running there, and is its UDP port open?"
    )]
    TimedOut {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be connected to.
    #[error("cannot connect to {address}: {error}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: quinn::ConnectError,
    },
    /// The handshake failed.
    #[error("cannot connect to {address}: {error}")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: Lost,
    },
    /// No local endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Handshakes that wait to be taken from the endpoint, and what they may hold in bytes.
const MAX_INCOMING: usize = 512;
const INCOMING_BUFFER: u64 = 16 << 10;
const INCOMING_BUFFER_TOTAL: u64 = 4 << 20;

fn local_for(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
