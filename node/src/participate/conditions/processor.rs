//! How much of the processor other programs use: `/proc/stat`, `/proc/self/stat` and, before there is
//! anything to compare with, `/proc/loadavg`; see proc(5).

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

/// Ticks of all cores since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    /// Spent on any program.
    busy: u64,
    /// Spent on any program, or idle.
    all: u64,
    /// Spent on this process and those that it has waited for.
    own: u64,
}

/// What is remembered of earlier looks.
#[derive(Debug, Default)]
pub(super) struct Processor {
    looks: VecDeque<Times>,
}

/// So many looks back is what one is compared with: a short burst of work is not busy yet, and its end
/// not idle.
const LOOKS: usize = 6;

impl Processor {
    /// The share of all cores' time that other programs have used lately, from 0 to 1; `None` where
    /// the system does not say it.
    ///
    /// This process's own time is taken off: a node that trains is no reason for it not to train. The
    /// first look has nothing to compare with: there the load average of the last minute counts, in
    /// which this process hardly is.
    pub(super) fn look(&mut self, root: &Path) -> Option<f64> {
        let read = |name: &str| fs::read_to_string(root.join("proc").join(name)).ok();
        let stat = read("stat")?;
        let (busy, all) = machine_times(&stat)?;
        let own = own_time(&read("self/stat")?)?;
        let now = Times { busy, all, own };
        let share = match self.looks.front() {
            Some(before) => others_share(*before, now),
            None => {
                let load = load_average(&read("loadavg")?)?;
                Some((load / cores(&stat) as f64).min(1.0))
            }
        };
        self.looks.push_back(now);
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        share
    }
}

/// The share that others have used between two looks; none where no tick has passed.
fn others_share(before: Times, now: Times) -> Option<f64> {
    let since = |of: fn(Times) -> u64| of(now).saturating_sub(of(before));
    let all = since(|times| times.all);
    if all == 0 {
        return None;
    }
    let others = since(|times| times.busy).saturating_sub(since(|times| times.own));
    Some((others as f64 / all as f64).min(1.0))
}

/// Busy ticks and all ticks, from the first line of `/proc/stat`.
fn machine_times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Option<Vec<u64>> = line
        .split_ascii_whitespace()
        .map(|field| field.parse().ok())
        .collect();
    let fields = fields?;
    // user nice system idle iowait irq softirq steal; guests are in user and nice already.
    let all: u64 = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4).copied().unwrap_or(0);
    Some((all - idle, all))
}

fn cores(stat: &str) -> usize {
    let core = |line: &&str| {
        let number = line.strip_prefix("cpu");
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(core).count().max(1)
}

/// User and system ticks of the process and its children, fields 14 to 17 of `/proc/self/stat`. The
/// second field, the program's name, may hold spaces and brackets.
fn own_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<&str> = fields.split_ascii_whitespace().skip(11).take(4).collect();
    if times.len() < 4 {
        return None;
    }
    // Children's times are signed in the kernel's format.
    times
        .into_iter()
        .map(|time| time.parse::<u64>().ok())
        .sum::<Option<u64>>()
}

/// The load average of the last minute.
fn load_average(text: &str) -> Option<f64> {
    let load: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (load.is_finite() && load >= 0.0).then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  4705 150 1120 16250 520 30 45 12 0 0\n\
        cpu0 2353 75 560 8125 260 15 23 6 0 0\n\
        cpu1 2352 75 560 8125 260 15 22 6 0 0\n\
        intr 114930548 113199788 3 0 5 263 0 4\n\
        ctxt 1990473\n\
        btime 1062191376\n\
        processes 2915\n\
        procs_running 1\n\
        procs_blocked 0\n";

    const SELF: &str = "2915 (secagg) node (1)) R 2400 2915 2400 34816 2915 4194304 93 7 0 0 \
        120 30 8 2 20 0 1 0 4093 8425472 253 18446744073709551615\n";

    fn write(root: &Path, stat: &str, own: &str) {
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(root.join("proc/stat"), stat).unwrap();
        fs::write(root.join("proc/self/stat"), own).unwrap();
        fs::write(root.join("proc/loadavg"), "0.50 0.18 0.12 1/80 11206\n").unwrap();
    }

    #[test]
    fn recorded_texts_are_read() {
        let idle = 16250 + 520;
        let all = 4705 + 150 + 1120 + idle + 30 + 45 + 12;
        assert_eq!(machine_times(STAT), Some((all - idle, all)));
        assert_eq!(cores(STAT), 2);
        assert_eq!(own_time(SELF), Some(160));
        assert_eq!(load_average("1.75 0.18 0.12 1/80 11206\n"), Some(1.75));
    }

    #[test]
    fn what_is_no_such_text_gives_nothing() {
        for text in ["", "cpu", "cpu a b c d", "intr 1 2 3 4 5", "cpu 1 2 3"] {
            assert_eq!(machine_times(text), None, "{text:?}");
        }
        for text in [
            "",
            "1 (a) R 2 3",
            "1 a R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        ] {
            assert_eq!(own_time(text), None, "{text:?}");
        }
        for text in ["", "NaN 1 2", "-1 0 0", "x"] {
            assert_eq!(load_average(text), None, "{text:?}");
        }
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Processor::default().look(root.path()), None);
    }

    #[test]
    fn other_programs_count_and_the_node_itself_does_not() {
        let root = tempfile::tempdir().unwrap();
        let mut processor = Processor::default();
        write(root.path(), STAT, SELF);
        // Nothing to compare with: a load of 0.5 on two cores.
        assert_eq!(processor.look(root.path()), Some(0.25));
        // No tick has passed.
        assert_eq!(processor.look(root.path()), None);
        // 600 ticks: 400 idle, 200 busy, of which 140 are the node's.
        let stat = STAT.replace("4705", "4905").replace("16250", "16650");
        write(
            root.path(),
            &stat,
            &SELF.replace("120 30 8 2", "250 40 8 2"),
        );
        assert_eq!(processor.look(root.path()), Some(0.1));
    }

    #[test]
    fn a_look_is_compared_with_one_some_looks_ago() {
        let root = tempfile::tempdir().unwrap();
        let mut processor = Processor::default();
        let look = |processor: &mut Processor, busy: u64, idle: u64| {
            let stat = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1\n");
            write(root.path(), &stat, SELF);
            processor.look(root.path())
        };
        look(&mut processor, 0, 0);
        for step in 1..LOOKS as u64 {
            assert_eq!(look(&mut processor, 0, 100 * step), Some(0.0));
        }
        // One busy look among six.
        let share = look(&mut processor, 100, 500).unwrap();
        assert!((share - 1.0 / 6.0).abs() < 1e-12, "{share}");
        // And then none but busy ones.
        for step in 2..=LOOKS as u64 {
            look(&mut processor, 100 * step, 500);
        }
        assert_eq!(look(&mut processor, 700, 500), Some(1.0));
    }
}
