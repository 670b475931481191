//! Numbers in words: examples of texts that become other texts, made on the spot.
//!
//! Of every ten numbers that follow each other from a multiple of ten, one is never trained on; a seed
//! says which. Those stand wherever a node holds a line out, so that what is evaluated was never seen,
//! by none of the people.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use thiserror::Error;

use crate::store::HELD_OUT_EVERY;

/// The most digits of a number.
pub const MAX_DIGITS: u32 = 12;

/// How a number is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Digit by digit: three four two.
    #[default]
    Digits,
    /// As in British English: three hundred and forty-two.
    English,
}

/// Which numbers there are. A value that exists is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    least_digits: u32,
    most_digits: u32,
    style: Style,
    seed: u64,
}

/// Why there can be no such numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NumbersError {
    /// The range of lengths is empty or goes too far.
    #[error(
        "numbers of {least} to {most} digits; the fewest must be at least 1, and the most from that \
         to {MAX_DIGITS}"
    )]
    Digits {
        /// The fewest digits.
        least: u32,
        /// The most digits.
        most: u32,
    },
}

const WORDS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

const THOUSANDS: [(u64, &str); 3] = [
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
];

impl Numbers {
    /// Numbers of `least` to `most` digits, each length as often as another, without leading zeros.
    ///
    /// # Errors
    /// [`NumbersError::Digits`] with a range that is empty or goes too far.
    pub fn new(least: u32, most: u32, style: Style, seed: u64) -> Result<Self, NumbersError> {
        if least < 1 || most < least || most > MAX_DIGITS {
            return Err(NumbersError::Digits { least, most });
        }
        Ok(Self {
            least_digits: least,
            most_digits: most,
            style,
            seed,
        })
    }

    /// The lines of one person, `source<TAB>target`, the same for the same seed and person: every tenth
    /// one, counted from 1, has a number that stands in no other line.
    #[must_use]
    pub fn lines(&self, person: u64, count: u64) -> Vec<String> {
        let mut rng = self.rng(person);
        (1..=count)
            .map(|place| {
                let number = self.draw(&mut rng, place.is_multiple_of(HELD_OUT_EVERY));
                format!("{number}\t{}", in_words(number, self.style))
            })
            .collect()
    }

    /// Whether a number is only evaluated on.
    #[must_use]
    pub fn is_held_out(&self, number: u64) -> bool {
        number % 10 == self.held_out_digit(number)
    }

    fn draw(&self, rng: &mut impl Rng, held_out: bool) -> u64 {
        let lengths = u64::from(self.most_digits - self.least_digits + 1);
        // The modulo's bias is below 2⁻²⁰: there are at most 10¹² numbers.
        let digits = self.least_digits
            + u32::try_from(rng.next_u64() % lengths).expect("fewer lengths than digits");
        let least = if digits == 1 {
            0
        } else {
            10_u64.pow(digits - 1)
        };
        loop {
            let number = least + rng.next_u64() % (10_u64.pow(digits) - least);
            if held_out {
                return number - number % 10 + self.held_out_digit(number);
            }
            if !self.is_held_out(number) {
                return number;
            }
        }
    }

    /// The last digit of that number of the ten around `number` which is held out.
    fn held_out_digit(&self, number: u64) -> u64 {
        // Far from the people's streams.
        self.rng(u64::MAX - number / 10).next_u64() % 10
    }

    fn rng(&self, stream: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }
}

/// A number in words, without the sign that a comma would be.
///
/// # Panics
/// Never: the parts that are looked up are below the tables' lengths.
#[must_use]
pub fn in_words(number: u64, style: Style) -> String {
    match style {
        Style::Digits => {
            let digits = number.to_string();
            let words = digits
                .chars()
                .filter_map(|digit| Some(WORDS[digit.to_digit(10)? as usize]));
            words.collect::<Vec<_>>().join(" ")
        }
        Style::English => english(number),
    }
}

/// "And" stands before the tens and ones, where there is anything before them.
fn english(number: u64) -> String {
    if number < 1_000 {
        return below_thousand(number);
    }
    let mut words = Vec::new();
    let mut rest = number;
    for (size, name) in THOUSANDS {
        if rest >= size {
            words.push(english(rest / size));
            words.push(name.to_owned());
            rest %= size;
        }
    }
    if rest > 0 {
        if rest < 100 {
            words.push("and".to_owned());
        }
        words.push(below_thousand(rest));
    }
    words.join(" ")
}

