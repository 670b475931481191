//! Stands in for the crate `zip`, which `tch` and `torch-sys` want for two things that this
//! workspace never does: unpacking a libtorch that torch-sys has downloaded, and NumPy's `.npz`.
//! Everything here fails with an error that says so.
//!
//! It depends on the guard, so that torch-sys is not built before the guard has found a libtorch.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::PathBuf;

use result::{ZipError, ZipResult};
use write::FileOptions;

/// What went wrong.
pub mod result {
    /// What every function returns.
    pub type ZipResult<T> = Result<T, ZipError>;

    /// There are no zip archives in this build.
    #[derive(Debug)]
    pub struct ZipError;

    impl std::fmt::Display for ZipError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("zip archives are not supported in this build")
        }
    }

    impl std::error::Error for ZipError {}
}

/// How to write.
pub mod write {
    use super::CompressionMethod;

    /// How to write a file; there is no choice.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct FileOptions(());

    impl FileOptions {
        /// Does nothing.
        #[must_use]
        pub fn compression_method(self, _method: CompressionMethod) -> Self {
            self
        }
    }
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug)]
pub enum CompressionMethod {
    /// Not at all.
    Stored,
}

/// An archive to read: no value of it exists.
#[derive(Debug)]
pub struct ZipArchive<R>(Infallible, PhantomData<R>);

impl<R> ZipArchive<R> {
    /// Would open an archive.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new(_reader: R) -> ZipResult<Self> {
        Err(ZipError)
    }

    /// How many files it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {}
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.0 {}
    }

    /// One of the files.
    ///
    /// # Errors
    ///
    /// Never: there is no archive to ask.
    pub fn by_index(&mut self, _index: usize) -> ZipResult<ZipFile> {
        match self.0 {}
    }
}

/// A file in an archive: no value of it exists.
#[derive(Debug)]
pub struct ZipFile(Infallible);

impl ZipFile {
    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// The file's name without what would lead out of a folder.
    #[must_use]
    pub fn mangled_name(&self) -> PathBuf {
        match self.0 {}
    }

    /// The file's size.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.0 {}
    }
}

impl Read for ZipFile {
    fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

/// An archive to write.
#[derive(Debug)]
pub struct ZipWriter<W>(PhantomData<W>);

impl<W> ZipWriter<W> {
    /// Would write an archive.
    #[must_use]
    pub fn new(_writer: W) -> Self {
        Self(PhantomData)
    }

    /// Would start a file.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn start_file(&mut self, _name: String, _options: FileOptions) -> ZipResult<()> {
        Err(ZipError)
    }
}

impl<W> Write for ZipWriter<W> {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::Error::other(ZipError))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
