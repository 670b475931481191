//! What runs with its secrets marked: above all one round, in which a client vanishes after it
//! shared its keys.

use std::{convert::Infallible, error::Error, sync::Arc};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rand_core::{TryCryptoRng, TryRng};
use secagg::{
    Advert, ClientId, ConsistencyCheck, Context, Delivery, Federation, GraphKind, Layout,
    MaskedInput, Member, Parameters, Policy, Roster, Segment, Session, ShareKeys, Signatures,
    SigningIdentity, Survivors, ThreatModel, Trust, TrustedAuthority, UnmaskShares, Vector,
    client::{AwaitRoster, Unmasking},
    internals,
    server::{AfterMasked, CollectAdverts, CollectUnmask},
};

use crate::{leak::Leak, memcheck};

/// What is secret in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// What is drawn at random: seeds, coefficients, identity keys.
    Seeds,
    /// The clients' inputs.
    Inputs,
}

const CLIENTS: u8 = 5;
const DEGREE: u32 = 4;
const THRESHOLD: u32 = 3;
/// Clients that are there to the end.
const SURVIVORS: usize = 4;

const SIGNATURE: usize = 64;
const COMMITMENT_AND_KEYS: usize = 3 * 32;
/// Two shares and the seal.
const BOX: usize = 32 + 32 + 16;

/// Whether a box opens is for everybody to see. The cipher decides on it, and its caller on what
/// the cipher says; everything else in it is as in sealing, where nothing is decided.
const VERDICTS_A_BOX: usize = 2;
/// And so is whether a segment is within its range: if not, the client says so and leaves.
const VERDICTS_A_SEGMENT: usize = 1;
/// Inverting many field elements at once, `curve25519-dalek` asserts that their product is not zero.
/// It leaves zeros out of the product, so this never says anything else.
const VERDICTS_A_BATCH: usize = 1;

/// What a round that ran to its end says of itself.
pub type Done<T> = Result<T, Box<dyn Error>>;

/// Runs a round and checks its sum. Every message must depend on secrets where it should: a mark
/// that got lost on the way would find nothing ever after.
///
/// # Errors
///
/// When a step's time depends on a secret, a message is not as secret as expected, or the round
/// fails.
pub fn run(model: ThreatModel, secret: Secret, leak: Leak) -> Done<()> {
    let session = session(model)?;
    let trust = trust();
    let mut watch = Watch::new(secret);
    let mut server = CollectAdverts::new(session.clone(), Some(trust.clone()));

    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let member = watch.member(number, model, &trust)?;
        let mut rng = watch.rng(number, 0);
        let policy = Policy {
            threat_model: model,
            ..Policy::default()
        };
        let id = member.id();
        let (state, advert) = watch.step("advertising keys", 0, || {
            AwaitRoster::start(session.clone(), member, policy, &mut rng)
        })?;
        // Keys and commitment go out now; the seeds lie on the heap.
        memcheck::publish(&state);
        let advert = advert.encode(&session);
        let signature = match model {
            ThreatModel::Malicious => SIGNATURE,
            _ => 0,
        };
        watch.publish("an advert", &advert, COMMITMENT_AND_KEYS + signature)?;
        server.receive(id, Advert::decode(&advert, &session)?)?;
        clients.push((number, id, state));
    }
    let mut server = server.close(DEGREE, THRESHOLD)?;

    let mut shared = Vec::new();
    for (number, id, state) in clients {
        let roster = server.roster_for(id).ok_or("no roster")?.encode(&session);
        let roster = Roster::decode(&roster, &session)?;
        let mut rng = watch.rng(number, 1);
        let verdicts = watch.of_seeds(VERDICTS_A_BATCH);
        let (state, shares) =
            watch.step("sharing keys", verdicts, || state.receive(roster, &mut rng))?;
        let shares = shares.encode(&session);
        watch.publish("the boxes of a client", &shares, DEGREE as usize * BOX)?;
        server.receive(id, ShareKeys::decode(&shares, &session)?)?;
        shared.push((number, id, state));
    }
    let mut server = server.close()?;

    let mut uploaded = Vec::new();
    for (number, id, state) in shared.into_iter().take(SURVIVORS) {
        let delivery = server.delivery_for(id).ok_or("no delivery")?;
        let delivery = Delivery::decode(&delivery.encode(&session), &session)?;
        let verdicts = watch.of_seeds(DEGREE as usize * VERDICTS_A_BOX);
        let ready = watch.step("opening boxes", verdicts, || state.receive(delivery))?;
        let input = watch.input(&session, number)?;
        let verdicts = watch.of_inputs(session.layout().segments().len() * VERDICTS_A_SEGMENT)
            + watch.of_seeds(VERDICTS_A_BATCH);
        let (state, masked) = watch.step("masking", verdicts, || ready.mask(&input))?;
        let masked = masked.into_vec();
        expect("a masked vector", &masked, session.layout().packed_len())?;
        memcheck::publish(masked.as_slice());
        server.receive(id, &MaskedInput::from_vec(masked, &session)?)?;
        uploaded.push((id, state));
    }

    let server = match server.close()? {
        AfterMasked::Unmask(mut server) => {
            for (id, state) in uploaded {
                let survivors = server.survivors().encode(&session);
                let survivors = Survivors::decode(&survivors, &session)?;
                let answer = watch.step("revealing", 0, || state.receive(survivors))?;
                let Unmasking::Reveal(shares) = answer else {
                    return Err("a client that trusts the server signed".into());
                };
                watch.reveal(&mut server, id, &shares, &session, leak)?;
            }
            server
        }
        AfterMasked::Check(mut server) => {
            let mut signed = Vec::new();
            for (id, state) in uploaded {
                let survivors = server.survivors().encode(&session);
                let survivors = Survivors::decode(&survivors, &session)?;
                let answer = watch.step("signing", 0, || state.receive(survivors))?;
                let Unmasking::Check(state, check) = answer else {
                    return Err("a client that does not trust the server did not sign".into());
                };
                let check = check.encode(&session);
                watch.publish("a signature", &check, SIGNATURE)?;
                server.receive(id, &ConsistencyCheck::decode(&check, &session)?)?;
                signed.push((id, state));
            }
            let mut server = server.close()?;
            for (id, state) in signed {
                let signatures = server.signatures_for(id).ok_or("no signatures")?;
                let signatures = Signatures::decode(&signatures.encode(&session), &session)?;
                let shares = watch.step("revealing", 0, || state.receive(signatures))?;
                watch.reveal(&mut server, id, &shares, &session, leak)?;
            }
            server
        }
    };
    let sum = server.close()?.sum;
    for segment in session.layout().segments() {
        let mut expected = vec![0; segment.len() as usize];
        for number in 0..SURVIVORS as u64 {
            let elements = elements(segment, number).into_iter().zip(&mut expected);
            elements.for_each(|(element, sum)| *sum += element);
        }
        if !sum
            .segment(segment.name())
            .ok_or("no segment")?
            .eq(expected)
        {
            return Err(format!("the sum of {:?} is wrong", segment.name()).into());
        }
    }
    watch.finish()
}

