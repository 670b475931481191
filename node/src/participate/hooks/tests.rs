use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use secagg::{
    ClientId, Context, GraphKind, Layout, MaskedInput, Member, Parameters, Policy, Segment,
    Session, ThreatModel, client, server,
};
use secagg_learning::{
    Budget, Compression, LocalOptimizer, Parts, RoundKind, ServerOptimizerConfig, TrainingPlan,
    UpdatePlan,
};

use super::*;

#[test]
fn places_in_a_round_are_read() {
    for at in PausePoint::ALL {
        assert_eq!(
            format!("12:{}", at.as_str()).parse(),
            Ok(Pause { round: 12, at })
        );
    }
    for text in ["", "1", "1:", "x:train", "1:Train", "1:train:2", "-1:train"] {
        let text = text.to_owned();
        assert_eq!(text.parse::<Pause>(), Err(NotAPause { text }));
    }
}

#[test]
fn a_pause_is_for_its_round_and_phase_only() {
    let hooks = Hooks::pausing(["2:upload".parse().unwrap()]);
    assert!(hooks.pauses(2, PausePoint::Upload));
    assert!(!hooks.pauses(2, PausePoint::Unmask));
    assert!(!hooks.pauses(1, PausePoint::Upload));
}

fn dumping(folder: &Path) -> Hooks {
    HookArguments {
        pause_at: Vec::new(),
        dump_update: Some(folder.to_owned()),
        dump_round: Some(2),
        machine_root: None,
    }
    .hooks()
}

#[test]
fn updates_are_written_towards_loopback_only() {
    let hooks = dumping(Path::new("nowhere"));
    for local in [
        "127.0.0.1:1",
        "127.9.0.1:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert_eq!(hooks.check_peer(local.parse().unwrap()), Ok(()));
    }
    for address in ["10.0.0.1:1", "[2001:db8::1]:1", "0.0.0.0:1"] {
        let address = address.parse().unwrap();
        assert_eq!(hooks.check_peer(address), Err(NotLoopback { address }));
        assert_eq!(Hooks::default().check_peer(address), Ok(()));
    }
}

#[test]
fn only_the_chosen_round_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = dumping(folder.path());
    hooks.dump_masked(1, b"no");
    assert!(!folder.path().join("masked.bin").exists());
    hooks.dump_masked(2, b"yes");
    assert_eq!(fs::read(folder.path().join("masked.bin")).unwrap(), b"yes");
}

#[test]
fn the_clear_update_is_what_was_encoded() {
    let update = UpdatePlan {
        parameters: 3,
        clip_norm: 2.5,
        range: 0.9,
        value_bits: 16,
        weight_cap: 10,
        max_cohort: 3,
        compression: Compression::NONE,
        parts: Parts::ALL,
    };
    let training = TrainingPlan {
        budget: Budget::Epochs(1),
        batch: 1,
        optimizer: LocalOptimizer::Sgd { rate: 1.0 },
        gradient_clip: 1.0,
        max_words: 1,
        ..TrainingPlan::DEFAULT
    };
    let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    let plan = Plan::new(RoundKind::Train, update, training, server).unwrap();
    // A norm of 5 is halved; half the weight halves again; the second one is clamped.
    assert_eq!(scaled(&plan, &[3.0, -4.0, 0.0], 5), [0.75, -0.9, 0.0]);
}

/// The inverse of `packed`.
fn unpacked(bytes: &[u8], layout: &Layout) -> Vec<Vec<u64>> {
    let mut rest = bytes;
    let mut segments = Vec::new();
    for segment in layout.segments() {
        let (len, bits) = (segment.len() as usize, usize::from(segment.bits()));
        let vertical = if bits <= 24 { len / 512 * 512 } else { 0 };
        let mut elements = Vec::new();
        for _ in 0..vertical / 512 {
            let (group, after) = rest.split_at(64 * bits);
            rest = after;
            let bit = |row: usize, column: usize, at: usize| {
                let position = row * bits + at;
                let byte = (position / 32 * 16 + column) * 4 + position % 32 / 8;
                u64::from(group[byte] >> (position % 8) & 1)
            };
            elements.extend((0..512).map(|index| {
                (0..bits)
                    .map(|at| bit(index / 16, index % 16, at) << at)
                    .sum::<u64>()
            }));
        }
        let (last, after) = rest.split_at(((len - vertical) * bits).div_ceil(8));
        rest = after;
        elements.extend((0..len - vertical).map(|index| {
            let bit =
                |at| u64::from(last[(index * bits + at) / 8] >> ((index * bits + at) % 8) & 1);
            (0..bits).map(|at| bit(at) << at).sum::<u64>()
        }));
        segments.push(elements);
    }
    assert!(rest.is_empty());
    segments
}

