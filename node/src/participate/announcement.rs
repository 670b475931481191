//! An announced round, held against this node's policy, model and text before it says yes.

use secagg::client::ClientError;
use secagg::{Context, DecodeError, Parameters, Session, ThreatModel};
use secagg_learning::{Plan, RoundKind};
use secagg_wire::digest::{Digest, FileDigest, model_digest, plan_digest};
use secagg_wire::message::{DeclineReason, Following};
use secagg_wire::plan::{PlanBytesError, decode_plan};
use secagg_wire::text::Reason;
use thiserror::Error;

use super::ledger::{Entry, Hash, Join, Ledger, LedgerError, Step, architecture, elements};
use super::policy::NodePolicy;
use crate::model::ModelFiles;

/// What the coordinator announces, as received.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
    /// secagg's parameters, encoded.
    pub parameters: Vec<u8>,
    /// Fresh for every attempt.
    pub nonce: [u8; 32],
    /// The plan, encoded.
    pub plan: Vec<u8>,
    /// The weights to evaluate and to train from.
    pub weights: FileDigest,
    /// How they follow from those of before.
    pub following: Option<Following>,
}

/// Which weights are announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) weights: FileDigest,
    pub(super) following: Option<Following>,
}

/// The model of the federation, as this node received it.
#[derive(Clone, Debug)]
pub struct FederationModel {
    /// Description and vocabulary.
    pub files: ModelFiles,
    /// Digest of the description's bytes as received.
    pub description: Digest,
    /// Digest of the vocabulary's bytes as received.
    pub vocabulary: Digest,
    /// The initial weights.
    pub initial: FileDigest,
}

impl FederationModel {
    /// What stands for description and vocabulary.
    #[must_use]
    pub fn architecture(&self) -> Hash {
        architecture(&self.description, &self.vocabulary)
    }

    /// The longest file that weights of this model can have: 4 bytes a parameter and a header.
    #[must_use]
    pub fn weights_cap(&self) -> u64 {
        4 * self.files.description.parameters() as u64 + MAX_WEIGHTS_HEADER
    }
}

/// How many messages a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextCounts {
    /// For training.
    pub training: usize,
    /// Held out, for evaluation alone.
    pub held_out: usize,
}

/// A round that this node takes part in.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The plan.
    pub plan: Plan,
    parameters: Parameters,
    context: Context,
    description: Digest,
    vocabulary: Digest,
}

impl Assignment {
    /// What the coordinator is trusted with in this round.
    #[must_use]
    pub fn threat_model(&self) -> ThreatModel {
        self.parameters.threat_model()
    }

    /// The session of this round for these weights.
    ///
    /// # Security
    /// `weights` is the digest of the bytes that were received. A node that was shown another model
    /// has another session, and its masks do not cancel against the others'.
    #[must_use]
    pub fn session(&self, weights: &Digest) -> Session {
        let context = Context {
            model_digest: model_digest(&self.description, &self.vocabulary, weights),
            ..self.context
        };
        Session::new(self.parameters.clone(), context)
    }

    /// What the ledger says of taking part in this session.
    #[must_use]
    pub fn joins(&self, session: &Session, attempt: u32, now: u64) -> Entry {
        let architecture = architecture(&self.description, &self.vocabulary);
        Entry::new(
            now,
            session,
            attempt,
            Step::Join(Join::of(session, architecture)),
        )
    }
}

