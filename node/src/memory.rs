//! How much memory this process takes at its peak, as Linux counts it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use serde::Serialize;

/// A measurement of the most memory that the process has in use at once; of all its threads, since
/// they share it.
#[derive(Debug)]
pub struct PeakMemory {
    before: Option<u64>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPeak {
    /// The most bytes of the process that lay in memory (Linux's `VmHWM`).
    pub peak_bytes: u64,
    /// How many of them were not there when the measurement began. Where the peak cannot be set
    /// back, an earlier and higher one counts.
    pub growth_bytes: u64,
}

/// Opens what setting the peak back needs. Call it before core dumps are switched off: afterwards
/// Linux does not let a process open its own file.
pub fn prepare() {
    let _ = set_back();
}

impl PeakMemory {
    /// Sets the peak back to what is in use now, and measures from here.
    #[must_use]
    pub fn start() -> Self {
        if let Some(file) = set_back() {
            // Linux's word for it; where it is refused, the old peak counts.
            let _ = file.write_at(b"5", 0);
        }
        Self {
            before: read("VmRSS"),
        }
    }

    /// Ends the measurement. Nothing where the system does not say.
    #[must_use]
    pub fn finish(self) -> Option<MemoryPeak> {
        let peak_bytes = read("VmHWM")?;
        Some(MemoryPeak {
            peak_bytes,
            growth_bytes: peak_bytes.saturating_sub(self.before?),
        })
    }
}

fn set_back() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut options = OpenOptions::new();
        options.write(true).open("/proc/self/clear_refs").ok()
    })
    .as_ref()
}

/// A line of `/proc/self/status`, in bytes.
fn read(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(&status, name)
}

fn parse(status: &str, name: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_whole_name() {
        let status = "Name:\tnode\nVmHWMx:\t   1 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 12 kB\n";
        assert_eq!(parse(status, "VmHWM"), Some(2 << 20));
        assert_eq!(parse(status, "VmRSS"), Some(12 << 10));
        assert_eq!(parse(status, "VmPeak"), None);
        assert_eq!(parse("VmHWM: many kB", "VmHWM"), None);
    }
}
