//! Numbers for people.

/// A share as a percentage: `20.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", 100.0 * share)
}

/// A small share as a percentage: `0.85 %`.
pub(crate) fn fine_percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * share)
}

/// Milliseconds as milliseconds, seconds or minutes, whichever is short.
pub(crate) fn duration(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1}\u{a0}ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0}\u{a0}ms")
    } else if ms < 120_000.0 {
        format!("{:.1}\u{a0}s", ms / 1_000.0)
    } else {
        format!("{:.1}\u{a0}min", ms / 60_000.0)
    }
}

/// Bytes in decimal units.
pub(crate) fn bytes(count: f64) -> String {
    if count < 1_000.0 {
        format!("{count:.0}\u{a0}B")
    } else if count < 1e6 {
        format!("{:.1}\u{a0}kB", count / 1e3)
    } else {
        format!("{:.2}\u{a0}MB", count / 1e6)
    }
}

/// A whole number with commas between thousands.
pub(crate) fn whole(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A correlation, with its sign.
pub(crate) fn correlation(r: f64) -> String {
    format!("{r:+.4}").replace('-', "−")
}

/// A χ².
pub(crate) fn chi_square(value: f64) -> String {
    if value < 10_000.0 {
        return format!("{value:.1}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and no more than the square of a number of bytes"
    )]
    let rounded = value.round() as usize;
    whole(rounded)
}

/// A probability; below 10⁻⁴ as a power of ten.
pub(crate) fn probability(p: f64) -> String {
    if p == 0.0 {
        "below 10⁻³⁰⁰".to_owned()
    } else if p < 1e-4 {
        let exponent = p.log10().floor();
        let digits = format!("{:.0}", -exponent);
        format!(
            "{:.1} × 10⁻{}",
            p / 10_f64.powf(exponent),
            superscript(&digits)
        )
    } else {
        format!("{p:.3}")
    }
}

fn superscript(digits: &str) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised = |digit: char| {
        digit
            .to_digit(10)
            .map_or(digit, |digit| DIGITS[digit as usize])
    };
    digits.chars().map(raised).collect()
}

/// A word in the singular or plural.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", whole(count), if count == 1 { one } else { many })
}

/// Names in a sentence: `a`, `a and b`, `a, b and c`.
pub(crate) fn list(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [name] => name.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Text for HTML, in content and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(percent(0.2034), "20.3\u{a0}%");
        assert_eq!(fine_percent(0.00854), "0.85\u{a0}%");
        assert_eq!(duration(3.24), "3.2\u{a0}ms");
        assert_eq!(duration(324.0), "324\u{a0}ms");
        assert_eq!(duration(3_240.0), "3.2\u{a0}s");
        assert_eq!(duration(150_000.0), "2.5\u{a0}min");
        assert_eq!(bytes(42.0), "42\u{a0}B");
        assert_eq!(bytes(657_800.0), "657.8\u{a0}kB");
        assert_eq!(bytes(1_654_321.0), "1.65\u{a0}MB");
        assert_eq!(correlation(-0.00168), "−0.0017");
        assert_eq!(correlation(1.0), "+1.0000");
        assert_eq!(chi_square(251.34), "251.3");
        assert_eq!(chi_square(1_234_567.8), "1,234,568");
        assert_eq!(whole(7), "7");
        assert_eq!(whole(657_800), "657,800");
        assert_eq!(whole(1_412_250), "1,412,250");
    }

    #[test]
    fn small_probabilities_are_powers_of_ten() {
        assert_eq!(probability(0.0), "below 10⁻³⁰⁰");
        assert_eq!(probability(0.0312), "0.031");
        assert_eq!(probability(3.2e-17), "3.2 × 10⁻¹⁷");
    }

    #[test]
    fn sentences() {
        assert_eq!(counted(1, "node", "nodes"), "1 node");
        assert_eq!(counted(2, "node", "nodes"), "2 nodes");
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list(&names), "a, b and c");
        assert_eq!(list(&names[..1]), "a");
        assert_eq!(list(&[]), "nobody");
        assert_eq!(
            escape("<a href='x\"'>&"),
            "&lt;a href=&#39;x&quot;&#39;&gt;&amp;"
        );
    }
}
