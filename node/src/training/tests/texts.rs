//! Texts with hardly anything in them, and updates that must not leave.

use super::*;

fn on(messages: &[&str]) -> Result<Trained, TrainingError> {
    let (mut model, initial, _) = setting();
    let vocabulary = Vocabulary::from_text(MESSAGES, 64).unwrap();
    let text = TokenizedText::new(&vocabulary, messages.iter().copied(), 29).into();
    let plan = plan(LocalOptimizer::Adam { rate: 0.01 });
    run(&mut model, &initial, &text, &plan)
}

#[test]
fn messages_without_a_word_are_no_text() {
    assert_eq!(on(&[]), Err(TrainingError::NoText));
    assert_eq!(on(&["", " \t\n", "\u{7}"]), Err(TrainingError::NoText));
    let said = TrainingError::NoText.to_string();
    assert!(said.contains("secagg-node add"), "{said}");
}

#[test]
fn a_word_and_unknown_words_are_text() {
    for (messages, targets) in [(&["home"][..], 2), (&["xyzzy plugh", "", "qwertz"], 5)] {
        let trained = on(messages).unwrap();
        let words = messages.iter().filter(|message| !message.is_empty());
        assert_eq!(trained.examples, words.count() as u64);
        assert_eq!(trained.loss.tokens, 30 * targets);
        assert!(trained.loss.sum.is_finite() && trained.loss.sum > 0.0);
        assert!(trained.delta.iter().all(|change| change.is_finite()));
        assert!(trained.delta.iter().any(|change| *change != 0.0));
    }
}

#[test]
fn weights_that_are_not_finite_are_not_trained_from() {
    let (mut model, initial, text) = setting();
    let plan = plan(LocalOptimizer::Adam { rate: 0.01 });
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = initial.values().to_vec();
        values[7] = bad;
        let task = TrainingTask::new(&plan, 1, SEED);
        let error = train(&mut model, &values, &text, &task, &mut go_on).unwrap_err();
        assert!(
            matches!(
                error,
                TrainingError::Weights(WeightsError::NotFinite { index: 7, .. })
            ),
            "{error}"
        );
    }
}

/// The weights stay finite, and what changed does not: the bias of a word that never comes jumps
/// from one end of the floats to the other.
#[test]
fn an_update_that_is_not_finite_is_named() {
    let (mut model, initial, text) = setting();
    let mut values = initial.values().to_vec();
    let mut offset = 0;
    for shape in initial.shapes() {
        if shape.name == "output_bias" {
            values[offset] = -3e38;
            break;
        }
        offset += shape.elements();
    }
    let plan = TrainingPlan {
        budget: Budget::Steps(1),
        weight_decay: 0.95,
        ..plan(LocalOptimizer::Sgd { rate: 2.0 })
    };
    let task = TrainingTask::new(&plan, 1, SEED);
    assert_eq!(
        train(&mut model, &values, &text, &task, &mut go_on),
        Err(TrainingError::UpdateNotFinite {
            index: offset,
            value: "inf".to_owned()
        })
    );
}
