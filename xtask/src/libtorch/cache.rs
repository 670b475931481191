//! The per-user cache: one finished libtorch that every checkout links to.
//!
//! A libtorch is made in a folder of its own beside its final place and renamed when it is
//! finished, so that whoever finds one finds all of it. A lock keeps two runs from downloading
//! the same thing at once; nothing but that saving depends on it.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, anyhow, bail};

use super::pins::{self, DOWNLOAD_MEGABYTES, WHEELS};
use super::python::Python;
use super::{VERSION, WAYS_OUT};

/// What the names of unfinished folders start with.
const UNFINISHED: &str = ".unfinished-";

/// Every file and its size, so that a cache that has lost something is noticed.
const MANIFEST: &str = "manifest";

/// One libtorch in the user's cache, finished or not there yet.
#[derive(Debug)]
pub(super) struct Cache {
    /// The folder for all versions.
    folder: PathBuf,
    /// The finished libtorch.
    path: PathBuf,
}

impl Cache {
    /// The cache in `$XDG_CACHE_HOME`, or in `~/.cache`.
    ///
    /// # Errors
    ///
    /// When neither variable says where that is.
    pub(super) fn of_user() -> Result<Self> {
        let absolute = |name: &str| {
            // The XDG base directory specification wants relative paths ignored.
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let caches = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .context("there is no cache folder: set HOME or XDG_CACHE_HOME to an absolute path")?;
        Ok(Self::new(caches.join("secagg")))
    }

    fn new(folder: PathBuf) -> Self {
        let path = folder.join(format!("libtorch-{VERSION}-cpu-{}", pins::fingerprint()));
        Self { folder, path }
    }

    /// The finished libtorch.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the libtorch is there and whole. Does nothing when it is.
    ///
    /// # Errors
    ///
    /// When it cannot be fetched, or the cache folder cannot be written.
    pub(super) fn fill(&self, python: &Python) -> Result<()> {
        if inspect(&self.path).is_ok() {
            return Ok(());
        }
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            bail!("libtorch can be fetched for Linux on x86-64 only. {WAYS_OUT}");
        }
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the cache folder {}", self.folder.display()))?;
        let lock = self.lock()?;
        match inspect(&self.path) {
            // Another run has fetched it while we waited.
            Ok(()) => return Ok(()),
            Err(damage) if self.path.exists() => {
                eprintln!("libtorch: the cache is damaged ({damage:#}); fetching it again");
            }
            Err(_) => eprintln!(
                "libtorch: fetching {VERSION} with pip ({DOWNLOAD_MEGABYTES} MB, once for all \
                 checkouts)"
            ),
        }
        if lock.is_some() {
            self.remove_leftovers();
        }
        let unfinished = Unfinished::new(&self.folder)?;
        let libtorch = unfinished.make(python)?;
        self.publish(&libtorch)
    }

    /// Links this libtorch to `link`, which a build uses. A link that is right stays untouched.
    ///
    /// # Errors
    ///
    /// When something else than a link is there, or it cannot be written.
    pub(super) fn link_to(&self, link: &Path) -> Result<()> {
        if fs::read_link(link).is_ok_and(|target| target == self.path) {
            return Ok(());
        }
        let parent = link
            .parent()
            .with_context(|| format!("{} is a root", link.display()))?;
        // The link itself, not what it points to.
        if fs::symlink_metadata(link).is_ok_and(|found| !found.is_symlink()) {
            bail!(
                "{} is not a link: remove it and run `cargo xtask libtorch` again, or set \
                 LIBTORCH to a libtorch {VERSION} that lies elsewhere",
                link.display()
            );
        }
        let new = parent.join(format!(".libtorch-{}", process::id()));
        fs::create_dir_all(parent)
            .and_then(|()| std::os::unix::fs::symlink(&self.path, &new))
            .and_then(|()| fs::rename(&new, link))
            .with_context(|| format!("cannot link {} to {}", link.display(), self.path.display()))
    }

