//! Rounds that come down to the threshold, and below it.

use anyhow::Result;
use secagg_tests::{
    Federation,
    swarm::{Act, Moment, Options, Script},
};

fn all(clients: &[usize], moment: Moment, act: Act) -> Options {
    let script = |client: &usize| Script::first_round(*client, moment, act);
    Options {
        scripts: clients.iter().map(script).collect(),
        ..Options::default()
    }
}

/// With three of five left there are still two neighbours for every share: enough for t = 2.
#[test]
fn three_survivors_are_enough() -> Result<()> {
    let options = all(&[3, 4], Moment::MaskedInput, Act::Leave);
    let mut federation = Federation::new(5, options, &[], &[])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[0, 1, 2])
}

/// With two of five left the round is abandoned, everybody hears why, and the next attempt, for
/// which all are there again, succeeds.
#[test]
fn two_survivors_abandon_the_round_and_it_is_tried_again() -> Result<()> {
    let leavers = [2, 3, 4];
    let options = all(&leavers, Moment::MaskedInput, Act::Leave);
    let settings = [("cohort.min_clients", "5")];
    let mut federation = Federation::new(5, options, &settings, &[])?;
    federation.swarm.start_all()?;
    let abandoned = federation
        .coordinator
        .wait("round_abandoned", |event| event["round"] == 1)?;
    assert_eq!(abandoned["attempt"], 1, "{abandoned}");
    assert_eq!(abandoned["phase"], "masked-input", "{abandoned}");
    assert_eq!(abandoned["reason"], TOO_FEW, "{abandoned}");
    for client in [0, 1] {
        let end = federation.wait(client, "round_end", |event| event["round"] == 1)?;
        assert_eq!(end["result"], "abandoned", "{end}");
        assert_eq!(end["reason"], TOO_FEW, "{end}");
    }
    for client in leavers {
        federation.wait(client, "ended", |event| event["how"] == "left")?;
        federation.swarm.start(client)?;
    }
    federation.check_sum(1, &[0, 1, 2, 3, 4])?;
    let complete = federation.round_complete(1)?;
    assert_eq!(complete["attempt"], 2, "{complete}");
    Ok(())
}

const TOO_FEW: &str = "2 clients were left when masked-input closed, 3 are needed";

/// Whoever has uploaded for these weights as often as its own policy allows is not asked to do it
/// again: the next attempt is made by the others.
#[test]
fn the_next_attempt_is_made_by_those_that_may_still_upload() -> Result<()> {
    let options = Options {
        uploads_per_model: 1,
        ..all(&[2, 3, 4, 5], Moment::MaskedInput, Act::Silent)
    };
    let settings = [
        ("cohort.min_clients", "4"),
        ("deadlines.masked_input.max_seconds", "5.0"),
    ];
    let mut federation = Federation::new(6, options, &settings, &[])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[2, 3, 4, 5])?;
    let complete = federation.round_complete(1)?;
    assert_eq!(complete["attempt"], 2, "{complete}");
    for client in [0, 1] {
        let declined = federation.wait(client, "declined", |_| true)?;
        assert_eq!(declined["attempt"], 2, "{declined}");
    }
    // The new weights are another model.
    federation.check_sum(2, &[0, 1, 2, 3, 4, 5])
}

/// A cohort that never forms ends the training with a reason, not with a hang.
#[test]
fn too_few_clients_end_the_training() -> Result<()> {
    let settings = [("rounds.wait_seconds", "2.0")];
    let mut federation = Federation::new(3, Options::default(), &settings, &[])?;
    federation.swarm.start(0)?;
    federation.swarm.start(1)?;
    let stopped = federation.coordinator.wait("stopped", |_| true)?;
    let reason = "round 1: 2 nodes can take part, 3 are needed, and no more came within 2 seconds; \
                  enrol nodes, start them, or lower cohort.min_clients";
    assert_eq!(stopped["reason"], reason, "{stopped}");
    let status = federation.coordinator.wait_end()?;
    assert_eq!(status.code(), Some(1), "{status}");
    Ok(())
}
