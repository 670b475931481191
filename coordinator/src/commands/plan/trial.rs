//! What a round costs on this machine, from small rounds that are carried out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    ClientId, Context, Federation, GraphKind, Layout, MaskedInput, Member, Parameters, Policy,
    Segment, Session, SigningIdentity, ThreatModel, Trust, TrustedAuthority, Vector,
    client::{AwaitRoster, Unmasking},
    server::{AfterMasked, CollectAdverts},
};

/// The clients of a small round.
const CLIENTS: u32 = 6;

/// Elements of the long vector.
const ELEMENTS: u32 = 1 << 16;

/// Every round is run so often. Of all times of a step the shortest counts: it was disturbed least.
const REPEATS: u64 = 3;

/// The cost of each piece of work, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Keys, commitments and the signature of an advert.
    start: f64,
    /// At the server: checking an advert.
    advert: f64,
    /// For each neighbour: agreeing on a key and sealing a box.
    neighbour: f64,
    /// For each neighbour and each share that the threshold asks for.
    share: f64,
    /// Agreeing on a mask.
    agreement: f64,
    /// For each element: expanding and adding a mask.
    mask: f64,
    /// For each element, at the server: adding a vector.
    addition: f64,
    /// Checking a signature on the survivors; 0 where there are none.
    signature: f64,
    /// At the server, for each seed and each share that opens it.
    seed: f64,
}

/// What the computing in one round takes, in seconds on one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seconds {
    /// One client's.
    pub(super) client: f64,
    /// The server's if nobody is lost.
    pub(super) server: f64,
    /// The server's if all are lost that may be, just before they upload.
    pub(super) server_with_losses: f64,
}

impl Costs {
    /// Measures, for elements of so many bits.
    pub(super) fn of_this_machine(threat_model: ThreatModel, bits: u8) -> anyhow::Result<Self> {
        let trial = |clients, elements| {
            let session = session(threat_model, clients, elements, bits)?;
            least(|salt| trial(&session, clients, salt))
        };
        let (short, long) = (trial(CLIENTS, 1)?, trial(CLIENTS, ELEMENTS)?);
        let wide = trial(WIDE, 1)?;
        let (k, t) = (f64::from(CLIENTS - 1), f64::from(threshold(CLIENTS)));
        let (wide_k, wide_t) = (f64::from(WIDE - 1), f64::from(threshold(WIDE)));
        // share(k) = k · neighbour + k · t · share, at two sizes.
        let by_neighbour = [short.share / k, wide.share / wide_k];
        let share = at_least_zero((by_neighbour[1] - by_neighbour[0]) / (wide_t - t));
        let neighbour = at_least_zero(by_neighbour[0] - t * share);
        let per_element = |long: f64, short: f64| at_least_zero(long - short) / f64::from(ELEMENTS);
        let agreement = short.mask / k;
        let signature = short.reveal / t;
        // One was lost: its seed and those of the others are opened, and its masks taken off.
        let opened = at_least_zero(short.unmask - k * agreement);
        Ok(Self {
            start: short.start,
            advert: short.advert,
            neighbour,
            share,
            agreement,
            mask: per_element(long.mask, short.mask) / (k + 1.0),
            addition: per_element(long.upload, short.upload),
            signature: if threat_model == ThreatModel::HonestButCurious {
                0.0
            } else {
                signature
            },
            seed: opened / (f64::from(CLIENTS) * t),
        })
    }

    /// A round of n clients with k neighbours each, threshold t, and m elements.
    pub(super) fn round(&self, n: u32, k: u32, t: u32, lost: u32, m: u32) -> Seconds {
        let [n, k, t, lost, m] = [n, k, t, lost, m].map(f64::from);
        let client = self.start
            + k * (self.neighbour + t * self.share)
            + k * self.agreement
            + (k + 1.0) * m * self.mask
            + t * self.signature;
        let server = |lost: f64| {
            let there = n - lost;
            let pairs = lost * k * there / n;
            n * self.advert
                + there * (m * self.addition + self.signature)
                + n * t * self.seed
                + pairs * self.agreement
                + (pairs + there) * m * self.mask
        };
        Seconds {
            client,
            server: server(0.0),
            server_with_losses: server(lost),
        }
    }
}

