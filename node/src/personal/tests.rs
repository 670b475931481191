use super::*;
use crate::evaluation::{evaluate, evaluate_personal, evaluate_word_by_word};
use crate::model::{ModelDescription, Sizes, Weights};
use crate::vocabulary::{END, Vocabulary};

const PUBLIC: &str = "a a a a a b b b b c c c d d e";

fn model() -> (Model, Vocabulary) {
    let sizes = Sizes {
        vocabulary: 9,
        embedding: 4,
        units: 5,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 3).unwrap();
    let vocabulary = Vocabulary::from_text([PUBLIC], 9).unwrap();
    let weights = Weights::initial(&description);
    (Model::new(&description, &weights).unwrap(), vocabulary)
}

fn text(vocabulary: &Vocabulary, messages: &[&str]) -> TokenizedText {
    TokenizedText::new(vocabulary, messages.iter().copied(), 29)
}

fn examples(vocabulary: &Vocabulary, messages: &[&str]) -> Examples {
    text(vocabulary, messages).into()
}

/// The definition, from the list of all pairs.
fn by_definition(pairs: &[[Token; 2]], before: Token, word: Token) -> f64 {
    let count = |wanted: &dyn Fn(&[Token; 2]) -> bool| {
        pairs.iter().filter(|pair| wanted(pair)).count() as f64
    };
    let all = pairs.len() as f64;
    let alone = if all > 0.0 {
        count(&|pair| pair[1] == word) / all
    } else {
        0.0
    };
    let followers: std::collections::BTreeSet<Token> = pairs
        .iter()
        .filter(|pair| pair[0] == before)
        .map(|pair| pair[1])
        .collect();
    let (total, kinds) = (count(&|pair| pair[0] == before), followers.len() as f64);
    if total == 0.0 {
        return alone;
    }
    (count(&|pair| *pair == [before, word]) + kinds * alone) / (total + kinds)
}

fn pairs(text: &TokenizedText) -> Vec<[Token; 2]> {
    let messages = (0..text.len()).map(|index| text.message(index));
    messages
        .flat_map(|message| message.windows(2).map(|pair| [pair[0], pair[1]]))
        .collect()
}

#[test]
fn the_personal_probabilities_are_those_of_witten_and_bell() {
    let (_, vocabulary) = model();
    let text = text(&vocabulary, &["a b a c", "a b b", "e", "a b x"]);
    let pairs = pairs(&text);
    let mut personal = Personal::counted(&text);
    personal.share = 1.0;
    for before in [BEGIN, END, 4, 5, 6, 7, 8] {
        let mut probabilities = vec![0.1; 9];
        personal.mix(before, &mut probabilities);
        let sum: f32 = probabilities.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{before}: {probabilities:?}");
        for (word, found) in (0..).zip(probabilities) {
            let expected = by_definition(&pairs, before, word);
            assert!(
                (f64::from(found) - expected).abs() < 1e-6,
                "{before} {word}"
            );
        }
    }
    // Each word as if it had not been written.
    for (index, &[before, word]) in pairs.iter().enumerate() {
        let mut others = pairs.clone();
        others.remove(index);
        let expected = by_definition(&others, before, word);
        let found = personal.left_out(before, word);
        assert!(
            (found - expected).abs() < 1e-12,
            "{before} {word}: {found} {expected}"
        );
    }
}

#[test]
fn a_mixture_of_probabilities_adds_up_to_one() {
    let (_, vocabulary) = model();
    let mut personal = Personal::counted(&text(&vocabulary, &["a b a c", "d d"]));
    personal.share = 0.3;
    let mut probabilities = vec![1.0 / 9.0; 9];
    personal.mix(4, &mut probabilities);
    let sum: f32 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    assert!(probabilities[5] > probabilities[8], "{probabilities:?}");
}

#[test]
fn the_share_is_the_most_probable_one() {
    let both = [[0.2, 0.4], [0.5, 0.1], [0.01, 0.3], [0.3, 0.0], [0.2, 0.25]];
    let likelihood = |share: f64| {
        let logarithms = both
            .iter()
            .map(|[global, personal]| ((1.0 - share) * global + share * personal).ln());
        logarithms.sum::<f64>()
    };
    let found = likelihood(share(&both));
    for step in 0..=1000 {
        let other = likelihood(f64::from(step) / 1000.0);
        assert!(found >= other - 1e-4, "{step}: {other} against {found}");
    }
}

#[test]
fn who_writes_in_an_own_way_is_predicted_better() {
    let (model, vocabulary) = model();
    let own: Vec<&str> = std::iter::repeat_n("d e d e c", 40).collect();
    let personal = Personal::new(&model, &examples(&vocabulary, &own));
    assert!(personal.share() > 0.9, "{personal:?}");
    let held_out = examples(&vocabulary, &["d e d e c", "d e d e"]);
    let (global, both) = evaluate_personal(&model, &personal, &held_out);
    assert_eq!(global.tokens, both.tokens);
    assert!(both.loss() < 0.5 * global.loss(), "{global:?} {both:?}");
    assert!(both.top1 > global.top1, "{global:?} {both:?}");
}

#[test]
fn word_by_word_it_predicts_the_same() {
    let (model, vocabulary) = model();
    let personal = Personal::new(&model, &examples(&vocabulary, &["d e d e c", "a b", "e d"]));
    let held_out = ["d e d a", "c x", "e"];
    let (_, both) = evaluate_personal(&model, &personal, &examples(&vocabulary, &held_out));
    let predictor = Personalised::new(&model, &personal);
    let found = evaluate_word_by_word(&predictor, &text(&vocabulary, &held_out));
    assert_eq!(
        (found.top1, found.top3, found.tokens),
        (both.top1, both.top3, both.tokens)
    );
    assert!((found.loss_sum - both.loss_sum).abs() < 1e-4);
}

#[test]
fn who_has_no_text_gets_the_global_model() {
    let (model, vocabulary) = model();
    let personal = Personal::new(&model, &examples(&vocabulary, &[]));
    assert!(personal.share().abs() < f64::EPSILON);
    let held_out = examples(&vocabulary, &["a b", "x c"]);
    let (global, both) = evaluate_personal(&model, &personal, &held_out);
    let alone = evaluate(&model, &held_out);
    assert_eq!((global.top1, global.top3), (alone.top1, alone.top3));
    assert_eq!((both.top1, both.top3), (alone.top1, alone.top3));
    assert!((both.loss() - alone.loss()).abs() < 1e-5);
}

#[test]
fn one_message_of_one_word_is_no_ground_for_anything() {
    let (model, vocabulary) = model();
    let personal = Personal::new(&model, &examples(&vocabulary, &["a"]));
    assert!(personal.share() < 0.5, "{personal:?}");
}
