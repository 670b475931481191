//! Whole rounds and refusals of `specs/vectors`, which the reference implementation in
//! `specs/reference` has written: every message that a client or the server of this crate sends is
//! that of the file, byte by byte, and what must be refused is refused by the check that is named.
//! The building blocks are checked in `src/vectors.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    Advert, ClientId, ConsistencyCheck, Context, Delivery, Federation, MaskedInput, Member,
    Parameters, Policy, Roster, Session, ShareKeys, Signatures, SigningIdentity, Survivors,
    ThreatModel, Trust, TrustedAuthority, UnmaskShares, Vector,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, Unmasking},
    server::{
        Abort, AfterMasked, CollectAdverts, CollectMasked, CollectShares, CollectSignatures,
        CollectUnmask, Outcome, Rejection,
    },
};
use serde_json::{Value, json};

const ROUNDS: &str = include_str!("../../specs/vectors/rounds.json");
const NEGATIVE: &str = include_str!("../../specs/vectors/negative.json");

fn unhex(value: &Value) -> Vec<u8> {
    let (pairs, rest) = value.as_str().unwrap().as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(16 * digit(*high) + digit(*low)).unwrap();
    pairs.iter().map(byte).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value).try_into().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn index(value: &Value) -> usize {
    usize::try_from(number(value)).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The name of an error: what its debug output begins with.
fn name(error: impl Debug) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].into()
}

/// What a client or the server sends or refuses.
type Answer<T> = Result<T, String>;

/// What happens in a round.
struct Event {
    what: String,
    client: usize,
    message: Vec<u8>,
}

/// One round of the file.
struct Round<'a> {
    file: &'a Value,
    entry: &'a Value,
    session: Session,
    ids: Vec<ClientId>,
    events: Vec<Event>,
}

impl<'a> Round<'a> {
    fn new(file: &'a Value, entry: &'a Value) -> Self {
        let of_session = &entry["session"];
        let parameters = Parameters::decode(&unhex(&of_session["parameters"])).unwrap();
        assert_eq!(parameters.encode(), unhex(&of_session["parameters"]));
        let context = Context {
            round: number(&of_session["round"]),
            nonce: array(&of_session["nonce"]),
            model_digest: array(&of_session["model_digest"]),
            plan_digest: array(&of_session["plan_digest"]),
        };
        let session = Session::new(parameters, context);
        assert_eq!(*session.id().as_bytes(), array(&of_session["id"]));
        let clients = list(&entry["clients"]).iter();
        let event = |event: &Value| Event {
            what: event[0].as_str().unwrap().into(),
            client: index(&event[1]),
            message: unhex(&event[2]),
        };
        Self {
            file,
            entry,
            session,
            ids: clients
                .map(|client| ClientId::from_bytes(array(&client["id"])))
                .collect(),
            events: list(&entry["events"]).iter().map(event).collect(),
        }
    }

    fn named(file: &'a Value, name: &Value) -> Self {
        let mut entries = list(&file["rounds"]).iter();
        Self::new(file, entries.find(|entry| entry["name"] == *name).unwrap())
    }

    fn authority(&self) -> SigningIdentity {
        SigningIdentity::from_seed(&array(&self.file["authority"]))
    }

    fn federation(&self) -> Federation {
        Federation(array(&self.file["federation"]))
    }

    fn trust(&self) -> Arc<dyn Trust> {
        Arc::new(TrustedAuthority {
            key: self.authority().public(),
            federation: self.federation(),
            now: number(&self.file["now"]),
        })
    }

    fn policy(&self, overrides: &Value) -> Policy {
        let of = |what: &str| match &overrides[what] {
            Value::Null => &self.file["policy"][what],
            value => value,
        };
        let small = |what| u32::try_from(number(of(what))).unwrap();
        Policy {
            threat_model: match number(of("threat_model")) {
                1 => ThreatModel::HonestButCurious,
                _ => ThreatModel::Malicious,
            },
            sparse_graph: of("sparse").as_bool().unwrap(),
            max_corrupt: small("corrupt"),
            security_bits: u8::try_from(number(of("sigma"))).unwrap(),
            min_cohort: small("smallest_cohort"),
            min_survivors: small("smallest_sum"),
            max_bits: u8::try_from(number(of("max_bits"))).unwrap(),
            max_vector_bytes: number(of("max_bytes")),
        }
    }