/// The clients of the round with many neighbours.
const WIDE: u32 = 33;

/// 2t ≥ k + 2, for one corrupt client.
fn threshold(clients: u32) -> u32 {
    clients.div_ceil(2) + 1
}

fn at_least_zero(seconds: f64) -> f64 {
    seconds.max(0.0)
}

/// The shortest times of a client's steps, or of the server's for one client.
#[derive(Clone, Copy, Debug)]
struct Times {
    start: f64,
    advert: f64,
    share: f64,
    mask: f64,
    upload: f64,
    reveal: f64,
    unmask: f64,
}

fn least(run: impl FnMut(u64) -> anyhow::Result<Times>) -> anyhow::Result<Times> {
    let runs: Vec<Times> = (0..REPEATS).map(run).collect::<anyhow::Result<_>>()?;
    let of = |field: fn(&Times) -> f64| runs.iter().map(field).fold(f64::INFINITY, f64::min);
    Ok(Times {
        start: of(|times| times.start),
        advert: of(|times| times.advert),
        share: of(|times| times.share),
        mask: of(|times| times.mask),
        upload: of(|times| times.upload),
        reveal: of(|times| times.reveal),
        unmask: of(|times| times.unmask),
    })
}

fn session(
    threat_model: ThreatModel,
    clients: u32,
    elements: u32,
    bits: u8,
) -> anyhow::Result<Session> {
    // So narrow a ring has no room for these clients; their masks cost the same in a wider one.
    let bits = bits.max(8);
    let layout = Layout::new(vec![Segment::new("elements", elements, bits)?])?;
    let parameters = Parameters::new(threat_model, GraphKind::Complete, 3..=clients, layout)?;
    let context = Context {
        round: 1,
        nonce: [0; 32],
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    Ok(Session::new(parameters, context))
}

const POLICY: Policy = Policy {
    threat_model: ThreatModel::HonestButCurious,
    sparse_graph: false,
    max_corrupt: 1,
    security_bits: 40,
    min_cohort: 3,
    min_survivors: 3,
    max_bits: 64,
    max_vector_bytes: u64::MAX,
};

/// One round of the real protocol, in which the last client is lost before it uploads. The keys are
/// nobody's: the seeds are fixed.
fn trial(session: &Session, clients: u32, salt: u64) -> anyhow::Result<Times> {
    let mut rng = ChaCha20Rng::seed_from_u64(salt);
    let authority = SigningIdentity::from_seed(&[1; 32]);
    let federation = Federation([2; 32]);
    let trust: Arc<dyn Trust> = Arc::new(TrustedAuthority {
        key: authority.public(),
        federation,
        now: 0,
    });
    let member = |client: u32| {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&client.to_le_bytes());
        let key = SigningIdentity::from_seed(&seed);
        let credential = authority.issue(key.public(), federation, 1);
        Member::signed(Arc::new(key), credential, Arc::clone(&trust))
    };
    let mut clock = Clock::default();

    let mut server = CollectAdverts::new(session.clone(), Some(Arc::clone(&trust)));
    let mut states: Vec<(ClientId, AwaitRoster)> = Vec::new();
    let (mut start, mut advert) = (Least::default(), Least::default());
    for client in 0..clients {
        let member = member(client)?;
        let id = member.id();
        clock.begin();
        let (state, message) = AwaitRoster::start(session.clone(), member, POLICY, &mut rng)?;
        start.add(clock.lap());
        server.receive(id, message)?;
        advert.add(clock.lap());
        states.push((id, state));
    }
    let mut server = server.close(clients - 1, threshold(clients))?;
    let mut share = Least::default();
    let mut waiting = Vec::new();
    for (id, state) in states {
        let roster = server.roster_for(id).ok_or_else(missing)?;
        clock.begin();
        let (state, message) = state.receive(roster, &mut rng)?;
        share.add(clock.lap());
        server.receive(id, message)?;
        waiting.push((id, state));
    }
    let mut server = server.close()?;
    let (mut mask, mut upload) = (Least::default(), Least::default());
    let input = Vector::zero(session.layout());
    let mut uploaded = Vec::new();
    waiting.pop();
    for (id, state) in waiting {
        let delivery = server.delivery_for(id).ok_or_else(missing)?;
        let state = state.receive(delivery)?;
        clock.begin();
        let (state, masked) = state.mask(&input)?;
        mask.add(clock.lap());
        let masked = MaskedInput::from_vec(masked.into_vec(), session)?;
        server.receive(id, &masked)?;
        upload.add(clock.lap());
        uploaded.push((id, state));
    }
    let mut reveal = Least::default();
    let (mut server, shares) = match server.close()? {
        AfterMasked::Unmask(server) => {
            let mut shares = Vec::new();
            for (id, state) in uploaded {
                clock.begin();
                let Unmasking::Reveal(message) = state.receive(server.survivors())? else {
                    return Err(missing());
                };
                reveal.add(clock.lap());
                shares.push((id, message));
            }
            (server, shares)
        }
        AfterMasked::Check(mut server) => {
            let mut signed = Vec::new();
            for (id, state) in uploaded {
                let Unmasking::Check(state, message) = state.receive(server.survivors())? else {
                    return Err(missing());
                };
                server.receive(id, &message)?;
                signed.push((id, state));
            }
            let server = server.close()?;
            let mut shares = Vec::new();
            for (id, state) in signed {
                let signatures = server.signatures_for(id).ok_or_else(missing)?;
                clock.begin();
                let message = state.receive(signatures)?;
                reveal.add(clock.lap());
                shares.push((id, message));
            }
            (server, shares)
        }
    };
    for (id, message) in shares {
        server.receive(id, message)?;
    }
    clock.begin();
    server.close()?;
    Ok(Times {
        start: start.value(),
        advert: advert.value(),
        share: share.value(),
        mask: mask.value(),
        upload: upload.value(),
        reveal: reveal.value(),
        unmask: clock.lap().as_secs_f64(),
    })
}

