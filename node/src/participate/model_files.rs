//! The federation's model: what of it is kept here, what is fetched, and that it can be used.

use std::sync::Arc;

use secagg_wire::digest::FileDigest;
use serde_json::json;
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use super::announcement::FederationModel;
use super::cache::{CacheError, ModelFile, Received};
use super::link::{FetchError, Fetcher};
use super::node::Node;
use crate::model::{ModelDescription, ModelError, ModelFiles, Weights, WeightsError};
use crate::vocabulary::{MAX_LEN, MAX_TOKENIZER_BYTES, MAX_WORD_BYTES, Tokenization};

/// The files that the coordinator named.
#[derive(Clone, Copy, Debug)]
pub(super) struct WelcomedFiles {
    pub(super) description: FileDigest,
    pub(super) vocabulary: FileDigest,
    pub(super) initial: FileDigest,
}

/// Why the federation's model cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum ModelFilesError {
    /// A file did not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A file could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Description or vocabulary are wrong.
    #[error("the coordinator's model cannot be used: {0}")]
    Model(#[from] ModelError),
    /// The initial weights are wrong.
    #[error("the coordinator's initial weights cannot be used: {0}")]
    Weights(#[from] WeightsError),
    /// A thread with heavy work ended before its time.
    #[error("internal error: {0}")]
    Worker(#[from] JoinError),
}

/// No description is longer.
const MAX_DESCRIPTION: u64 = 64 << 10;

/// No vocabulary is longer.
const fn max_vocabulary(tokenization: Tokenization) -> u64 {
    let bytes = match tokenization {
        // Every word at its longest, with its line's end.
        Tokenization::Units(_) => MAX_LEN * (MAX_WORD_BYTES + 1),
        Tokenization::Tokenizer => MAX_TOKENIZER_BYTES,
    };
    bytes as u64
}

/// Gets whatever this node lacks of the model, and keeps it once all of it was checked.
pub(super) async fn fetch_model(
    node: &Arc<Node>,
    fetcher: &Fetcher,
    files: WelcomedFiles,
) -> Result<FederationModel, ModelFilesError> {
    let get = |file, expected, cap| get(node, fetcher, file, expected, cap);
    let description = get(ModelFile::Description, files.description, MAX_DESCRIPTION).await?;
    let text = ModelDescription::of_bytes(description.bytes())?.text();
    let vocabulary = ModelFile::Vocabulary(text);
    let vocabulary = get(vocabulary, files.vocabulary, max_vocabulary(text)).await?;
    // A large tokenizer takes a while, and the connection must be kept alive.
    let read = (description.clone(), vocabulary.clone());
    let read =
        spawn_blocking(move || ModelFiles::from_bytes(read.0.bytes(), read.1.bytes())).await??;
    let model = FederationModel {
        files: read,
        description: *description.digest(),
        vocabulary: *vocabulary.digest(),
        initial: files.initial,
    };
    let initial = get(ModelFile::Initial, files.initial, model.weights_cap()).await?;
    let (kept, checked) = (Arc::clone(node), model.files.clone());
    spawn_blocking(move || {
        Weights::from_safetensors(initial.bytes(), &checked.description)?;
        keep(&kept, &files, text, [&description, &vocabulary, &initial])
    })
    .await??;
    Ok(model)
}

async fn get(
    node: &Arc<Node>,
    fetcher: &Fetcher,
    file: ModelFile,
    expected: FileDigest,
    cap: u64,
) -> Result<Received, ModelFilesError> {
    let cache = node.cache.clone();
    if let Some(kept) = spawn_blocking(move || cache.read(file, &expected)).await?? {
        return Ok(kept);
    }
    let received = fetcher.fetch(file.as_str(), &expected, cap).await?;
    let fields = json!({ "file": file.as_str(), "bytes": expected.len });
    node.log.event("model_received", fields);
    Ok(received)
}

/// Keeps the files that are not kept yet. A model that takes the place of another begins with its
/// weights forgotten, and ends with its description, so that a crash never leaves two mixed up
/// unnoticed: digests are compared again at the next start.
fn keep(
    node: &Node,
    files: &WelcomedFiles,
    text: Tokenization,
    [description, vocabulary, initial]: [&Received; 3],
) -> Result<(), ModelFilesError> {
    let cache = &node.cache;
    let same = |file, expected| Ok::<_, CacheError>(cache.read(file, expected)?.is_some());
    let of_vocabulary = ModelFile::Vocabulary(text);
    if !same(ModelFile::Description, &files.description)?
        || !same(of_vocabulary, &files.vocabulary)?
    {
        cache.forget_current()?;
    }
    for (file, expected, received) in [
        (ModelFile::Initial, &files.initial, initial),
        (of_vocabulary, &files.vocabulary, vocabulary),
        (ModelFile::Description, &files.description, description),
    ] {
        if !same(file, expected)? {
            cache.store(file, received)?;
        }
    }
    Ok(())
}
