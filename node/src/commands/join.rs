//! `join`: makes a directory a node's, with a token from the coordinator's operator.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use secagg_wire::authority::AuthorityPin;
use secagg_wire::endpoint::{Address, Timeouts};
use secagg_wire::process::disable_core_dumps;
use secagg_wire::text::Name;
use secagg_wire::token::Token;
use zeroize::Zeroizing;

use crate::participate::enrolment::{JoinRequest, REQUEST_FILE, join};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the coordinator is: `quic://HOST:PORT`.
    #[arg(value_name = "URL")]
    coordinator: Address,
    /// The one-time token that `secagg-coordinator enrol` printed.
    #[arg(value_name = "TOKEN")]
    token: Zeroizing<String>,
    /// The node's directory; made where there is none.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// What the node calls itself, for the coordinator's operator; without it, the directory's name.
    #[arg(long)]
    name: Option<String>,
    /// The pin of the authority that vouches for nodes, from its operator: this node believes nobody
    /// else's credentials, and writes a request for one of its own. Without it the node takes part
    /// only where its policy trusts the coordinator to follow the protocol.
    #[arg(long, value_name = "PIN")]
    authority: Option<AuthorityPin>,
    /// Join anew with a directory that has joined before; it keeps its keys, policy and text.
    #[arg(long)]
    again: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let name = match &arguments.name {
        Some(name) => Name::new(name).context("--name")?,
        None => Name::fitted(
            &arguments
                .dir
                .file_name()
                .map_or_else(|| "node".into(), |name| name.to_string_lossy()),
        ),
    };
    // Parsed here, because the command line's own errors would repeat what was typed.
    let token: Token = arguments
        .token
        .parse()
        .context("the token cannot be used")?;
    let request = JoinRequest {
        directory: &arguments.dir,
        coordinator: arguments.coordinator.clone(),
        token: &token,
        name,
        authority: arguments.authority,
        again: arguments.again,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The error says all: its sources stand in it already.
    let settings = runtime
        .block_on(join(&request, &Timeouts::default()))
        .map_err(anyhow::Error::msg)?;
    let dir = arguments.dir.display();
    // The node has joined, whether or not anybody reads it.
    let _ = writeln!(
        std::io::stdout(),
        "joined {} as {} (id {})\n\
         what this node insists on stands in {dir}/policy.toml",
        settings.federation,
        settings.name,
        settings.client_id,
    );
    if settings.authority.is_some() {
        let _ = writeln!(
            std::io::stdout(),
            "next: have {dir}/{REQUEST_FILE} signed by the authority (`secagg-coordinator enrol \
             --authority AUTHORITY_DIR {REQUEST_FILE}`), then `secagg-node credential --dir {dir} \
             FILE`"
        );
    }
    let _ = writeln!(
        std::io::stdout(),
        "next: `secagg-node add --dir {dir} FILE…`, then `secagg-node run --dir {dir}`"
    );
    Ok(())
}
