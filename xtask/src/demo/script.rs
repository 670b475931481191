//! Who is killed when, and whose update is shown.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::people::Person;

/// The phase before which a node is killed: it has shared its keys, and others count on it.
const KILLED_BEFORE: &str = "masked-input";

/// Who is killed when, and whose update is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// Names of those who are killed.
    pub(crate) victims: Vec<String>,
    /// The round in which they are.
    pub(crate) kill_round: u64,
    /// The name of the node that writes its update.
    pub(crate) shown: String,
    /// The round of which it writes it.
    pub(crate) shown_round: u64,
    /// Fixes the order of messages in each node's training.
    pub(crate) seed: u32,
}

impl Script {
    /// Draws by the seed: the same seed and people, the same script.
    ///
    /// # Errors
    ///
    /// When nobody is left to be shown.
    pub(crate) fn new(people: &[Person], kill: usize, kill_round: u64, seed: u32) -> Result<Self> {
        let mut drawn: Vec<&Person> = people.iter().collect();
        drawn.sort_by_cached_key(|person| {
            let mut hash = Sha256::new();
            hash.update(seed.to_le_bytes());
            hash.update(&person.name);
            hash.finalize().to_vec()
        });
        let (victims, others) = drawn.split_at(kill.min(drawn.len()));
        let shown = others.first().context("nobody would be left alive")?;
        Ok(Self {
            victims: victims.iter().map(|person| person.name.clone()).collect(),
            kill_round,
            shown: shown.name.clone(),
            // In the same round: its sum is one that has survived.
            shown_round: kill_round,
            seed,
        })
    }

    /// Where victims stand still to be killed, as `--pause-at` wants it.
    pub(crate) fn pause(&self) -> String {
        format!("{}:{KILLED_BEFORE}", self.kill_round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::people::People;

    #[test]
    fn the_seed_decides_who_dies() {
        let people = People::bundled(12).unwrap().people;
        let script = Script::new(&people, 2, 4, 1).unwrap();
        assert_eq!(script, Script::new(&people, 2, 4, 1).unwrap());
        assert_eq!(script.victims.len(), 2);
        assert!(!script.victims.contains(&script.shown));
        let others = (2..30).map(|seed| Script::new(&people, 2, 4, seed).unwrap());
        assert!(
            others
                .into_iter()
                .any(|other| other.victims != script.victims)
        );
        assert!(Script::new(&people, 12, 4, 1).is_err());
    }
}
