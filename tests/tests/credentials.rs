//! Whom nodes believe to be nodes: credentials, as the commands make and check them.

use std::{fs, path::Path, process::Command, time::SystemTime};

use anyhow::{Context as _, Result, ensure};
use secagg::{Federation, SigningIdentity};
use secagg_tests::{
    World,
    authority::Authority,
    binaries::{self, Build},
    node::Node,
    process::output,
    world::PATIENT,
};
use secagg_wire::{
    authority::{AuthorityPin, CredentialFile},
    identity::IdentityKey,
};

/// Room for nodes that the coordinator does not know yet.
const ROOM: [(&str, &str); 2] = [("cohort.min_clients", "3"), ("cohort.max_clients", "5")];

/// A credential for a node's key, as whoever has `by` can make one.
fn issue(
    by: &SigningIdentity,
    node: &Node,
    federation: Federation,
    expires: u64,
) -> Result<String> {
    let key = IdentityKey::load(&node.folder().join("identity"))?.signing();
    let file = CredentialFile::new(&by.issue(key.public(), federation, expires));
    Ok(serde_json::to_string(&file)?)
}

fn key(authority: &Authority) -> Result<SigningIdentity> {
    Ok(IdentityKey::load(authority.folder())?.signing())
}

fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(since.as_secs())
}

/// An authority that claims another's federation.
fn impostor(world: &World) -> Result<Authority> {
    let folder = world.folder().join("impostor");
    let own = Authority::new(&folder)?.pin();
    let claimed = AuthorityPin {
        federation: world.authority.pin().federation,
        ..own
    };
    fs::write(folder.join("authority.pin"), claimed.to_string())?;
    Authority::open(&folder)
}

/// What `secagg-node credential` says to a file, which it must refuse.
fn refused(node: &Node, credential: &Path) -> Result<String> {
    let before = fs::read(node.folder().join("credential.json"))?;
    let output = output(
        Command::new(binaries::node(Build::Default)?)
            .args(["credential", "--dir"])
            .arg(node.folder())
            .arg(credential),
    )?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read(node.folder().join("credential.json"))?, before);
    let said = String::from_utf8(output.stderr)?;
    let prefix = format!("error: {}: ", credential.display());
    let reason = said.trim_end().strip_prefix(&prefix);
    Ok(reason.with_context(|| said.clone())?.to_owned())
}

/// A node keeps the credential that its own authority gave to itself, and that is still valid;
/// nothing else takes its place.
#[test]
fn expired_and_forged_credentials_are_not_installed() -> Result<()> {
    let world = World::new(2, &ROOM, &[])?;
    let (node, other) = (&world.nodes[0], &world.nodes[1]);
    let (authority, impostor) = (&world.authority, impostor(&world)?);
    let federation = authority.pin().federation;
    let file = world.folder().join("handed-back.json");

    let (expires, later) = (now()? - 1, now()? + 3600);
    fs::write(&file, issue(&key(authority)?, node, federation, expires)?)?;
    let reason = refused(node, &file)?;
    let expired = format!("the credential has expired at {expires}, now it is ");
    ensure!(reason.starts_with(&expired), "{reason}");

    let elsewhere = Federation([7; 32]);
    for (credential, reason) in [
        (
            issue(&key(&impostor)?, node, federation, later)?,
            "the credential is not signed by the pinned authority".to_owned(),
        ),
        (
            issue(&key(authority)?, node, elsewhere, later)?,
            format!("the credential is for federation {elsewhere}, not {federation}"),
        ),
        (
            fs::read_to_string(other.folder().join("credential.json"))?,
            format!("it is for client {}, this is {}", other.id(), node.id()),
        ),
    ] {
        fs::write(&file, credential)?;
        assert_eq!(refused(node, &file)?, reason);
    }

    // Nor does an authority sign what was meant for another one.
    let request = node.folder().join("request.json");
    let refused = output(
        Command::new(binaries::coordinator(Build::Default)?)
            .args(["enrol", "--authority"])
            .arg(impostor.folder())
            .arg(&request),
    )?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr)?;
    let reason = "the request is meant for another authority";
    assert_eq!(said, format!("error: {}: {reason}\n", request.display()));
    Ok(())
}

/// The coordinator lets in a node of its own making: with enough of them around one node, that
/// node's update would be all that is unknown in the sum. The nodes refuse to share keys with it, by
/// its name. An honest coordinator turns it away, and so it does a node whose credential has expired
/// meanwhile: the other three complete the round.
#[test]
fn a_stranger_is_refused_by_name() -> Result<()> {
    let settings = [
        &PATIENT[..],
        &ROOM,
        &[("rounds.rounds", "1"), ("rounds.max_attempts", "1")],
    ]
    .concat();
    let mut world = World::new(4, &settings, &["--lie-to-nodes", "strangers"])?;
    let impostor = impostor(&world)?;
    world.join(&impostor)?;
    world.start_all()?;
    let stranger = world.nodes[4].id().to_owned();
    let reason = format!(
        "the protocol's checks: the advert of neighbour {stranger} is not believed: the credential \
         is not signed by the pinned authority"
    );
    for node in &mut world.nodes[..4] {
        let declined = node.wait("declined", |event| event["attempt"] == 1)?;
        assert_eq!(declined["reason"], reason.as_str());
        ensure!(node.log().contains(&reason), "{}", node.log());
    }
    let abandoned = world.coordinator.wait("round_abandoned", |_| true)?;
    assert_eq!(abandoned["phase"], "share-keys", "{abandoned}");
    assert_eq!(world.coordinator.wait_end()?.code(), Some(1));
    assert_eq!(world.coordinator.status()?["rounds"], serde_json::json!([]));

    let expires = now()? - 1;
    let late = &world.nodes[3];
    let federation = world.authority.pin().federation;
    let expired = issue(&key(&world.authority)?, late, federation, expires)?;
    fs::write(late.folder().join("credential.json"), expired)?;
    world.coordinator.start(&[])?;
    let complete = world.round_complete(1)?;
    assert_eq!(complete["contributors"], 3, "{complete}");
    let declined = world.nodes[3].wait("declined", |event| event["attempt"] == 2)?;
    let reason = declined["reason"].as_str().context("no reason")?;
    let expired = format!(
        "this node's credential cannot be used: the credential has expired at {expires}, now it is "
    );
    ensure!(reason.starts_with(&expired), "{reason}");
    ensure!(
        world.nodes[3].log().contains(reason),
        "{}",
        world.nodes[3].log()
    );
    let rejected = "the coordinator rejects advertise-keys: ";
    let log = world.nodes[4].log();
    ensure!(log.contains(rejected), "{log}");
    Ok(())
}
