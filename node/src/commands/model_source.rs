//! Where a command finds its model and weights.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::int8::{Int8Model, Int8Weights};
use crate::model::{Model, ModelFiles, Task, Weights, newest_weights};
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

/// A network, by the precision of its weights, and how many bytes of weights it has.
#[derive(Debug)]
pub(super) enum Weighted {
    /// Libtorch's.
    F32(Box<Model>, u64),
    /// With weights of 8 bits.
    Int8(Box<Int8Model>, u64),
}

impl ModelSource {
    /// Reads the model with its weights, as int8 where the file holds such or `int8` wants them to be
    /// rounded; says which file it is.
    pub(super) fn open_as(&self, int8: bool) -> anyhow::Result<(ModelFiles, Weighted, PathBuf)> {
        let (files, path) = self.find()?;
        let weighted = open(&files, &path, int8)?;
        Ok((files, weighted, path))
    }

    /// As [`ModelSource::open_as`], for a command that goes on with text.
    pub(super) fn open_language_model(
        &self,
        int8: bool,
    ) -> anyhow::Result<(ModelFiles, Weighted, PathBuf)> {
        let (files, path) = self.find()?;
        let kind = files.description.kind();
        ensure!(
            kind.task() == Task::NextToken,
            "the model is of kind \"{}\", which is not one that predicts the next word: {}",
            kind.as_str(),
            match kind.task() {
                Task::SequenceToSequence => "use `secagg-node translate`",
                Task::NextToken | Task::Classification => "take a language model",
            }
        );
        let weighted = open(&files, &path, int8)?;
        Ok((files, weighted, path))
    }

    /// Reads the model, and finds its weights.
    pub(super) fn find(&self) -> anyhow::Result<(ModelFiles, PathBuf)> {
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
        ensure!(
            path.is_file(),
            "there are no weights in {}: give others with --weights",
            path.display()
        );
        Ok((files, path))
    }
}

fn open(files: &ModelFiles, path: &Path, int8: bool) -> anyhow::Result<Weighted> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    weighted(files, &bytes, int8)
        .with_context(|| format!("cannot use the weights {}", path.display()))
}

/// The network that a file's weights give.
fn weighted(files: &ModelFiles, bytes: &[u8], int8: bool) -> anyhow::Result<Weighted> {
    let description = &files.description;
    let quantised = if Int8Weights::are_in(bytes) {
        Int8Weights::from_safetensors(bytes, description)?
    } else {
        let weights = Weights::from_safetensors(bytes, description)?;
        if !int8 {
            let model = Model::new(description, &weights)?;
            return Ok(Weighted::F32(Box::new(model), bytes.len() as u64));
        }
        Int8Weights::quantise(description, &weights)?
    };
    let len = quantised.to_safetensors().len() as u64;
    let model = Int8Model::new(description, quantised)?;
    Ok(Weighted::Int8(Box::new(model), len))
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
