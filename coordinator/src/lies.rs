//! Test hooks: a coordinator that lies to its nodes, to show that they refuse.
//!
//! The rest of the coordinator stays as it is. What it says to a node passes through
//! [`Lies::told`] on its way out, what a node says passes through [`Lies::heard`] on its way in,
//! and a lie changes the messages that it needs. It lasts for every round of the process, in the
//! threat model in which nodes do not trust the coordinator and over the complete graph.
//!
//! A default build has none of this: there the messages pass unchanged.

mod scene;

use std::sync::Arc;

use secagg::{ClientId, Trust};
use secagg_wire::{
    digest::FileDigest,
    message::{CoordinatorMessage, NodeMessage, RoundResult, RoundSummary},
    phase::Phase,
    text::{Opaque, Reason},
};
use serde_json::json;

use self::scene::Scene;
use crate::{events::Events, model::ModelFile, round::Announcement, server::FileSet};

/// What a coordinator lies about. One node is the victim: the first one that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lie {
    /// The victim is shown another model, and its messages are passed off as those of the others'
    /// session.
    DifferentModels,
    /// The others get keys of the coordinator's own making in the victim's name.
    SwappedKey,
    /// The others do not get the victim's boxes, and are told that it survived.
    WithheldBoxes,
    /// A few are told that the victim survived, the others that it was lost.
    DifferentSurvivors,
    /// Who has signed the survivors is asked to sign them without the victim.
    SecondSurvivors,
    /// Who has revealed its shares is asked for those of the set without the victim.
    BothShares,
    /// When all vectors are there, the round is said to have failed.
    FailedRound,
    /// Nodes that the authority has not vouched for are let in.
    Strangers,
}

/// The lie, and what it has come to.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    lie: Option<Lie>,
    /// The victim's model.
    model: Option<FileDigest>,
    /// Of the current attempt.
    scene: Option<Scene>,
}

impl Lies {
    /// Tells this lie in every round, or none.
    #[must_use]
    pub fn new(lie: Option<Lie>) -> Self {
        Self {
            lie,
            ..Self::default()
        }
    }

    /// The files that nodes may download, beside these weights.
    pub(crate) fn files(&mut self, files: FileSet, weights: &ModelFile) -> FileSet {
        if self.lie != Some(Lie::DifferentModels) {
            return files;
        }
        let model = ModelFile::new(negated(&weights.bytes));
        self.model = Some(model.digest);
        files.with([&model])
    }

    /// An attempt begins, with these nodes.
    pub(crate) fn begin(
        &mut self,
        events: &Events,
        announcement: &Announcement,
        chosen: &[ClientId],
    ) {
        let (Some(lie), Some(victim)) = (self.lie, chosen.first()) else {
            return;
        };
        events.event(
            "lie",
            json!({
                "round": announcement.number.round,
                "attempt": announcement.number.attempt,
                "victim": victim.to_string(),
            }),
        );
        self.scene = Some(Scene::new(lie, announcement, *victim));
    }

    /// Whose credentials the coordinator itself asks for.
    pub(crate) fn trust(&self, trust: Arc<dyn Trust>) -> Option<Arc<dyn Trust>> {
        match self.lie {
            Some(Lie::DifferentModels | Lie::Strangers) => None,
            _ => Some(trust),
        }
    }

    /// What a node is told instead of this.
    pub(crate) fn told(
        &mut self,
        client: ClientId,
        message: CoordinatorMessage,
    ) -> CoordinatorMessage {
        let Some(scene) = &mut self.scene else {
            return message;
        };
        match (message, self.model) {
            (
                CoordinatorMessage::Announce {
                    round,
                    attempt,
                    parameters,
                    nonce,
                    plan,
                    ..
                },
                Some(weights),
            ) if client == scene.victim() => CoordinatorMessage::Announce {
                round,
                attempt,
                parameters,
                nonce,
                plan,
                weights,
                following: None,
            },
            (
                CoordinatorMessage::Secagg {
                    round,
                    attempt,
                    phase: Phase::ConsistencyCheck,
                    ..
                },
                _,
            ) if self.lie == Some(Lie::FailedRound) => CoordinatorMessage::RoundEnd {
                round,
                attempt,
                result: RoundResult::Abandoned {
                    reason: Reason::fitted("too many nodes were lost"),
                },
                summary: RoundSummary::default(),
            },
            (
                CoordinatorMessage::Secagg {
                    round,
                    attempt,
                    phase,
                    body,
                },
                _,
            ) => CoordinatorMessage::Secagg {
                round,
                attempt,
                phase,
                body: Opaque(scene.tell(client, phase, body.into_vec())),
            },
            (message, _) => message,
        }
    }

    /// What the coordinator hears instead of this, and what it answers at once, to whom.
    pub(crate) fn heard(
        &mut self,
        client: ClientId,
        message: NodeMessage,
    ) -> (Option<NodeMessage>, Vec<(ClientId, CoordinatorMessage)>) {
        match (message, &mut self.scene) {
            (
                NodeMessage::Secagg {
                    round,
                    attempt,
                    phase,
                    body,
                },
                Some(scene),
            ) => {
                let (body, answers) = scene.hear(client, phase, body.into_vec());
                let message = body.map(|body| NodeMessage::Secagg {
                    round,
                    attempt,
                    phase,
                    body: Opaque(body),
                });
                let answers = answers.into_iter().map(|(client, phase, body)| {
                    let message = CoordinatorMessage::Secagg {
                        round,
                        attempt,
                        phase,
                        body: Opaque(body),
                    };
                    (client, message)
                });
                (message, answers.collect())
            }
            (message, _) => (Some(message), Vec::new()),
        }
    }
}

/// The weights in a safetensors file, each with the other sign: a model on which an update looks
/// like no other node's.
fn negated(file: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let header = bytes
        .first_chunk()
        .map_or(0, |len| u64::from_le_bytes(*len));
    let elements = usize::try_from(header).map_or(usize::MAX, |header| header.saturating_add(8));
    let (elements, _) = bytes
        .get_mut(elements..)
        .unwrap_or_default()
        .as_chunks_mut::<4>();
    for element in elements {
        element[3] ^= 0x80;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use safetensors::{Dtype, SafeTensors, tensor::TensorView};

    use super::*;

    #[test]
    fn a_negated_model_has_the_same_tensors() {
        let values = [1.5_f32, -2.0, 0.25];
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let view = TensorView::new(Dtype::F32, vec![3], &bytes).unwrap();
        let file = safetensors::serialize(BTreeMap::from([("w", view)]), None).unwrap();
        let negated = negated(&file);
        let tensors = SafeTensors::deserialize(&negated).unwrap();
        let tensor = tensors.tensor("w").unwrap();
        let expected: Vec<u8> = values
            .iter()
            .flat_map(|value| (-value).to_le_bytes())
            .collect();
        assert_eq!((tensor.shape(), tensor.data()), (&[3][..], &expected[..]));
    }
}
