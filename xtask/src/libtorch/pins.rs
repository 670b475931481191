//! Which wheels libtorch is taken out of, and which of their files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::VERSION;

/// One wheel, pinned by its hash.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The name of the Python package.
    pub(super) name: &'static str,
    version: &'static str,
    /// The SHA-256 of the wheel, in hexadecimal.
    sha256: &'static str,
    /// What to extract: each file whose name starts with the first is written to a path that
    /// starts with the second instead.
    pub(super) files: &'static [(&'static str, &'static str)],
}

/// The wheels. torch is built for CUDA; `libtorch_cpu.so` alone does without it, but for the two
/// small libraries that it names.
pub(super) const WHEELS: [Wheel; 3] = [
    Wheel {
        name: "torch",
        version: VERSION,
        sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
        files: &[
            ("torch/include/", "include/"),
            ("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
            ("torch/lib/libc10.so", "lib/libc10.so"),
            ("torch/lib/libgomp", "lib/libgomp"),
        ],
    },
    Wheel {
        name: "nvidia-cuda-runtime",
        version: "13.0.96",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        files: &[("nvidia/cu13/lib/libcudart.so.13", "lib/libcudart.so.13")],
    },
    Wheel {
        name: "nvidia-cuda-cupti",
        version: "13.0.85",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        files: &[("nvidia/cu13/lib/libcupti.so.13", "lib/libcupti.so.13")],
    },
];

/// What all wheels together weigh, for people who wait for them.
pub(super) const DOWNLOAD_MEGABYTES: u32 = 544;

/// The requirements file for pip.
pub(super) fn requirements() -> String {
    let mut text = String::new();
    for Wheel {
        name,
        version,
        sha256,
        ..
    } in &WHEELS
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}=={version} --hash=sha256:{sha256}");
    }
    text
}

/// A name that changes with every pin and with what is extracted.
pub(super) fn fingerprint() -> String {
    let mut hash = Sha256::new();
    hash.update(requirements());
    for (from, to) in WHEELS.iter().flat_map(|wheel| wheel.files) {
        hash.update(format!("{from} {to}\n"));
    }
    hexadecimal(&hash.finalize()[..6])
}

impl Wheel {
    /// Whether a file of this name is this wheel: the format writes `_` for each `-`.
    pub(super) fn is_named(&self, file: &str) -> bool {
        file.starts_with(&format!(
            "{}-{}-",
            self.name.replace('-', "_"),
            self.version
        )) && file.ends_with(".whl")
    }

    /// Checks the wheel's hash ourselves, whatever pip was configured to do.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is another one.
    pub(super) fn verify(&self, path: &Path) -> Result<()> {
        let actual = sha256(path).with_context(|| format!("cannot read {}", path.display()))?;
        if actual != self.sha256 {
            bail!(
                "the downloaded wheel of {} {} is not the pinned one: its SHA-256 is {actual}, \
                 not {}",
                self.name,
                self.version,
                self.sha256
            );
        }
        Ok(())
    }
}

/// The hash of a file that is too large to read at once.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut hash = Sha256::new();
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(bytes);
        let read = bytes.len();
        file.consume(read);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requirements_pin_every_wheel() {
        let text = requirements();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), WHEELS.len());
        assert_eq!(
            lines[0],
            "torch==2.11.0 --hash=sha256:\
             7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a"
        );
        for (line, wheel) in lines.iter().zip(&WHEELS) {
            assert!(
                line.starts_with(wheel.name) && line.ends_with(wheel.sha256),
                "{line}"
            );
            assert_eq!(wheel.sha256.len(), 64);
        }
    }

    #[test]
    fn a_wheel_is_known_by_its_file_name() {
        let [torch, runtime, _] = &WHEELS;
        assert!(torch.is_named("torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl"));
        assert!(runtime.is_named("nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.whl"));
        assert!(!torch.is_named("torch-2.11.0.tar.gz"));
        assert!(!torch.is_named("torch-2.11.1-cp311-cp311-manylinux_2_28_x86_64.whl"));
    }

    #[test]
    fn another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torch.whl");
        std::fs::write(&path, "abc").unwrap();
        let error = WHEELS[0].verify(&path).unwrap_err().to_string();
        // The SHA-256 of "abc", from FIPS 180-2.
        let actual = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(
            error.contains("torch 2.11.0 is not the pinned one"),
            "{error}"
        );
        assert!(error.contains(actual), "{error}");
    }
}
