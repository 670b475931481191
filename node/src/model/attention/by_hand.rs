//! For tests: the parts computed from their formulas in f64, one number at a time.

use crate::model::by_hand::{Hand, dot};

/// One vector a position.
pub(in super::super) type Stream = Vec<Vec<f64>>;

/// The embeddings of these tokens, as they are read.
pub(in super::super) fn read(hand: &Hand, tokens: &[usize]) -> Stream {
    let row = |&token: &usize| {
        let row = hand.row("embedding", token);
        let scale = (row.len() as f64).sqrt();
        row.iter().map(|x| x * scale).collect()
    };
    tokens.iter().map(row).collect()
}

pub(in super::super) fn norm(hand: &Hand, name: &str, position: &[f64]) -> Vec<f64> {
    let count = position.len() as f64;
    let mean = position.iter().sum::<f64>() / count;
    let variance = position.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let gain = hand.tensor(&format!("{name}_gain"));
    let bias = hand.tensor(&format!("{name}_bias"));
    (0..position.len())
        .map(|i| (position[i] - mean) / (variance + 1e-5).sqrt() * gain[i] + bias[i])
        .collect()
}

/// Adds what a block's attention to the same text hears.
pub(in super::super) fn attend_to_itself(
    hand: &Hand,
    block: &str,
    stream: &mut Stream,
    heads: usize,
    causal: bool,
) {
    let name = format!("{block}_attention");
    let embedding = stream[0].len();
    let all: Stream = stream
        .iter()
        .map(|position| {
            let normed = norm(hand, &format!("{name}_norm"), position);
            hand.product(&format!("{name}_input"), &normed)
        })
        .collect();
    let part = |part: usize| -> Stream {
        let part = part * embedding..(part + 1) * embedding;
        all.iter().map(|all| all[part.clone()].to_vec()).collect()
    };
    let heard = attend(&part(0), &part(1), &part(2), heads, causal);
    add(hand, &format!("{name}_output"), stream, &heard);
}

/// Adds what a block's attention to another text hears.
pub(in super::super) fn attend_to_memory(
    hand: &Hand,
    block: &str,
    stream: &mut Stream,
    memory: &Stream,
    heads: usize,
) {
    let name = format!("{block}_cross");
    let embedding = stream[0].len();
    let query: Stream = stream
        .iter()
        .map(|position| {
            let normed = norm(hand, &format!("{name}_norm"), position);
            hand.product(&format!("{name}_query"), &normed)
        })
        .collect();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for position in memory {
        let mut both = hand.product(&format!("{name}_memory"), position);
        value.push(both.split_off(embedding));
        key.push(both);
    }
    let heard = attend(&query, &key, &value, heads, false);
    add(hand, &format!("{name}_output"), stream, &heard);
}

/// Adds what a block's feed-forward network makes.
pub(in super::super) fn feed(hand: &Hand, block: &str, stream: &mut Stream) {
    let hidden = |position: &Vec<f64>| {
        let normed = norm(hand, &format!("{block}_feed_norm"), position);
        let hidden = hand.product(&format!("{block}_feed_input"), &normed);
        hidden.into_iter().map(gelu).collect()
    };
    let hidden: Stream = stream.iter().map(hidden).collect();
    add(hand, &format!("{block}_feed_output"), stream, &hidden);
}

fn add(hand: &Hand, output: &str, stream: &mut Stream, made: &Stream) {
    for (position, made) in stream.iter_mut().zip(made) {
        for (x, added) in position.iter_mut().zip(hand.product(output, made)) {
            *x += added;
        }
    }
}

/// Attention, position by position and head by head.
fn attend(query: &Stream, key: &Stream, value: &Stream, heads: usize, causal: bool) -> Stream {
    let size = query[0].len() / heads;
    let part =
        |stream: &Stream, place: usize, head: usize| stream[place][head * size..][..size].to_vec();
    (0..query.len())
        .map(|place| {
            let last = if causal { place } else { key.len() - 1 };
            let mut heard = Vec::new();
            for head in 0..heads {
                let query = turned(&part(query, place, head), place);
                let weights: Vec<f64> = (0..=last)
                    .map(|other| {
                        let key = turned(&part(key, other, head), other);
                        (dot(&query, &key) / (size as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for element in 0..size {
                    let values =
                        (0..=last).map(|other| weights[other] * part(value, other, head)[element]);
                    heard.push(values.sum::<f64>() / sum);
                }
            }
            heard
        })
        .collect()
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

fn gelu(x: f64) -> f64 {
    x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))
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
