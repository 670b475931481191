//! What a client does wrong, and when.

use std::{fmt, str::FromStr};

/// A point in a round at which a client can do something else than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it answers the announcement.
    Announced,
    /// Before it would train: selected, nothing sent.
    Train,
    /// Before it sends its advert.
    AdvertiseKeys,
    /// Has the roster, before it sends its shares.
    ShareKeys,
    /// Has its delivery and masked its vector, before it uploads.
    MaskedInput,
    /// Half of the masked vector was sent.
    Upload,
    /// The coordinator has the whole masked vector.
    Uploaded,
    /// Has the survivors, before it signs them.
    ConsistencyCheck,
    /// Has the survivors, or the others' signatures on them, before it sends its unmask shares.
    Unmask,
}

/// What it does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ends without another packet, as a killed process does.
    Die,
    /// Says that it leaves, and closes.
    Leave,
    /// Stays connected and ignores the rest of the round.
    Silent,
    /// Waits until it is released, then goes on as if nothing had happened.
    Hold,
    /// Declines instead of accepting.
    Decline,
    /// Sends its message twice.
    Twice,
    /// Sends a header that claims more than the cap instead of its message.
    Oversized,
    /// Sends half of its message and ends the stream.
    Truncated,
    /// Sends a frame of a kind that does not exist instead of its message.
    UnknownKind,
    /// Sends a secagg message that does not decode instead of its own.
    Garbage,
    /// Announces a masked vector that is one byte longer than the session's.
    WrongLength,
    /// Ends its upload after half of it.
    CutShort,
}

/// One deviation of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// The client's index in its swarm.
    pub client: usize,
    /// The round.
    pub round: u64,
    /// When in it.
    pub moment: Moment,
    /// What then.
    pub act: Act,
}

impl Script {
    /// A deviation in the first round.
    #[must_use]
    pub fn first_round(client: usize, moment: Moment, act: Act) -> Self {
        Self {
            client,
            round: 1,
            moment,
            act,
        }
    }
}

const MOMENTS: [(Moment, &str); 9] = [
    (Moment::Announced, "announced"),
    (Moment::Train, "train"),
    (Moment::AdvertiseKeys, "advertise-keys"),
    (Moment::ShareKeys, "share-keys"),
    (Moment::MaskedInput, "masked-input"),
    (Moment::Upload, "upload"),
    (Moment::Uploaded, "uploaded"),
    (Moment::ConsistencyCheck, "consistency-check"),
    (Moment::Unmask, "unmask"),
];

const ACTS: [(Act, &str); 12] = [
    (Act::Die, "die"),
    (Act::Leave, "leave"),
    (Act::Silent, "silent"),
    (Act::Hold, "hold"),
    (Act::Decline, "decline"),
    (Act::Twice, "twice"),
    (Act::Oversized, "oversized"),
    (Act::Truncated, "truncated"),
    (Act::UnknownKind, "unknown-kind"),
    (Act::Garbage, "garbage"),
    (Act::WrongLength, "wrong-length"),
    (Act::CutShort, "cut-short"),
];

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_in(&MOMENTS, self))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_in(&ACTS, self))
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    /// `CLIENT:ROUND:MOMENT:ACT`, for instance `3:1:upload:die`.
    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let error = || ScriptError {
            text: text.to_owned(),
        };
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or_else(error);
        let script = Self {
            client: part()?.parse().map_err(|_| error())?,
            round: part()?.parse().map_err(|_| error())?,
            moment: value_in(&MOMENTS, part()?).ok_or_else(error)?,
            act: value_in(&ACTS, part()?).ok_or_else(error)?,
        };
        match parts.next() {
            None => Ok(script),
            Some(_) => Err(error()),
        }
    }
}

/// A text that is no script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The text.
    pub text: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moments: Vec<&str> = MOMENTS.iter().map(|(_, name)| *name).collect();
        let acts: Vec<&str> = ACTS.iter().map(|(_, name)| *name).collect();
        write!(
            f,
            "{:?} is no script: write CLIENT:ROUND:MOMENT:ACT with a moment of {} and an act of {}",
            self.text,
            moments.join(", "),
            acts.join(", ")
        )
    }
}

impl std::error::Error for ScriptError {}

fn name_in<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> &'static str {
    let found = names.iter().find(|(listed, _)| listed == value);
    found.map_or("?", |(_, name)| name)
}

fn value_in<T: Copy>(names: &[(T, &'static str)], name: &str) -> Option<T> {
    let found = names.iter().find(|(_, listed)| *listed == name);
    found.map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read() {
        let script = Script {
            client: 3,
            round: 2,
            moment: Moment::Upload,
            act: Act::CutShort,
        };
        assert_eq!("3:2:upload:cut-short".parse(), Ok(script));
        for text in [
            "",
            "3:2:upload",
            "3:2:upload:die:now",
            "a:2:upload:die",
            "3:2:x:die",
        ] {
            let text = text.to_owned();
            assert_eq!(text.parse::<Script>(), Err(ScriptError { text }));
        }
    }
}
