//! Rounds in which every second client is the reference implementation in Python
//! (`specs/reference`), written from the specification alone, and the others and the server are
//! this crate. Only bytes pass between them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

use secagg::{
    GraphKind, Session, ThreatModel,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors},
    server::AfterMasked,
};
use serde_json::json;

use self::common::{
    FEDERATION, LENIENT, NOW, Receive, authority, credential, element, elements, id, identity,
    open, plain_sum, reveal, reveal_signed, session_of, share, sign, start, upload,
};

const CLIENTS: usize = 12;
/// Lost before they upload: one of each implementation.
const LOST: [usize; 2] = [2, 3];
/// Falls silent after its upload.
const SILENT: usize = 5;

/// Why these tests cannot run here, if they cannot.
fn missing() -> Option<&'static str> {
    let status = Command::new("python3")
        .args(["-c", "import cryptography"])
        .stderr(Stdio::null())
        .status();
    match status {
        Err(_) => Some("python3 is not installed"),
        Ok(status) if !status.success() => Some("Python's package `cryptography` is not installed"),
        Ok(_) => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A client of either kind, by what it waits for.
#[expect(clippy::large_enum_variant, reason = "one value a client, in a test")]
enum Client {
    Roster(AwaitRoster),
    Delivery(AwaitDelivery),
    Survivors(AwaitSurvivors),
    Signatures(AwaitSignatures),
    Done,
    Python(Python),
}

impl Client {
    /// A client of this crate, or with an even number one in Python, and its advert.
    fn start(session: &Session, client: usize) -> (Self, Vec<u8>) {
        if client.is_multiple_of(2) {
            return Self::start_python(session, client);
        }
        let (state, advert) = start(session, client, LENIENT);
        (Self::Roster(state), advert)
    }

    fn start_python(session: &Session, client: usize) -> (Self, Vec<u8>) {
        let context = session.context();
        let segments = session.layout().segments().iter();
        let input = segments.map(|segment| {
            let elements = 0..segment.len() as usize;
            let elements = elements.map(|i| element(session, client, segment, i));
            elements.collect::<Vec<u64>>()
        });
        let about = json!({
            "bytes": {
                "parameters": hex(&session.parameters().encode()),
                "nonce": hex(&context.nonce),
                "model_digest": hex(&context.model_digest),
                "plan_digest": hex(&context.plan_digest),
                "authority": hex(authority().public().as_bytes()),
                "federation": hex(&FEDERATION.0),
                // The seed of `identity`.
                "identity": hex(&[u8::try_from(client).unwrap(); 32]),
                "credential": hex(&credential(client).encode()),
                "coins": hex(identity(client).public().as_bytes()),
            },
            "round": context.round,
            "sigma": LENIENT.security_bits,
            "corrupt": LENIENT.max_corrupt,
            "now": NOW,
            "input": input.collect::<Vec<_>>(),
        });
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../specs/reference/client_process.py"
        );
        let child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Python(child.unwrap());
        let advert = process.exchange(about.to_string().as_bytes());
        (Self::Python(process), advert)
    }

    /// What it answers to a message of the server.
    fn receive(&mut self, session: &Session, client: usize, message: &[u8]) -> Vec<u8> {
        if let Self::Python(process) = self {
            return process.exchange(message);
        }
        let (state, answer) = match std::mem::replace(self, Self::Done) {
            Self::Roster(state) => {
                let (state, shares) = share(session, client, state, message).unwrap();
                (Self::Delivery(state), shares)
            }
            Self::Delivery(state) => {
                let (state, masked) = upload(session, client, state, message).unwrap();
                (Self::Survivors(state), masked)
            }
            Self::Survivors(state) => match session.parameters().threat_model() {
                ThreatModel::HonestButCurious => {
                    (Self::Done, reveal(session, state, message).unwrap())
                }
                _ => {
                    let (state, check) = sign(session, state, message).unwrap();
                    (Self::Signatures(state), check)
                }
            },
            Self::Signatures(state) => {
                (Self::Done, reveal_signed(session, state, message).unwrap())
            }
            Self::Done | Self::Python(_) => panic!("nothing is due"),
        };
        *self = state;
        answer
    }
}

