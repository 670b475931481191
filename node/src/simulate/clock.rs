//! How long work takes, whatever else runs on the machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of this process at some moment, of all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTime(Duration);

impl CpuTime {
    pub(super) fn now() -> Self {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        // A process has not run for a negative time.
        Self(Duration::try_from(now).unwrap_or_default())
    }

    /// Seconds from then to now.
    pub(super) fn seconds(self) -> f64 {
        Self::now().since(self)
    }

    /// Seconds from `earlier` to this moment.
    pub(super) fn since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_waiting_does_not() {
        let start = CpuTime::now();
        let mut x = 1_u64;
        while start.seconds() < 0.01 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        let worked = CpuTime::now();
        assert!(worked.since(start) >= 0.01);
        assert!(start.since(worked) == 0.0);
    }
}
