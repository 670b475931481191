//! Where a command finds its model and weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::model::{Model, ModelFiles, newest_weights};
use crate::participate::cache::MODEL_FOLDER;

#[derive(Debug, clap::Args)]
pub(super) struct ModelSource {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// The model's folder, if it is not the one in the node's directory.
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Weights (safetensors), if not the newest in the model's folder.
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
}

impl ModelSource {
    /// Reads the model with its weights; says which weights they are.
    pub(super) fn open(&self) -> anyhow::Result<(ModelFiles, Model, PathBuf)> {
        let folder = match (&self.model, &self.dir) {
            (Some(model), _) => model.clone(),
            (None, Some(directory)) => directory.join(MODEL_FOLDER),
            (None, None) => {
                bail!("no model: give the node's directory with --dir, or a model with --model")
            }
        };
        let files = read_model(&folder)?;
        let path = self
            .weights
            .clone()
            .unwrap_or_else(|| newest_weights(&folder));
        let weights = files
            .read_weights(&path)
            .with_context(|| format!("cannot use the weights {}", path.display()))?;
        let model = Model::new(&files.description, &weights)?;
        Ok((files, model, path))
    }
}

/// Reads a model's description and vocabulary.
pub(super) fn read_model(folder: &Path) -> anyhow::Result<ModelFiles> {
    ModelFiles::read(folder).with_context(|| {
        format!(
            "cannot read the model in {}; a node receives it from its coordinator in its first \
             run, and `secagg-node init-model` makes one",
            folder.display()
        )
    })
}
