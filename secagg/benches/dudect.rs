//! Whether time depends on secrets, by statistics: dudect (Reparaz, Balasch, Verbauwhede, DATE 2017).
//!
//! Each function runs on one fixed secret and on random ones, in random order. Welch's t-test asks
//! whether the times of the two classes have the same mean: over all, and without the slowest of
//! both, cut off at many percentiles, because what disturbs a measurement makes it slower. The
//! largest |t| is shown. Above 4.5 the times probably differ, above 10 they do. The last line is a
//! function that leaks; noise is no proof of anything, so this is no test.
//!
//! `cargo bench -p secagg --features internals --bench dudect [-- SAMPLES]`
#![expect(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a bench has a clock, and may fail"
)]

use std::{convert::Infallible, env, hint::black_box, time::Instant};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng},
};
use secagg::{
    Context, GraphKind, Layout, Parameters, Segment, Session, SigningIdentity, ThreatModel, Vector,
    internals,
};

const SAMPLES: usize = 50_000;
const LEN: u32 = 4_096;
const HOLDERS: u32 = 40;
const THRESHOLD: usize = 21;

fn main() {
    // Cargo adds `--bench`.
    let samples = env::args().skip(1).find_map(|word| word.parse().ok());
    let bench = Bench {
        samples: samples.unwrap_or(SAMPLES),
    };
    let session = session();
    let peer = internals::mask_public_key(&[9; 32], &session);
    println!("{:<44} {:>12} {:>8}", "secret", "median (ns)", "max |t|");

    bench.measure("Shamir split: seed, coefficients", |secret: &Shamir| {
        let mut coins = Coins(secret.as_flattened());
        let threshold = u32::try_from(THRESHOLD).unwrap();
        internals::split(&secret[0], threshold, HOLDERS, &mut coins)
    });
    let coordinates: Vec<u16> = (1..=40).step_by(2).chain([2]).collect();
    let reconstruct = internals::reconstruction(&coordinates).unwrap();
    bench.measure("Shamir reconstruct: shares", |secret: &Shamir| {
        reconstruct(secret)
    });
    bench.measure("mask: key", |secret: &[[u8; 32]; 1]| {
        let mut vector = Vector::zero(session.layout());
        internals::mask(&secret[0], &mut vector);
        vector
    });
    bench.measure("build an input and mask: elements", |secret: &Elements| {
        let words = secret.as_flattened().as_chunks::<2>().0.iter();
        let elements = words.map(|pair| u64::from(u16::from_le_bytes(*pair)));
        let input = Vector::builder(&session).segment("update", elements);
        let mut vector = input.unwrap().build().unwrap();
        internals::mask(&[8; 32], &mut vector);
        vector
    });
    bench.measure("key pair: seed", |secret: &[[u8; 32]; 1]| {
        internals::mask_public_key(&secret[0], &session)
    });
    bench.measure("key pair, agreement: seed", |secret: &[[u8; 32]; 1]| {
        internals::pairwise_mask(&secret[0], peer, &session)
    });
    bench.measure("... and seal: seed, shares", |secret: &[[u8; 32]; 3]| {
        let [seed, shares @ ..] = secret;
        internals::seal(seed, peer, shares, &session)
    });
    bench.measure("seal with one key: shares", |secret: &[[u8; 32]; 2]| {
        internals::seal(&[7; 32], peer, secret, &session)
    });
    bench.measure("identity, signature: seed", |secret: &[[u8; 32]; 1]| {
        SigningIdentity::from_seed(&secret[0]).sign_request(&[b"message"])
    });
    let tables = Tables::new();
    bench.measure("leaks on purpose, by tables", |secret: &Shamir| {
        secret
            .as_flattened()
            .iter()
            .fold(0, |sum, byte| sum ^ tables.multiply(*byte, 3))
    });
}

/// As many shares as the threshold; or a seed, with coefficients in place of the other shares.
type Shamir = [[u8; 32]; THRESHOLD];
/// Two bytes an element.
type Elements = [[u8; 32]; LEN as usize / 16];

