//! Who is a client, and which keys are its own.

use std::sync::Arc;

use secagg::{
    Advert, AdvertError, Credential, CredentialError, DecodeError, Federation, IdentityKey, Member,
    SigningIdentity, ThreatModel, Trust, TrustedAuthority,
    client::{AwaitRoster, ClientError},
    server::{CollectAdverts, Rejection, RejectionReason},
};

use crate::{
    common::{self, FEDERATION, NOW, Receive, authority, id, identity},
    forger::{with_id, with_proof},
    world::{HEADER, MODELS, POLICY, SIGNATURE, World, relabel},
};

const STRANGER: usize = 9;

/// A malicious server puts this advert into the roster beside five honest ones: what one of them
/// says to it, and what an honest server would have said.
fn outcome(world: &World, advert: &Advert) -> (ClientError, Rejection) {
    let honest = common::open(&world.session).receive(advert.id(), advert.clone());
    let mut server = CollectAdverts::new(world.session.clone(), None);
    server.receive(advert.id(), advert.clone()).unwrap();
    for client in 0..5 {
        let (_, advert) = common::start(&world.session, client, POLICY);
        server.take(&world.session, client, &advert).unwrap();
    }
    let server = server.close(5, 4).unwrap();
    let roster = server.roster_for(id(0)).unwrap();
    let (state, _) = common::start(&world.session, 0, POLICY);
    let error = state.receive(roster, &mut common::coins(0, 1)).unwrap_err();
    (error, honest.unwrap_err())
}

fn assert_not_believed(world: &World, advert: &Advert, error: AdvertError) {
    let client = advert.id();
    let reason = RejectionReason::Advert(error.clone());
    assert_eq!(
        outcome(world, advert),
        (
            ClientError::Neighbour { client, error },
            Rejection { client, reason }
        )
    );
}

/// The stranger's advert with whatever credential it has.
fn advert_with(world: &World, credential: Credential, trust: TrustedAuthority) -> Advert {
    let trust: Arc<dyn Trust> = Arc::new(trust);
    let member = Member::signed(Arc::new(identity(STRANGER)), credential, trust).unwrap();
    let coins = &mut common::coins(STRANGER, 0);
    let (_, advert) = AwaitRoster::start(world.session.clone(), member, POLICY, coins).unwrap();
    advert
}

fn decode(world: &World, advert: &[u8]) -> Advert {
    Advert::decode(advert, &world.session).unwrap()
}

/// Clients that the server invents, n − 1 of them around a victim, would leave the victim's input
/// as all that is unknown in the sum. Without an authority's signature they are nobody (V-10).
#[test]
fn an_invented_client_is_not_believed() {
    let world = World::new();
    let own = SigningIdentity::from_seed(&[0xbb; 32]);
    let credential = own.issue(identity(STRANGER).public(), FEDERATION, NOW + 1);
    let trust = TrustedAuthority {
        key: own.public(),
        federation: FEDERATION,
        now: NOW,
    };
    let advert = advert_with(&world, credential, trust);
    let error = AdvertError::Credential(CredentialError::Forged);
    assert_not_believed(&world, &advert, error);
}

/// An advert as in the model in which the server is trusted, without any proof (V-11).
#[test]
fn an_advert_without_a_credential_is_not_believed() {
    let world = World::new();
    let trusted = World::of(ThreatModel::HonestButCurious);
    let (_, advert) = common::start(&trusted.session, STRANGER, POLICY);
    let advert = Advert::decode(&advert, &trusted.session).unwrap();
    assert_not_believed(&world, &advert, AdvertError::Unsigned);
}

/// A client that was let go by not renewing its credential, or one of another federation that the
/// same authority serves, would fill a place around a victim (V-10).
#[test]
fn expired_and_foreign_credentials_are_not_believed() {
    let world = World::new();
    let key = identity(STRANGER).public();
    let other = Federation([7; 32]);
    let issued = |federation, expires| {
        let credential = authority().issue(key, federation, expires);
        let key = authority().public();
        let trust = TrustedAuthority {
            key,
            federation,
            now: 0,
        };
        advert_with(&world, credential, trust)
    };
    let expired = CredentialError::Expired {
        expires: NOW,
        now: NOW,
    };
    let foreign = CredentialError::OtherFederation {
        expected: FEDERATION,
        found: other,
    };
    for (advert, error) in [
        (issued(FEDERATION, NOW), expired),
        (issued(other, NOW + 1), foreign),
    ] {
        assert_not_believed(&world, &advert, AdvertError::Credential(error));
    }
}

/// One credential under many ids would be a whole cohort of one corrupt client: an id is the hash
/// of the identity key, and of no other (V-09).
#[test]
fn one_credential_fills_one_place_only() {
    let world = World::new();
    let (_, advert) = common::start(&world.session, STRANGER, POLICY);
    for other in 10..14 {
        let advert = decode(&world, &with_id(&advert, identity(other).public()));
        let credential = id(STRANGER);
        assert_not_believed(&world, &advert, AdvertError::OtherClient { credential });
    }
}

