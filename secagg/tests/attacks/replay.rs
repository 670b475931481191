//! Messages of an old round in a new one.

use secagg::{
    Advert, ConsistencyCheck, DecodeError, Delivery, MaskedInput, Roster, Session, ShareKeys,
    Signatures, Survivors, UnmaskShares, server::AfterMasked,
};

use crate::{
    common::{self, Receive, id},
    world::{HEADER, World},
};

type Decode = fn(&[u8], &Session) -> Result<(), DecodeError>;

/// One message of each kind, from a whole round.
fn messages(world: &World) -> Vec<(Decode, Vec<u8>)> {
    let session = &world.session;
    let (server, mut shared) = world.shared(&world.clients, |_, _| ());
    let delivery = server.delivery_for(id(0)).unwrap().encode(session);
    let state = shared.remove(&0).unwrap();
    let (_, masked) = common::upload(session, 0, state, &delivery).unwrap();
    let (AfterMasked::Check(mut server), states) = world.uploaded(&world.clients, |_, _| ()) else {
        panic!("the server is not trusted here");
    };
    let survivors = server.survivors().encode(session);
    let mut check = Vec::new();
    let mut waiting = None;
    for (client, state) in states {
        let (state, signed) = common::sign(session, state, &survivors).unwrap();
        server.take(session, client, &signed).unwrap();
        waiting = Some((client, state));
        check = signed;
    }
    let server = server.close().unwrap();
    let (client, state) = waiting.unwrap();
    let signatures = server.signatures_for(id(client)).unwrap().encode(session);
    let shares = common::reveal_signed(session, state, &signatures).unwrap();
    let (_, advert) = common::start(session, 0, world.policy);
    vec![
        (|b, s| Advert::decode(b, s).map(drop), advert),
        (|b, s| Roster::decode(b, s).map(drop), world.roster_for(0)),
        (|b, s| ShareKeys::decode(b, s).map(drop), world.dealt(0)),
        (|b, s| Delivery::decode(b, s).map(drop), delivery),
        (
            |b, s| MaskedInput::from_vec(b.to_vec(), s).map(drop),
            masked,
        ),
        (|b, s| Survivors::decode(b, s).map(drop), survivors),
        (|b, s| ConsistencyCheck::decode(b, s).map(drop), check),
        (|b, s| Signatures::decode(b, s).map(drop), signatures),
        (|b, s| UnmaskShares::decode(b, s).map(drop), shares),
    ]
}

/// Shares revealed in one round, or signatures on its survivors, would open another: every kind of
/// message is refused outside its session (V-24).
#[test]
fn every_kind_of_message_is_refused_in_another_session() {
    let world = World::new();
    let next = world.again(1);
    for (decode, message) in messages(&world) {
        assert_eq!(decode(&message, &world.session), Ok(()));
        let refused = Err(DecodeError::OtherSession);
        assert_eq!(decode(&message, &next.session), refused);
    }
}

/// A message of one kind in the place of another would be read as what it is not (V-24).
#[test]
fn a_message_of_another_kind_is_refused() {
    let world = World::new();
    let messages = messages(&world);
    for (place, (decode, _)) in messages.iter().enumerate() {
        let (_, other) = &messages[(place + 1) % messages.len()];
        let error = decode(other, &world.session).unwrap_err();
        let (expected, found) = (messages[place].1[1], other[1]);
        assert_eq!(error, DecodeError::WrongKind { expected, found });
    }
}

/// A seventeenth byte of the session id is not in the tag: what a tag lets through by chance or by
/// relabelling fails at keys and signatures, as the tests of identities, boxes and signatures
/// show. Here: the tag is the first sixteen bytes, all of them (V-24).
#[test]
fn every_byte_of_the_tag_counts() {
    let world = World::new();
    for (decode, message) in messages(&world) {
        for at in 2..HEADER {
            let mut message = message.clone();
            message[at] ^= 1;
            let refused = Err(DecodeError::OtherSession);
            assert_eq!(decode(&message, &world.session), refused);
        }
    }
}
