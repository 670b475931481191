//! Who answers the server: clients, or what they answered before.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    ClientId, Delivery, Federation, Member, Policy, Roster, Session, Signatures, SigningIdentity,
    Survivors, ThreatModel, Trust, TrustedAuthority, Vector,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, Unmasking},
};

use super::{Phases, Setting};
use crate::harness::cpu_seconds;

/// All clients of a round. Bytes come in and go out.
pub(crate) trait Clients {
    /// The next client, and its advert.
    fn advertise(&mut self) -> (ClientId, Vec<u8>);

    /// What this client makes of the server's next message.
    fn answer(&mut self, client: ClientId, message: &[u8]) -> Vec<u8>;
}

/// Real clients.
pub(crate) struct Live {
    session: Session,
    policy: Policy,
    authority: SigningIdentity,
    trust: Arc<dyn Trust>,
    rng: ChaCha20Rng,
    states: BTreeMap<ClientId, State>,
    inputs: u64,
    /// Seconds of all of them.
    pub(crate) spent: Phases,
    /// The sum of what was put in.
    pub(crate) expected: Vector,
}

enum State {
    Roster(Box<AwaitRoster>),
    Delivery(AwaitDelivery),
    Survivors(AwaitSurvivors),
    Signatures(AwaitSignatures),
}

const FEDERATION: Federation = Federation([1; 32]);

impl Live {
    pub(crate) fn new(setting: &Setting, session: &Session) -> Self {
        let signed = setting.model == ThreatModel::Malicious;
        Self {
            session: session.clone(),
            policy: Policy {
                threat_model: setting.model,
                max_corrupt: if signed { 1 } else { setting.cohort / 20 },
                security_bits: 40,
                ..Policy::default()
            },
            trust: trust(),
            authority: authority(),
            rng: ChaCha20Rng::from_seed([4; 32]),
            states: BTreeMap::new(),
            inputs: 0,
            spent: Phases::default(),
            expected: Vector::zero(session.layout()),
        }
    }

    fn input(&mut self) -> Vector {
        let first = self.inputs * 31;
        self.inputs += 1;
        let segment = &self.session.layout().segments()[0];
        // As large as the sum of so many clients allows.
        let cohort = u64::from(*self.session.parameters().cohort().end());
        let modulus = (u64::MAX >> (64 - segment.bits())) / cohort + 1;
        let values = (0..u64::from(segment.len())).map(|i| (first + i) % modulus);
        let input = Vector::builder(&self.session).segment(segment.name(), values);
        let input = input.unwrap().build().unwrap();
        self.expected.add(&input).unwrap();
        input
    }
}

/// Who signs the credentials.
fn authority() -> SigningIdentity {
    SigningIdentity::from_seed(&[9; 32])
}

/// What everybody believes about signatures.
pub(super) fn trust() -> Arc<dyn Trust> {
    Arc::new(TrustedAuthority {
        key: authority().public(),
        federation: FEDERATION,
        now: 1,
    })
}

impl Clients for Live {
    fn advertise(&mut self) -> (ClientId, Vec<u8>) {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&u32::try_from(self.states.len()).unwrap().to_le_bytes());
        let key = Arc::new(SigningIdentity::from_seed(&seed));
        let credential = self.authority.issue(key.public(), FEDERATION, 2);
        let member = Member::signed(key, credential, self.trust.clone()).unwrap();
        let id = member.id();
        let start = cpu_seconds();
        let (session, rng) = (self.session.clone(), &mut self.rng);
        let (state, advert) = AwaitRoster::start(session, member, self.policy, rng).unwrap();
        let bytes = advert.encode(&self.session);
        self.spent.add(0, cpu_seconds() - start);
        self.states.insert(id, State::Roster(Box::new(state)));
        (id, bytes)
    }

    fn answer(&mut self, client: ClientId, message: &[u8]) -> Vec<u8> {
        let state = self.states.remove(&client).unwrap();
        let input = matches!(state, State::Delivery(_)).then(|| self.input());
        let session = &self.session;
        let start = cpu_seconds();
        let (phase, next, answer) = match state {
            State::Roster(state) => {
                let roster = Roster::decode(message, session).unwrap();
                let (state, shares) = state.receive(roster, &mut self.rng).unwrap();
                (1, Some(State::Delivery(state)), shares.encode(session))
            }
            State::Delivery(state) => {
                let delivery = Delivery::decode(message, session).unwrap();
                let ready = state.receive(delivery).unwrap();
                let (state, masked) = ready.mask(&input.unwrap()).unwrap();
                (2, Some(State::Survivors(state)), masked.into_vec())
            }
            State::Survivors(state) => {
                let survivors = Survivors::decode(message, session).unwrap();
                match state.receive(survivors).unwrap() {
                    Unmasking::Reveal(shares) => (4, None, shares.encode(session)),
                    Unmasking::Check(state, check) => {
                        (3, Some(State::Signatures(state)), check.encode(session))
                    }
                }
            }
            State::Signatures(state) => {
                let signatures = Signatures::decode(message, session).unwrap();
                let shares = state.receive(signatures).unwrap();
                (4, None, shares.encode(session))
            }
        };
        self.spent.add(phase, cpu_seconds() - start);
        self.states.extend(next.map(|state| (client, state)));
        answer
    }
}

/// Clients whose answers are written to a file.
pub(crate) struct Recorded<'a, C> {
    clients: &'a mut C,
    file: BufWriter<File>,
}

impl<'a, C: Clients> Recorded<'a, C> {
    pub(crate) fn new(clients: &'a mut C, path: &Path) -> Self {
        let file = File::create(path).unwrap();
        Self {
            clients,
            file: BufWriter::new(file),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap();
        self.file.write_all(&len.to_le_bytes()).unwrap();
        self.file.write_all(bytes).unwrap();
    }
}

impl<C: Clients> Clients for Recorded<'_, C> {
    fn advertise(&mut self) -> (ClientId, Vec<u8>) {
        let (id, advert) = self.clients.advertise();
        self.write(id.as_bytes());
        self.write(&advert);
        (id, advert)
    }

    fn answer(&mut self, client: ClientId, message: &[u8]) -> Vec<u8> {
        let answer = self.clients.answer(client, message);
        self.write(&answer);
        answer
    }
}

/// The answers of an earlier run of the same round. Nothing in the server is left to chance, so it
/// sends what it sent then.
pub(crate) struct Recording(BufReader<File>);

impl Recording {
    pub(crate) fn open(path: &Path) -> Self {
        Self(BufReader::new(File::open(path).unwrap()))
    }

    fn read(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }
}

impl Clients for Recording {
    fn advertise(&mut self) -> (ClientId, Vec<u8>) {
        let id = self.read().try_into().unwrap();
        (ClientId::from_bytes(id), self.read())
    }

    fn answer(&mut self, _: ClientId, _: &[u8]) -> Vec<u8> {
        self.read()
    }
}
