//! What libFuzzer says about a run.

use std::fmt;

/// The figures of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    executions: u64,
    per_second: u64,
    /// Edges of the program that were reached.
    edges: u64,
    /// Inputs that reach something of their own.
    corpus: u64,
}

/// What stands above the figures.
pub(super) const HEADINGS: &str =
    "target                      executions  a second   edges  corpus  finding";

impl Findings {
    /// Reads the figures from the log: the last line of each kind counts.
    pub(super) fn read(log: &str) -> Self {
        let mut findings = Self::default();
        for line in log.lines() {
            if let Some(value) = line.strip_prefix("stat::number_of_executed_units:") {
                findings.executions = value.trim().parse().unwrap_or(0);
            } else if let Some(value) = line.strip_prefix("stat::average_exec_per_sec:") {
                findings.per_second = value.trim().parse().unwrap_or(0);
            } else if line.starts_with('#') {
                findings.status(line);
            }
        }
        findings
    }

    /// Such as `#3444 DONE cov: 2266 ft: 7007 corp: 130/542b lim: 6 exec/s: 132 rss: 155Mb`.
    fn status(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let place = match word {
                "cov:" => &mut self.edges,
                "corp:" => &mut self.corpus,
                _ => continue,
            };
            let value = words.next().unwrap_or_default();
            let digits = value.split_once('/').map_or(value, |(count, _)| count);
            *place = digits.parse().unwrap_or(*place);
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            executions,
            per_second,
            edges,
            corpus,
        } = self;
        write!(
            f,
            "{executions:>12} {per_second:>9} {edges:>7} {corpus:>7} "
        )
    }
}

/// Where the input was written that the target failed on.
pub(super) fn input(log: &str) -> Option<&str> {
    log.lines()
        .find_map(|line| Some(line.split_once("Test unit written to ")?.1.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let log = "#2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   \tNEW_FUNC[1/1]: 0x55a5 in main\n\
                   #3444\tDONE   cov: 2266 ft: 7007 corp: 130/542b lim: 6 exec/s: 132 rss: 155Mb\n\
                   Done 3444 runs in 26 second(s)\n\
                   stat::number_of_executed_units: 3444\n\
                   stat::average_exec_per_sec:     132\n";
        let expected = Findings {
            executions: 3444,
            per_second: 132,
            edges: 2266,
            corpus: 130,
        };
        assert_eq!(Findings::read(log), expected);
        assert_eq!(input(log), None);
    }

    #[test]
    fn the_input_of_a_failure_is_named() {
        let log = "==1== ERROR: libFuzzer: deadly signal\n\
                   artifact_prefix='/f/'; Test unit written to /f/crash-ad\nBase64: AA==\n";
        assert_eq!(input(log), Some("/f/crash-ad"));
    }
}
