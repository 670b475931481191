//! Clients that vanish or fall silent, at every point of a round.

use std::process::Command;

use anyhow::Result;
use secagg_tests::{
    Events, Federation,
    process::Process,
    swarm::{Act, Moment, Options, Script},
};

/// The last of five.
const VICTIM: usize = 4;

/// The coordinator notices a dead connection before any deadline.
const BY_CONNECTION: [(&str, &str); 6] = [
    ("network.idle_seconds", "4.0"),
    ("deadlines.train.min_seconds", "30.0"),
    ("deadlines.share_keys.min_seconds", "30.0"),
    ("deadlines.masked_input.min_seconds", "30.0"),
    ("deadlines.unmask.min_seconds", "30.0"),
    ("uploads.stall_seconds", "30.0"),
];

const TIMED_OUT: &str = "the connection timed out: the other side is gone or the network is down";

/// A client dies in round 1: the coordinator loses it in the phase `lost_in`, the sum is that of
/// the others, and of the victim if it had uploaded. Started again, it is in round 2.
fn dies(moment: Moment, lost_in: &str, included: bool) -> Result<()> {
    let options = Options {
        scripts: vec![Script::first_round(VICTIM, moment, Act::Die)],
        ..Options::default()
    };
    // Round 2 does not start without the victim. Round 1 must: it never enters the roster.
    let trained = moment != Moment::Train;
    let least = if trained { "5" } else { "4" };
    let mut settings = BY_CONNECTION.to_vec();
    settings.push(("cohort.min_clients", least));
    let mut federation = Federation::new(5, options, &settings, &[])?;
    federation.swarm.start_all()?;
    federation.wait(VICTIM, "ended", |event| event["how"] == "died")?;

    let name = federation.swarm.name(VICTIM).to_owned();
    let lost = federation.lost(1, lost_in)?;
    assert_eq!(lost, [(name, TIMED_OUT.to_owned())]);
    let mut contributors = vec![0, 1, 2, 3];
    if included {
        contributors.push(VICTIM);
    }
    federation.check_sum(1, &contributors)?;
    for client in 0..4 {
        assert_eq!(federation.round_end(client, 1)?, "included");
    }
    if trained {
        federation.swarm.start(VICTIM)?;
        federation.check_sum(2, &[0, 1, 2, 3, 4])?;
    }
    Ok(())
}

#[test]
fn dies_while_training() -> Result<()> {
    // Others have advertised by the time it is noticed.
    dies(Moment::Train, "advertise-keys", false)
}

#[test]
fn dies_after_its_advert() -> Result<()> {
    dies(Moment::ShareKeys, "share-keys", false)
}

#[test]
fn dies_after_sharing_its_keys() -> Result<()> {
    dies(Moment::MaskedInput, "masked-input", false)
}

#[test]
fn dies_while_uploading() -> Result<()> {
    dies(Moment::Upload, "masked-input", false)
}

#[test]
fn dies_after_its_upload() -> Result<()> {
    dies(Moment::Uploaded, "unmask", true)
}

#[test]
fn dies_before_unmasking() -> Result<()> {
    dies(Moment::Unmask, "unmask", true)
}

/// A client ignores the rest of round 1 without a word: the coordinator goes on when its time is
/// up, says so to the client, and takes it along in round 2.
fn falls_silent(moment: Moment, lost_in: &str, reason: &str, included: bool) -> Result<()> {
    let options = Options {
        scripts: vec![Script::first_round(VICTIM, moment, Act::Silent)],
        ..Options::default()
    };
    let mut federation = Federation::new(5, options, &[], &[])?;
    federation.swarm.start_all()?;
    let name = federation.swarm.name(VICTIM).to_owned();
    let lost = federation.lost(1, lost_in)?;
    assert_eq!(lost, [(name, reason.to_owned())]);
    let mut contributors = vec![0, 1, 2, 3];
    let mut result = "not-included";
    if included {
        contributors.push(VICTIM);
        result = "included";
    }
    federation.check_sum(1, &contributors)?;
    assert_eq!(federation.round_end(VICTIM, 1)?, result);
    federation.check_sum(2, &[0, 1, 2, 3, 4])
}

#[test]
fn does_not_answer_the_announcement() -> Result<()> {
    let reason = "it did not advertise its keys in time";
    falls_silent(Moment::Announced, "advertise-keys", reason, false)
}

#[test]
fn does_not_advertise() -> Result<()> {
    let reason = "it did not advertise its keys in time";
    falls_silent(Moment::AdvertiseKeys, "advertise-keys", reason, false)
}

#[test]
fn does_not_share_its_keys() -> Result<()> {
    let reason = "it did not answer in time";
    falls_silent(Moment::ShareKeys, "share-keys", reason, false)
}

#[test]
fn does_not_upload() -> Result<()> {
    let reason = "its vector did not arrive in time";
    falls_silent(Moment::MaskedInput, "masked-input", reason, false)
}

#[test]
fn does_not_unmask() -> Result<()> {
    let reason = "it did not answer in time";
    falls_silent(Moment::Unmask, "unmask", reason, true)
}

