//! Private numbers of seven clients, each a thread, are summed over channels. The server is not
//! trusted, and one client vanishes after it shared its keys.
//!
//! `cargo run -p secagg --example sum_between_threads`
#![expect(
    clippy::disallowed_types,
    reason = "the protocol has no clock; its callers have"
)]

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use getrandom::{SysRng, rand_core::UnwrapErr};
use secagg::{
    Advert, Assumptions, Bound, ClientId, ConsistencyCheck, Context, Delivery, Federation,
    GraphKind, Layout, MaskedInput, Member, Parameters, Policy, Roster, Segment, Session,
    ShareKeys, Signatures, SigningIdentity, Survivors, ThreatModel, Trust, TrustedAuthority,
    UnmaskShares, Vector,
    client::{AwaitRoster, Unmasking},
    server::{AfterMasked, CollectAdverts},
};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CLIENTS: u32 = 7;

/// One end of a client's authenticated channel: whoever holds the other end is that client.
struct Link {
    up: Receiver<Vec<u8>>,
    down: Sender<Vec<u8>>,
}

fn main() -> Done<()> {
    // The authority enrols clients. It is needed nowhere in a round.
    let authority = SigningIdentity::from_seed(&random()?);
    let federation = Federation(random()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let trust: Arc<dyn Trust> = Arc::new(TrustedAuthority {
        key: authority.public(),
        federation,
        now,
    });

    let layout = Layout::new(vec![Segment::new("numbers", 2, 32)?])?;
    let cohort = 5..=CLIENTS;
    let parameters = Parameters::new(ThreatModel::Malicious, GraphKind::Complete, cohort, layout)?;
    let context = Context {
        round: 1,
        nonce: random()?,
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    let session = Session::new(parameters, context);

    let mut links = BTreeMap::new();
    let mut clients = Vec::new();
    for number in 1..=u64::from(CLIENTS) {
        let key = Arc::new(SigningIdentity::from_seed(&random()?));
        let credential = authority.issue(key.public(), federation, now + 3_600);
        let member = Member::signed(key, credential, trust.clone())?;
        let (up, from_client) = channel();
        let (down, from_server) = channel();
        let (up_link, session) = (
            Link {
                up: from_client,
                down,
            },
            session.clone(),
        );
        links.insert(member.id(), up_link);
        let vanishes = number == u64::from(CLIENTS);
        clients.push(thread::spawn(move || {
            take_part(
                session,
                member,
                [number, 100 * number],
                vanishes,
                &up,
                &from_server,
            )
        }));
    }

    let sum = serve(&session, trust, links)?;
    for client in clients {
        client.join().map_err(|_| "a client panicked")??;
    }
    println!("the sum of those who stayed: {sum:?}");
    assert_eq!(sum, [1 + 2 + 3 + 4 + 5 + 6, 2_100]);
    Ok(())
}

/// A client, from its keys to the shares that it reveals about others.
fn take_part(
    session: Session,
    member: Member,
    numbers: [u64; 2],
    vanishes: bool,
    up: &Sender<Vec<u8>>,
    down: &Receiver<Vec<u8>>,
) -> Done<()> {
    let mut rng = UnwrapErr(SysRng);
    let (state, advert) = AwaitRoster::start(session.clone(), member, Policy::default(), &mut rng)?;
    up.send(advert.encode(&session))?;

    let roster = Roster::decode(&down.recv()?, &session)?;
    let (state, shares) = state.receive(roster, &mut rng)?;
    up.send(shares.encode(&session))?;

    let state = state.receive(Delivery::decode(&down.recv()?, &session)?)?;
    if vanishes {
        return Ok(());
    }
    let input = Vector::builder(&session)
        .segment("numbers", numbers)?
        .build()?;
    let (state, masked) = state.mask(&input)?;
    up.send(masked.into_vec())?;

    let survivors = Survivors::decode(&down.recv()?, &session)?;
    let Unmasking::Check(state, check) = state.receive(survivors)? else {
        return Err("the session is in the malicious model".into());
    };
    up.send(check.encode(&session))?;

    let signatures = Signatures::decode(&down.recv()?, &session)?;
    up.send(state.receive(signatures)?.encode(&session))?;
    Ok(())
}

/// The server, which learns the sum. A channel whose client is gone is closed; over a network one
/// would wait until a deadline.
fn serve(
    session: &Session,
    trust: Arc<dyn Trust>,
    links: BTreeMap<ClientId, Link>,
) -> Done<Vec<u64>> {
    let mut collect = CollectAdverts::new(session.clone(), Some(trust));
    for (id, link) in &links {
        collect.receive(*id, Advert::decode(&link.up.recv()?, session)?)?;
    }

    // One client may be corrupt, and one may be lost.
    let (model, graph) = (ThreatModel::Malicious, GraphKind::Complete);
    let (corrupt, dropped) = (Bound::Clients(1), Bound::Clients(1));
    let choice = Assumptions::new(model, graph, CLIENTS, corrupt, dropped).choose()?;
    let mut collect = collect.close(choice.degree(), choice.threshold())?;
    for (id, link) in &links {
        let roster = collect.roster_for(*id).ok_or("not in the roster")?;
        let _ = link.down.send(roster.encode(session));
        match link.up.recv() {
            Ok(bytes) => collect.receive(*id, ShareKeys::decode(&bytes, session)?)?,
            Err(_) => collect.drop_client(*id),
        }
    }

    let mut collect = collect.close()?;
    for (id, link) in &links {
        let Some(delivery) = collect.delivery_for(*id) else {
            continue;
        };
        let _ = link.down.send(delivery.encode(session));
        match link.up.recv() {
            Ok(bytes) => collect.receive(*id, &MaskedInput::from_vec(bytes, session)?)?,
            Err(_) => collect.drop_client(*id),
        }
    }

    let AfterMasked::Check(mut collect) = collect.close()? else {
        return Err("the session is in the malicious model".into());
    };
    let survivors = collect.survivors().encode(session);
    for id in collect.clients() {
        let link = &links[&id];
        let _ = link.down.send(survivors.clone());
        match link.up.recv() {
            Ok(bytes) => collect.receive(id, &ConsistencyCheck::decode(&bytes, session)?)?,
            Err(_) => collect.drop_client(id),
        }
    }

    let mut collect = collect.close()?;
    for id in collect.clients() {
        let link = &links[&id];
        let signatures = collect.signatures_for(id).ok_or("it is a survivor")?;
        let _ = link.down.send(signatures.encode(session));
        match link.up.recv() {
            Ok(bytes) => collect.receive(id, UnmaskShares::decode(&bytes, session)?)?,
            Err(_) => collect.drop_client(id),
        }
    }
    let outcome = collect.close()?;
    for (id, phase) in &outcome.lost {
        println!("lost in {phase}: {id}");
    }
    let numbers = outcome
        .sum
        .segment("numbers")
        .ok_or("it is in the layout")?;
    Ok(numbers.collect())
}

fn random() -> Done<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
