use secagg::{GraphKind, Layout, Segment, ThreatModel};
use secagg_learning::{
    Budget, Compression, LocalOptimizer, Parts, ServerOptimizerConfig, TrainingPlan, UpdatePlan,
    plan::{COUNTERS_SEGMENT, UPDATE_SEGMENT},
};
use secagg_wire::plan::encode_plan;
use tempfile::TempDir;

use super::*;
use crate::model::{ModelDescription, Sizes};
use crate::participate::{ledger::Upload, policy::POLICY_FILE};
use crate::vocabulary::Vocabulary;

const TEXT: TextCounts = TextCounts {
    training: 9,
    held_out: 1,
};

/// Seconds since 1970.
const NOW: u64 = 1_700_000_000;

fn model() -> FederationModel {
    let vocabulary = Vocabulary::from_text(["see you soon"], 7).unwrap();
    let sizes = Sizes {
        vocabulary: 7,
        embedding: 2,
        units: 3,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    FederationModel {
        files: ModelFiles::new(description, vocabulary).unwrap(),
        description: Digest::of(b"description"),
        vocabulary: Digest::of(b"vocabulary"),
        initial: FileDigest::of(b"initial"),
    }
}

fn plan(kind: RoundKind, parameters: usize) -> Plan {
    let update = UpdatePlan {
        parameters: u32::try_from(parameters).unwrap(),
        clip_norm: 1.0,
        range: 1.0,
        value_bits: 16,
        weight_cap: 10,
        max_cohort: 8,
        compression: Compression::NONE,
        parts: Parts::ALL,
    };
    let training = TrainingPlan {
        budget: Budget::Epochs(1),
        batch: 4,
        optimizer: LocalOptimizer::Sgd { rate: 0.1 },
        gradient_clip: 1.0,
        max_words: 9,
        ..TrainingPlan::DEFAULT
    };
    Plan::new(
        kind,
        update,
        training,
        ServerOptimizerConfig::FedAvg { rate: 1.0 },
    )
    .unwrap()
}

fn announcement(
    plan: &Plan,
    cohort: std::ops::RangeInclusive<u32>,
    layout: Layout,
) -> Announcement {
    let (threat_model, graph) = (ThreatModel::Malicious, GraphKind::Complete);
    Announcement {
        round: 3,
        attempt: 1,
        parameters: Parameters::new(threat_model, graph, cohort, layout)
            .unwrap()
            .encode(),
        nonce: [7; 32],
        plan: encode_plan(plan).unwrap(),
        weights: FileDigest {
            sha256: Digest::of(b"weights"),
            len: 600,
        },
        following: None,
    }
}

fn good() -> Announcement {
    let plan = plan(RoundKind::Train, model().files.description.parameters());
    announcement(&plan, 3..=8, plan.layout())
}

/// A policy with one line changed.
fn policy_with(line: &str, other: &str) -> NodePolicy {
    let folder = tempfile::tempdir().unwrap();
    NodePolicy::default().write_new(folder.path()).unwrap();
    let path = folder.path().join(POLICY_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(line), "{text}");
    std::fs::write(&path, text.replace(line, other)).unwrap();
    NodePolicy::read(folder.path()).unwrap()
}

fn ledger() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    (folder, ledger)
}

fn upload(session: &Session, attempt: u32) -> Entry {
    let step = Step::Upload(Upload {
        model: Hash::from_bytes(session.context().model_digest),
        roster: Hash::from_bytes([8; 32]),
        round_id: Hash::from_bytes([9; 32]),
        cohort: 5,
        degree: 4,
        threshold: 3,
    });
    Entry::new(NOW, session, attempt, step)
}

fn refused(announcement: &Announcement, policy: &NodePolicy, text: TextCounts) -> Refusal {
    let (_folder, ledger) = ledger();
    announcement
        .check(&model(), policy, &ledger, text, NOW)
        .unwrap_err()
}

fn says(refusal: &Refusal) -> String {
    match refusal.decline_reason() {
        DeclineReason::Policy(reason) => format!("policy: {reason}"),
        DeclineReason::Other(reason) => format!("other: {reason}"),
        reason => format!("{reason:?}"),
    }
}