fn session() -> Session {
    let layout = Layout::new(vec![Segment::new("update", LEN, 20).unwrap()]).unwrap();
    let parameters = Parameters::new(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        3..=10,
        layout,
    );
    let context = Context {
        round: 1,
        nonce: [1; 32],
        model_digest: [2; 32],
        plan_digest: [3; 32],
    };
    Session::new(parameters.unwrap(), context)
}

/// A generator whose output was drawn before.
struct Coins<'a>(&'a [u8]);

impl TryRng for Coins<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let (now, later) = self.0.split_at(bytes.len());
        bytes.copy_from_slice(now);
        self.0 = later;
        Ok(())
    }
}

impl TryCryptoRng for Coins<'_> {}

/// Multiplication in GF(2^8) as it is often written: by logarithms, and zero apart.
struct Tables {
    logarithms: [u8; 256],
    powers: [u8; 510],
}

impl Tables {
    fn new() -> Self {
        let mut logarithms = [0; 256];
        let mut powers = [0; 510];
        let mut power = 1_u16;
        for exponent in 0..255_u8 {
            let [low, _] = power.to_le_bytes();
            logarithms[usize::from(low)] = exponent;
            powers[usize::from(exponent)] = low;
            powers[usize::from(exponent) + 255] = low;
            power = power << 1 ^ if power & 0x80 == 0 { 0 } else { 0x11d };
        }
        black_box(Self { logarithms, powers })
    }

    fn multiply(&self, a: u8, b: u8) -> u8 {
        if a == 0 || b == 0 {
            return 0;
        }
        let log = |element| usize::from(self.logarithms[usize::from(element)]);
        self.powers[log(a) + log(b)]
    }
}

struct Bench {
    samples: usize,
}

impl Bench {
    /// Prints one line. The fixed secret is zero, which careless code treats in its own way.
    fn measure<const N: usize, T>(&self, name: &str, function: impl Fn(&[[u8; 32]; N]) -> T) {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let mut times = Vec::with_capacity(self.samples);
        let warm_up = self.samples / 10;
        for sample in 0..self.samples + warm_up {
            // Both classes are drawn, and copied, in the same way.
            let random = rng.next_u32() & 1 == 1;
            let mut secret = [[0; 32]; N];
            rng.fill_bytes(secret.as_flattened_mut());
            let keep = if random { 0xff } else { 0 };
            let bytes = secret.as_flattened_mut().iter_mut();
            bytes.for_each(|byte| *byte &= black_box(keep));
            let secret = black_box(secret);
            let start = Instant::now();
            let result = black_box(function(&secret));
            let time = start.elapsed().as_nanos();
            drop(result);
            if sample >= warm_up {
                times.push((u32::try_from(time).unwrap_or(u32::MAX), random));
            }
        }
        times.sort_unstable();
        let (median, _) = times[times.len() / 2];
        println!("{name:<44} {median:>12} {:>8.1}", largest_t(&times));
    }
}

/// The largest |t| over all percentiles of ascending times.
fn largest_t(times: &[(u32, bool)]) -> f64 {
    let crops = (1..=100).map(|i| 1.0 - 0.5_f64.powf(10.0 * f64::from(i) / 100.0));
    let mut crops = crops.chain([1.0]).peekable();
    let mut classes = [Moments::default(); 2];
    let mut largest = 0.0_f64;
    let mut seen = 0_u32;
    // Equal times stay together: a cut between them would fall between the classes.
    for equal in times.chunk_by(|(a, _), (b, _)| a == b) {
        for (time, random) in equal {
            classes[usize::from(*random)].add(f64::from(*time));
            seen += 1;
        }
        let share = f64::from(seen) / f64::from(u32::try_from(times.len()).unwrap());
        while crops.next_if(|crop| share >= *crop).is_some() {
            largest = largest.max(t(&classes).abs());
        }
    }
    largest
}

/// Welch's t.
fn t([a, b]: &[Moments; 2]) -> f64 {
    // With few measurements, or all the same, t says nothing.
    if a.count < 1_000.0 || b.count < 1_000.0 {
        return 0.0;
    }
    let error = a.squares / (a.count - 1.0) / a.count + b.squares / (b.count - 1.0) / b.count;
    if error == 0.0 {
        return 0.0;
    }
    (a.mean - b.mean) / error.sqrt()
}

/// Mean and sum of squared differences from it (Welford).
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }
}
