//! From the new weights to a complete round.

use secagg::server::Outcome;
use secagg_wire::message::{RoundSummary, ValidationFigures};

use crate::{
    model::ModelFile,
    round::Environment,
    store::{Completed, Figures, KeptStep, Participant, Round, StoreError, Weights, WeightsFolder},
};

/// Writes the weights, then commits the round; see [`crate::store`] for the order. Returns all rounds, and
/// the file of the optimiser's state, where there is a new one.
pub(super) async fn commit(
    environment: &Environment,
    folder: &WeightsFolder,
    weights: &mut Weights,
    file: Option<ModelFile>,
    mut completed: Completed,
    participants: Vec<Participant>,
    step: Option<KeptStep>,
) -> Result<(Vec<Round>, Option<ModelFile>), StoreError> {
    let round = completed.round;
    let mut state = None;
    if let Some(file) = file {
        state =
            tokio::task::block_in_place(|| folder.write(round, &file.bytes, &weights.optimizer))?;
        completed.optimizer = state.as_ref().map(|state| state.digest.sha256);
        weights.file = file;
        weights.round = round;
    }
    let (folder, rule) = (folder.clone(), environment.config.weights);
    let rounds = environment
        .store
        .with(move |store| store.commit(&folder, &rule, &completed, &participants, step.as_ref()))
        .await?;
    Ok((rounds, state))
}

pub(super) fn participants(outcome: &Outcome) -> Vec<Participant> {
    let mut participants: Vec<Participant> = outcome
        .contributors
        .iter()
        .map(|client| Participant {
            client: *client,
            lost_in: None,
            contributed: true,
        })
        .collect();
    for (client, phase) in &outcome.lost {
        // Who never advertised was not in the roster.
        let in_roster = *phase != secagg::server::Phase::AdvertiseKeys;
        if in_roster && !outcome.contributors.contains(client) {
            participants.push(Participant {
                client: *client,
                lost_in: Some(*phase),
                contributed: false,
            });
        }
    }
    participants
}

pub(super) fn summary(participants: &[Participant], figures: &Figures) -> RoundSummary {
    let count = |contributed| {
        let members = participants
            .iter()
            .filter(|participant| participant.contributed == contributed);
        u32::try_from(members.count()).unwrap_or(u32::MAX)
    };
    RoundSummary {
        contributors: count(true),
        lost: count(false),
        validation: figures.validation.map(|figures| ValidationFigures {
            loss: figures.loss,
            top1: figures.top1,
            top3: figures.top3,
            tokens: figures.tokens,
        }),
    }
}