/// Splits a secret seed and reconstructs it from secret shares: in a round the shares that are put
/// together are public by then.
///
/// # Errors
///
/// When the time of either depends on secrets, or the seed does not come back.
pub fn split_and_reconstruct() -> Done<()> {
    let mut watch = Watch::new(Secret::Seeds);
    let seed = [7; 32];
    memcheck::conceal(&seed);
    let mut rng = watch.rng(1, 0);
    let shares = watch.step("splitting", 0, || {
        Ok::<_, Infallible>(internals::split(&seed, 20, 40, &mut rng))
    })?;
    let coordinates: Vec<u16> = (21..=40).collect();
    let reconstruct = internals::reconstruction(&coordinates).ok_or("no coefficients")?;
    let found = watch.step("reconstructing", 0, || {
        Ok::<_, Infallible>(reconstruct(&shares[20..]))
    })?;
    watch.publish("a reconstructed seed", &found, 32)?;
    if found != [7; 32] {
        return Err("the seed did not come back".into());
    }
    watch.finish()
}

/// Every way of packing, and a group that is not full.
fn session(model: ThreatModel) -> Done<Session> {
    let layout = Layout::new(vec![
        Segment::new("update", 600, 20)?,
        Segment::new("words", 8, 31)?,
        Segment::new("counters", 5, 48)?,
    ])?;
    let parameters = Parameters::new(model, GraphKind::Complete, 3..=CLIENTS.into(), layout)?;
    let context = Context {
        round: 1,
        nonce: [2; 32],
        model_digest: [3; 32],
        plan_digest: [4; 32],
    };
    Ok(Session::new(parameters, context))
}

const FEDERATION: Federation = Federation([5; 32]);
const EXPIRES: u64 = 2;

fn authority() -> SigningIdentity {
    SigningIdentity::from_seed(&[6; 32])
}

fn trust() -> Arc<dyn Trust> {
    Arc::new(TrustedAuthority {
        key: authority().public(),
        federation: FEDERATION,
        now: 1,
    })
}

/// A client's input, all within the bounds.
fn elements(segment: &Segment, number: u64) -> Vec<u64> {
    let bound = segment.max_element() / u64::from(CLIENTS);
    let element = |i| (number * 7_919 + i * 104_729) % (bound + 1);
    (0..u64::from(segment.len())).map(element).collect()
}