    /// The client's start, and its advert.
    fn start(&self, client: usize, overrides: &Value) -> Answer<(Client<'_>, Vec<u8>)> {
        let entry = &self.entry["clients"][client];
        let key = SigningIdentity::from_seed(&array(&entry["identity"]));
        assert_eq!(key.client_id(), self.ids[client]);
        let expiry = number(&self.file["expiry"]);
        let credential = self
            .authority()
            .issue(key.public(), self.federation(), expiry);
        let member = Member::signed(Arc::new(key), credential, self.trust()).unwrap();
        let mut coins = ChaCha20Rng::from_seed(array(&entry["coins"]));
        let session = self.session.clone();
        let (state, advert) =
            AwaitRoster::start(session, member, self.policy(overrides), &mut coins)
                .map_err(name)?;
        let client = Client {
            round: self,
            input: &entry["input"],
            coins,
            state: ClientState::Roster(state),
        };
        Ok((client, advert.encode(&self.session)))
    }

    /// The client after its events before this index. Whatever it sends is what the file has.
    fn client(&self, client: usize, before: usize, overrides: &Value) -> Client<'_> {
        let (mut state, mut sent) = self.start(client, overrides).unwrap();
        let events = self.events[..before].iter();
        for event in events.filter(|event| event.client == client) {
            match event.what.as_str() {
                "up" => assert!(sent == event.message, "{} sends other bytes", client),
                "down" => sent = state.receive(&event.message).unwrap(),
                _ => {}
            }
        }
        state
    }

    /// The server after the events before this index, and the outcome if that ends the round.
    fn server(&self, before: usize) -> (Server, Option<Value>) {
        let mut server = Server::Adverts(CollectAdverts::new(
            self.session.clone(),
            Some(self.trust()),
        ));
        let mut down = BTreeMap::new();
        let mut ends = None;
        for event in &self.events[..before] {
            let id = self.ids[event.client];
            match event.what.as_str() {
                "up" | "forged" => server.receive(&self.session, id, &event.message).unwrap(),
                "drop" => server.drop_client(id),
                "down" => assert!(down.remove(&id) == Some(event.message.clone())),
                _ => {
                    assert!(down.is_empty());
                    (server, ends) = server.close(self);
                    for id in &self.ids {
                        down.extend(server.sends(&self.session, *id).map(|bytes| (*id, bytes)));
                    }
                }
            }
        }
        (server, ends)
    }

    fn rank(&self, id: ClientId) -> usize {
        self.ids.iter().position(|other| *other == id).unwrap()
    }

    fn ranks(&self, ids: &[ClientId]) -> Vec<usize> {
        ids.iter().map(|id| self.rank(*id)).collect()
    }

    /// How the round ends, in the terms of the file.
    fn ends(&self, outcome: Result<Outcome, Abort>) -> Value {
        match outcome {
            Ok(outcome) => {
                let segments = self.session.layout().segments().iter();
                let sum = segments.map(|s| outcome.sum.segment(s.name()).unwrap().collect());
                let lost = outcome.lost.iter();
                let lost = lost.map(|(id, phase)| json!([self.rank(*id), name(phase)]));
                let wrong = outcome.wrong_shares.iter();
                let wrong = wrong.map(|pair| self.ranks(&[pair.dealer, pair.holder]));
                json!({
                    "sum": sum.collect::<Vec<Vec<u64>>>(),
                    "survivors": self.ranks(&outcome.contributors),
                    "lost": lost.collect::<Vec<_>>(),
                    "wrong_shares": wrong.collect::<Vec<_>>(),
                })
            }
            Err(Abort::WrongShares { dealer, holders }) => json!({
                "wrong_shares_of": self.rank(dealer),
                "holders": self.ranks(&holders),
            }),
            Err(other) => panic!("{other}"),
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "one value a client, in a test")]
enum ClientState {
    Roster(AwaitRoster),
    Delivery(AwaitDelivery),
    Survivors(AwaitSurvivors),
    Signatures(AwaitSignatures),
    Done,
}

/// A client, with its coins from one stream.
struct Client<'a> {
    round: &'a Round<'a>,
    input: &'a Value,
    coins: ChaCha20Rng,
    state: ClientState,
}

