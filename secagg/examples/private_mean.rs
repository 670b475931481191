//! The mean of temperatures, weighted by how many readings each client has, two of which get lost.
//!
//! The server is trusted to follow the protocol here, so clients need no identities; both sides
//! have to name this weaker model. Real numbers travel in fixed point, and how many readings a
//! client has is as private as what they say.
//!
//! `cargo run -p secagg --example private_mean`

use std::error::Error;

use getrandom::{SysRng, rand_core::UnwrapErr};
use secagg::{
    Assumptions, Bound, ClientId, Context, GraphKind, Layout, Member, Parameters, Policy, Segment,
    Session, ThreatModel, Vector,
    client::{AwaitRoster, Unmasking},
    server::{AfterMasked, CollectAdverts},
};

const READINGS: [&[f64]; 8] = [
    &[19.5, 21.0],
    &[-3.25],
    &[0.0, 0.5, 1.0],
    &[30.125],
    &[12.5, 12.5],
    &[-40.0],
    &[8.0, 9.0, 10.0, 11.0],
    &[55.0],
];
/// The last two clients vanish before they upload.
const STAY: usize = 6;

/// Readings lie above this many degrees: ring elements are not negative.
const LOWEST: f64 = -64.0;
/// A step of the fixed point is 2^-16 degrees.
const STEPS: f64 = 65_536.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = UnwrapErr(SysRng);
    let layout = Layout::new(vec![
        Segment::new("degrees", 1, 48)?,
        Segment::new("readings", 1, 32)?,
    ])?;
    let model = ThreatModel::HonestButCurious;
    let parameters = Parameters::new(model, GraphKind::Complete, 4..=100, layout)?;
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce)?;
    let context = Context {
        round: 1,
        nonce,
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    let session = Session::new(parameters, context);
    let policy = Policy {
        threat_model: model,
        min_survivors: 4,
        ..Policy::default()
    };

    let mut collect = CollectAdverts::new(session.clone(), None);
    let mut clients = Vec::new();
    for readings in READINGS {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let id = ClientId::from_identity_key(&key);
        let member = Member::unsigned(id);
        let (state, advert) = AwaitRoster::start(session.clone(), member, policy, &mut rng)?;
        collect.receive(id, advert)?;
        clients.push((id, readings, state));
    }

    let cohort = u32::try_from(clients.len())?;
    let (corrupt, dropped) = (Bound::Clients(1), Bound::Clients(2));
    let choice = Assumptions::new(model, GraphKind::Complete, cohort, corrupt, dropped).choose()?;
    let mut collect = collect.close(choice.degree(), choice.threshold())?;
    let mut shared = Vec::new();
    for (id, readings, state) in clients {
        let roster = collect.roster_for(id).ok_or("it advertised")?;
        let (state, shares) = state.receive(roster, &mut rng)?;
        collect.receive(id, shares)?;
        shared.push((id, readings, state));
    }

    let mut collect = collect.close()?;
    let mut uploaded = Vec::new();
    for (id, readings, state) in shared.into_iter().take(STAY) {
        let state = state.receive(collect.delivery_for(id).ok_or("it shared its keys")?)?;
        let degrees: u64 = readings.iter().map(|reading| to_ring(*reading)).sum();
        let input = Vector::builder(&session)
            .segment("degrees", [degrees])?
            .segment("readings", [readings.len() as u64])?
            .build()?;
        let (state, masked) = state.mask(&input)?;
        collect.receive(id, &masked)?;
        uploaded.push((id, state));
    }

    let AfterMasked::Unmask(mut collect) = collect.close()? else {
        return Err("clients trust the server in this session".into());
    };
    for (id, state) in uploaded {
        let Unmasking::Reveal(shares) = state.receive(collect.survivors())? else {
            return Err("clients trust the server in this session".into());
        };
        collect.receive(id, shares)?;
    }
    let outcome = collect.close()?;
    let total = |name| outcome.sum.segment(name).and_then(|mut only| only.next());
    let degrees = total("degrees").ok_or("it is in the layout")?;
    let readings = total("readings").ok_or("it is in the layout")?;
    let mean = degrees as f64 / STEPS / readings as f64 + LOWEST;
    println!("{readings} readings of {STAY} clients, {mean:.4} degrees on average");

    let plain: Vec<f64> = READINGS[..STAY].concat();
    assert_eq!(readings, plain.len() as u64);
    let expected = plain.iter().sum::<f64>() / plain.len() as f64;
    assert!(
        (mean - expected).abs() < 1.0 / STEPS,
        "{mean}, not {expected}"
    );
    Ok(())
}

/// A reading in steps above the lowest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn to_ring(reading: f64) -> u64 {
    ((reading.clamp(LOWEST, -LOWEST) - LOWEST) * STEPS).round() as u64
}
