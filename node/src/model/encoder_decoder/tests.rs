use super::*;
use crate::model::attention::by_hand as parts;
use crate::model::by_hand::{self, Hand, assert_close};
use crate::model::pairs::Pair;
use crate::model::{Architecture, Batch, Model};
use crate::vocabulary::{BEGIN, END};

const SIZES: EncoderDecoderSizes = EncoderDecoderSizes {
    vocabulary: 9,
    embedding: 8,
    encoder_layers: 2,
    decoder_layers: 2,
    heads: 2,
    feed_forward: 6,
    context: 8,
    output_bias: true,
};

/// Of all lengths, some of them several times; targets with their `<end>`.
const PAIRS: [Pair<'static>; 7] = [
    (&[4, 5, END], &[BEGIN, 6, 7, 8, END]),
    (&[5, END], &[BEGIN, 8, END]),
    (&[8, 5, END], &[BEGIN, 5, END]),
    (&[8, 8, 6, 5, 4, 7, 7, END], &[BEGIN, 7, 7, 1, END]),
    (&[7, 4, END], &[BEGIN, 8, 8, 6, 5, 4, 7, 7, END]),
    (&[4, END], &[BEGIN, 4, END]),
    (&[6, 6, END], &[BEGIN, 4, 8, END]),
];

/// The formulas, one number at a time.
fn formulas(hand: &Hand, sizes: EncoderDecoderSizes, (source, target): Pair<'_>) -> Vec<Vec<f64>> {
    let heads = sizes.heads as usize;
    let numbers =
        |tokens: &[u32]| -> Vec<usize> { tokens.iter().map(|&token| token as usize).collect() };
    let normed = |name: &str, stream: &parts::Stream| -> parts::Stream {
        let normed = stream
            .iter()
            .map(|position| parts::norm(hand, name, position));
        normed.collect()
    };
    let mut stream = parts::read(hand, &numbers(source));
    for block in encoder_names(sizes) {
        parts::attend_to_itself(hand, &block, &mut stream, heads, false);
        parts::feed(hand, &block, &mut stream);
    }
    let memory = normed("encoder_norm", &stream);
    let mut stream = parts::read(hand, &numbers(&target[..target.len() - 1]));
    for block in decoder_names(sizes) {
        parts::attend_to_itself(hand, &block, &mut stream, heads, true);
        parts::attend_to_memory(hand, &block, &mut stream, &memory, heads);
        parts::feed(hand, &block, &mut stream);
    }
    let normed = normed("norm", &stream);
    normed
        .iter()
        .map(|position| hand.scores(position))
        .collect()
}

fn model(sizes: EncoderDecoderSizes) -> (Model, Hand) {
    // Other than the initial weights, so that every bias and gate matters.
    let (model, weights) = by_hand::model(Architecture::EncoderDecoder(sizes), |index, value| {
        value * 1.5 + 0.05 + 0.02 * (index % 7) as f32
    });
    (model, Hand::new(&weights))
}

/// The scores of a batch, row by row, in the order of the pairs as the batch has sorted them.
fn scores(model: &Model, pairs: &mut [Pair<'_>]) -> Vec<Vec<f32>> {
    let scores = model.logits(&Batch::pairs(pairs));
    let mut values = vec![0.0; scores.numel()];
    let length = values.len();
    scores.copy_data(&mut values, length);
    values.chunks(9).map(<[f32]>::to_vec).collect()
}

#[test]
fn the_network_computes_the_papers_formulas() {
    for (encoder_layers, decoder_layers, heads, output_bias) in
        [(1, 1, 1, false), (2, 1, 2, true), (1, 2, 4, true)]
    {
        let sizes = EncoderDecoderSizes {
            encoder_layers,
            decoder_layers,
            heads,
            output_bias,
            ..SIZES
        };
        let (model, hand) = model(sizes);
        let mut pairs = PAIRS;
        let mut found = scores(&model, &mut pairs).into_iter();
        for pair in pairs {
            for (place, expected) in formulas(&hand, sizes, pair).into_iter().enumerate() {
                let found = found.next().unwrap();
                assert_close(&found, &expected, &format!("{pair:?}, place {place}"));
            }
        }
        assert!(found.next().is_none());
    }
}

fn close(left: &[f32], right: &[f32]) -> bool {
    left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn neighbours_and_padding_change_nothing() {
    let (model, _) = model(SIZES);
    let mut pairs = PAIRS;
    let mut found = scores(&model, &mut pairs).into_iter();
    for pair in pairs {
        for (place, expected) in scores(&model, &mut [pair]).into_iter().enumerate() {
            let found = found.next().unwrap();
            assert!(close(&found, &expected), "{pair:?}, place {place}");
        }
    }
    assert!(found.next().is_none());
}

#[test]
fn answers_are_those_of_the_sorted_pairs() {
    let mut pairs = PAIRS;
    let batch = Batch::pairs(&mut pairs);
    let answers: Vec<i64> = pairs
        .iter()
        .flat_map(|(_, target)| target[1..].iter().map(|&token| i64::from(token)))
        .collect();
    assert_eq!(Vec::<i64>::try_from(batch.targets()).unwrap(), answers);
}

#[test]
fn scores_depend_on_all_of_the_source_and_on_earlier_targets_alone() {
    let (model, _) = model(SIZES);
    let source = [4, 5, 6, END];
    let target = [BEGIN, 6, 7, 8, END];
    let before = scores(&model, &mut [(&source, &target)]);
    for changed in 0..3 {
        let mut other = source;
        other[changed] = 8;
        let after = scores(&model, &mut [(&other, &target)]);
        for place in 0..4 {
            assert!(!close(&before[place], &after[place]), "{changed}, {place}");
        }
    }
    for changed in 1..4 {
        let mut other = target;
        other[changed] = 4;
        let after = scores(&model, &mut [(&source, &other)]);
        for place in 0..4 {
            let same = close(&before[place], &after[place]);
            assert_eq!(same, place < changed, "{place} after a change of {changed}");
        }
    }
}

#[test]
fn the_next_tokens_probabilities_are_those_of_a_batch() {
    let (model, _) = model(SIZES);
    let (source, target) = PAIRS[0];
    let scores = scores(&model, &mut [(source, target)]);
    for (place, scores) in scores.iter().enumerate() {
        let found = model.target_log_probabilities(source, &target[..=place]);
        let sum: f32 = scores.iter().map(|score| score.exp()).sum();
        let expected: Vec<f32> = scores.iter().map(|score| score - sum.ln()).collect();
        assert!(close(&found, &expected), "{found:?} {expected:?}");
    }
}
