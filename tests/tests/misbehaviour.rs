//! Clients that break the protocol: each costs itself, and nobody else.

use anyhow::{Context as _, Result};
use secagg_tests::{
    Federation, federation,
    swarm::{Act, Moment, Options, Script},
};

/// The last of four.
const OFFENDER: usize = 3;

/// Everybody else.
const OTHERS: [usize; 3] = [0, 1, 2];
const EVERYBODY: [usize; 4] = [0, 1, 2, 3];

/// One of four clients misbehaves in round 1.
fn offence(moment: Moment, act: Act) -> Result<Federation> {
    let options = Options {
        scripts: vec![Script::first_round(OFFENDER, moment, act)],
        ..Options::default()
    };
    // Round 1 does without the offender only where it never enters the roster; where it does,
    // round 2 waits until it is there again.
    let in_roster = moment != Moment::AdvertiseKeys;
    let settings = [("cohort.min_clients", if in_roster { "4" } else { "3" })];
    let size = federation::MANY_PARAMETERS;
    let mut federation = Federation::with_model(size, 4, options, &settings, &[])?;
    federation.swarm.start_all()?;
    Ok(federation)
}

/// The offender's connection is closed with this code; the coordinator loses it in this phase, with
/// a reason that begins like this.
fn closes(
    federation: &mut Federation,
    code: &str,
    phase: &str,
    reason: &str,
    contributors: &[usize],
) -> Result<()> {
    let closed = federation.wait(OFFENDER, "closed", |_| true)?;
    assert_eq!(closed["code"], code, "{closed}");
    let said = closed["reason"].as_str().context("no reason")?;
    assert!(said.starts_with(reason), "{said}");
    let name = federation.swarm.name(OFFENDER).to_owned();
    let lost = federation.lost(1, phase)?;
    assert_eq!(lost, [(name, said.to_owned())]);
    federation.check_sum(1, contributors)
}

/// The offender is told that it is out of the round, for this reason, and stays connected.
fn rejects(federation: &mut Federation, reason: &str) -> Result<()> {
    let rejected = federation.wait(OFFENDER, "rejected", |_| true)?;
    assert_eq!(rejected["phase"], "masked-input", "{rejected}");
    let said = rejected["reason"].as_str().context("no reason")?;
    assert!(said.starts_with(reason), "{said}");
    let name = federation.swarm.name(OFFENDER).to_owned();
    let lost = federation.lost(1, "masked-input")?;
    assert_eq!(lost, [(name, said.to_owned())]);
    federation.check_sum(1, &OTHERS)?;
    federation.check_sum(2, &EVERYBODY)?;
    let reconnected = federation.events().named("reconnecting")?;
    assert_eq!(reconnected, Vec::<secagg_tests::Event>::new());
    Ok(())
}

#[test]
fn an_oversized_advert() -> Result<()> {
    let mut federation = offence(Moment::AdvertiseKeys, Act::Oversized)?;
    let closed = federation.wait(OFFENDER, "closed", |_| true)?;
    assert_eq!(closed["code"], "frame too large", "{closed}");
    federation.check_sum(1, &OTHERS)
}

#[test]
fn an_oversized_frame() -> Result<()> {
    let mut federation = offence(Moment::ShareKeys, Act::Oversized)?;
    let (code, phase) = ("frame too large", "share-keys");
    let reason = "a frame of kind 0x04 with 2147483647 bytes, at most ";
    closes(&mut federation, code, phase, reason, &OTHERS)?;
    federation.check_sum(2, &EVERYBODY)
}

#[test]
fn a_truncated_frame() -> Result<()> {
    let mut federation = offence(Moment::ShareKeys, Act::Truncated)?;
    let (code, phase) = ("malformed frame", "share-keys");
    let reason = "a frame was cut off: ";
    closes(&mut federation, code, phase, reason, &OTHERS)?;
    federation.check_sum(2, &EVERYBODY)
}

#[test]
fn a_frame_of_an_unknown_kind() -> Result<()> {
    let mut federation = offence(Moment::ShareKeys, Act::UnknownKind)?;
    let (code, phase) = ("malformed frame", "share-keys");
    let reason = "a frame of unknown kind 0x7f";
    closes(&mut federation, code, phase, reason, &OTHERS)?;
    federation.check_sum(2, &EVERYBODY)
}

/// A frame that holds half of a secagg message.
#[test]
fn a_message_that_does_not_decode() -> Result<()> {
    let mut federation = offence(Moment::ShareKeys, Act::Garbage)?;
    let (code, phase) = ("malformed frame", "share-keys");
    let reason = "its message of share-keys does not decode: ";
    closes(&mut federation, code, phase, reason, &OTHERS)?;
    federation.check_sum(2, &EVERYBODY)
}

