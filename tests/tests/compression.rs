//! Rounds with smaller messages: rotated, few bits, a share of the coordinates.
#![expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]

use anyhow::{Context as _, Result, ensure};
use secagg::MaskedInput;
use secagg_learning::{UpdateCodec, compression::Transform};
use secagg_tests::{
    Federation,
    swarm::{Options, Updates},
};

const PARAMETERS: usize = 20_000;

/// The largest upload of a round, in bytes.
fn uploaded(federation: &mut Federation, round: u64) -> Result<u64> {
    let mut largest = 0;
    for client in 0..4 {
        let event = federation.wait(client, "uploaded", |event| event["round"] == round)?;
        largest = largest.max(event["bytes"].as_u64().context("no bytes")?);
    }
    Ok(largest)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

/// With a rotation, 4 bits and a quarter of the coordinates the weights move by the mean of the updates
/// over that quarter, and an upload is as much shorter as its coordinates and bits are fewer.
#[test]
fn a_rotated_quarter_in_four_bits_ends_in_the_right_mean() -> Result<()> {
    // Updates of 20,000 elements, uniform within ±0.01, have norms of 0.816 within a percent.
    let settings = [
        ("rounds.rounds", "1"),
        ("update.clip_norm", "0.82"),
        ("update.weight_cap", "10"),
        ("update.value_bits", "4"),
        ("update.rotation_range", "4.0"),
        ("update.fraction", "0.25"),
    ];
    let mut small = Federation::with_model(PARAMETERS, 4, Options::default(), &settings, &[])?;
    small.swarm.start_all()?;
    let complete = small.round_complete(2)?;
    ensure!(complete["contributors"] == 4, "{complete}");
    let (plan, session) = (small.plan(1)?, small.session(1)?);
    ensure!(plan.modulus_bits() == 6, "4 clients of up to 15 values");

    // What the server would have got without rounding and clamping.
    let transform = Transform::new(plan.update(), &session);
    let positions = transform.positions().context("all coordinates")?;
    ensure!(positions.len() == PARAMETERS / 4);
    let projected = |clients: &[usize]| -> Result<Vec<f64>> {
        let mean = Updates::default().mean(&plan, clients, 1)?;
        let mut rotated: Vec<f32> = mean.iter().map(|&element| element as f32).collect();
        transform.rotate(&mut rotated);
        let mut kept = vec![0.0; PARAMETERS];
        for &position in positions {
            kept[position as usize] = 4.0 * rotated[position as usize];
        }
        transform.unrotate(&mut kept);
        Ok(kept.into_iter().map(f64::from).collect())
    };
    let moved = small.moved(1)?;
    let error = distance(&moved, &projected(&[0, 1, 2, 3])?);
    let bound = UpdateCodec::new(&plan).error_norm_bound(4, 40);
    ensure!(error <= bound, "{error} is more than the bound {bound}");
    // The sum of one client less is farther away.
    for left_out in 0..4 {
        let others: Vec<usize> = (0..4).filter(|client| *client != left_out).collect();
        let other = distance(&moved, &projected(&others)?);
        ensure!(error < 0.6 * other, "{error}, {other} without {left_out}");
    }

    // 5,000 elements of 6 bits instead of 20,000 of 18.
    let bytes = uploaded(&mut small, 1)?;
    let len = MaskedInput::encoded_len(&session) as u64;
    ensure!(bytes == len, "{bytes} bytes, not {len}");
    drop(small);
    let mut plain = Federation::with_model(PARAMETERS, 4, Options::default(), &settings[..3], &[])?;
    plain.swarm.start_all()?;
    plain.round_complete(2)?;
    let whole = uploaded(&mut plain, 1)?;
    let ratio = whole as f64 / bytes as f64;
    ensure!(
        (11.0..12.0).contains(&ratio),
        "{bytes} bytes instead of {whole}, {ratio} times fewer; 12 but for the counters"
    );
    Ok(())
}
