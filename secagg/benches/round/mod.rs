//! One round, with the time that each side spends in each phase.

use std::sync::Arc;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    Advert, ClientId, ConsistencyCheck, Context, Delivery, Federation, GraphKind, Layout,
    MaskedInput, Member, Parameters, Policy, Roster, Segment, Session, ShareKeys, Signatures,
    SigningIdentity, Survivors, ThreatModel, Trust, TrustedAuthority, UnmaskShares, Vector,
    client::{AwaitRoster, Unmasking},
    server::{AfterMasked, CollectAdverts},
};

use crate::harness::{thread_seconds, wall_seconds};

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) model: ThreatModel,
    pub(crate) graph: GraphKind,
    pub(crate) cohort: u32,
    pub(crate) degree: u32,
    pub(crate) threshold: u32,
    /// Of a hundred clients, how many are lost after they shared their keys.
    pub(crate) dropouts: u32,
    pub(crate) elements: u32,
    pub(crate) bits: u8,
}

impl Setting {
    /// The same with clients that trust the server as given. A malicious server needs a higher
    /// threshold: that of two thirds of the neighbours.
    pub(crate) const fn with(self, model: ThreatModel) -> Self {
        match model {
            ThreatModel::Malicious => {
                let two_thirds = 2 * self.degree / 3;
                let threshold = if self.threshold > two_thirds {
                    self.threshold
                } else {
                    // 30 % of a client's neighbours may be lost, and some more by chance.
                    self.degree * 11 / 20 + 1
                };
                Self {
                    model,
                    threshold,
                    ..self
                }
            }
            _ => Self { model, ..self },
        }
    }

    pub(crate) fn name(&self) -> String {
        let graph = match self.graph {
            GraphKind::Complete => "complete".into(),
            _ => format!("k{}", self.degree),
        };
        let Self {
            cohort,
            dropouts,
            model,
            ..
        } = self;
        format!("n{cohort}/{graph}/drop{dropouts}/{model}")
    }
}

/// Seconds by phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases([f64; 5]);

impl Phases {
    const NAMES: [&str; 5] = ["advertise", "share", "mask", "check", "unmask"];

    pub(crate) fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, f64)> {
        Self::NAMES.into_iter().zip(self.0)
    }

    fn time<T>(&mut self, phase: usize, work: impl FnOnce() -> T) -> T {
        let start = thread_seconds();
        let result = work();
        self.0[phase] += thread_seconds() - start;
        result
    }
}

/// What a round costs.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) server: Phases,
    /// Of one client that stays to the end, on average.
    pub(crate) client: Phases,
    /// Of the last step of the server, on the wall.
    pub recovery_wall: f64,
    /// Bytes that one client sends and receives in all.
    pub(crate) up: usize,
    pub(crate) down: usize,
}

