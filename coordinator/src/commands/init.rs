//! `init`: a coordinator's folder.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, bail};
use secagg_wire::{
    authority::AuthorityPin,
    identity::TlsIdentity,
    process::{Access, create_private_folder, write_atomic},
};

use crate::{
    config::template,
    folder::Folder,
    model::{DESCRIPTION, INITIAL, Model},
    store::{Store, WeightsFolder},
};

/// Makes a coordinator's folder: configuration, identity, a copy of the model, an empty history.
/// The configuration is written last, so that a folder that has one is complete.
///
/// # Errors
/// When the folder holds a coordinator already, or the model cannot be used.
pub fn init(
    dir: &Path,
    model: &Path,
    listen: SocketAddr,
    authority: Option<AuthorityPin>,
) -> anyhow::Result<()> {
    let folder = Folder::new(dir);
    for path in [
        folder.config(),
        folder.identity(),
        folder.model(),
        folder.history(),
    ] {
        if path.exists() {
            bail!(
                "{} exists already: nothing was changed; choose another folder",
                path.display()
            );
        }
    }
    let checked = Model::load(model)?;
    create_private_folder(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let copy = folder.model();
    fs::create_dir(&copy).with_context(|| format!("cannot make {}", copy.display()))?;
    for (name, file) in [
        (DESCRIPTION, &checked.description),
        (checked.vocabulary_name, &checked.vocabulary),
        (INITIAL, &checked.initial),
    ] {
        write(&copy.join(name), &file.bytes)?;
    }
    TlsIdentity::generate()?.save(&folder.identity())?;
    WeightsFolder::new(folder.weights())?;
    Store::open(&folder.history())?;
    write(&folder.config(), template(listen, authority).as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomic(path, bytes, Access::Shared)
        .with_context(|| format!("cannot write {}", path.display()))
}
