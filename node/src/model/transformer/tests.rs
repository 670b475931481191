use super::*;
use crate::model::by_hand::{Hand, compare, dot};
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

fn norm(hand: &Hand, name: &str, stream: &[f64]) -> Vec<f64> {
    let count = stream.len() as f64;
    let mean = stream.iter().sum::<f64>() / count;
    let variance = stream.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let gain = hand.tensor(&format!("{name}_gain"));
    let bias = hand.tensor(&format!("{name}_bias"));
    (0..stream.len())
        .map(|i| (stream[i] - mean) / (variance + 1e-5).sqrt() * gain[i] + bias[i])
        .collect()
}

/// The Gauss error function by its Taylor series; beyond 4 it is ±1 but for 2e-8.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn gelu(x: f64) -> f64 {
    x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// Turns by a complex multiplication of each pair.
fn turned(head: &[f64], place: usize) -> Vec<f64> {
    let half = head.len() / 2;
    let mut turned = vec![0.0; head.len()];
    for pair in 0..half {
        let speed = 1.0 / 10_000_f64.powf(2.0 * pair as f64 / head.len() as f64);
        let (sin, cos) = (place as f64 * speed).sin_cos();
        turned[pair] = head[pair] * cos - head[half + pair] * sin;
        turned[half + pair] = head[half + pair] * cos + head[pair] * sin;
    }
    turned
}

/// Attention, position by position and head by head.
fn attend(hand: &Hand, name: &str, normed: &[Vec<f64>], heads: usize) -> Vec<Vec<f64>> {
    let embedding = normed[0].len();
    let size = embedding / heads;
    let all: Vec<Vec<f64>> = normed
        .iter()
        .map(|position| hand.product(&format!("{name}_attention_input"), position))
        .collect();
    let part = |place: usize, part: usize, head: usize| {
        &all[place][part * embedding + head * size..][..size]
    };
    (0..normed.len())
        .map(|place| {
            let mut heard = Vec::new();
            for head in 0..heads {
                let query = turned(part(place, 0, head), place);
                let weights: Vec<f64> = (0..=place)
                    .map(|other| {
                        let key = turned(part(other, 1, head), other);
                        (dot(&query, &key) / (size as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for element in 0..size {
                    let values =
                        (0..=place).map(|other| weights[other] * part(other, 2, head)[element]);
                    heard.push(values.sum::<f64>() / sum);
                }
            }
            heard
        })
        .collect()
}

/// The formulas, one number at a time.
fn by_hand(hand: &Hand, sizes: TransformerSizes, tokens: &[usize]) -> Vec<Vec<f64>> {
    let scale = f64::from(sizes.embedding).sqrt();
    let mut scores = Vec::new();
    for tokens in tokens.chunks(sizes.context as usize) {
        let mut stream: Vec<Vec<f64>> = tokens
            .iter()
            .map(|&token| {
                hand.row("embedding", token)
                    .iter()
                    .map(|x| x * scale)
                    .collect()
            })
            .collect();
        for block in 0..sizes.layers {
            let name = format!("block_{block:02}");
            let normed: Vec<Vec<f64>> = stream
                .iter()
                .map(|position| norm(hand, &format!("{name}_attention_norm"), position))
                .collect();
            let attended = attend(hand, &name, &normed, sizes.heads as usize);
            for (position, attended) in stream.iter_mut().zip(attended) {
                let added = hand.product(&format!("{name}_attention_output"), &attended);
                for (x, added) in position.iter_mut().zip(added) {
                    *x += added;
                }
                let normed = norm(hand, &format!("{name}_feed_norm"), position);
                let hidden = hand.product(&format!("{name}_feed_input"), &normed);
                let hidden: Vec<f64> = hidden.into_iter().map(gelu).collect();
                let added = hand.product(&format!("{name}_feed_output"), &hidden);
                for (x, added) in position.iter_mut().zip(added) {
                    *x += added;
                }
            }
        }
        scores.extend(
            stream
                .iter()
                .map(|position| hand.scores(&norm(hand, "norm", position))),
        );
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