/// A masked vector of `secagg` is unpacked here, something is added, and it is packed again: the
/// protocol's sum shows exactly what was added. So this packing is that of the wire.
#[test]
fn vectors_are_packed_as_on_the_wire() {
    let layout = Layout::new(vec![
        Segment::new("update", 512 * 2 + 37, 20).unwrap(),
        Segment::new("wide", 5, 48).unwrap(),
    ])
    .unwrap();
    let parameters = Parameters::new(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        3..=3,
        layout.clone(),
    )
    .unwrap();
    let context = Context {
        round: 1,
        nonce: [0; 32],
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    let session = Session::new(parameters, context);
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let policy = Policy {
        threat_model: ThreatModel::HonestButCurious,
        ..Policy::default()
    };
    let mut adverts = server::CollectAdverts::new(session.clone(), None);
    let mut clients = Vec::new();
    for number in 0..3 {
        let id = ClientId::from_bytes([number; 16]);
        let (state, advert) =
            client::AwaitRoster::start(session.clone(), Member::unsigned(id), policy, &mut rng)
                .unwrap();
        adverts.receive(id, advert).unwrap();
        clients.push((id, state));
    }
    let mut shares = adverts.close(2, 2).unwrap();
    let waiting: Vec<_> = clients
        .into_iter()
        .map(|(id, state)| {
            let roster = shares.roster_for(id).unwrap();
            let (state, message) = state.receive(roster, &mut rng).unwrap();
            shares.receive(id, message).unwrap();
            (id, state)
        })
        .collect();
    let mut collect = shares.close().unwrap();
    let zero = Vector::zero(&layout);
    let added: Vec<Vec<u64>> = layout
        .segments()
        .iter()
        .map(|segment| (0..u64::from(segment.len())).map(|n| n * 31 + 1).collect())
        .collect();
    let mut uploaded = Vec::new();
    for (id, state) in waiting {
        let ready = state.receive(collect.delivery_for(id).unwrap()).unwrap();
        let (state, masked) = ready.mask(&zero).unwrap();
        let mut bytes = masked.into_vec();
        if uploaded.is_empty() {
            let header = bytes.len() - layout.packed_len();
            let mut elements = unpacked(&bytes[header..], &layout);
            let mut sum = packed_sum(&layout, &mut elements, &added);
            bytes.truncate(header);
            bytes.append(&mut sum);
        }
        collect
            .receive(id, &MaskedInput::from_vec(bytes, &session).unwrap())
            .unwrap();
        uploaded.push((id, state));
    }
    let server::AfterMasked::Unmask(mut collect) = collect.close().unwrap() else {
        panic!("this round has no consistency check");
    };
    for (id, state) in uploaded {
        let client::Unmasking::Reveal(message) = state.receive(collect.survivors()).unwrap() else {
            panic!("this round has no consistency check");
        };
        collect.receive(id, message).unwrap();
    }
    let outcome = collect.close().unwrap();
    for (segment, added) in layout.segments().iter().zip(&added) {
        assert!(
            outcome
                .sum
                .segment(segment.name())
                .unwrap()
                .eq(added.iter().copied())
        );
    }
}

/// Adds modulo 2^b and packs as the hooks do.
fn packed_sum(layout: &Layout, elements: &mut [Vec<u64>], added: &[Vec<u64>]) -> Vec<u8> {
    let mut out = Vec::new();
    for ((segment, elements), added) in layout.segments().iter().zip(elements).zip(added) {
        for (element, added) in elements.iter_mut().zip(added) {
            *element = (*element + added) & segment.max_element();
        }
        pack_segment(elements, segment.bits(), &mut out);
    }
    out
}