/// The process of a client in Python.
struct Python(Child);

impl Python {
    /// Sends a frame and takes one back.
    fn exchange(&mut self, message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap().to_le_bytes();
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(&len).unwrap();
        stdin.write_all(message).unwrap();
        stdin.flush().unwrap();
        let stdout = self.0.stdout.as_mut().unwrap();
        let mut len = [0; 4];
        let answered = stdout.read_exact(&mut len);
        answered.expect("the client in Python has left; why stands above");
        let mut answer = vec![0; u32::from_le_bytes(len) as usize];
        stdout.read_exact(&mut answer).unwrap();
        answer
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may be waiting for a message that never comes.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One round in which clients of both kinds are lost.
fn round(model: ThreatModel, graph: GraphKind, degree: u32, threshold: u32) {
    if let Some(why) = missing() {
        eprintln!("skipped: {why}");
        return;
    }
    let session = &session_of(model, graph, 12, 9);
    let mut server = open(session);
    let mut clients = BTreeMap::new();
    for client in 0..CLIENTS {
        let (state, advert) = Client::start(session, client);
        server.take(session, client, &advert).unwrap();
        clients.insert(client, state);
    }

    let mut server = server.close(degree, threshold).unwrap();
    for (client, state) in &mut clients {
        let roster = server.roster_for(id(*client)).unwrap().encode(session);
        let answer = state.receive(session, *client, &roster);
        server.take(session, *client, &answer).unwrap();
    }

    let mut server = server.close().unwrap();
    clients.retain(|client, _| !LOST.contains(client));
    for (client, state) in &mut clients {
        let delivery = server.delivery_for(id(*client)).unwrap().encode(session);
        let answer = state.receive(session, *client, &delivery);
        server.take(session, *client, &answer).unwrap();
    }

    let contributors: Vec<usize> = clients.keys().copied().collect();
    let mut server = match server.close().unwrap() {
        AfterMasked::Unmask(server) => server,
        AfterMasked::Check(mut server) => {
            let survivors = server.survivors().encode(session);
            for (client, state) in &mut clients {
                let answer = state.receive(session, *client, &survivors);
                server.take(session, *client, &answer).unwrap();
            }
            server.close().unwrap()
        }
    };
    clients.remove(&SILENT);
    for (client, state) in &mut clients {
        let message = match model {
            ThreatModel::HonestButCurious => server.survivors().encode(session),
            _ => server.signatures_for(id(*client)).unwrap().encode(session),
        };
        let answer = state.receive(session, *client, &message);
        server.take(session, *client, &answer).unwrap();
    }

    let outcome = server.close().unwrap();
    assert_eq!(elements(&outcome.sum), plain_sum(session, &contributors));
    let of = |clients: &[usize]| clients.iter().map(|client| id(*client)).collect();
    let survivors: BTreeSet<_> = outcome.contributors.into_iter().collect();
    assert_eq!(survivors, of(&contributors));
    let lost: BTreeSet<_> = outcome.lost.into_iter().map(|(id, _)| id).collect();
    assert_eq!(lost, of(&[LOST[0], LOST[1], SILENT]));
    assert_eq!(outcome.wrong_shares, []);
}

#[test]
fn a_complete_graph_whose_server_is_trusted() {
    round(ThreatModel::HonestButCurious, GraphKind::Complete, 11, 3);
}

#[test]
fn a_complete_graph_whose_server_is_not_trusted() {
    round(ThreatModel::Malicious, GraphKind::Complete, 11, 7);
}

#[test]
fn a_sparse_graph_whose_server_is_trusted() {
    round(ThreatModel::HonestButCurious, GraphKind::Sparse, 8, 3);
}

#[test]
fn a_sparse_graph_whose_server_is_not_trusted() {
    round(ThreatModel::Malicious, GraphKind::Sparse, 10, 6);
}
