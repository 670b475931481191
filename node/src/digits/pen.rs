//! From strokes to pixels.

use rand_chacha::ChaCha20Rng;

use super::normal;
use crate::examples::{PIXELS, SIDE};
use crate::simulate::unit;

/// A curve through these points, as a line with many corners: Catmull and Rom 1974, with the first and
/// the last point doubled.
pub(super) fn rounded(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    const STEPS: u32 = 8;
    let at = |index: usize| points[index.min(points.len() - 1)];
    let mut line = Vec::new();
    for (index, &from) in points.iter().enumerate() {
        let (before, to, after) = (at(index.saturating_sub(1)), at(index + 1), at(index + 2));
        for step in 0..STEPS {
            let t = f64::from(step) / f64::from(STEPS);
            line.push([0, 1].map(|axis| {
                let [before, from, to, after] = [before, from, to, after].map(|p| p[axis]);
                let (linear, square, cube) = (
                    to - before,
                    2.0 * before - 5.0 * from + 4.0 * to - after,
                    3.0 * (from - to) + after - before,
                );
                from + 0.5 * t * (linear + t * (square + t * cube))
            }));
        }
    }
    line
}

/// Draws lines with a round pen, `radius` pixels from its middle to its edge, and adds the noise of a
/// scan.
pub(super) fn draw(lines: &[Vec<[f64; 2]>], radius: f64, rng: &mut ChaCha20Rng) -> [u8; PIXELS] {
    // Ink, the grain of the paper, and how soft the edge is.
    let ink = 190.0 + 65.0 * unit(rng);
    let grain = 22.0 * unit(rng);
    let soft = 0.7 + 0.6 * unit(rng);
    let mut pixels = [0; PIXELS];
    for (index, pixel) in pixels.iter_mut().enumerate() {
        let middle = [(index % SIDE) as f64 + 0.5, (index / SIDE) as f64 + 0.5];
        let segments = lines.iter().flat_map(|line| line.windows(2));
        let distance = segments
            .map(|ends| distance(middle, ends[0], ends[1]))
            .fold(f64::INFINITY, f64::min);
        let covered = ((radius - distance) / soft + 0.5).clamp(0.0, 1.0);
        let value = ink * covered + grain * normal(rng);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of a byte"
        )]
        let value = value.round().clamp(0.0, 255.0) as u8;
        *pixel = value;
    }
    pixels
}

/// From a point to the nearest point of a segment.
fn distance([x, y]: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let [along_x, along_y] = [to[0] - from[0], to[1] - from[1]];
    let square = along_x * along_x + along_y * along_y;
    let share = match square > 0.0 {
        true => (((x - from[0]) * along_x + (y - from[1]) * along_y) / square).clamp(0.0, 1.0),
        false => 0.0,
    };
    let [dx, dy] = [from[0] + share * along_x - x, from[1] + share * along_y - y];
    (dx * dx + dy * dy).sqrt()
}