impl Client<'_> {
    /// What it answers; it has no state left if it refuses.
    fn receive(&mut self, message: &[u8]) -> Answer<Vec<u8>> {
        let session = &self.round.session;
        let (state, sent) = match std::mem::replace(&mut self.state, ClientState::Done) {
            ClientState::Roster(state) => {
                let roster = Roster::decode(message, session).map_err(name)?;
                assert_eq!(roster.encode(session), message);
                let (state, shares) = state.receive(roster, &mut self.coins).map_err(name)?;
                (ClientState::Delivery(state), shares.encode(session))
            }
            ClientState::Delivery(state) => {
                let delivery = Delivery::decode(message, session).map_err(name)?;
                assert_eq!(delivery.encode(session), message);
                let ready = state.receive(delivery).map_err(name)?;
                let input = input(session, self.input)?;
                let (state, masked) = ready.mask(&input).map_err(name)?;
                (ClientState::Survivors(state), masked.into_vec())
            }
            ClientState::Survivors(state) => {
                let survivors = Survivors::decode(message, session).map_err(name)?;
                assert_eq!(survivors.encode(session), message);
                match state.receive(survivors).map_err(name)? {
                    Unmasking::Reveal(shares) => (ClientState::Done, shares.encode(session)),
                    Unmasking::Check(state, check) => {
                        (ClientState::Signatures(state), check.encode(session))
                    }
                }
            }
            ClientState::Signatures(state) => {
                let signatures = Signatures::decode(message, session).map_err(name)?;
                assert_eq!(signatures.encode(session), message);
                let shares = state.receive(signatures).map_err(name)?;
                (ClientState::Done, shares.encode(session))
            }
            // V-23. Only this test has such a state: the crate's are consumed by their messages.
            ClientState::Done => return Err("NoState".into()),
        };
        self.state = state;
        Ok(sent)
    }
}

fn input(session: &Session, elements: &Value) -> Answer<Vector> {
    let mut builder = Vector::builder(session);
    for (segment, elements) in session.layout().segments().iter().zip(list(elements)) {
        let elements = list(elements).iter().map(number);
        builder = builder.segment(segment.name(), elements).map_err(name)?;
    }
    builder.build().map_err(name)
}

enum Server {
    Adverts(CollectAdverts),
    Shares(CollectShares),
    Masked(CollectMasked),
    Signatures(CollectSignatures),
    Unmask(CollectUnmask),
    Done,
}

impl Server {
    fn receive(&mut self, session: &Session, from: ClientId, message: &[u8]) -> Answer<()> {
        let rejected = |rejection: Rejection| name(rejection.reason);
        match self {
            Self::Adverts(state) => {
                let advert = Advert::decode(message, session).map_err(name)?;
                assert_eq!(advert.encode(session), message);
                state.receive(from, advert).map_err(rejected)
            }
            Self::Shares(state) => {
                let shares = ShareKeys::decode(message, session).map_err(name)?;
                state.receive(from, shares).map_err(rejected)
            }
            Self::Masked(state) => {
                let masked = MaskedInput::from_vec(message.to_vec(), session).map_err(name)?;
                state.receive(from, &masked).map_err(rejected)
            }
            Self::Signatures(state) => {
                let check = ConsistencyCheck::decode(message, session).map_err(name)?;
                state.receive(from, &check).map_err(rejected)
            }
            Self::Unmask(state) => {
                let shares = UnmaskShares::decode(message, session).map_err(name)?;
                assert_eq!(shares.encode(session), message);
                state.receive(from, shares).map_err(rejected)
            }
            Self::Done => panic!("the round is over"),
        }
    }

    fn drop_client(&mut self, client: ClientId) {
        match self {
            Self::Adverts(state) => state.drop_client(client),
            Self::Shares(state) => state.drop_client(client),
            Self::Masked(state) => state.drop_client(client),
            Self::Signatures(state) => state.drop_client(client),
            Self::Unmask(state) => state.drop_client(client),
            Self::Done => {}
        }
    }

    fn close(self, round: &Round<'_>) -> (Self, Option<Value>) {
        let next = match self {
            Self::Adverts(state) => {
                let of = |what: &str| u32::try_from(number(&round.entry[what])).unwrap();
                Self::Shares(state.close(of("degree"), of("threshold")).unwrap())
            }
            Self::Shares(state) => Self::Masked(state.close().unwrap()),
            Self::Masked(state) => match state.close().unwrap() {
                AfterMasked::Check(state) => Self::Signatures(state),
                AfterMasked::Unmask(state) => Self::Unmask(state),
            },
            Self::Signatures(state) => Self::Unmask(state.close().unwrap()),
            Self::Unmask(state) => return (Self::Done, Some(round.ends(state.close()))),
            Self::Done => panic!("the round is over"),
        };
        (next, None)
    }

