//! Test hooks: stopping for ever before a phase, so that a test can kill the process there.
//!
//! A default build has none of them: there a [`Pauses`] holds nothing and never waits.

use std::{fmt, str::FromStr};

use secagg_wire::phase::Phase;

use crate::events::Events;

/// Where a coordinator can be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before a phase begins.
    Before(Phase),
    /// Between the optimiser's step and the commit.
    Save,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(phase) => phase.fmt(f),
            Self::Save => f.write_str("save"),
        }
    }
}

/// `ROUND:PHASE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseAt {
    /// The round.
    pub round: u64,
    /// The moment in it.
    pub moment: Moment,
}

impl FromStr for PauseAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "{text:?} is no ROUND:PHASE; phases are train, advertise-keys, share-keys, \
                 masked-input, unmask, save"
            )
        };
        let (round, phase) = text.split_once(':').ok_or_else(error)?;
        let moment = match phase {
            "save" => Moment::Save,
            phase => Moment::Before(phase.parse().map_err(|_| error())?),
        };
        Ok(Self {
            round: round.parse().map_err(|_| error())?,
            moment,
        })
    }
}

/// The pauses asked for.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    #[cfg(feature = "fault-injection")]
    at: Vec<PauseAt>,
}

impl Pauses {
    /// Pauses at these moments.
    #[cfg(feature = "fault-injection")]
    #[must_use]
    pub fn new(at: Vec<PauseAt>) -> Self {
        Self { at }
    }

    /// Waits for ever if this moment was asked for.
    #[cfg(feature = "fault-injection")]
    pub(crate) async fn reached(&self, events: &Events, round: u64, moment: Moment) {
        if self.at.contains(&PauseAt { round, moment }) {
            let fields = serde_json::json!({ "round": round, "phase": moment.to_string() });
            events.event("paused", fields);
            std::future::pending::<()>().await;
        }
    }

    /// Goes on.
    #[cfg(not(feature = "fault-injection"))]
    #[expect(
        clippy::unused_async,
        reason = "the same signature as with fault injection"
    )]
    pub(crate) async fn reached(&self, _: &Events, _: u64, _: Moment) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_round_and_a_phase() {
        assert_eq!(
            "3:save".parse(),
            Ok(PauseAt {
                round: 3,
                moment: Moment::Save
            })
        );
        assert_eq!(
            "1:share-keys".parse(),
            Ok(PauseAt {
                round: 1,
                moment: Moment::Before(Phase::ShareKeys)
            })
        );
        for text in ["3", "x:save", "3:later"] {
            assert!(text.parse::<PauseAt>().unwrap_err().contains(text));
        }
    }
}