fn missing() -> anyhow::Error {
    anyhow::anyhow!("internal error: the trial round has no message for its client")
}

/// Time since it was last looked at.
#[derive(Debug)]
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    fn begin(&mut self) {
        self.0 = Instant::now();
    }

    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.0, Instant::now());
        self.0 - before
    }
}

/// The shortest of several times.
#[derive(Debug)]
struct Least(Duration);

impl Default for Least {
    fn default() -> Self {
        Self(Duration::MAX)
    }
}

impl Least {
    fn add(&mut self, time: Duration) {
        self.0 = self.0.min(time);
    }

    fn value(&self) -> f64 {
        self.0.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the machine, more work costs more, and nothing costs less than nothing.
    #[test]
    fn more_neighbours_elements_and_losses_cost_more() {
        for model in [ThreatModel::HonestButCurious, ThreatModel::Malicious] {
            let costs = Costs::of_this_machine(model, 20).unwrap();
            let small = costs.round(100, 20, 15, 10, 1_000);
            assert!(small.client > 0.0 && small.server > 0.0);
            assert!(small.server_with_losses > small.server);
            let more_neighbours = costs.round(100, 60, 45, 10, 1_000);
            assert!(more_neighbours.client > small.client);
            assert!(more_neighbours.server_with_losses > small.server_with_losses);
            let longer = costs.round(100, 20, 15, 10, 100_000);
            assert!(longer.client > small.client && longer.server > small.server);
            let more_clients = costs.round(1_000, 20, 15, 100, 1_000);
            assert!(more_clients.server > small.server);
        }
    }
}