    /// Waits for another run that fills the cache. Dropping the file ends the lock.
    fn lock(&self) -> Result<Option<File>> {
        let path = self.folder.join("lock");
        let file = File::create(&path)
            .with_context(|| format!("cannot write in the cache folder {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                eprintln!("libtorch: another run is fetching it; waiting for that run");
                file.lock().context("cannot wait for the other run")?;
                Ok(Some(file))
            }
            // Not every file system has locks: two runs then both download.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Removes what runs that were killed have left: whoever makes one now waits for our lock.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                // A leftover costs space, nothing else.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Moves a finished libtorch into place, unless another run was faster.
    fn publish(&self, finished: &Path) -> Result<()> {
        if inspect(&self.path).is_err() && self.path.exists() {
            // Beside our own files, which are removed in the end.
            let damaged = finished.with_extension("damaged");
            let _ = fs::rename(&self.path, damaged);
        }
        match fs::rename(finished, &self.path) {
            Ok(()) => Ok(()),
            Err(_) if inspect(&self.path).is_ok() => Ok(()),
            Err(error) => {
                Err(anyhow!(error).context(format!("cannot write {}", self.path.display())))
            }
        }
    }
}

/// A folder in the cache that vanishes with all that was not moved out of it.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn new(folder: &Path) -> Result<Self> {
        for number in 0_u32.. {
            let path = folder.join(format!("{UNFINISHED}{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!("cannot make the folder {}", path.display());
                    return Err(anyhow!(error).context(message));
                }
            }
        }
        bail!("no name is left in {}", folder.display())
    }

    /// Downloads, verifies and extracts. Returns the finished libtorch, still in this folder.
    fn make(&self, python: &Python) -> Result<PathBuf> {
        let (wheels, libtorch) = (self.path.join("wheels"), self.path.join("libtorch"));
        let requirements = self.path.join("requirements.txt");
        fs::create_dir(&wheels)
            .and_then(|()| fs::write(&requirements, pins::requirements()))
            .with_context(|| format!("cannot write in {}", self.path.display()))?;
        python.download(&requirements, &wheels)?;

        for wheel in &WHEELS {
            let path = fs::read_dir(&wheels)
                .with_context(|| format!("cannot read {}", wheels.display()))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .find(|path| {
                    path.file_name()
                        .and_then(|name| name.to_str())
                        .is_some_and(|name| wheel.is_named(name))
                })
                .with_context(|| format!("pip has not downloaded the wheel of {}", wheel.name))?;
            wheel.verify(&path)?;
            python.extract(wheel, &path, &libtorch)?;
        }
        finish(&libtorch).with_context(|| format!("cannot write in {}", libtorch.display()))?;
        Ok(libtorch)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // A leftover costs space, nothing else; the next run that fetches removes it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Adds what wheels do not have: a `libtorch.so`, the version, and our manifest.
fn finish(libtorch: &Path) -> io::Result<()> {
    // torch-sys links with -ltorch; the real libtorch.so pulls CUDA in.
    fs::write(libtorch.join("lib/libtorch.so"), "INPUT(-ltorch_cpu)\n")?;
    fs::write(libtorch.join("build-version"), format!("{VERSION}\n"))?;
    let mut manifest = String::new();
    for (path, size) in files(libtorch)? {
        // Writing to a string cannot fail.
        let _ = writeln!(manifest, "{size} {}", path.display());
    }
    fs::write(libtorch.join(MANIFEST), manifest)
}

/// Every file below a folder, with its size.
fn files(root: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
                files.insert(path, metadata.len());
            }
        }
    }
    Ok(files)
}

/// Checks a libtorch in the cache against its manifest: all files are there, each of its size.
fn inspect(libtorch: &Path) -> Result<()> {
    let read = |name: &str| {
        fs::read_to_string(libtorch.join(name)).with_context(|| format!("no file {name}"))
    };
    let version = read("build-version")?;
    if version.trim() != VERSION {
        bail!("build-version says {}, not {VERSION}", version.trim());
    }
    for line in read(MANIFEST)?.lines() {
        let (size, path) = line.split_once(' ').context("a broken manifest")?;
        let found = fs::metadata(libtorch.join(path)).with_context(|| format!("no file {path}"))?;
        if found.len().to_string() != size {
            bail!("{path} has {} bytes, not {size}", found.len());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
