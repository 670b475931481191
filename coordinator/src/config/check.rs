//! Checks of single values.

use std::{ops::RangeInclusive, time::Duration};

use super::ConfigError;
use crate::round::deadline::Deadline;

pub(super) fn whole(
    key: &'static str,
    value: i64,
    allowed: RangeInclusive<u32>,
) -> Result<u32, ConfigError> {
    u32::try_from(value)
        .ok()
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| ConfigError::OutOfRange {
            key,
            value: value.to_string(),
            allowed: format!(
                "a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            ),
        })
}

pub(super) fn fraction(key: &'static str, value: f64, whole: bool) -> Result<f64, ConfigError> {
    if (0.0..1.0).contains(&value) || (whole && value == 1.0) {
        return Ok(value);
    }
    Err(ConfigError::OutOfRange {
        key,
        value: value.to_string(),
        allowed: if whole {
            "a number from 0 to 1".to_owned()
        } else {
            "a number from 0 to below 1".to_owned()
        },
    })
}

pub(super) fn number(
    key: &'static str,
    value: f32,
    allowed: RangeInclusive<f32>,
) -> Result<f32, ConfigError> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::OutOfRange {
        key,
        value: value.to_string(),
        allowed: format!("a number from {} to {}", allowed.start(), allowed.end()),
    })
}

pub(super) fn seconds(key: &'static str, value: f64) -> Result<Duration, ConfigError> {
    if (0.001..=MAX_SECONDS).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(ConfigError::OutOfRange {
        key,
        value: value.to_string(),
        allowed: format!("a number of seconds from 0.001 to {MAX_SECONDS}"),
    })
}

pub(super) fn seconds_or_none(key: &'static str, value: f64) -> Result<Duration, ConfigError> {
    if (0.0..=MAX_SECONDS).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(ConfigError::OutOfRange {
        key,
        value: value.to_string(),
        allowed: format!("a number of seconds from 0 to {MAX_SECONDS}"),
    })
}

pub(super) fn deadline(
    [min_key, max_key, fraction_key]: [&'static str; 3],
    min: f64,
    max: f64,
    share: f64,
) -> Result<Deadline, ConfigError> {
    let min = seconds_or_none(min_key, min)?;
    let max_seconds = seconds(max_key, max)?;
    if max_seconds < min {
        return Err(ConfigError::OutOfRange {
            key: max_key,
            value: max.to_string(),
            allowed: format!("at least {min_key}, {} seconds", min.as_secs_f64()),
        });
    }
    Ok(Deadline {
        min,
        max: max_seconds,
        min_fraction: fraction(fraction_key, share, true)?,
    })
}

/// A week: a longer wait is a mistake.
const MAX_SECONDS: f64 = 604_800.0;
