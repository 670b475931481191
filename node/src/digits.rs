//! Digits as people would write them, drawn on the spot: examples for models that classify images,
//! without anything to download.
//!
//! A person has a hand: a slant, a width, a pen, and a way to write each digit. Each of their digits
//! wavers, is turned, stretched and shifted a little, and gets noise like that of a scan. The same seed
//! gives the same digits.

mod pen;
mod strokes;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::examples::Image;
use crate::simulate::{dirichlet, draw, unit};

/// How many digits there are.
pub const DIGITS: usize = 10;

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sheet {
    /// Fixes everything.
    pub seed: u64,
    /// Images of each person.
    pub images: u32,
    /// How unevenly each person's digits are spread: each one's shares are drawn from a symmetric
    /// Dirichlet distribution with this concentration; `None`: all digits equally often. It is above 0.
    pub alpha: Option<f64>,
}

impl Sheet {
    /// The digits that a person wrote, in a random order.
    #[must_use]
    pub fn person(&self, person: u32) -> Vec<Image> {
        let mut rng = self.rng(person);
        let hand = Hand::drawn(&mut rng);
        let mut digits = self.digits(&mut rng);
        crate::training::shuffle(&mut digits, &mut rng);
        let written = digits.into_iter().map(|digit| Image {
            label: Zeroizing::new(digit.to_string()),
            pixels: Zeroizing::new(hand.write(digit, &mut rng)),
        });
        written.collect()
    }

    fn rng(&self, person: u32) -> ChaCha20Rng {
        let seed = Sha256::new()
            .chain_update(b"secagg-node/v1/digits")
            .chain_update(self.seed.to_le_bytes())
            .chain_update(person.to_le_bytes());
        ChaCha20Rng::from_seed(seed.finalize().into())
    }

    fn digits(&self, rng: &mut ChaCha20Rng) -> Vec<usize> {
        match self.alpha {
            None => (0..DIGITS).cycle().take(self.images as usize).collect(),
            Some(alpha) => {
                let shares = dirichlet(&[alpha; DIGITS], rng);
                (0..self.images).map(|_| draw(&shares, rng)).collect()
            }
        }
    }
}

/// How a person writes.
#[derive(Clone, Copy, Debug)]
struct Hand {
    /// How far the top of a digit leans to the right, as a share of its height.
    slant: f64,
    /// Width by height, where 1 is as the strokes are given.
    width: f64,
    /// Half of a stroke's width, in pixels.
    pen: f64,
    /// Which of its shapes each digit has.
    shapes: [usize; DIGITS],
}

impl Hand {
    fn drawn(rng: &mut ChaCha20Rng) -> Self {
        let slant = 0.12 * normal(rng);
        let width = 0.82 + 0.22 * unit(rng);
        let pen = 0.75 + 0.75 * unit(rng);
        let mut shapes = [0; DIGITS];
        for (digit, shape) in shapes.iter_mut().enumerate() {
            *shape = below(rng, strokes::shapes(digit).len());
        }
        Self {
            slant,
            width,
            pen,
            shapes,
        }
    }

    fn write(&self, digit: usize, rng: &mut ChaCha20Rng) -> [u8; crate::examples::PIXELS] {
        /// How far each point of a stroke is off, as a share of the digit's height.
        const WAVER: f64 = 0.022;
        let shapes = strokes::shapes(digit);
        // Now and then one writes it in another way.
        let shape = match below(rng, 10) {
            0 => below(rng, shapes.len()),
            _ => self.shapes[digit],
        };
        let turn = 0.11 * normal(rng);
        let (sin, cos) = turn.clamp(-0.3, 0.3).sin_cos();
        let slant = (self.slant + 0.05 * normal(rng)).clamp(-0.35, 0.35);
        let height = 17.5 + 3.5 * unit(rng);
        let width = height * (self.width + 0.05 * normal(rng)).clamp(0.65, 1.15);
        let middle = crate::examples::SIDE as f64 / 2.0;
        let shift = [normal(rng), normal(rng)].map(|shift| middle + (1.1 * shift).clamp(-2.5, 2.5));
        let mut place = |[x, y]: [f64; 2]| {
            let x = x - 0.5 + WAVER * normal(rng);
            let y = y - 0.5 + WAVER * normal(rng);
            let (x, y) = ((x - slant * y) * width, y * height);
            [x * cos - y * sin + shift[0], x * sin + y * cos + shift[1]]
        };
        let lines: Vec<Vec<[f64; 2]>> = shapes[shape]
            .iter()
            .map(|stroke| {
                let points: Vec<[f64; 2]> =
                    stroke.points.iter().map(|&point| place(point)).collect();
                if stroke.round {
                    pen::rounded(&points)
                } else {
                    points
                }
            })
            .collect();
        let pen = (self.pen + 0.12 * normal(rng)).clamp(0.6, 1.7);
        pen::draw(&lines, pen, rng)
    }
}

/// A number from the standard normal distribution.
fn normal(rng: &mut ChaCha20Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// A number below `bound`, which is small; the modulo's bias is far below 2⁻⁵⁰.
fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    usize::try_from(rng.next_u64() % bound as u64).expect("below a usize")
}

#[cfg(test)]
mod tests;