/// A client that says that it leaves is not waited for.
#[test]
fn leaves() -> Result<()> {
    let options = Options {
        scripts: vec![Script::first_round(VICTIM, Moment::ShareKeys, Act::Leave)],
        ..Options::default()
    };
    let mut federation = Federation::new(5, options, &BY_CONNECTION, &[])?;
    federation.swarm.start_all()?;
    let name = federation.swarm.name(VICTIM).to_owned();
    let lost = federation.lost(1, "share-keys")?;
    assert_eq!(lost, [(name, "it left: the script says so".to_owned())]);
    federation.check_sum(1, &[0, 1, 2, 3])
}

/// A client that is gone after its upload, before the sum is opened, stays in the sum.
#[test]
fn is_gone_before_unmasking_begins() -> Result<()> {
    const SLOW: usize = 0;
    let options = Options {
        scripts: vec![
            Script::first_round(VICTIM, Moment::Uploaded, Act::Leave),
            Script::first_round(SLOW, Moment::MaskedInput, Act::Hold),
        ],
        ..Options::default()
    };
    let mut federation = Federation::new(5, options, &BY_CONNECTION, &[])?;
    federation.swarm.start_all()?;
    let id = federation.swarm.id(VICTIM).to_string();
    let gone = federation
        .coordinator
        .wait("node_gone", |event| event["client"] == id)?;
    assert_eq!(gone["reason"], "it left: the script says so");
    federation.wait(SLOW, "held", |_| true)?;
    federation.swarm.release(SLOW);
    let name = federation.swarm.name(VICTIM).to_owned();
    let lost = federation.lost(1, "unmask")?;
    assert_eq!(lost, [(name, "its connection was lost".to_owned())]);
    federation.check_sum(1, &[0, 1, 2, 3, 4])
}

/// A client that declines is not in the roster, and nobody waits for it.
#[test]
fn declines() -> Result<()> {
    let options = Options {
        scripts: vec![Script::first_round(VICTIM, Moment::Announced, Act::Decline)],
        ..Options::default()
    };
    let mut federation = Federation::new(5, options, &BY_CONNECTION, &[])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[0, 1, 2, 3])?;
    federation.check_sum(2, &[0, 1, 2, 3, 4])
}

/// Different clients are lost at every boundary of one round, and three are enough at its end.
#[test]
fn several_are_lost_in_one_round() -> Result<()> {
    let script = |client, moment| Script::first_round(client, moment, Act::Leave);
    let options = Options {
        scripts: vec![
            script(3, Moment::AdvertiseKeys),
            script(4, Moment::ShareKeys),
            script(5, Moment::MaskedInput),
            script(6, Moment::Unmask),
        ],
        ..Options::default()
    };
    let mut federation = Federation::new(7, options, &BY_CONNECTION, &[])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[0, 1, 2, 6])?;
    let names: Vec<String> = (0..7)
        .map(|client| federation.swarm.name(client).to_owned())
        .collect();
    assert_eq!(federation.lost_names(1, "share-keys")?, names[4..=4]);
    assert_eq!(federation.lost_names(1, "masked-input")?, names[5..=5]);
    assert_eq!(federation.lost_names(1, "unmask")?, names[6..=6]);
    Ok(())
}

/// A process with two clients is killed while both upload: only what it had is lost.
#[test]
fn a_killed_process_costs_its_own_clients() -> Result<()> {
    let mut settings = BY_CONNECTION.to_vec();
    settings.extend([
        ("cohort.min_clients", "5"),
        ("cohort.max_clients", "5"),
        ("rounds.rounds", "1"),
    ]);
    let mut federation = Federation::new(3, Options::default(), &settings, &[])?;
    let tokens = federation.folder().join("tokens");
    let revealed: Vec<String> = federation
        .coordinator
        .tokens(2)?
        .iter()
        .map(|token| token.reveal().to_string())
        .collect();
    std::fs::write(&tokens, revealed.join("\n"))?;
    let log = federation.folder().join("killed.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
    command
        .arg("run")
        .arg(federation.coordinator.address()?.to_string())
        .args(["--script", "0:1:upload:hold", "--script", "1:1:upload:hold"])
        .arg("--tokens")
        .arg(&tokens)
        .arg("--events")
        .arg(&log);
    let mut process = Process::start("killed", command, federation.folder())?;
    federation.swarm.start_all()?;
    let (mut events, deadline) = (Events::follow(&log), federation.deadline());
    for name in ["swarm-000", "swarm-001"] {
        let alive = || process.still_running();
        events.wait(&deadline, alive, "held", |event| event["name"] == name)?;
    }
    process.kill()?;
    let mut lost = federation.lost(1, "masked-input")?;
    lost.sort();
    let expected = ["swarm-000", "swarm-001"].map(|name| (name.to_owned(), TIMED_OUT.to_owned()));
    assert_eq!(lost, expected);
    federation.check_sum(1, &[0, 1, 2])
}
