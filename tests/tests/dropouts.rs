//! Clients that vanish, at every point of a round.

use anyhow::Result;
use secagg_tests::{
    Federation,
    swarm::{Act, Moment, Options, Script},
};

/// The last of five clients does something in round 1; it is back in round 2.
struct Case {
    moment: Moment,
    act: Act,
    /// Whether its vector is in the sum of round 1.
    included: bool,
    /// The phase in which the coordinator loses it, and the reason that it gives.
    lost_in: &'static str,
    reason: &'static str,
}

const VICTIM: usize = 4;

fn check(case: &Case) -> Result<()> {
    let options = Options {
        scripts: vec![Script::first_round(VICTIM, case.moment, case.act)],
        ..Options::default()
    };
    // Round 2 starts when the victim is there again.
    let settings = [("cohort.min_clients", "3"), ("rounds.rounds", "2")];
    let mut federation = Federation::new(5, options, &settings, &["2:train"])?;
    federation.swarm.start_all()?;
    let name = federation.swarm.name(VICTIM).to_owned();

    let lost = federation.lost(1, case.lost_in)?;
    assert_eq!(lost, [(name, case.reason.to_owned())]);
    let mut contributors = vec![0, 1, 2, 3];
    if case.included {
        contributors.push(VICTIM);
    }
    federation.check_sum(1, &contributors)?;
    for client in 0..4 {
        assert_eq!(federation.round_end(client, 1)?, "included");
    }
    Ok(())
}

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $moment:ident, $act:ident, $included:literal, $phase:literal, $reason:literal;)*) => {
        $(
            $(#[$doc])*
            #[test]
            fn $name() -> Result<()> {
                check(&Case {
                    moment: Moment::$moment,
                    act: Act::$act,
                    included: $included,
                    lost_in: $phase,
                    reason: $reason,
                })
            }
        )*
    };
}

cases! {
    /// Who dies while training costs nothing: it never enters the roster.
    dies_while_training: Train, Die, false, "train", "gone";
}
