//! Two ends of a real QUIC connection over loopback.

use std::{net::Ipv4Addr, time::Duration};

use secagg_wire::{
    endpoint::{Link, Peer, Timeouts, accept, connect, listen},
    identity::{Fingerprint, TlsIdentity},
    tls::Alpn,
};

/// Generous: only a test that hangs runs into it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn timeouts() -> Timeouts {
    Timeouts {
        idle: PATIENCE,
        keep_alive: None,
        handshake: PATIENCE,
    }
}

pub(crate) struct Pair {
    pub(crate) node: Link,
    pub(crate) coordinator: Peer,
    pub(crate) node_fingerprint: Fingerprint,
    pub(crate) coordinator_fingerprint: Fingerprint,
    _endpoint: quinn::Endpoint,
}

pub(crate) async fn pair(alpn: Alpn) -> Pair {
    let coordinator_identity = TlsIdentity::generate().unwrap();
    let node_identity = TlsIdentity::generate().unwrap();
    let pinned = coordinator_identity.fingerprint();
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let endpoint = listen(any, &coordinator_identity, &timeouts()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepted = tokio::spawn({
        let endpoint = endpoint.clone();
        async move {
            accept(endpoint.accept().await.unwrap(), &timeouts())
                .await
                .unwrap()
        }
    });
    let node = connect(address, &node_identity, pinned, alpn, &timeouts())
        .await
        .unwrap();
    Pair {
        node,
        coordinator: accepted.await.unwrap(),
        node_fingerprint: node_identity.fingerprint(),
        coordinator_fingerprint: pinned,
        _endpoint: endpoint,
    }
}