    /// What a client is sent when this state begins.
    fn sends(&self, session: &Session, client: ClientId) -> Option<Vec<u8>> {
        match self {
            Self::Adverts(_) | Self::Done => None,
            Self::Shares(state) => Some(state.roster_for(client)?.encode(session)),
            Self::Masked(state) => Some(state.delivery_for(client)?.encode(session)),
            Self::Signatures(state) => state
                .tally()
                .missing
                .contains(&client)
                .then(|| state.survivors().encode(session)),
            Self::Unmask(state) => {
                if !state.tally().missing.contains(&client) {
                    return None;
                }
                match session.parameters().threat_model() {
                    ThreatModel::HonestButCurious => Some(state.survivors().encode(session)),
                    _ => Some(state.signatures_for(client)?.encode(session)),
                }
            }
        }
    }
}

#[test]
fn clients_and_server_of_this_crate_send_the_bytes_of_the_rounds() {
    let file: Value = serde_json::from_str(ROUNDS).unwrap();
    for entry in list(&file["rounds"]) {
        let round = Round::new(&file, entry);
        for client in 0..round.ids.len() {
            round.client(client, round.events.len(), &Value::Null);
        }
        let (_, ends) = round.server(round.events.len());
        assert_eq!(ends.unwrap(), entry["ends"], "{}", entry["name"]);
    }
}

#[test]
fn what_must_be_refused_is_refused_for_its_reason() {
    let file: Value = serde_json::from_str(ROUNDS).unwrap();
    let negative: Value = serde_json::from_str(NEGATIVE).unwrap();
    let nothing = json!({});
    for case in list(&negative["cases"]) {
        let policy = case.get("policy").unwrap_or(&nothing);
        let found = if case["to"] == "parameters" {
            Parameters::decode(&unhex(&case["message"]))
                .map(|_| ())
                .map_err(name)
        } else {
            let round = Round::named(&file, &case["round"]);
            let client = index(&case["client"]);
            let before = || index(&case["before"]);
            match case["to"].as_str().unwrap() {
                "start" => round.start(client, policy).map(|_| ()),
                "input" => input(&round.session, &case["input"]).map(|_| ()),
                "client" => {
                    let mut state = round.client(client, before(), policy);
                    state.receive(&unhex(&case["message"])).map(|_| ())
                }
                _ => {
                    let (mut server, _) = round.server(before());
                    server.receive(&round.session, round.ids[client], &unhex(&case["message"]))
                }
            }
        };
        let expected = case["expect"]["error"].as_str().unwrap();
        assert_eq!(found, Err(expected.into()), "{case}");
    }
}

/// Each message of a round, cut short or with a byte too many, is refused; so is one of another
/// version, kind or session.
#[test]
fn messages_have_one_length_and_one_header() {
    let file: Value = serde_json::from_str(ROUNDS).unwrap();
    let mut seen = [false; 10];
    for entry in list(&file["rounds"]) {
        let round = Round::new(&file, entry);
        let session = &round.session;
        for event in round.events.iter().filter(|e| !e.message.is_empty()) {
            let message = &event.message;
            if std::mem::replace(&mut seen[usize::from(message[1])], true) {
                continue;
            }
            let decodes = |bytes: &[u8]| match message[1] {
                1 => Advert::decode(bytes, session).is_ok(),
                2 => Roster::decode(bytes, session).is_ok(),
                3 => ShareKeys::decode(bytes, session).is_ok(),
                4 => Delivery::decode(bytes, session).is_ok(),
                5 => MaskedInput::from_vec(bytes.to_vec(), session).is_ok(),
                6 => Survivors::decode(bytes, session).is_ok(),
                7 => UnmaskShares::decode(bytes, session).is_ok(),
                8 => ConsistencyCheck::decode(bytes, session).is_ok(),
                _ => Signatures::decode(bytes, session).is_ok(),
            };
            assert!(decodes(message));
            assert!((0..message.len()).all(|len| !decodes(&message[..len])));
            let mut longer = message.clone();
            longer.push(0);
            assert!(!decodes(&longer));
            for at in 0..18 {
                let mut changed = message.clone();
                changed[at] ^= 1;
                assert!(!decodes(&changed));
            }
        }
    }
    assert!(seen[1..].iter().all(|seen| *seen));
}
