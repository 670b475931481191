//! How old are our users? A histogram over ten clients that do not trust the server: each says
//! which bucket is its own, and the server learns how many are in each.
//!
//! Everything happens in one thread, to show the order of things; messages are handed over as they
//! are. See `sum_between_threads` for messages as bytes.
//!
//! `cargo run -p secagg --example private_histogram`
#![expect(
    clippy::disallowed_types,
    reason = "the protocol has no clock; its callers have"
)]

use std::{
    error::Error,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use getrandom::{SysRng, rand_core::UnwrapErr};
use secagg::{
    Assumptions, Bound, Context, Federation, GraphKind, Layout, Member, Parameters, Policy,
    Segment, Session, SigningIdentity, ThreatModel, Trust, TrustedAuthority, Vector,
    client::{AwaitRoster, Unmasking},
    server::{AfterMasked, CollectAdverts},
};

const BUCKETS: [&str; 5] = [
    "under 20",
    "20 to 39",
    "40 to 59",
    "60 to 79",
    "80 and over",
];
const AGES: [u64; 10] = [17, 23, 25, 31, 38, 44, 52, 59, 67, 91];

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = UnwrapErr(SysRng);
    let random = || {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map(|()| bytes)
    };

    // Enough bits that the count of the largest cohort fits.
    let buckets = u32::try_from(BUCKETS.len())?;
    let layout = Layout::new(vec![Segment::new("age", buckets, 8)?])?;
    let parameters = Parameters::new(ThreatModel::Malicious, GraphKind::Complete, 5..=20, layout)?;
    let context = Context {
        round: 1,
        nonce: random()?,
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    let session = Session::new(parameters, context);

    let authority = SigningIdentity::from_seed(&random()?);
    let federation = Federation(random()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let trust: Arc<dyn Trust> = Arc::new(TrustedAuthority {
        key: authority.public(),
        federation,
        now,
    });
    // What a client insists on, whatever the server says: nobody counts in fewer than five.
    let policy = Policy {
        min_cohort: 5,
        min_survivors: 5,
        ..Policy::default()
    };

    let mut collect = CollectAdverts::new(session.clone(), Some(trust.clone()));
    let mut clients = Vec::new();
    for age in AGES {
        let key = Arc::new(SigningIdentity::from_seed(&random()?));
        let credential = authority.issue(key.public(), federation, now + 3_600);
        let member = Member::signed(key, credential, trust.clone())?;
        let id = member.id();
        let (state, advert) = AwaitRoster::start(session.clone(), member, policy, &mut rng)?;
        collect.receive(id, advert)?;
        clients.push((id, age, state));
    }

    // At most one client in ten is corrupt, at most one in five gets lost.
    let cohort = u32::try_from(clients.len())?;
    let (corrupt, dropped) = (Bound::Fraction(0.1), Bound::Fraction(0.2));
    let (model, graph) = (ThreatModel::Malicious, GraphKind::Complete);
    let choice = Assumptions::new(model, graph, cohort, corrupt, dropped).choose()?;
    let mut collect = collect.close(choice.degree(), choice.threshold())?;
    let mut shared = Vec::new();
    for (id, age, state) in clients {
        let roster = collect.roster_for(id).ok_or("it advertised")?;
        let (state, shares) = state.receive(roster, &mut rng)?;
        collect.receive(id, shares)?;
        shared.push((id, age, state));
    }

    let mut collect = collect.close()?;
    let mut uploaded = Vec::new();
    for (id, age, state) in shared {
        let state = state.receive(collect.delivery_for(id).ok_or("it shared its keys")?)?;
        let own = (age / 20).min(u64::from(buckets) - 1);
        let one_hot = (0..u64::from(buckets)).map(|bucket| u64::from(bucket == own));
        let input = Vector::builder(&session).segment("age", one_hot)?.build()?;
        let (state, masked) = state.mask(&input)?;
        collect.receive(id, &masked)?;
        uploaded.push((id, state));
    }

    let AfterMasked::Check(mut collect) = collect.close()? else {
        return Err("the session is in the malicious model".into());
    };
    let mut signed = Vec::new();
    for (id, state) in uploaded {
        let Unmasking::Check(state, check) = state.receive(collect.survivors())? else {
            return Err("the session is in the malicious model".into());
        };
        collect.receive(id, &check)?;
        signed.push((id, state));
    }

    let mut collect = collect.close()?;
    for (id, state) in signed {
        let signatures = collect.signatures_for(id).ok_or("it is a survivor")?;
        collect.receive(id, state.receive(signatures)?)?;
    }
    let sum = collect.close()?.sum;
    let counts: Vec<u64> = sum.segment("age").ok_or("it is in the layout")?.collect();
    for (bucket, count) in BUCKETS.iter().zip(&counts) {
        println!("{bucket:<12} {count}");
    }
    assert_eq!(counts, [1, 4, 3, 1, 1]);
    Ok(())
}