/// Why this node does not take part in a round.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The parameters do not decode.
    #[error("the announced parameters do not decode: {0}")]
    Parameters(DecodeError),
    /// The plan does not decode to a valid one.
    #[error("the announced plan: {0}")]
    Plan(#[from] PlanBytesError),
    /// Threat model, graph or vector are beyond the policy.
    #[error("{0}")]
    Policy(ClientError),
    /// The round may start with fewer nodes than the policy allows.
    #[error("the round may start with {cohort} nodes, this node's policy asks for {floor}")]
    SmallCohort {
        /// The announced smallest cohort.
        cohort: u32,
        /// The policy's.
        floor: u32,
    },
    /// The round allows more nodes than the plan has room for.
    #[error("the round may have {cohort} nodes, its plan has room for {plan}")]
    LargeCohort {
        /// The announced largest cohort.
        cohort: u32,
        /// The plan's.
        plan: u32,
    },
    /// The plan is for a model of another size.
    #[error("the plan is for {plan} parameters, the model has {model}")]
    OtherModel {
        /// The plan's parameters.
        plan: u32,
        /// The model's.
        model: usize,
    },
    /// The plan trains a part of a tensor's row.
    #[error(
        "the plan trains the parameters {start} to {end} of the flat vector, which is not made of \
         whole rows of the model's tensors"
    )]
    CutRow {
        /// The first of them.
        start: usize,
        /// What comes after the last.
        end: usize,
    },
    /// The vector's layout is not the plan's.
    #[error("the layout of the masked vector is not the plan's")]
    Layout,
    /// The vector is longer than the policy allows.
    #[error("the masked vector has {elements} elements, this node's policy allows {allowed}")]
    TooManyElements {
        /// Elements of all segments.
        elements: u64,
        /// The policy's limit.
        allowed: u64,
    },
    /// The update's elements have more bits than the policy allows.
    #[error("the update's elements have {bits} bits, this node's policy allows {allowed}")]
    TooManyBits {
        /// Bits of an element.
        bits: u8,
        /// The policy's limit.
        allowed: u8,
    },
    /// The weights are announced with a length that this model's cannot have.
    #[error("weights of {len} bytes are announced, this model's have at most {cap}")]
    WeightsTooLarge {
        /// The announced length.
        len: u64,
        /// The longest possible.
        cap: u64,
    },
    /// The policy names the models that it accepts, and this is none of them.
    #[error(
        "the model (description and vocabulary) has the digest {model}, and the policy's `models` do \
         not name it"
    )]
    UnknownModel {
        /// The digest.
        model: Hash,
    },
    /// The policy names the plans that it accepts, and this is none of them.
    #[error("the plan has the digest {plan}, and the policy's `plans` do not name it")]
    UnknownPlan {
        /// The digest.
        plan: Hash,
    },
    /// There is nothing to train on, or, where nodes only evaluate, nothing held out.
    #[error("this node has no text for it; add some with `secagg-node add`")]
    NoText,
    /// The ledger allows no upload.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Refusal {
    /// What the coordinator is told.
    #[must_use]
    pub fn decline_reason(&self) -> DeclineReason {
        let reason = Reason::fitted(&self.to_string());
        match self {
            Self::NoText => DeclineReason::NoText,
            Self::Ledger(LedgerError::UploadsUsedUp { .. }) => DeclineReason::UploadsUsedUp,
            Self::Policy(_)
            | Self::SmallCohort { .. }
            | Self::LargeCohort { .. }
            | Self::OtherModel { .. }
            | Self::CutRow { .. }
            | Self::Layout
            | Self::TooManyElements { .. }
            | Self::TooManyBits { .. }
            | Self::WeightsTooLarge { .. }
            | Self::UnknownModel { .. }
            | Self::UnknownPlan { .. }
            | Self::Ledger(LedgerError::RoundsUsedUp { .. }) => DeclineReason::Policy(reason),
            Self::Parameters(_) | Self::Plan(_) | Self::Ledger(_) => DeclineReason::Other(reason),
        }
    }
}

impl Announcement {
    pub(super) const fn announced(&self) -> Announced {
        Announced {
            weights: self.weights,
            following: self.following,
        }
    }