/// Marks what is secret, and counts what is found.
struct Watch {
    secret: Secret,
    /// Findings that were accounted for.
    found: usize,
}

impl Watch {
    const fn new(secret: Secret) -> Self {
        Self { secret, found: 0 }
    }

    const fn of_seeds(&self, count: usize) -> usize {
        match self.secret {
            Secret::Seeds => count,
            Secret::Inputs => 0,
        }
    }

    const fn of_inputs(&self, count: usize) -> usize {
        match self.secret {
            Secret::Seeds => 0,
            Secret::Inputs => count,
        }
    }

    /// Takes a step in which at most so many decisions may depend on secrets.
    fn step<T, E: Error + 'static>(
        &mut self,
        what: &str,
        verdicts: usize,
        action: impl FnOnce() -> Result<T, E>,
    ) -> Done<T> {
        self.finish()?;
        let result = action()?;
        let found = memcheck::findings() - self.found;
        if found > verdicts {
            return Err(format!(
                "{what}: {found} branches or addresses depend on secrets, and {verdicts} may"
            )
            .into());
        }
        self.found += found;
        Ok(result)
    }

    /// Whether nothing was found but by the steps.
    fn finish(&self) -> Done<()> {
        let found = memcheck::findings() - self.found;
        if found == 0 {
            return Ok(());
        }
        Err(format!("between two steps {found} branches or addresses depend on secrets").into())
    }

    fn rng(&self, client: u8, step: u8) -> MarkingRng {
        let mut seed = [step; 32];
        seed[0] = client;
        MarkingRng {
            rng: ChaCha20Rng::from_seed(seed),
            secret: self.secret == Secret::Seeds,
        }
    }

    fn member(&mut self, number: u8, model: ThreatModel, trust: &Arc<dyn Trust>) -> Done<Member> {
        let seed = [number; 32];
        if self.secret == Secret::Seeds {
            memcheck::conceal(&seed);
        }
        let key = self.step("making an identity", 0, || {
            Ok::<_, Infallible>(Arc::new(SigningIdentity::from_seed(&seed)))
        })?;
        // The public half is in it, and is looked at before it is ever used to sign.
        memcheck::publish(&*key);
        if model != ThreatModel::Malicious {
            return Ok(Member::unsigned(key.client_id()));
        }
        let credential = authority().issue(key.public(), FEDERATION, EXPIRES);
        let member = Member::signed(key.clone(), credential, trust.clone())?;
        if self.secret == Secret::Seeds {
            memcheck::conceal(&*key);
        }
        Ok(member)
    }

    fn input(&mut self, session: &Session, number: u8) -> Done<Vector> {
        let mut builder = Vector::builder(session);
        for segment in session.layout().segments() {
            let elements = elements(segment, number.into());
            if self.secret == Secret::Inputs {
                memcheck::conceal(elements.as_slice());
            }
            let verdicts = self.of_inputs(VERDICTS_A_SEGMENT);
            builder = self.step("building an input", verdicts, || {
                builder.segment(segment.name(), elements)
            })?;
        }
        Ok(builder.build()?)
    }

    /// A client's shares go to the server.
    fn reveal(
        &mut self,
        server: &mut CollectUnmask,
        id: ClientId,
        shares: &UnmaskShares,
        session: &Session,
        leak: Leak,
    ) -> Done<()> {
        let shares = shares.encode(session);
        self.step("leaking", 0, || {
            leak.happen(&shares);
            Ok::<_, Infallible>(())
        })?;
        self.publish("the shares of a client", &shares, DEGREE as usize * 32)?;
        Ok(server.receive(id, UnmaskShares::decode(&shares, session)?)?)
    }

    /// A message of whose bytes so many come from seeds, and none from inputs, goes onto the wire.
    fn publish(&self, what: &str, message: &[u8], secret: usize) -> Done<()> {
        expect(what, message, self.of_seeds(secret))?;
        memcheck::publish(message);
        Ok(())
    }
}

fn expect(what: &str, message: &[u8], expected: usize) -> Done<()> {
    let found = memcheck::secret_bytes(message);
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} should have {expected} secret bytes and has {found}").into())
}

/// A generator whose output is secret.
struct MarkingRng {
    rng: ChaCha20Rng,
    secret: bool,
}

impl TryRng for MarkingRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.rng.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.rng.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.rng.try_fill_bytes(bytes)?;
        if self.secret {
            memcheck::conceal(bytes);
        }
        Ok(())
    }
}

impl TryCryptoRng for MarkingRng {}
