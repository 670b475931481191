//! Error feedback between rounds: what this node has not sent of its updates
//! (see `secagg_learning::codec`).
//!
//! It is as private as an update, and lives in memory only: a node that is started again begins
//! without one, which costs a little accuracy. It belongs to one model, and changes only when an
//! upload was made and counts.

use std::sync::Arc;

use secagg_learning::{Parts, Residual};
use secagg_wire::events::Round;

use super::ledger::Hash;

/// The residual of the node's last update that counts, and of one that may still do.
#[derive(Debug, Default)]
pub(super) struct Feedback {
    kept: Option<Kept>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Kept {
    of: Of,
    residual: Arc<Residual>,
}

/// Whose residual it is: of a model, description and vocabulary, and of the parts of it that are
/// trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) architecture: Hash,
    pub(super) parts: Parts,
}

/// Of an update that was uploaded, in a round whose end this node has not heard.
#[derive(Debug)]
struct Pending {
    round: Round,
    /// The model with its weights, as the session binds it.
    model: [u8; 32],
    kept: Kept,
}

impl Feedback {
    /// What is to be added to the next update, for training `model`, which names the weights too. All
    /// that is kept is wiped where it belongs to something else than `of`, or where the plan has no
    /// error feedback.
    pub(super) fn start(&mut self, of: Of, model: [u8; 32], wanted: bool) -> Option<Arc<Residual>> {
        // The connection was lost before the end of a round. With other weights now, the round was
        // completed, and the upload counts; with the same ones it was abandoned.
        if let Some(pending) = self.pending.take()
            && pending.model != model
        {
            self.kept = Some(pending.kept);
        }
        self.kept.take_if(|kept| !wanted || kept.of != of);
        Some(Arc::clone(&self.kept.as_ref()?.residual))
    }

    /// The update that leaves `residual` was uploaded.
    pub(super) fn uploaded(&mut self, round: Round, of: Of, model: [u8; 32], residual: Residual) {
        self.pending = Some(Pending {
            round,
            model,
            kept: Kept {
                of,
                residual: Arc::new(residual),
            },
        });
    }

    /// A round is over; only where this node is in its sum has it sent anything.
    pub(super) fn ended(&mut self, round: Round, included: bool) {
        if let Some(pending) = self.pending.take_if(|pending| pending.round == round)
            && included
        {
            self.kept = Some(pending.kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use secagg::{Context, GraphKind, Parameters, Session, ThreatModel};
    use secagg_learning::{
        Compression, Counters, LocalOptimizer, Parts, Plan, RoundKind, ServerOptimizerConfig,
        TrainingPlan, UpdateCodec, UpdatePlan,
    };

    use super::*;

    fn of(architecture: u8, parts: Parts) -> Of {
        Of {
            architecture: Hash::from_bytes([architecture; 32]),
            parts,
        }
    }

    fn a() -> Of {
        of(0xa, Parts::ALL)
    }
    const FIRST: Round = Round {
        round: 1,
        attempt: 1,
    };
    const SECOND: Round = Round {
        round: 2,
        attempt: 1,
    };

    /// The residual of a client without weight: its whole update.
    fn residual(element: f32) -> Residual {
        let update = UpdatePlan {
            parameters: 1,
            clip_norm: 10.0,
            range: 1.0,
            value_bits: 8,
            weight_cap: 1,
            max_cohort: 3,
            compression: Compression {
                feedback: true,
                ..Compression::NONE
            },
            parts: Parts::ALL,
        };
        let training = TrainingPlan {
            batch: 1,
            optimizer: LocalOptimizer::Sgd { rate: 1.0 },
            gradient_clip: 1.0,
            max_words: 1,
            ..TrainingPlan::DEFAULT
        };
        let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
        let plan = Plan::new(RoundKind::Train, update, training, server).unwrap();
        let (model, graph) = (ThreatModel::HonestButCurious, GraphKind::Complete);
        let parameters = Parameters::new(model, graph, 3..=3, plan.layout()).unwrap();
        let context = Context {
            round: 1,
            nonce: [0; 32],
            model_digest: [0; 32],
            plan_digest: [0; 32],
        };
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let session = Session::new(parameters, context);
        let encoded = UpdateCodec::new(&plan)
            .encode_with_feedback(&session, &[element], None, &Counters::new(), &mut rng)
            .unwrap();
        encoded.residual.unwrap()
    }

    fn started(feedback: &mut Feedback, of: Of, model: u8) -> Option<f32> {
        let residual = feedback.start(of, [model; 32], true)?;
        Some(residual.values()[0])
    }

    #[test]
    fn it_advances_with_an_upload_that_counts() {
        let mut feedback = Feedback::default();
        assert_eq!(started(&mut feedback, a(), 1), None);
        feedback.uploaded(FIRST, a(), [1; 32], residual(1.0));
        feedback.ended(FIRST, true);
        assert_eq!(started(&mut feedback, a(), 2), Some(1.0));
        // Computed, but never uploaded: as before.
        feedback.ended(SECOND, true);
        assert_eq!(started(&mut feedback, a(), 2), Some(1.0));
        // Uploaded, and not in the sum.
        feedback.uploaded(SECOND, a(), [2; 32], residual(2.0));
        feedback.ended(SECOND, false);
        assert_eq!(started(&mut feedback, a(), 2), Some(1.0));
        // The end of another round says nothing about this one.
        feedback.uploaded(SECOND, a(), [2; 32], residual(3.0));
        feedback.ended(FIRST, false);
        feedback.ended(SECOND, true);
        assert_eq!(started(&mut feedback, a(), 3), Some(3.0));
    }

    #[test]
    fn an_end_that_was_not_heard_shows_in_the_weights() {
        let mut feedback = Feedback::default();
        feedback.uploaded(FIRST, a(), [1; 32], residual(1.0));
        assert_eq!(started(&mut feedback, a(), 1), None);
        feedback.uploaded(FIRST, a(), [1; 32], residual(2.0));
        assert_eq!(started(&mut feedback, a(), 2), Some(2.0));
    }

    #[test]
    fn another_model_and_a_plan_without_it_begin_anew() {
        let mut feedback = Feedback::default();
        feedback.uploaded(FIRST, a(), [1; 32], residual(1.0));
        feedback.ended(FIRST, true);
        assert_eq!(started(&mut feedback, of(0xb, Parts::ALL), 2), None);
        assert_eq!(started(&mut feedback, a(), 2), None);
        feedback.uploaded(SECOND, a(), [2; 32], residual(2.0));
        feedback.ended(SECOND, true);
        let part = of(0xa, Parts::new(Some(0..1)).unwrap());
        assert_eq!(started(&mut feedback, part, 2), None);
        feedback.uploaded(SECOND, a(), [2; 32], residual(2.0));
        feedback.ended(SECOND, true);
        assert!(feedback.start(a(), [3; 32], false).is_none());
        assert_eq!(started(&mut feedback, a(), 3), None);
    }
}
