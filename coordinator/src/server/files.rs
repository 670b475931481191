//! What nodes may download.

use std::collections::{BTreeMap, BTreeSet};

use secagg_wire::{digest::Digest, message::CoordinatorMessage, phase::Phase, text::Reason};

use crate::{
    model::{Model, ModelFile},
    store::Attempt,
};

/// The files that are known now, by digest. All downloads share their bytes.
#[derive(Debug, Default)]
pub(crate) struct FileSet {
    files: BTreeMap<Digest, ModelFile>,
    former: Option<Former>,
}

/// What was announced before, and for which attempt.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) files: BTreeSet<Digest>,
    pub(crate) attempt: Attempt,
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

    /// With what is announced now.
    pub(crate) fn with<'a>(mut self, files: impl IntoIterator<Item = &'a ModelFile>) -> Self {
        let files = files.into_iter();
        let files = files.map(|file| (file.digest.sha256, file.clone()));
        self.files.extend(files);
        self
    }

    /// With what was announced before.
    pub(crate) fn after(mut self, former: Option<Former>) -> Self {
        self.former = former;
        self
    }

    pub(crate) fn find(&self, digest: &Digest) -> Lookup {
        if let Some(file) = self.files.get(digest) {
            return Lookup::Found(file.clone());
        }
        match &self.former {
            Some(Former { files, attempt }) if files.contains(digest) => {
                Lookup::Former(CoordinatorMessage::Rejected {
                    round: attempt.round,
                    attempt: attempt.attempt,
                    phase: Phase::Train,
                    reason: Reason::fitted("this file is of a round that is over"),
                })
            }
            _ => Lookup::Unknown,
        }
    }
}