fn below_thousand(number: u64) -> String {
    let word = |number: u64| WORDS[usize::try_from(number).expect("below 20")];
    match (number / 100, number % 100) {
        (0, rest @ 0..20) => word(rest).to_owned(),
        (0, rest) => {
            let tens = TENS[usize::try_from(rest / 10).expect("below 10")];
            if rest % 10 == 0 {
                tens.to_owned()
            } else {
                format!("{tens}-{}", word(rest % 10))
            }
        }
        (hundreds, 0) => format!("{} hundred", word(hundreds)),
        (hundreds, rest) => format!("{} hundred and {}", word(hundreds), below_thousand(rest)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_said() {
        for (number, digits, said) in [
            (0, "zero", "zero"),
            (7, "seven", "seven"),
            (13, "one three", "thirteen"),
            (20, "two zero", "twenty"),
            (100, "one zero zero", "one hundred"),
            (342, "three four two", "three hundred and forty-two"),
            (1_000, "one zero zero zero", "one thousand"),
            (1_001, "one zero zero one", "one thousand and one"),
            (1_100, "one one zero zero", "one thousand one hundred"),
            (
                342_007,
                "three four two zero zero seven",
                "three hundred and forty-two thousand and seven",
            ),
            (
                2_000_110,
                "two zero zero zero one one zero",
                "two million one hundred and ten",
            ),
            (
                999_000_000_099,
                "nine nine nine zero zero zero zero zero zero zero nine nine",
                "nine hundred and ninety-nine billion and ninety-nine",
            ),
        ] {
            assert_eq!(in_words(number, Style::Digits), digits);
            assert_eq!(in_words(number, Style::English), said);
        }
    }

    #[test]
    fn no_two_numbers_sound_alike() {
        for style in [Style::Digits, Style::English] {
            let said: BTreeSet<String> = (0..20_000).map(|n| in_words(n, style)).collect();
            assert_eq!(said.len(), 20_000);
        }
    }

    fn number(line: &str) -> u64 {
        let (number, words) = line.split_once('\t').unwrap();
        let number = number.parse().unwrap();
        assert_eq!(words, in_words(number, Style::Digits));
        number
    }

    #[test]
    fn held_out_numbers_are_trained_on_by_nobody() {
        let numbers = Numbers::new(1, 3, Style::Digits, 7).unwrap();
        let (mut training, mut held_out) = (BTreeSet::new(), BTreeSet::new());
        for person in 0..40 {
            let lines = numbers.lines(person, 100);
            for (line, place) in lines.iter().zip(1_u64..) {
                let set = if place.is_multiple_of(HELD_OUT_EVERY) {
                    &mut held_out
                } else {
                    &mut training
                };
                set.insert(number(line));
            }
        }
        assert!(training.is_disjoint(&held_out));
        assert!(training.len() > 700 && held_out.len() > 60);
        assert!(held_out.iter().all(|&number| numbers.is_held_out(number)));
        // One of the ten, and all lengths.
        assert_eq!(held_out.iter().filter(|&&number| number < 10).count(), 1);
        for length in [1, 2, 3] {
            for set in [&training, &held_out] {
                assert!(set.iter().any(|number| number.to_string().len() == length));
            }
        }
        assert!(training.iter().all(|&number| number < 1_000));
    }

    #[test]
    fn the_same_seed_and_person_give_the_same_lines() {
        let lines = |seed, person| {
            let numbers = Numbers::new(2, MAX_DIGITS, Style::English, seed).unwrap();
            numbers.lines(person, 20)
        };
        assert_eq!(lines(1, 1), lines(1, 1));
        assert_ne!(lines(1, 1), lines(1, 2));
        assert_ne!(lines(1, 1), lines(2, 1));
    }

    #[test]
    fn bad_lengths_are_named() {
        for (least, most) in [(0, 3), (4, 3), (1, 13)] {
            let error = Numbers::new(least, most, Style::Digits, 1).unwrap_err();
            assert_eq!(error, NumbersError::Digits { least, most });
        }
    }
}