#[test]
fn a_good_announcement_is_accepted_whatever_its_kind() {
    let (_folder, ledger) = ledger();
    let policy = NodePolicy::default();
    let assignment = good().check(&model(), &policy, &ledger, TEXT, NOW).unwrap();
    assert_eq!(assignment.plan.kind(), RoundKind::Train);
    let plan = plan(
        RoundKind::EvaluateOnly,
        model().files.description.parameters(),
    );
    let evaluation = announcement(&plan, 3..=8, plan.layout());
    evaluation
        .check(&model(), &policy, &ledger, TEXT, NOW)
        .unwrap();
}

#[test]
fn another_model_or_plan_gives_another_session() {
    let (_folder, ledger) = ledger();
    let policy = NodePolicy::default();
    let check = |model: &FederationModel| good().check(model, &policy, &ledger, TEXT, NOW).unwrap();
    let weights = Digest::of(b"weights");
    let session = *check(&model()).session(&weights).id();
    assert_eq!(session, *check(&model()).session(&weights).id());
    assert_ne!(
        session,
        *check(&model()).session(&Digest::of(b"others")).id()
    );
    let other = FederationModel {
        vocabulary: Digest::of(b"another vocabulary"),
        ..model()
    };
    assert_ne!(session, *check(&other).session(&weights).id());
    let evaluation = plan(
        RoundKind::EvaluateOnly,
        model().files.description.parameters(),
    );
    let other = announcement(&evaluation, 3..=8, evaluation.layout());
    let other = other.check(&model(), &policy, &ledger, TEXT, NOW).unwrap();
    assert_ne!(session, *other.session(&weights).id());
}

#[test]
fn bytes_that_are_no_parameters_or_plan_are_refused() {
    let policy = NodePolicy::default();
    let mut bad = good();
    bad.parameters.push(0);
    let refusal = refused(&bad, &policy, TEXT);
    assert!(
        matches!(refusal, Refusal::Parameters(DecodeError::Trailing { .. })),
        "{refusal:?}"
    );
    assert!(
        says(&refusal).starts_with("other: the announced parameters"),
        "{refusal}"
    );
    let mut bad = good();
    bad.plan.push(0);
    let refusal = refused(&bad, &policy, TEXT);
    assert!(matches!(
        refusal,
        Refusal::Plan(PlanBytesError::TrailingBytes { extra: 1 })
    ));
    assert!(
        says(&refusal).starts_with("other: the announced plan"),
        "{refusal}"
    );
}

#[test]
fn cohorts_outside_the_policy_or_the_plan_are_refused() {
    let refusal = refused(
        &good(),
        &policy_with("min_cohort = 3", "min_cohort = 4"),
        TEXT,
    );
    assert!(matches!(
        refusal,
        Refusal::SmallCohort {
            cohort: 3,
            floor: 4
        }
    ));
    assert_eq!(
        says(&refusal),
        "policy: the round may start with 3 nodes, this node's policy asks for 4"
    );
    let plan = plan(RoundKind::Train, model().files.description.parameters());
    let large = announcement(&plan, 3..=9, plan.layout());
    let refusal = refused(&large, &NodePolicy::default(), TEXT);
    assert!(matches!(
        refusal,
        Refusal::LargeCohort { cohort: 9, plan: 8 }
    ));
    assert!(says(&refusal).starts_with("policy: "), "{refusal}");
}

#[test]
fn a_plan_for_another_model_and_another_layout_are_refused() {
    let parameters = model().files.description.parameters();
    let other = plan(RoundKind::Train, parameters + 1);
    let other = announcement(&other, 3..=8, other.layout());
    let refusal = refused(&other, &NodePolicy::default(), TEXT);
    assert!(matches!(refusal, Refusal::OtherModel { plan, model }
        if plan as usize == parameters + 1 && model == parameters));

    let plan = plan(RoundKind::Train, parameters);
    let bits = plan.modulus_bits();
    let length = u32::try_from(parameters).unwrap();
    let update = |bits| Segment::new(UPDATE_SEGMENT, length, bits).unwrap();
    let counters = |bits| Segment::new(COUNTERS_SEGMENT, 7, bits).unwrap();
    let right = plan.layout().segment(COUNTERS_SEGMENT).unwrap().bits();
    for segments in [
        vec![update(bits + 1), counters(right)],
        vec![update(bits), counters(right - 1)],
        vec![counters(right), update(bits)],
        vec![update(bits)],
        vec![
            update(bits),
            counters(right),
            Segment::new("more", 1, 8).unwrap(),
        ],
    ] {
        let other = announcement(&plan, 3..=8, Layout::new(segments).unwrap());
        let refusal = refused(&other, &NodePolicy::default(), TEXT);
        assert!(matches!(refusal, Refusal::Layout), "{refusal:?}");
        assert!(
            says(&refusal).starts_with("policy: the layout"),
            "{refusal}"
        );
    }
}