/// After its upload the offender stays in the sum, whatever it sends then.
#[test]
fn an_oversized_frame_after_the_upload() -> Result<()> {
    let mut federation = offence(Moment::Unmask, Act::Oversized)?;
    let (code, phase) = ("frame too large", "unmask");
    let reason = "a frame of kind 0x04 with 2147483647 bytes, at most ";
    closes(&mut federation, code, phase, reason, &EVERYBODY)?;
    federation.check_sum(2, &EVERYBODY)
}

/// The first advert counts, the second changes nothing.
#[test]
fn a_duplicate_advert() -> Result<()> {
    let mut federation = offence(Moment::AdvertiseKeys, Act::Twice)?;
    federation.check_sum(1, &EVERYBODY)?;
    federation.check_sum(2, &EVERYBODY)
}

#[test]
fn duplicate_shares() -> Result<()> {
    let mut federation = offence(Moment::ShareKeys, Act::Twice)?;
    federation.check_sum(1, &EVERYBODY)?;
    federation.check_sum(2, &EVERYBODY)
}

#[test]
fn duplicate_unmask_shares() -> Result<()> {
    let mut federation = offence(Moment::Unmask, Act::Twice)?;
    federation.check_sum(1, &EVERYBODY)?;
    federation.check_sum(2, &EVERYBODY)
}

#[test]
fn an_upload_of_another_length() -> Result<()> {
    let mut federation = offence(Moment::MaskedInput, Act::WrongLength)?;
    let stopped = federation.wait(OFFENDER, "upload_stopped", |_| true)?;
    assert_eq!(stopped["code"], "wrong length", "{stopped}");
    rejects(&mut federation, "a masked vector of ")
}

#[test]
fn an_upload_that_ends_early() -> Result<()> {
    let mut federation = offence(Moment::MaskedInput, Act::CutShort)?;
    rejects(&mut federation, "the transfer ended after ")
}

/// A stalled upload loses its slot after seconds, before the phase ends.
#[test]
fn an_upload_that_stalls() -> Result<()> {
    let mut federation = offence(Moment::Upload, Act::Silent)?;
    rejects(&mut federation, "the transfer stalled after ")
}

/// As many stalled uploads as there are slots do not keep the others out.
#[test]
fn stalled_uploads_give_their_slots_back() -> Result<()> {
    let stalls = |client| Script::first_round(client, Moment::Upload, Act::Silent);
    let options = Options {
        scripts: (0..4).map(stalls).collect(),
        ..Options::default()
    };
    let settings = [
        ("uploads.max_buffered_uploads", "1"),
        ("deadlines.masked_input.min_seconds", "30.0"),
    ];
    let mut federation = Federation::new(7, options, &settings, &[])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[4, 5, 6])
}

/// A masked vector that comes when its owner was already given up is not taken: its self mask will
/// not be opened, and the shares of its mask seed will.
#[test]
fn a_late_upload() -> Result<()> {
    const LATE: usize = 4;
    const SLOW: usize = 0;
    let options = Options {
        scripts: vec![
            Script::first_round(LATE, Moment::MaskedInput, Act::Hold),
            // Keeps the round open.
            Script::first_round(SLOW, Moment::Unmask, Act::Hold),
        ],
        ..Options::default()
    };
    let settings = [
        ("cohort.min_clients", "5"),
        ("deadlines.unmask.min_seconds", "30.0"),
    ];
    let size = federation::MANY_PARAMETERS;
    let mut federation = Federation::with_model(size, 5, options, &settings, &[])?;
    federation.swarm.start_all()?;
    federation.wait(LATE, "held", |_| true)?;
    federation.wait(SLOW, "held", |_| true)?;
    let late = federation.swarm.name(LATE).to_owned();
    assert_eq!(federation.lost_names(1, "masked-input")?, [late]);
    federation.swarm.release(LATE);
    let stopped = federation.wait(LATE, "upload_stopped", |_| true)?;
    assert_eq!(stopped["code"], "too late", "{stopped}");
    federation.swarm.release(SLOW);
    federation.check_sum(1, &[0, 1, 2, 3])?;
    assert_eq!(federation.round_end(LATE, 1)?, "not-included");
    federation.check_sum(2, &[0, 1, 2, 3, 4])
}

/// Slow clients are left behind, their late messages change nothing, and they are in the next round.
#[test]
fn late_messages() -> Result<()> {
    let held = [(4, Moment::ShareKeys), (5, Moment::Unmask)];
    let options = Options {
        scripts: held
            .map(|(client, moment)| Script::first_round(client, moment, Act::Hold))
            .to_vec(),
        ..Options::default()
    };
    // Round 2 waits for those that are released when round 1 is over.
    let settings = [
        ("deadlines.answer_seconds", "30.0"),
        ("deadlines.train.min_seconds", "30.0"),
    ];
    let mut federation = Federation::new(6, options, &settings, &[])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[0, 1, 2, 3, 5])?;
    for (client, _) in held {
        federation.swarm.release(client);
    }
    assert_eq!(federation.round_end(4, 1)?, "not-included");
    assert_eq!(federation.round_end(5, 1)?, "included");
    federation.check_sum(2, &[0, 1, 2, 3, 4, 5])
}
