//! Connections over loopback: who is at the other end, what they say, why they end.

use std::net::{Ipv4Addr, SocketAddr};

use crate::common::{PATIENCE, pair, timeouts};
use secagg::ClientId;
use secagg_wire::{
    channel::{ChannelError, CoordinatorChannel, EnrolCoordinatorChannel, NodeChannel},
    close::{CloseCode, Lost, close},
    digest::{Digest, FileDigest},
    endpoint::{AcceptError, ConnectError, Traffic, accept, connect, listen},
    enrol::{EnrolError, EnrolRefusal, EnrolReply, enrol},
    frame::FrameError,
    identity::{IdentityKey, TlsIdentity},
    message::{CoordinatorMessage, NodeMessage, PROTOCOL_VERSION},
    phase::Phase,
    text::{Name, Opaque, Reason},
    tls::{Alpn, WrongFingerprint, peer_fingerprint},
    token::Token,
};

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[tokio::test]
async fn each_side_sees_the_other_ones_certificate() {
    for alpn in [Alpn::Enrol, Alpn::Participate] {
        let pair = pair(alpn).await;
        assert_eq!(pair.coordinator.fingerprint, pair.node_fingerprint);
        assert_eq!(pair.coordinator.alpn, alpn);
        assert_eq!(Alpn::of(&pair.node.connection), Some(alpn));
        assert_eq!(
            peer_fingerprint(&pair.node.connection),
            Some(pair.coordinator_fingerprint)
        );
        let traffic = Traffic::of(&pair.node.connection);
        assert!(
            traffic.sent > 1000 && traffic.received > 1000,
            "{traffic:?}"
        );
        assert_eq!(traffic.since(traffic), Traffic::default());
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_and_both_are_named() {
    let coordinator = TlsIdentity::generate().unwrap();
    let node = TlsIdentity::generate().unwrap();
    let expected = TlsIdentity::generate().unwrap().fingerprint();
    let endpoint = listen(loopback(), &coordinator, &timeouts()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepted =
        tokio::spawn(async move { accept(endpoint.accept().await.unwrap(), &timeouts()).await });
    let error = connect(address, &node, expected, Alpn::Participate, &timeouts())
        .await
        .unwrap_err();
    let text = error.to_string();
    match error {
        ConnectError::WrongFingerprint(error) => assert_eq!(
            error,
            WrongFingerprint {
                expected,
                presented: coordinator.fingerprint()
            }
        ),
        other => panic!("{other:?}"),
    }
    assert!(text.contains(&expected.to_string()), "{text}");
    assert!(
        text.contains(&coordinator.fingerprint().to_string()),
        "{text}"
    );
    assert!(text.contains("join again with a new token"), "{text}");
    assert!(matches!(
        accepted.await.unwrap(),
        Err(AcceptError::Handshake { .. })
    ));
}

/// A peer that has seen a node's certificate, but not its key.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [victim, thief] = ["victim", "thief"].map(|name| {
        let folder = folder.path().join(name);
        TlsIdentity::generate().unwrap().save(&folder).unwrap();
        folder
    });
    let certificate = std::fs::read(victim.join("tls-certificate.der")).unwrap();
    let key = std::fs::read(thief.join("tls-key.der")).unwrap();
    let coordinator = TlsIdentity::generate().unwrap();
    let endpoint = listen(loopback(), &coordinator, &timeouts()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepted =
        tokio::spawn(async move { accept(endpoint.accept().await.unwrap(), &timeouts()).await });

    // The crate refuses to load such a pair, so this client is put together by hand.
    let provider = rustls::crypto::ring::default_provider();
    let signing = provider
        .key_provider
        .load_private_key(rustls_pki_types::PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    let stolen = rustls::sign::CertifiedKey::new(vec![certificate.into()], signing);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(anyone::Anyone))
        .with_client_cert_resolver(std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(
            stolen,
        )));
    tls.alpn_protocols = vec![b"secagg/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let client = quinn::Endpoint::client(loopback()).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(tls));
    // The client may believe to be connected until the server has seen its signature.
    let connecting = client.connect_with(config, address, "secagg").unwrap();
    let client = tokio::spawn(async move {
        match connecting.await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    });
    assert!(matches!(
        accepted.await.unwrap(),
        Err(AcceptError::Handshake {
            error: Lost::Transport(_),
            ..
        })
    ));
    assert!(matches!(
        client.await.unwrap(),
        quinn::ConnectionError::ConnectionClosed(_)
    ));
}

/// A client that trusts everybody.
mod anyone {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring::default_provider,
    };
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    #[derive(Debug)]
    pub(super) struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let coordinator = TlsIdentity::generate().unwrap();
    let endpoint = listen(loopback(), &coordinator, &timeouts()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepted =
        tokio::spawn(async move { accept(endpoint.accept().await.unwrap(), &timeouts()).await });
    let mut tls = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(std::sync::Arc::new(anyone::Anyone))
    .with_no_client_auth();
    tls.alpn_protocols = vec![b"secagg-enrol/1".to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let client = quinn::Endpoint::client(loopback()).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(tls));
    let connecting = client.connect_with(config, address, "secagg").unwrap();
    let _client = tokio::spawn(async move {
        if let Ok(connection) = connecting.await {
            connection.closed().await;
        }
    });
    assert!(matches!(
        accepted.await.unwrap(),
        Err(AcceptError::Handshake { .. })
    ));
}

#[tokio::test]
async fn nobody_at_the_address_is_a_readable_error() {
    let node = TlsIdentity::generate().unwrap();
    // A socket that is bound and silent: nobody else gets this port.
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let address = silent.local_addr().unwrap();
    let mut timeouts = timeouts();
    timeouts.handshake = std::time::Duration::from_millis(50);
    match connect(address, &node, node.fingerprint(), Alpn::Enrol, &timeouts).await {
        Err(ConnectError::TimedOut { address: tried }) => assert_eq!(tried, address),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_go_both_ways_and_the_reason_of_a_close_arrives() {
    let pair = pair(Alpn::Participate).await;
    let connection = pair.coordinator.connection.clone();
    let coordinator = tokio::spawn(async move {
        let mut channel = CoordinatorChannel::accept(&connection, PATIENCE)
            .await
            .unwrap();
        let hello = channel.receive().await.unwrap();
        assert_eq!(
            hello,
            NodeMessage::Hello {
                protocol: PROTOCOL_VERSION,
                software: Name::new("node 0.1").unwrap()
            }
        );
        let file = FileDigest::of(b"file");
        channel
            .send(&CoordinatorMessage::Welcome {
                federation: Name::new("friends").unwrap(),
                description: file,
                vocabulary: file,
                initial: file,
            })
            .await
            .unwrap();
        assert_eq!(
            channel.receive().await.unwrap(),
            NodeMessage::GetFile {
                digest: Digest::of(b"file")
            }
        );
        close(
            channel.connection(),
            CloseCode::UnknownIdentity,
            "run `secagg-node join`\x07 first",
        );
        match channel.receive().await {
            Err(ChannelError::Lost(Lost::Closed(closed))) => assert!(!closed.by_peer),
            other => panic!("{other:?}"),
        }
    });
    let mut channel = NodeChannel::open(&pair.node.connection).await.unwrap();
    channel.send(&NodeMessage::hello("node 0.1")).await.unwrap();
    assert!(matches!(
        channel.receive().await.unwrap(),
        CoordinatorMessage::Welcome { federation, .. } if federation.as_str() == "friends"
    ));
    channel
        .send(&NodeMessage::GetFile {
            digest: Digest::of(b"file"),
        })
        .await
        .unwrap();
    match channel.receive().await {
        Err(ChannelError::Lost(Lost::Closed(closed))) => {
            assert!(closed.by_peer);
            assert_eq!(closed.code, CloseCode::UnknownIdentity);
            assert_eq!(closed.reason.as_str(), "run `secagg-node join`  first");
        }
        other => panic!("{other:?}"),
    }
    coordinator.await.unwrap();
}

#[tokio::test]
async fn a_last_message_arrives_before_the_close() {
    let pair = pair(Alpn::Participate).await;
    let mut channel = NodeChannel::open(&pair.node.connection).await.unwrap();
    channel.send(&NodeMessage::hello("node")).await.unwrap();
    let coordinator = CoordinatorChannel::accept(&pair.coordinator.connection, PATIENCE)
        .await
        .unwrap();
    let (mut sender, mut receiver) = coordinator.split();
    receiver.receive().await.unwrap();
    let finished = CoordinatorMessage::Finished {
        reason: Reason::new("10 rounds").unwrap(),
    };
    sender.send(&finished).await.unwrap();
    let connection = sender.connection().clone();
    let finishing = tokio::spawn(async move {
        sender.finish().await.unwrap();
        close(&connection, CloseCode::Done, "");
    });
    assert_eq!(channel.receive().await.unwrap(), finished);
    assert!(matches!(
        channel.receive().await,
        Err(ChannelError::Ended | ChannelError::Lost(Lost::Closed(_)))
    ));
    finishing.await.unwrap();
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection_with_its_own_code() {
    let pair = pair(Alpn::Participate).await;
    let mut channel = NodeChannel::open(&pair.node.connection).await.unwrap();
    // No round has allowed any secagg message yet.
    let body = Opaque(vec![0; 1000]);
    let message = NodeMessage::Secagg {
        round: 1,
        attempt: 0,
        phase: Phase::ShareKeys,
        body,
    };
    channel.send(&message).await.unwrap();
    let mut coordinator = CoordinatorChannel::accept(&pair.coordinator.connection, PATIENCE)
        .await
        .unwrap();
    let error = coordinator.receive().await.unwrap_err();
    assert!(matches!(
        error,
        ChannelError::Frame(FrameError::Oversized {
            kind: 4,
            len: 1005,
            cap: 512
        })
    ));
    error.close(coordinator.connection());
    match channel.receive().await {
        Err(ChannelError::Lost(Lost::Closed(closed))) => {
            assert_eq!(closed.code, CloseCode::Oversized);
            assert!(
                closed.reason.as_str().contains("1005 bytes, at most 512"),
                "{closed}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_truncated_frame_ends_the_connection_as_malformed() {
    let pair = pair(Alpn::Participate).await;
    let (mut send, _receive) = pair.node.connection.open_bi().await.unwrap();
    send.write_all(&[9, 0, 0, 0, 1, 7]).await.unwrap();
    send.finish().unwrap();
    let mut coordinator = CoordinatorChannel::accept(&pair.coordinator.connection, PATIENCE)
        .await
        .unwrap();
    let error = coordinator.receive().await.unwrap_err();
    assert!(matches!(
        error,
        ChannelError::Frame(FrameError::Truncated { have: 6, need: 14 })
    ));
    assert_eq!(error.close_code(), CloseCode::MalformedFrame);
    error.close(coordinator.connection());
    match Lost::from(pair.node.connection.closed().await) {
        Lost::Closed(closed) => assert_eq!(closed.code, CloseCode::MalformedFrame),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_enrols_and_the_coordinator_knows_both_keys() {
    let pair = pair(Alpn::Enrol).await;
    let token = Token::generate(pair.coordinator_fingerprint).unwrap();
    let key = IdentityKey::generate().unwrap();
    let (hash, public) = (token.hash(), key.public());
    let (peer, own) = (pair.coordinator, pair.coordinator_fingerprint);
    let coordinator = tokio::spawn(async move {
        let mut channel = EnrolCoordinatorChannel::accept(&peer.connection, PATIENCE)
            .await
            .unwrap();
        let request = channel.receive_within(PATIENCE).await.unwrap();
        assert_eq!(request.verify(&peer.fingerprint, &own), Ok(()));
        assert_eq!(request.token_secret.hash(), hash);
        assert_eq!(request.identity_key, public);
        let client_id = *request.client_id().as_bytes();
        let federation = Name::new("friends").unwrap();
        channel
            .send(&EnrolReply::Enrolled {
                client_id,
                federation,
            })
            .await
            .unwrap();
        channel
    });
    let enrolled = enrol(
        &pair.node.connection,
        &token,
        &key,
        &pair.node_fingerprint,
        Name::new("anna").unwrap(),
        PATIENCE,
    )
    .await
    .unwrap();
    assert_eq!(
        enrolled.client_id,
        ClientId::from_identity_key(&key.public())
    );
    assert_eq!(enrolled.federation.as_str(), "friends");
    coordinator.await.unwrap();
}

#[tokio::test]
async fn a_refused_enrolment_says_why() {
    for (reply, refused) in [
        (
            EnrolReply::Refused {
                reason: EnrolRefusal::UnknownToken,
            },
            true,
        ),
        // A coordinator that assigns an id of its own choice.
        (
            EnrolReply::Enrolled {
                client_id: [1; 16],
                federation: Name::new("f").unwrap(),
            },
            false,
        ),
    ] {
        let pair = pair(Alpn::Enrol).await;
        let token = Token::generate(pair.coordinator_fingerprint).unwrap();
        let key = IdentityKey::generate().unwrap();
        let connection = pair.coordinator.connection.clone();
        let coordinator = tokio::spawn(async move {
            let mut channel = EnrolCoordinatorChannel::accept(&connection, PATIENCE)
                .await
                .unwrap();
            channel.receive().await.unwrap();
            channel.send(&reply).await.unwrap();
            channel
        });
        let name = Name::new("anna").unwrap();
        let node = &pair.node.connection;
        let error = enrol(node, &token, &key, &pair.node_fingerprint, name, PATIENCE)
            .await
            .unwrap_err();
        match error {
            EnrolError::Refused(reason) if refused => {
                assert_eq!(reason, EnrolRefusal::UnknownToken);
            }
            EnrolError::WrongClientId { own, given } if !refused => {
                assert_eq!(own, ClientId::from_identity_key(&key.public()));
                assert_eq!(given, ClientId::from_bytes([1; 16]));
            }
            other => panic!("{other:?}"),
        }
        coordinator.await.unwrap();
    }
}
