//! `enrol`: one-time tokens.

use std::path::Path;

use anyhow::{Context as _, bail};
use secagg_wire::{identity::TlsIdentity, text::Name, token::Token};
use serde_json::json;

use crate::{
    config::Config,
    folder::Folder,
    store::{IssuedToken, Store, unix_now},
};

/// A new token, with what it is for.
#[derive(Debug)]
pub struct Enrolment {
    /// The token: print it only to whoever asked for it.
    pub token: Token,
    /// The name that the node will have, if one was chosen.
    pub name: Option<Name>,
    /// Seconds since 1970 after which it is void.
    pub expires_at: i64,
}

/// Issues tokens. A coordinator that runs in the folder knows them at once.
///
/// # Errors
/// When the folder holds no coordinator, or a name cannot be used.
pub fn enrol(
    dir: &Path,
    count: u32,
    name: Option<&str>,
    valid_hours: u32,
) -> anyhow::Result<Vec<Enrolment>> {
    let folder = Folder::new(dir);
    let identity = TlsIdentity::load(&folder.identity())
        .context("this is no coordinator's folder: run `secagg-coordinator init` first")?;
    let now = unix_now();
    let expires_at = now + i64::from(valid_hours) * 3600;
    let mut enrolments = Vec::new();
    for number in 1..=count {
        let name = match (name, count) {
            (None, _) => None,
            (Some(name), 1) => Some(Name::new(name)),
            (Some(name), _) => Some(Name::new(format!("{name}-{number}"))),
        };
        enrolments.push(Enrolment {
            token: Token::generate(identity.fingerprint()).context("no randomness for a token")?,
            name: name.transpose().context("--name cannot be used")?,
            expires_at,
        });
    }
    let issued: Vec<IssuedToken> = enrolments
        .iter()
        .map(|enrolment| IssuedToken {
            hash: enrolment.token.hash(),
            name: enrolment.name.clone(),
            expires_at,
        })
        .collect();
    Store::open(&folder.history())?.issue_tokens(&issued, now)?;
    Ok(enrolments)
}

pub(super) fn run(arguments: &super::Enrol) -> anyhow::Result<()> {
    let super::Enrol {
        targets,
        authority,
        valid_days,
        count,
        name,
        valid_hours,
        json,
    } = arguments;
    if let Some(authority) = authority {
        return super::authority::vouch(authority, targets, *valid_days, *json);
    }
    let [dir] = targets.as_slice() else {
        bail!(
            "{} folders: tokens are made for one coordinator at a time",
            targets.len()
        );
    };
    let enrolments = enrol(dir, *count, name.as_deref(), *valid_hours)?;
    if *json {
        let tokens: Vec<_> = enrolments
            .iter()
            .map(|enrolment| {
                json!({
                    "token": enrolment.token.to_string(),
                    "name": enrolment.name.as_ref().map(Name::as_str),
                    "expires_at": enrolment.expires_at,
                })
            })
            .collect();
        println!("{}", json!({ "tokens": tokens }));
        return Ok(());
    }
    for enrolment in &enrolments {
        println!("{}", enrolment.token);
    }
    let listen = Config::load(&Folder::new(dir).config())?.network.listen;
    let address = match listen.port() {
        // Any free port: `run` says which.
        0 => "HOST:PORT".to_owned(),
        port if listen.ip().is_unspecified() => format!("HOST:{port}"),
        _ => listen.to_string(),
    };
    eprintln!(
        "each token lets one node join, within {valid_hours} hours: \
         secagg-node join quic://{address} TOKEN --dir NODE_DIR"
    );
    Ok(())
}
