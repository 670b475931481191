use super::*;
use crate::model::attention::by_hand as parts;
use crate::model::by_hand::{Hand, compare};
use crate::model::{Architecture, Batch, Model, ModelDescription, Weights};
use crate::vocabulary::{BEGIN, END, Token};

const SIZES: TransformerSizes = TransformerSizes {
    vocabulary: 9,
    embedding: 8,
    layers: 2,
    heads: 2,
    feed_forward: 6,
    context: 16,
    output_bias: true,
};

/// The formulas, one number at a time.
fn by_hand(hand: &Hand, sizes: TransformerSizes, tokens: &[usize]) -> Vec<Vec<f64>> {
    let mut scores = Vec::new();
    for tokens in tokens.chunks(sizes.context as usize) {
        let mut stream = parts::read(hand, tokens);
        for block in names(sizes) {
            parts::attend_to_itself(hand, &block, &mut stream, sizes.heads as usize, true);
            parts::feed(hand, &block, &mut stream);
        }
        let normed = stream
            .iter()
            .map(|position| parts::norm(hand, "norm", position));
        scores.extend(normed.map(|normed| hand.scores(&normed)));
    }
    scores
}

#[test]
fn the_network_computes_the_papers_formulas() {
    for (layers, heads, context, output_bias) in [
        (1, 1, 16, false),
        (2, 2, 16, true),
        (2, 4, 3, true),
        (1, 2, 1, false),
    ] {
        let sizes = TransformerSizes {
            layers,
            heads,
            context,
            output_bias,
            ..SIZES
        };
        compare(Architecture::Transformer(sizes), |hand, tokens| {
            by_hand(hand, sizes, tokens)
        });
    }
}

fn model(sizes: TransformerSizes) -> Model {
    tch::set_num_threads(1);
    let description = ModelDescription::new(Architecture::Transformer(sizes), 1).unwrap();
    Model::new(&description, &Weights::initial(&description)).unwrap()
}

/// The scores of one message alone, position by position.
fn alone(model: &Model, message: &[Token]) -> Vec<Vec<f32>> {
    rows(&model.logits(&Batch::messages(&mut [message])))
}

fn rows(scores: &Tensor) -> Vec<Vec<f32>> {
    let mut values = vec![0.0; scores.numel()];
    let length = values.len();
    scores.copy_data(&mut values, length);
    values.chunks(9).map(<[f32]>::to_vec).collect()
}

fn close(left: &[f32], right: &[f32]) -> bool {
    left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn a_later_token_changes_no_earlier_score() {
    let model = model(SIZES);
    let message = [BEGIN, 4, 5, 6, 7, 8, 4, END];
    let before = alone(&model, &message);
    for changed in 1..7 {
        let mut other = message;
        other[changed] = if message[changed] == 8 { 5 } else { 8 };
        let after = alone(&model, &other);
        for place in 0..7 {
            let same = close(&before[place], &after[place]);
            assert_eq!(same, place < changed, "{place} after a change of {changed}");
        }
    }
}

#[test]
fn neighbours_and_padding_change_nothing() {
    let model = model(SIZES);
    let long: &[Token] = &[BEGIN, 4, 5, 6, 7, 8, 4, END];
    let middle: &[Token] = &[BEGIN, 8, 8, 6, 5, END];
    let short: &[Token] = &[BEGIN, 7, END];
    let mut together = [short, long, middle];
    let batch = Batch::messages(&mut together);
    let mut found = rows(&model.logits(&batch)).into_iter();
    let expected = together.map(|message| alone(&model, message));
    for step in 0..7 {
        for expected in expected.iter().filter_map(|scores| scores.get(step)) {
            assert!(close(&found.next().unwrap(), expected), "step {step}");
        }
    }
    assert!(found.next().is_none());
}

#[test]
fn a_prediction_beyond_the_context_sees_the_last_tokens_that_fit() {
    let sizes = TransformerSizes {
        context: 4,
        ..SIZES
    };
    let model = model(sizes);
    let tokens = [BEGIN, 4, 5, 6, 7, 8, 5];
    let all = model.next_log_probabilities(&tokens);
    assert!(close(&all, &model.next_log_probabilities(&tokens[3..])));
    assert!(!close(&all, &model.next_log_probabilities(&tokens[4..])));
}

#[test]
fn messages_of_any_length_have_scores() {
    let sizes = TransformerSizes {
        context: 3,
        ..SIZES
    };
    let model = model(sizes);
    for length in 1..12 {
        let mut message = vec![5; length];
        message.insert(0, BEGIN);
        assert_eq!(alone(&model, &message).len(), length);
    }
}
