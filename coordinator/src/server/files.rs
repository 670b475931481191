//! What nodes may download.

use std::collections::BTreeMap;

use secagg_wire::{digest::Digest, message::CoordinatorMessage, phase::Phase, text::Reason};

use crate::{
    model::{Model, ModelFile},
    store::Attempt,
};

/// The files that are known now, by digest. All downloads share their bytes.
#[derive(Debug, Default)]
pub(crate) struct FileSet {
    files: BTreeMap<Digest, ModelFile>,
    /// The weights announced before these, and for which attempt.
    former: Option<(Digest, Attempt)>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It is sent.
    Found(ModelFile),
    /// It was announced, but for a round that is over.
    Former(CoordinatorMessage),
    /// It was never announced.
    Unknown,
}

impl FileSet {
    /// The model's own files.
    pub(crate) fn of_model(model: &Model) -> Self {
        let files = [&model.description, &model.vocabulary, &model.initial];
        Self {
            files: files
                .into_iter()
                .map(|file| (file.digest.sha256, file.clone()))
                .collect(),
            former: None,
        }
    }

    /// With the weights of the round announced now.
    pub(crate) fn with(mut self, weights: &ModelFile, former: Option<(Digest, Attempt)>) -> Self {
        self.files.insert(weights.digest.sha256, weights.clone());
        self.former = former;
        self
    }

    pub(crate) fn find(&self, digest: &Digest) -> Lookup {
        if let Some(file) = self.files.get(digest) {
            return Lookup::Found(file.clone());
        }
        match self.former {
            Some((former, Attempt { round, attempt })) if former == *digest => {
                Lookup::Former(CoordinatorMessage::Rejected {
                    round,
                    attempt,
                    phase: Phase::Train,
                    reason: Reason::fitted("these weights are of a round that is over"),
                })
            }
            _ => Lookup::Unknown,
        }
    }
}
