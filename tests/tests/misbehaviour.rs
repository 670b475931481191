//! Clients that break the protocol: each costs itself, and nobody else.

use anyhow::Result;
use secagg_tests::{
    Federation,
    swarm::{Act, Moment, Options, Script},
};

const OFFENDER: usize = 3;

/// What the offender sees.
enum Seen {
    /// Its connection is closed with this code.
    Closed(&'static str),
    /// It is told that it is out of the round, for a message of this phase.
    Rejected(&'static str),
    /// Its upload is stopped with this code.
    Stopped(&'static str),
    /// Nothing: it is still in the round.
    Nothing,
}

/// One of four clients misbehaves in round 1: it sees what is expected, the round is complete with
/// `contributors`, and in round 2 everybody is there again.
fn check(moment: Moment, act: Act, contributors: &[usize], seen: &Seen) -> Result<Federation> {
    let options = Options {
        scripts: vec![Script::first_round(OFFENDER, moment, act)],
        ..Options::default()
    };
    let mut federation = Federation::new(4, options, &[], &[])?;
    federation.swarm.start_all()?;
    match seen {
        Seen::Closed(code) => {
            let closed = federation.wait(OFFENDER, "closed", |_| true)?;
            assert_eq!(closed["code"], *code, "{closed}");
        }
        Seen::Rejected(phase) => {
            let rejected = federation.wait(OFFENDER, "rejected", |_| true)?;
            assert_eq!(rejected["phase"], *phase, "{rejected}");
        }
        Seen::Stopped(code) => {
            let stopped = federation.wait(OFFENDER, "upload_stopped", |_| true)?;
            assert_eq!(stopped["code"], *code, "{stopped}");
        }
        Seen::Nothing => {}
    }
    federation.check_sum(1, contributors)?;
    Ok(federation)
}
