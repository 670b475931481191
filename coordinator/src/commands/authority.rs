//! `authority`, and `enrol --authority`: who vouches for nodes.
//!
//! The folder holds the signing key and a line for each credential that was issued. The running
//! coordinator never reads it: if one party had both, it could vouch for nodes of its own making.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use secagg::{ClientId, Federation, SigningIdentity};
use secagg_wire::{
    authority::{AuthorityPin, CredentialFile, CredentialRequest},
    identity::IdentityKey,
    process::{Access, create_private_folder, write_atomic},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::store::unix_now;

/// The pin, in the authority's folder.
const PIN: &str = "authority.pin";

/// What was issued, in the authority's folder: one JSON object a line.
const ISSUED: &str = "issued.jsonl";

/// The longest request.
const MAX_REQUEST: u64 = 16 << 10;

/// One line of [`ISSUED`].
#[derive(Debug, Serialize, Deserialize)]
struct Issued {
    client_id: String,
    name: String,
    tls_fingerprint: String,
    issued: u64,
    expires: u64,
}

pub(super) fn run(dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(PIN);
    if path.exists() {
        bail!(
            "{} exists already: nothing was changed; choose another folder",
            path.display()
        );
    }
    create_private_folder(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // One that was interrupted before it wrote its pin goes on with its key.
    let key = IdentityKey::load_or_generate(dir)?;
    let mut federation = [0; 32];
    getrandom::fill(&mut federation).context("no randomness for the federation's id")?;
    let pin = AuthorityPin {
        key: key.signing().public(),
        federation: Federation(federation),
    };
    write_atomic(&path, format!("{pin}\n").as_bytes(), Access::Shared)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{pin}");
    eprintln!(
        "made {}: keep it away from the coordinator. Give the pin to coordinator and nodes:\n  \
         secagg-coordinator init DIR --model MODEL --authority PIN\n  \
         secagg-node join URL TOKEN --dir NODE_DIR --authority PIN",
        dir.display()
    );
    Ok(())
}

/// Signs a credential for each request and writes it beside it.
pub(super) fn vouch(
    dir: &Path,
    requests: &[PathBuf],
    valid_days: u32,
    json: bool,
) -> anyhow::Result<()> {
    let mut authority = Authority::open(dir)?;
    let now = u64::try_from(unix_now()).context("the clock is before 1970")?;
    let expires = now + u64::from(valid_days) * 24 * 3600;
    let mut done = Vec::new();
    for path in requests {
        let (to, client, name) = authority
            .grant(path, now, expires)
            .with_context(|| format!("{}", path.display()))?;
        if !json {
            println!("{name} ({client}): {}", to.display());
        }
        done.push(json!({ "client_id": client.to_string(), "name": name, "credential": to }));
    }
    if json {
        println!("{}", json!({ "credentials": done, "expires": expires }));
    } else {
        eprintln!("hand each back to its node: secagg-node credential FILE --dir NODE_DIR");
    }
    Ok(())
}

struct Authority {
    dir: PathBuf,
    key: SigningIdentity,
    pin: AuthorityPin,
    issued: Vec<Issued>,
}

impl Authority {
    fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(PIN);
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "{}: this is no authority's folder; `secagg-coordinator authority DIR` makes one",
                path.display()
            )
        })?;
        let pin: AuthorityPin = text.parse().with_context(|| path.display().to_string())?;
        let key = IdentityKey::load(dir)?.signing();
        if key.public() != pin.key {
            bail!("{}: the key beside it is another one", path.display());
        }
        let path = dir.join(ISSUED);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let issued = text.lines().enumerate().map(|(number, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}, line {}", path.display(), number + 1))
        });
        Ok(Self {
            dir: dir.to_owned(),
            key,
            pin,
            issued: issued.collect::<anyhow::Result<_>>()?,
        })
    }

    fn grant(
        &mut self,
        path: &Path,
        now: u64,
        expires: u64,
    ) -> anyhow::Result<(PathBuf, ClientId, String)> {
        let len = fs::metadata(path)?.len();
        if len > MAX_REQUEST {
            bail!("{len} bytes; a request has at most {MAX_REQUEST}");
        }
        let request: CredentialRequest = serde_json::from_str(&fs::read_to_string(path)?)?;
        let checked = request.check(self.pin)?;
        let client = checked.key.client_id();
        let id = client.to_string();
        // The same key again is a renewal. Another key under the same name may be a second seat for
        // one person: the authority's operator decides, by the name.
        let same_name = |issued: &&Issued| {
            issued.name == checked.name.as_str() && issued.client_id != id && issued.expires > now
        };
        if let Some(other) = self.issued.iter().find(same_name) {
            bail!(
                "{:?} has a valid credential with another key ({}): two credentials of one node \
                 count as two nodes; choose another name, or wait until that one has expired",
                other.name,
                other.client_id
            );
        }
        let credential = self.key.issue(checked.key, self.pin.federation, expires);
        // Noted before it exists: no credential is out that this folder does not know.
        let issued = Issued {
            client_id: id,
            name: checked.name.as_str().to_owned(),
            tls_fingerprint: checked.fingerprint.to_string(),
            issued: now,
            expires,
        };
        self.note(&issued)?;
        self.issued.push(issued);
        let to = path.with_extension("credential.json");
        let text = serde_json::to_string_pretty(&CredentialFile::new(&credential))? + "\n";
        write_atomic(&to, text.as_bytes(), Access::Shared)
            .with_context(|| format!("cannot write {}", to.display()))?;
        Ok((to, client, checked.name.as_str().to_owned()))
    }

    fn note(&self, issued: &Issued) -> anyhow::Result<()> {
        let path = self.dir.join(ISSUED);
        let line = serde_json::to_string(issued)? + "\n";
        let append = || {
            let mut file: File = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        append().with_context(|| format!("cannot write {}", path.display()))
    }
}
