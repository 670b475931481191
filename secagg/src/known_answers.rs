//! Derivations against the values that `specs/known_answers.py` computes from the text of the
//! specification alone. Two clients of this crate agree with each other whatever they derive: only
//! values from outside show that nothing is missing from a hash.

use alloc::{string::String, sync::Arc, vec, vec::Vec};
use core::fmt::Write;

use zeroize::ZeroizeOnDrop;

use crate::{
    id::ClientId,
    message::{Advert, Entry, Roster},
    params::{GraphKind, Parameters, ThreatModel},
    primitives::{self, KeyPair},
    secret::{Key, Seed, Share},
    session::{Context, RoundId, Session},
    shamir::Coefficients,
    vector::{Layout, Segment},
};

const SESSION_ID: &str = "5f53d8779aef635e0653cd1a15291c6b023b1c72c37cdec3a302313e8f06de2c";
const LOWEST_ADVERT: &str = "2f7d3451363086e37824e160836c3ba14e35c7573037c2b9ef351b7272acc26a\
    71f387005979290f4d4a98bfb9c149679c0bf1fbfcff95f6ff693287076293ce\
    3c6e93727b0f1f4e92933ebc6eea8549e5c0f180e4a13bc4d77f063dd83f6d94\
    d53dd52472a50d5433986b4aec58ec1f";
const ROUND_ID: &str = "9efdfe63a826e3ec9fe3960a677aaaeedb4078a7e9cd85ae37747ec57a28929e";
const PAIRWISE_MASK: &str = "88be34233a1736d880e1c8646fec75bb95703349af53f760cedc1a65b1606173";
const SELF_MASK: &str = "8aaefaf4bd9215a07b45c3c43960d9622e2801949cae41b86a1f24b4ff0d5b81";
const BOX_FROM_HIGHEST_TO_LOWEST: &str = "ed0273be7bd4887c9d702e4000f3ecf9355842ebfa070133aff0055a8e7c8c6b\
    f5e783a699975c47283704194ae2fde54abd44626ef3bb6fc7b7764564c665f6\
    1e59b97afd4f3efbdef7be8c42acef7c";
const SHARE_AT_0X1234: &str = "9bf6abd9fba8cb875b4a6b653b140b3b109f20b070c140eed023e00cb07d8052";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn unhex(text: &str) -> [u8; 32] {
    let bytes = (0..32).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap());
    bytes.collect::<Vec<u8>>().try_into().unwrap()
}

struct Client {
    self_seed: Seed,
    mask_pair: KeyPair,
    channel_pair: KeyPair,
    advert: Advert,
}

impl Client {
    fn new(session: &Session, number: u8) -> Self {
        let id = ClientId::from_identity_key(&[number; 32]);
        let mask_pair = KeyPair::mask(&Seed::from_bytes([0x10 + number; 32]), session.id(), id);
        let self_seed = Seed::from_bytes([0x20 + number; 32]);
        let channel_seed = Seed::from_bytes([0x30 + number; 32]);
        let channel_pair = KeyPair::channel(&channel_seed, session.id(), id);
        let advert = Advert {
            id,
            mask_key: *mask_pair.public(),
            channel_key: *channel_pair.public(),
            self_mask_commitment: primitives::self_mask_commitment(session.id(), id, &self_seed),
            proof: None,
        };
        Self {
            self_seed,
            mask_pair,
            channel_pair,
            advert,
        }
    }
}

#[test]
fn derivations_are_those_of_the_specification() {
    let layout = Layout::new(vec![Segment::new("words", 7, 20).unwrap()]).unwrap();
    let kind = GraphKind::Complete;
    let parameters = Parameters::new(ThreatModel::HonestButCurious, kind, 3..=4, layout);
    let context = Context {
        round: 7,
        nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
    };
    let session = Session::new(parameters.unwrap(), context);
    assert_eq!(hex(session.id().as_bytes()), SESSION_ID);

    let mut clients = [1, 2, 3].map(|number| Client::new(&session, number));
    clients.sort_by_key(|client| client.advert.id);
    let [low, _, high] = &clients;
    // After the header of version, kind and session tag.
    assert_eq!(hex(&low.advert.encode(&session)[18..]), LOWEST_ADVERT);
    let adverts: Arc<[Advert]> = clients.iter().map(|client| client.advert.clone()).collect();
    let roster = Roster {
        degree: 2,
        threshold: 2,
        entries: adverts.iter().map(Entry::of).collect(),
        adverts,
    };
    let round = RoundId::new(session.id(), &roster.digest(), 3, 2, 2);
    assert_eq!(hex(round.as_bytes()), ROUND_ID);

    let (low_id, high_id) = (low.advert.id, high.advert.id);
    for (own, peer) in [(low, high), (high, low)] {
        let (own_id, peer_id) = (own.advert.id, peer.advert.id);
        let key = own
            .mask_pair
            .pairwise_mask(&round, own_id, peer_id, &peer.advert.mask_key);
        assert_eq!(hex(key.as_bytes()), PAIRWISE_MASK);
    }
    let key = primitives::self_mask(&round, low_id, &low.self_seed);
    assert_eq!(hex(key.as_bytes()), SELF_MASK);

    let (outgoing, _) =
        high.channel_pair
            .box_keys(&round, high_id, low_id, &low.advert.channel_key);
    let (_, incoming) =
        low.channel_pair
            .box_keys(&round, low_id, high_id, &high.advert.channel_key);
    let plaintext: Vec<u8> = (0..64).collect();
    let mut sealed = plaintext.clone();
    outgoing.seal(&mut sealed);
    assert_eq!(hex(&sealed), BOX_FROM_HIGHEST_TO_LOWEST);
    incoming.open(&mut sealed).unwrap();
    assert_eq!(sealed, plaintext);
}

/// The polynomial of each pair of bytes is secret + x · coefficient, with the bytes 0, 1, … as the
/// secret and 32, 33, … as the coefficient: at x = 1 every byte is 32.
#[test]
fn shares_are_those_of_the_specification() {
    let shares = [[0x20; 32], unhex(SHARE_AT_0X1234)].map(Share::from_bytes);
    let seed = Coefficients::new(&[1, 0x1234])
        .unwrap()
        .reconstruct(&shares);
    assert!(seed.as_bytes().iter().copied().eq(0..32));
}

/// What holds secrets on the way wipes itself as well: in the dependencies that is a feature.
#[test]
fn secrets_and_what_they_pass_through_are_wiped() {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Seed>();
    wiped::<Key>();
    wiped::<Share>();
    wiped::<KeyPair>();
    wiped::<sha2::Sha256>();
    wiped::<chacha20::ChaChaCore<chacha20::R20, chacha20::variants::Ietf>>();
    wiped::<chacha20poly1305::ChaCha20Poly1305>();
}
