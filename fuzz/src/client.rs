//! A client against an arbitrary server.
//!
//! The server shows it a roster of adverts that are honest, changed or invented, delivers any boxes,
//! names any survivors and passes on any signatures. What the client may accept follows from the
//! bytes that it was sent, and what it reveals must follow from them too.

mod server;

use secagg::{
    Delivery, Policy, Roster, Session, Signatures, Survivors, ThreatModel, UnmaskShares,
    client::{AwaitRoster, AwaitSignatures, ClientError, Unmasking},
};

use self::server::{Boxes, Shown, Signed};
use crate::{
    choices::Choices,
    cohort::{self, people},
};

/// Shows one client what the bytes stand for.
///
/// # Panics
///
/// When the client accepts what it must refuse, refuses what is right, or reveals what it must not.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let session = cohort::session(&mut choices);
    let client = choices.below(people().len());
    let policy = policy(&mut choices);
    let member = people()[client].member.clone();
    let started = AwaitRoster::start(
        session.clone(),
        member,
        policy,
        &mut cohort::coins(client, 1),
    );
    let model = session.parameters().threat_model();
    let (state, advert) = match started {
        Ok(started) => started,
        Err(error) => {
            assert!(
                model < policy.threat_model || !policy.sparse_graph,
                "the session is within the policy: {error}"
            );
            return;
        }
    };

    let Some(roster) = server::roster(&session, client, &advert, &mut choices) else {
        return;
    };
    let Ok(decoded) = Roster::decode(&roster, &session) else {
        return;
    };
    let Ok((state, shares)) = state.receive(decoded.clone(), &mut cohort::coins(client, 2)) else {
        return;
    };
    let shown = Shown::new(&session, client, &roster);
    shown.within(&session, &policy);
    assert!(
        shown.adverts.contains(&advert.encode(&session)[18..]),
        "its own, unchanged"
    );
    assert_eq!(shares.encode(&session).len(), 18 + 4 + 80 * shown.degree);

    let boxes = Boxes::any(&shown, &mut choices);
    let delivery = Delivery::decode(&boxes.message(&session), &session);
    let Ok(delivery) = delivery else {
        return;
    };
    let enough = boxes.sharers.len() == shown.degree && boxes.count() >= shown.threshold;
    let ready = match state.receive(delivery) {
        Ok(ready) => ready,
        Err(error) => {
            assert!(!enough, "refused: {error}");
            return;
        }
    };
    assert!(enough, "boxes of fewer neighbours than the threshold");
    let masked = ready.mask(&cohort::input(&session, client));
    let (state, _) = masked.expect("the input is within the session's limit");

    let survivors = server::survivors(&shown, &mut choices);
    let message = server::survivors_message(&session, &survivors);
    let Ok(set) = Survivors::decode(&message, &session) else {
        return;
    };
    let accepted = accepts(&shown, &boxes, &survivors, &policy);
    let answer = match state.receive(set.clone()) {
        Ok(answer) => answer,
        Err(error) => {
            assert!(!accepted, "refused: {error}");
            return;
        }
    };
    assert!(accepted, "a set of survivors that it must refuse");
    let revealed = match answer {
        Unmasking::Reveal(shares) => {
            assert_eq!(model, ThreatModel::HonestButCurious);
            Some(shares)
        }
        Unmasking::Check(state, _) => {
            assert_eq!(model, ThreatModel::Malicious);
            let signed = Signed::any(&session, &decoded, &shown, &set, &mut choices);
            check(state, &session, &shown, &survivors, &signed)
        }
    };
    if let Some(revealed) = revealed {
        reveals(&session, &shown, &boxes, &survivors, &revealed);
    }
}

/// Floors around what the sessions and rosters are.
fn policy(choices: &mut Choices<'_>) -> Policy {
    let byte = choices.byte();
    Policy {
        threat_model: match byte {
            0..0xe0 => ThreatModel::HonestButCurious,
            _ => ThreatModel::Malicious,
        },
        sparse_graph: byte < 0xf0,
        max_corrupt: u32::from(choices.byte() % 4),
        security_bits: *choices.one_of(&[1, 10, 40, 80]),
        min_cohort: 3 + u32::from(choices.byte() % 4),
        min_survivors: 3 + u32::from(choices.byte() % 4),
        max_bits: 64,
        max_vector_bytes: 1 << 20,
    }
}

/// Whether a client that was shown this may help to open such a sum (V-18 to V-21).
fn accepts(shown: &Shown, boxes: &Boxes, survivors: &[bool], policy: &Policy) -> bool {
    let count = survivors.iter().filter(|survives| **survives).count();
    let mut neighbours = 0;
    for (position, rank) in shown.neighbours.iter().enumerate() {
        if survivors.get(*rank) == Some(&true) {
            if !boxes.sharers[position] {
                return false;
            }
            neighbours += 1;
        }
    }
    survivors.len() == shown.cohort
        && survivors[shown.rank]
        && count >= policy.min_survivors as usize
        && neighbours >= shown.threshold
}

/// The client reveals if, and only if, at least t distinct neighbours among the survivors have
/// signed its own set.
fn check(
    state: AwaitSignatures,
    session: &Session,
    shown: &Shown,
    survivors: &[bool],
    signed: &Signed,
) -> Option<UnmaskShares> {
    let signatures = Signatures::decode(&signed.message(session), session).ok()?;
    let neighbours = shown.neighbours.iter().zip(&signed.counts);
    let valid = neighbours.filter(|(rank, counts)| **counts && survivors[**rank]);
    let enough = signed.counts.len() == shown.degree && valid.count() >= shown.threshold;
    match state.receive(signatures) {
        Ok(shares) => {
            assert!(enough, "too few have signed its set");
            Some(shares)
        }
        Err(ClientError::BelowFloor { .. } | ClientError::WrongSize { .. }) => {
            assert!(!enough, "enough have signed its set");
            None
        }
        Err(error) => panic!("no reason to refuse signatures: {error}"),
    }
}

/// One share a neighbour in U2: of the self mask if it survived, of the mask seed if not; nothing
/// where its box did not open.
fn reveals(
    session: &Session,
    shown: &Shown,
    boxes: &Boxes,
    survivors: &[bool],
    revealed: &UnmaskShares,
) {
    let mut expected = revealed.encode(session)[..18].to_vec();
    expected.extend((boxes.count() as u32).to_le_bytes());
    let mut contents = boxes.boxes.iter();
    for (position, rank) in shown.neighbours.iter().enumerate() {
        if !boxes.sharers[position] {
            continue;
        }
        let sealed = contents.next().expect("a box for each sharer");
        let (mask_share, self_share) = sealed[..64].split_at(32);
        if sealed[64..] != [0; 16] {
            expected.push(0);
        } else if survivors[*rank] {
            expected.push(1);
            expected.extend(self_share);
        } else {
            expected.push(2);
            expected.extend(mask_share);
        }
    }
    assert_eq!(revealed.encode(session), expected, "no share but these");
}