/// Runs a round. The sum is checked.
pub(crate) fn run(setting: &Setting) -> Costs {
    let signed = setting.model == ThreatModel::Malicious;
    let authority = SigningIdentity::from_seed(&[9; 32]);
    let federation = Federation([1; 32]);
    let trust: Arc<dyn Trust> = Arc::new(TrustedAuthority {
        key: authority.public(),
        federation,
        now: 1,
    });
    let session = session(setting);
    let policy = Policy {
        threat_model: setting.model,
        max_corrupt: if signed { 1 } else { setting.cohort / 20 },
        security_bits: 40,
        ..Policy::default()
    };
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let (mut server, mut client) = (Phases::default(), Phases::default());
    let (mut up, mut down) = (0, 0);

    let mut collect = CollectAdverts::new(session.clone(), signed.then(|| trust.clone()));
    let mut waiting = Vec::new();
    for i in 0..setting.cohort {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&i.to_le_bytes());
        let key = Arc::new(SigningIdentity::from_seed(&seed));
        let credential = authority.issue(key.public(), federation, 2);
        let member = Member::signed(key, credential, trust.clone()).unwrap();
        let id = member.id();
        let (state, bytes) = client.time(0, || {
            let (state, advert) =
                AwaitRoster::start(session.clone(), member, policy, &mut rng).unwrap();
            (state, advert.encode(&session))
        });
        up += bytes.len();
        server.time(0, || {
            let advert = Advert::decode(&bytes, &session).unwrap();
            collect.receive(id, advert).unwrap();
        });
        waiting.push((id, state));
    }
    let (degree, threshold) = (setting.degree, setting.threshold);
    let mut collect = server.time(0, || collect.close(degree, threshold).unwrap());

    let mut shared = Vec::new();
    for (id, state) in waiting {
        let bytes = server.time(1, || collect.roster_for(id).unwrap().encode(&session));
        down += bytes.len();
        let (state, bytes) = client.time(1, || {
            let roster = Roster::decode(&bytes, &session).unwrap();
            let (state, shares) = state.receive(roster, &mut rng).unwrap();
            (state, shares.encode(&session))
        });
        up += bytes.len();
        server.time(1, || {
            let shares = ShareKeys::decode(&bytes, &session).unwrap();
            collect.receive(id, shares).unwrap();
        });
        shared.push((id, state));
    }
    let mut collect = server.time(1, || collect.close().unwrap());

    let lost = setting.cohort * setting.dropouts / 100;
    let survivors = setting.cohort - lost;
    let mut uploaded = Vec::new();
    let mut expected = Vector::zero(session.layout());
    for (i, (id, state)) in (0_u64..).zip(shared.into_iter().skip(lost as usize)) {
        let bytes = server.time(2, || collect.delivery_for(id).unwrap().encode(&session));
        down += bytes.len();
        let values = (0..u64::from(setting.elements)).map(|j| (i * 31 + j) % 500);
        let input = Vector::builder(&session).segment("update", values);
        let input = input.unwrap().build().unwrap();
        expected.add(&input).unwrap();
        let (state, bytes) = client.time(2, || {
            let delivery = Delivery::decode(&bytes, &session).unwrap();
            let (state, masked) = state.receive(delivery).unwrap().mask(&input).unwrap();
            (state, masked.into_vec())
        });
        up += bytes.len();
        server.time(2, || {
            let masked = MaskedInput::from_vec(bytes, &session).unwrap();
            collect.receive(id, &masked).unwrap();
        });
        uploaded.push((id, state));
    }

    let after = server.time(2, || collect.close().unwrap());
    let mut reveals: Vec<(ClientId, Vec<u8>)> = Vec::new();
    let mut collect = match after {
        AfterMasked::Unmask(collect) => {
            for (id, state) in uploaded {
                let bytes = server.time(4, || collect.survivors().encode(&session));
                down += bytes.len();
                let bytes = client.time(4, || {
                    let survivors = Survivors::decode(&bytes, &session).unwrap();
                    match state.receive(survivors).unwrap() {
                        Unmasking::Reveal(shares) => shares.encode(&session),
                        Unmasking::Check(..) => unreachable!("the server is trusted"),
                    }
                });
                reveals.push((id, bytes));
            }
            collect
        }
        AfterMasked::Check(mut collect) => {
            let mut signers = Vec::new();
            for (id, state) in uploaded {
                let bytes = server.time(3, || collect.survivors().encode(&session));
                down += bytes.len();
                let (state, bytes) = client.time(3, || {
                    let survivors = Survivors::decode(&bytes, &session).unwrap();
                    match state.receive(survivors).unwrap() {
                        Unmasking::Check(state, check) => (state, check.encode(&session)),
                        Unmasking::Reveal(_) => unreachable!("the server is not trusted"),
                    }
                });
                up += bytes.len();
                server.time(3, || {
                    let check = ConsistencyCheck::decode(&bytes, &session).unwrap();
                    collect.receive(id, &check).unwrap();
                });
                signers.push((id, state));
            }
            let collect = server.time(3, || collect.close().unwrap());
            for (id, state) in signers {
                let bytes = server.time(4, || {
                    let signatures = collect.signatures_for(id).unwrap();
                    signatures.encode(&session)
                });
                down += bytes.len();
                let bytes = client.time(4, || {
                    let signatures = Signatures::decode(&bytes, &session).unwrap();
                    state.receive(signatures).unwrap().encode(&session)
                });
                reveals.push((id, bytes));
            }
            collect
        }
    };
    for (id, bytes) in reveals {
        up += bytes.len();
        server.time(4, || {
            let shares = UnmaskShares::decode(&bytes, &session).unwrap();
            collect.receive(id, shares).unwrap();
        });
    }
    let start = wall_seconds();
    let outcome = server.time(4, || collect.close().unwrap());
    let recovery_wall = wall_seconds() - start;
    assert!(outcome.sum == expected, "the sum is wrong");

    for (phase, seconds) in client.0.iter_mut().enumerate() {
        let clients = if phase < 2 { setting.cohort } else { survivors };
        *seconds /= f64::from(clients);
    }
    // Early phases count those that are lost as well: by as many as there are.
    Costs {
        server,
        client,
        recovery_wall,
        up: up / survivors as usize,
        down: down / survivors as usize,
    }
}

fn session(setting: &Setting) -> Session {
    let segment = Segment::new("update", setting.elements, setting.bits);
    let layout = Layout::new(vec![segment.unwrap()]).unwrap();
    let parameters = Parameters::new(setting.model, setting.graph, 3..=setting.cohort, layout);
    let context = Context {
        round: 1,
        nonce: [7; 32],
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    Session::new(parameters.unwrap(), context)
}
