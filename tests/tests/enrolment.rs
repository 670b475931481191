//! Who gets in: tokens and identities.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use secagg::ClientId;
use secagg_tests::{Coordinator, Deadline, federation::QUICK, model, swarm::authority_pin};
use secagg_wire::{
    channel::{ControlChannel, EnrolNodeChannel, NodeChannel},
    close::{CloseCode, Closed, Lost},
    endpoint::{self, ConnectError, Link, Timeouts},
    enrol::{self, EnrolError, EnrolRefusal, EnrolReply, EnrolRequest, Enrolled},
    identity::{Fingerprint, IdentityKey, TlsIdentity},
    message::NodeMessage,
    text::Name,
    tls::Alpn,
    token::Token,
};
use tempfile::TempDir;

struct World {
    coordinator: Coordinator,
    address: SocketAddr,
    _folder: TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("model-files");
        model::write(&files, 100)?;
        let deadline = Deadline::of_a_test();
        let mut coordinator =
            Coordinator::init(folder.path(), &files, authority_pin(), &QUICK, deadline)?;
        let address = coordinator.start(&[])?;
        Ok(Self {
            coordinator,
            address,
            _folder: folder,
        })
    }

    fn token(&self) -> Result<Token> {
        self.coordinator
            .tokens(1)?
            .pop()
            .context("no token was printed")
    }

    async fn connect(&self, tls: &TlsIdentity, pinned: Fingerprint, alpn: Alpn) -> Result<Link> {
        let timeouts = Timeouts::default();
        Ok(endpoint::connect(self.address, tls, pinned, alpn, &timeouts).await?)
    }

    async fn enrol(
        &self,
        token: &Token,
        tls: &TlsIdentity,
        key: &IdentityKey,
    ) -> Result<Result<Enrolled, EnrolRefusal>> {
        let link = self.connect(tls, token.coordinator(), Alpn::Enrol).await?;
        let own = tls.fingerprint();
        let name = Name::fitted("newcomer");
        let result = enrol::enrol(&link.connection, token, key, &own, name, PATIENCE).await;
        match result {
            Ok(enrolled) => Ok(Ok(enrolled)),
            Err(EnrolError::Refused(refusal)) => Ok(Err(refusal)),
            Err(other) => Err(other.into()),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

fn keys() -> Result<(TlsIdentity, IdentityKey)> {
    Ok((TlsIdentity::generate()?, IdentityKey::generate()?))
}

/// How the other side has closed a connection.
async fn closed(link: &Link) -> Result<Closed> {
    match Lost::from(link.connection.closed().await) {
        Lost::Closed(closed) => Ok(closed),
        other => bail!("not closed on purpose: {other}"),
    }
}

#[tokio::test]
async fn a_token_enrols_once() -> Result<()> {
    let mut world = World::new()?;
    let token = world.token()?;
    let (tls, key) = keys()?;
    let enrolled = world.enrol(&token, &tls, &key).await?;
    let id = ClientId::from_identity_key(&key.public());
    assert_eq!(enrolled.map(|enrolled| enrolled.client_id), Ok(id));
    let event = world
        .coordinator
        .wait("enrolled", |event| event["client"] == id.to_string())?;
    assert_eq!(event["name"], "newcomer");

    let (tls, key) = keys()?;
    let again = world.enrol(&token, &tls, &key).await?;
    assert_eq!(again, Err(EnrolRefusal::UnknownToken));
    Ok(())
}

/// The shortest validity is an hour: the store is told that it has passed.
#[tokio::test]
async fn an_expired_token_is_refused() -> Result<()> {
    let world = World::new()?;
    let token = world.token()?;
    let store = rusqlite::Connection::open(world.coordinator.folder().join("history.sqlite"))?;
    store.busy_timeout(PATIENCE)?;
    let hash = token.hash();
    let changed = store.execute(
        "UPDATE tokens SET expires_at = created_at - 1 WHERE hash = ?1",
        [hash.as_bytes().as_slice()],
    )?;
    assert_eq!(changed, 1);
    let (tls, key) = keys()?;
    let refused = world.enrol(&token, &tls, &key).await?;
    assert_eq!(refused, Err(EnrolRefusal::ExpiredToken));
    Ok(())
}

#[tokio::test]
async fn a_forged_token_is_refused() -> Result<()> {
    let world = World::new()?;
    let forged = Token::generate(world.token()?.coordinator())?;
    let (tls, key) = keys()?;
    let refused = world.enrol(&forged, &tls, &key).await?;
    assert_eq!(refused, Err(EnrolRefusal::UnknownToken));
    Ok(())
}

/// A token pins the coordinator: one of another coordinator finds the wrong certificate here, and
/// its secret is never sent.
#[tokio::test]
async fn a_token_of_another_coordinator_is_not_shown() -> Result<()> {
    let world = World::new()?;
    let real = world.token()?.coordinator();
    let other = TlsIdentity::generate()?.fingerprint();
    let (tls, _) = keys()?;
    let timeouts = Timeouts::default();
    let refused = endpoint::connect(world.address, &tls, other, Alpn::Enrol, &timeouts).await;
    match refused {
        Err(ConnectError::WrongFingerprint(wrong)) => {
            assert_eq!((wrong.expected, wrong.presented), (other, real));
        }
        other => bail!("{other:?}"),
    }
    Ok(())
}

/// Neither the certificate nor the identity key of an enrolled node enrols a second time, and the
/// token that was shown for it stays good.
#[tokio::test]
async fn an_enrolled_identity_is_not_enrolled_again() -> Result<()> {
    let world = World::new()?;
    let (tls, key) = keys()?;
    world
        .enrol(&world.token()?, &tls, &key)
        .await?
        .map_err(anyhow::Error::from)?;
    let token = world.token()?;
    let (other_tls, other_key) = keys()?;
    for (tls, key) in [(&tls, &other_key), (&other_tls, &key)] {
        let refused = world.enrol(&token, tls, key).await?;
        assert_eq!(refused, Err(EnrolRefusal::AlreadyEnrolled));
    }
    let enrolled = world.enrol(&token, &other_tls, &other_key).await?;
    assert!(enrolled.is_ok(), "{enrolled:?}");
    Ok(())
}

/// A request that another node signed is refused: nobody registers another's identity key under
/// their own certificate.
#[tokio::test]
async fn a_request_signed_for_another_certificate_is_refused() -> Result<()> {
    let world = World::new()?;
    let token = world.token()?;
    let (victim, key) = keys()?;
    let (thief, _) = keys()?;
    let link = world
        .connect(&thief, token.coordinator(), Alpn::Enrol)
        .await?;
    let mut channel: EnrolNodeChannel = ControlChannel::open(&link.connection).await?;
    let name = Name::fitted("thief");
    let request = EnrolRequest::new(&token, &key, &victim.fingerprint(), name);
    channel.send(&request).await?;
    let reply = channel.receive_within(PATIENCE).await?;
    let reason = EnrolRefusal::BadSignature;
    assert_eq!(reply, EnrolReply::Refused { reason });
    Ok(())
}

#[tokio::test]
async fn an_unknown_identity_is_closed_with_the_reason() -> Result<()> {
    let mut world = World::new()?;
    let (stranger, _) = keys()?;
    let pinned = world.token()?.coordinator();
    let link = world.connect(&stranger, pinned, Alpn::Participate).await?;
    let closed = closed(&link).await?;
    assert!(closed.by_peer);
    assert_eq!(closed.code, CloseCode::UnknownIdentity);
    let reason = "this certificate is not registered: run `secagg-node join` with a token";
    assert_eq!(closed.reason.as_str(), reason);
    let refused = world.coordinator.wait("refused", |_| true)?;
    assert_eq!(refused["reason"], reason);
    Ok(())
}

/// A node has one connection: a second one with the same identity replaces the first.
#[tokio::test]
async fn a_second_connection_replaces_the_first() -> Result<()> {
    let world = World::new()?;
    let token = world.token()?;
    let (tls, key) = keys()?;
    world
        .enrol(&token, &tls, &key)
        .await?
        .map_err(anyhow::Error::from)?;
    let (mut links, mut channels) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let link = world
            .connect(&tls, token.coordinator(), Alpn::Participate)
            .await?;
        let mut channel = NodeChannel::open(&link.connection).await?;
        channel.send(&NodeMessage::hello("test")).await?;
        channel.receive_within(PATIENCE).await?;
        // Dropping a channel would end it.
        links.push(link);
        channels.push(channel);
    }
    assert_eq!(
        closed(&links[0]).await?.code,
        CloseCode::DuplicateConnection
    );
    assert_eq!(links[1].connection.close_reason(), None);
    Ok(())
}
