//! The ledger's lines put together: one receipt a round.

use secagg::{ThreatModel, min_threshold};

use super::ledger::{Entry, Hash, Join, Reveal, Step, Upload};
use super::policy::NodePolicy;

/// What this node did in one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When it was first mentioned, in seconds since 1970.
    pub at: u64,
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
    /// The session.
    pub session: Hash,
    /// What it was about, once joined.
    pub join: Option<Join>,
    /// Whose vectors were under its masks, once uploaded.
    pub upload: Option<Upload>,
    /// Which sum it helped to open, once revealed.
    pub reveal: Option<Reveal>,
    /// Why it left.
    pub left: Option<String>,
}

/// How far a node went in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It said yes; the round ended before it sent its vector.
    Joined,
    /// It sent its masked vector; nobody asked it to open a sum.
    Uploaded,
    /// It revealed its shares.
    Revealed,
    /// It left.
    Left {
        /// After it had sent its vector.
        uploaded: bool,
        /// Why.
        reason: &'a str,
    },
}

/// One receipt a session, in the order in which they began.
pub fn receipts<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Receipt> {
    let mut receipts: Vec<Receipt> = Vec::new();
    for entry in entries {
        // A session's lines are close together, at the end.
        let known = receipts
            .iter()
            .rposition(|receipt| receipt.session == entry.session);
        let index = known.unwrap_or_else(|| {
            receipts.push(Receipt {
                at: entry.at,
                round: entry.round,
                attempt: entry.attempt,
                session: entry.session,
                join: None,
                upload: None,
                reveal: None,
                left: None,
            });
            receipts.len() - 1
        });
        if let Some(receipt) = receipts.get_mut(index) {
            match &entry.step {
                Step::Join(join) => receipt.join = Some(join.clone()),
                Step::Upload(upload) => receipt.upload = Some(upload.clone()),
                Step::Reveal(reveal) => receipt.reveal = Some(reveal.clone()),
                Step::Leave { reason } => receipt.left = Some(reason.clone()),
            }
        }
    }
    receipts
}

impl Receipt {
    /// How far this node went.
    #[must_use]
    pub fn outcome(&self) -> Outcome<'_> {
        match self {
            // After it revealed there is nothing left to refuse.
            Self {
                reveal: Some(_), ..
            } => Outcome::Revealed,
            Self {
                left: Some(reason),
                upload,
                ..
            } => Outcome::Left {
                uploaded: upload.is_some(),
                reason,
            },
            Self {
                upload: Some(_), ..
            } => Outcome::Uploaded,
            _ => Outcome::Joined,
        }
    }

    /// What in this round is below a policy; it may have been another one then.
    #[must_use]
    pub fn below(&self, policy: &NodePolicy) -> Vec<String> {
        let floors = policy.floors();
        let mut found = Vec::new();
        let mut below = |what: &str, value: u32, floor: u32| {
            if value < floor {
                found.push(format!(
                    "round {}, attempt {}: {what} was {value}, the policy asks for {floor}",
                    self.round, self.attempt
                ));
            }
        };
        if let Some(upload) = &self.upload {
            below("the number of nodes", upload.cohort, floors.min_cohort);
            let floor = min_threshold(
                floors.threat_model,
                upload.cohort,
                upload.degree,
                floors.max_corrupt,
                floors.security_bits.into(),
            );
            below("the threshold", upload.threshold, floor);
        }
        if let Some(reveal) = &self.reveal {
            below(
                "the number of nodes in the sum",
                reveal.survivors,
                floors.min_survivors,
            );
        }
        if let Some(join) = &self.join
            && floors.threat_model == ThreatModel::Malicious
            && join.threat_model != ThreatModel::Malicious.to_string()
        {
            found.push(format!(
                "round {}, attempt {}: the threat model was {}, the policy asks for {}",
                self.round, self.attempt, join.threat_model, floors.threat_model
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> Hash {
        Hash::from_bytes([number; 32])
    }

    fn entry(session: u8, step: Step) -> Entry {
        Entry {
            at: 100 + u64::from(session),
            round: session.into(),
            attempt: 1,
            session: hash(session),
            step,
        }
    }

    fn join(threat_model: &str) -> Step {
        Step::Join(Join {
            model: hash(1),
            architecture: hash(2),
            plan: hash(3),
            threat_model: threat_model.to_owned(),
            graph: "complete".to_owned(),
            min_cohort: 3,
            max_cohort: 8,
            elements: 10,
        })
    }

    fn upload(cohort: u32, threshold: u32) -> Step {
        Step::Upload(Upload {
            model: hash(1),
            roster: hash(4),
            round_id: hash(5),
            cohort,
            degree: cohort - 1,
            threshold,
        })
    }

    fn reveal(survivors: u32) -> Step {
        Step::Reveal(Reveal {
            survivors,
            survivors_digest: hash(6),
        })
    }

    fn leave() -> Step {
        Step::Leave {
            reason: "why".to_owned(),
        }
    }

    #[test]
    fn the_steps_of_a_session_make_one_receipt() {
        let entries = [
            entry(1, join("malicious")),
            entry(1, upload(5, 4)),
            entry(2, join("malicious")),
            entry(1, reveal(5)),
            entry(2, leave()),
            entry(3, join("malicious")),
            entry(4, join("malicious")),
            entry(4, upload(5, 4)),
            entry(5, upload(5, 4)),
            entry(5, leave()),
        ];
        let receipts = receipts(entries.iter());
        let outcomes: Vec<_> = receipts
            .iter()
            .map(|receipt| (receipt.round, receipt.outcome()))
            .collect();
        let left = |uploaded| Outcome::Left {
            uploaded,
            reason: "why",
        };
        let expected = [
            (1, Outcome::Revealed),
            (2, left(false)),
            (3, Outcome::Joined),
            (4, Outcome::Uploaded),
            (5, left(true)),
        ];
        assert_eq!(outcomes, expected);
        assert!(
            receipts
                .iter()
                .all(|receipt| receipt.below(&NodePolicy::default()).is_empty())
        );
    }

    /// The default policy: three nodes and survivors at least, one corrupt, a malicious server.
    #[test]
    fn what_is_below_the_policy_is_named() {
        let entries = [
            entry(1, join("honest-but-curious")),
            // 2t ≥ k + t_A asks for 3 of 5.
            entry(2, upload(5, 2)),
            entry(3, upload(2, 2)),
            entry(4, reveal(2)),
        ];
        let found: Vec<String> = receipts(entries.iter())
            .iter()
            .flat_map(|receipt| receipt.below(&NodePolicy::default()))
            .collect();
        assert_eq!(
            found,
            [
                "round 1, attempt 1: the threat model was honest-but-curious, the policy asks for \
                 malicious",
                "round 2, attempt 1: the threshold was 2, the policy asks for 3",
                "round 3, attempt 1: the number of nodes was 2, the policy asks for 3",
                "round 4, attempt 1: the number of nodes in the sum was 2, the policy asks for 3",
            ]
        );
    }
}