#[test]
fn more_than_the_policy_lets_compute_is_refused() {
    let counters = secagg_learning::Counter::ALL.len() as u64;
    let elements = model().files.description.parameters() as u64 + counters;
    let limit = format!("max_elements = {}", elements - 1);
    let default = format!("max_elements = {}", NodePolicy::default().max_elements());
    let refusal = refused(&good(), &policy_with(&default, &limit), TEXT);
    assert!(
        matches!(refusal, Refusal::TooManyElements { elements: found, allowed }
        if found == elements && allowed == elements - 1)
    );
    // 16 bits a value, 8 nodes: 19 bits an element.
    let refusal = refused(
        &good(),
        &policy_with("max_bits = 40", "max_bits = 18"),
        TEXT,
    );
    assert!(matches!(
        refusal,
        Refusal::TooManyBits {
            bits: 19,
            allowed: 18
        }
    ));
    let mut large = good();
    large.weights.len = model().weights_cap() + 1;
    let refusal = refused(&large, &NodePolicy::default(), TEXT);
    assert!(matches!(refusal, Refusal::WeightsTooLarge { len, cap } if len == cap + 1));
    assert!(
        says(&refusal).starts_with("policy: weights of "),
        "{refusal}"
    );
}

#[test]
fn a_node_without_text_for_the_round_says_so() {
    let policy = NodePolicy::default();
    let only_held_out = TextCounts {
        training: 0,
        held_out: 5,
    };
    let refusal = refused(&good(), &policy, only_held_out);
    assert!(matches!(refusal, Refusal::NoText));
    assert_eq!(refusal.decline_reason(), DeclineReason::NoText);
    let only_training = TextCounts {
        training: 5,
        held_out: 0,
    };
    let plan = plan(
        RoundKind::EvaluateOnly,
        model().files.description.parameters(),
    );
    let evaluation = announcement(&plan, 3..=8, plan.layout());
    assert!(matches!(
        refused(&evaluation, &policy, only_training),
        Refusal::NoText
    ));
}

#[test]
fn a_model_is_uploaded_for_as_often_as_the_policy_says() {
    let (_folder, mut ledger) = ledger();
    let policy = policy_with("uploads_per_model = 1", "uploads_per_model = 2");
    for attempt in 1..=3_u8 {
        let mut announcement = good();
        (announcement.attempt, announcement.nonce) = (attempt.into(), [attempt; 32]);
        let checked = announcement.check(&model(), &policy, &ledger, TEXT, NOW);
        if attempt == 3 {
            let refusal = checked.unwrap_err();
            assert!(matches!(
                refusal,
                Refusal::Ledger(LedgerError::UploadsUsedUp {
                    uploads: 2,
                    allowed: 2
                })
            ));
            assert_eq!(refusal.decline_reason(), DeclineReason::UploadsUsedUp);
            return;
        }
        let session = checked.unwrap().session(&announcement.weights.sha256);
        ledger
            .record(&upload(&session, announcement.attempt), policy.limits())
            .unwrap();
    }
}

#[test]
fn a_node_joins_as_many_rounds_a_day_as_the_policy_says() {
    let (_folder, mut ledger) = ledger();
    let policy = policy_with("rounds_per_day = 100", "rounds_per_day = 2");
    let announced = |attempt: u8| Announcement {
        attempt: attempt.into(),
        nonce: [attempt; 32],
        ..good()
    };
    for attempt in 1..=2_u8 {
        let announcement = announced(attempt);
        let assignment = announcement.check(&model(), &policy, &ledger, TEXT, NOW);
        let assignment = assignment.unwrap();
        let session = assignment.session(&announcement.weights.sha256);
        let joins = assignment.joins(&session, announcement.attempt, NOW);
        ledger.record(&joins, policy.limits()).unwrap();
    }
    let refusal = announced(3).check(&model(), &policy, &ledger, TEXT, NOW + 60);
    let refusal = refusal.unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::Ledger(LedgerError::RoundsUsedUp {
            rounds: 2,
            allowed: 2
        })
    ));
    assert_eq!(
        says(&refusal),
        "policy: 2 rounds were joined within 24 hours, the policy's rounds_per_day is 2"
    );
    let tomorrow = NOW + 24 * 3600;
    let tomorrow = announced(3).check(&model(), &policy, &ledger, TEXT, tomorrow);
    tomorrow.unwrap();
}