/// Another client's credential under one's own id is the same from the other side (V-09); under its
/// owner's id, the signature is missing (V-11).
#[test]
fn anothers_credential_is_of_no_use() {
    let world = World::new();
    let (_, advert) = common::start(&world.session, STRANGER, POLICY);
    let signature = &advert[advert.len() - SIGNATURE..];
    let stolen = with_proof(&advert, &common::credential(8), signature);
    let credential = id(8);
    let error = AdvertError::OtherClient { credential };
    assert_not_believed(&world, &decode(&world, &stolen), error);
    let stolen = with_id(&stolen, identity(8).public());
    assert_not_believed(&world, &decode(&world, &stolen), AdvertError::Forged);
}

/// With a key of its own in a client's advert the server would open every box that is sent to it,
/// or know every mask; with another commitment, a reconstructed seed would pass for the client's
/// (V-11). Whatever byte is changed, the advert is no longer signed.
#[test]
fn swapped_keys_and_commitments_are_not_believed() {
    let world = World::new();
    let (_, honest) = common::start(&world.session, STRANGER, POLICY);
    let (_, other) = common::start(&world.session, 8, POLICY);
    for part in [16..48, 48..80, 80..112] {
        let part = HEADER + part.start..HEADER + part.end;
        let mut advert = honest.clone();
        advert[part.clone()].copy_from_slice(&other[part]);
        assert_not_believed(&world, &decode(&world, &advert), AdvertError::Forged);
    }
}

/// The adverts of a round in which the server learnt a client's seeds would let it play that client
/// in every later one: the signature is over the session id (V-11, V-24).
#[test]
fn an_advert_of_another_session_is_not_believed() {
    let world = World::new();
    let old = world.again(1);
    let (_, mut advert) = common::start(&old.session, STRANGER, POLICY);
    let error = Advert::decode(&advert, &world.session).unwrap_err();
    assert_eq!(error, DecodeError::OtherSession);
    relabel(&mut advert, &world.session);
    assert_not_believed(&world, &decode(&world, &advert), AdvertError::Forged);
}

/// Under a key of small order one signature is valid for every message, without any secret: a
/// server could sign whatever it likes for such a client, however it got its credential. Signatures
/// are checked strictly (V-10, V-11).
#[test]
fn identity_keys_of_small_order_sign_nothing() {
    let world = World::new();
    let (_, advert) = common::start(&world.session, STRANGER, POLICY);
    let mut neutral = [0; 32];
    neutral[0] = 1;
    // The neutral element with y + p for y: the same point in another encoding.
    let mut non_canonical = [0xff; 32];
    (non_canonical[0], non_canonical[31]) = (0xee, 0x7f);
    // R the neutral element and s = 0 solve s·B = R + k·A for any k, if A is neutral too.
    let mut signature = [0; 64];
    signature[0] = 1;
    for key in [neutral, non_canonical].map(IdentityKey::from_bytes) {
        let credential = authority().issue(key, FEDERATION, NOW + 1);
        let advert = with_id(&with_proof(&advert, &credential, &signature), key);
        assert_not_believed(&world, &decode(&world, &advert), AdvertError::Forged);
    }
}

/// With the identity element as a key every agreement gives a secret that everybody knows, and
/// bytes that are no canonical element would give one key two adverts (V-12).
#[test]
fn identity_and_non_canonical_keys_are_refused() {
    for model in MODELS {
        let world = World::of(model);
        let (_, advert) = common::start(&world.session, 0, POLICY);
        for (at, what) in [(HEADER + 16, "mask key"), (HEADER + 48, "channel key")] {
            for key in [[0; 32], [0xff; 32]] {
                let mut advert = advert.clone();
                advert[at..at + 32].copy_from_slice(&key);
                assert_eq!(
                    Advert::decode(&advert, &world.session).unwrap_err(),
                    DecodeError::InvalidPoint { what }
                );
            }
        }
    }
}

/// An advert in another's name would replace that client's keys (V-30).
#[test]
fn an_advert_in_anothers_name_is_rejected() {
    for model in MODELS {
        let world = World::of(model);
        let mut server = common::open(&world.session);
        let (_, advert) = common::start(&world.session, 0, POLICY);
        let rejection = server.take(&world.session, 1, &advert).unwrap_err();
        let reason = RejectionReason::ForeignAdvert { claimed: id(0) };
        let client = id(1);
        assert_eq!(rejection, Rejection { client, reason });
    }
}

/// The keys of a round are of no use in the next: a seed that a server reconstructed would open
/// that client's later masks (V-29).
#[test]
fn keys_and_commitments_are_fresh_in_every_start() {
    let world = World::new();
    let mut coins = common::coins(0, 0);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let session = world.session.clone();
        let member = common::member(0);
        let (_, advert) = AwaitRoster::start(session, member, POLICY, &mut coins).unwrap();
        let advert = advert.encode(&world.session);
        for part in advert[HEADER + 16..HEADER + 112].chunks(32) {
            assert!(seen.insert(part.to_vec()), "a key or commitment twice");
        }
    }
}