    /// Holds the announcement against all that this node insists on, at this time in seconds since
    /// 1970.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn check(
        &self,
        model: &FederationModel,
        policy: &NodePolicy,
        ledger: &Ledger,
        text: TextCounts,
        now: u64,
    ) -> Result<Assignment, Refusal> {
        let parameters = Parameters::decode(&self.parameters).map_err(Refusal::Parameters)?;
        let plan = decode_plan(&self.plan)?;
        // A coordinator may offer a weaker threat model or a tiny cohort, to learn more of each.
        let floors = policy.floors();
        floors.accepts(&parameters).map_err(Refusal::Policy)?;
        let cohort = parameters.cohort();
        let floor = floors.min_cohort;
        if *cohort.start() < floor {
            let cohort = *cohort.start();
            return Err(Refusal::SmallCohort { cohort, floor });
        }
        // With more nodes than the plan has room for, the sum could wrap around.
        if *cohort.end() > plan.update().max_cohort {
            return Err(Refusal::LargeCohort {
                cohort: *cohort.end(),
                plan: plan.update().max_cohort,
            });
        }
        check_digests(&self.plan, model, policy)?;
        check_layout(&parameters, &plan, model, policy)?;
        let (len, cap) = (self.weights.len, model.weights_cap());
        if len > cap {
            return Err(Refusal::WeightsTooLarge { len, cap });
        }
        let messages = match plan.kind() {
            RoundKind::Train => text.training,
            RoundKind::EvaluateOnly => text.held_out,
        };
        if messages == 0 {
            return Err(Refusal::NoText);
        }
        let assignment = Assignment {
            context: Context {
                round: self.round,
                nonce: self.nonce,
                model_digest: [0; 32],
                plan_digest: plan_digest(&self.plan),
            },
            plan,
            parameters,
            description: model.description,
            vocabulary: model.vocabulary,
        };
        // The weights are still to come; those that come must have the announced digest.
        let expected = assignment.session(&self.weights.sha256);
        ledger.check(
            &assignment.joins(&expected, self.attempt, now),
            policy.limits(),
        )?;
        Ok(assignment)
    }
}

/// V-44. A model or a plan made for one victim is not one that its owner has named.
fn check_digests(plan: &[u8], model: &FederationModel, policy: &NodePolicy) -> Result<(), Refusal> {
    let model = model.architecture();
    if !policy.accepts_model(&model) {
        return Err(Refusal::UnknownModel { model });
    }
    let plan = Hash::from_bytes(plan_digest(plan));
    if !policy.accepts_plan(&plan) {
        return Err(Refusal::UnknownPlan { plan });
    }
    Ok(())
}

/// A safetensors header of a handful of tensors takes a few hundred bytes.
const MAX_WEIGHTS_HEADER: u64 = 64 << 10;

fn check_layout(
    parameters: &Parameters,
    plan: &Plan,
    model: &FederationModel,
    policy: &NodePolicy,
) -> Result<(), Refusal> {
    let (planned, parameters_of_model) = (
        plan.update().parameters,
        model.files.description.parameters(),
    );
    if planned as usize != parameters_of_model {
        return Err(Refusal::OtherModel {
            plan: planned,
            model: parameters_of_model,
        });
    }
    for part in plan.update().parts.stretches(parameters_of_model) {
        let (start, end) = (part.start, part.end);
        let whole = [start, end].map(|bound| model.files.description.is_between_rows(bound));
        if whole != [true; 2] {
            return Err(Refusal::CutRow { start, end });
        }
    }
    let layout = parameters.layout();
    if *layout != plan.layout() {
        return Err(Refusal::Layout);
    }
    let elements = elements(layout);
    if elements > policy.max_elements() {
        let allowed = policy.max_elements();
        return Err(Refusal::TooManyElements { elements, allowed });
    }
    if plan.kind() == RoundKind::Train && plan.modulus_bits() > policy.max_bits() {
        return Err(Refusal::TooManyBits {
            bits: plan.modulus_bits(),
            allowed: policy.max_bits(),
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "announcement/tests.rs"]
mod tests;