/// The coordinator would give one victim a model, or a plan, of its own.
#[test]
fn a_model_or_plan_that_the_policy_does_not_name_is_refused() {
    let plan_hash = Hash::from_bytes(plan_digest(&good().plan));
    let named = |field: &str, hash: &dyn std::fmt::Display| {
        policy_with(&format!("{field} = []"), &format!("{field} = [\"{hash}\"]"))
    };
    let (_folder, ledger) = ledger();
    for policy in [
        named("models", &model().architecture()),
        named("plans", &plan_hash),
    ] {
        good().check(&model(), &policy, &ledger, TEXT, NOW).unwrap();
    }

    let policy = named("models", &model().architecture());
    for other in [
        FederationModel {
            description: Digest::of(b"another description"),
            ..model()
        },
        FederationModel {
            vocabulary: Digest::of(b"another vocabulary"),
            ..model()
        },
    ] {
        let refusal = good().check(&other, &policy, &ledger, TEXT, NOW);
        let refusal = refusal.unwrap_err();
        let expected = other.architecture();
        assert!(matches!(refusal, Refusal::UnknownModel { model } if model == expected));
        assert!(says(&refusal).contains(&expected.to_string()), "{refusal}");
    }

    let policy = named("plans", &model().architecture());
    let refusal = refused(&good(), &policy, TEXT);
    assert!(matches!(refusal, Refusal::UnknownPlan { plan } if plan == plan_hash));
    assert!(
        says(&refusal).starts_with("policy: the plan has the digest "),
        "{refusal}"
    );
}

#[test]
fn a_session_that_is_announced_again_is_refused() {
    let (_folder, mut ledger) = ledger();
    let policy = NodePolicy::default();
    let assignment = good().check(&model(), &policy, &ledger, TEXT, NOW).unwrap();
    let session = assignment.session(&good().weights.sha256);
    ledger
        .record(&upload(&session, 1), policy.limits())
        .unwrap();
    let refusal = good()
        .check(&model(), &policy, &ledger, TEXT, NOW)
        .unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::Ledger(LedgerError::SessionUsed { round: 3 })
    ));
    assert!(says(&refusal).starts_with("other: round 3"), "{refusal}");
}

#[test]
fn only_whole_rows_are_trained() {
    let shapes = model().files.description.shapes().to_vec();
    let [first, both, row] = [
        shapes[0].elements(),
        shapes[0].elements() + shapes[1].elements(),
        shapes[1].row(),
    ]
    .map(|elements| u32::try_from(elements).unwrap());
    assert!(row > 1, "{shapes:?}");
    let announced = |part: std::ops::Range<u32>| {
        let whole = plan(RoundKind::Train, model().files.description.parameters());
        let update = UpdatePlan {
            parts: Parts::new(Some(part)).unwrap(),
            ..*whole.update()
        };
        let plan = Plan::new(RoundKind::Train, update, *whole.training(), *whole.server()).unwrap();
        announcement(&plan, 3..=8, plan.layout())
    };
    let policy = NodePolicy::default();
    let all = u32::try_from(model().files.description.parameters()).unwrap();
    // Of a vector each element is a row.
    for part in [
        0..first,
        first..both,
        0..both,
        1..first,
        first + row..first + 2 * row,
        both..all,
    ] {
        let (_folder, ledger) = ledger();
        announced(part)
            .check(&model(), &policy, &ledger, TEXT, NOW)
            .unwrap();
    }
    for part in [first + 1..both, first..both - 1] {
        let refusal = refused(&announced(part.clone()), &policy, TEXT);
        assert!(
            matches!(refusal, Refusal::CutRow { start, end }
                if (start, end) == (part.start as usize, part.end as usize)),
            "{refusal}"
        );
        assert!(says(&refusal).starts_with("policy: "), "{refusal}");
    }
}
