//! A coordinator in this process and clients that speak the protocol only, over loopback.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "each test file uses its own part of these helpers"
)]

mod member;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secagg_coordinator::{
    Coordinator, Events, Finished, Options, RunError,
    commands::{enrol, init},
};
use secagg_wire::{
    endpoint::{Timeouts, connect},
    enrol::EnrolError,
    identity::{IdentityKey, TlsIdentity},
    text::Name,
    tls::Alpn,
    token::Token,
};
use serde_json::Value;
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::JoinHandle,
    time::timeout,
};

pub use self::member::{Client, Member};

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The initial weights, flat: tensor `a` of 4, then `b` of 2 × 3.
pub const INITIAL: [f32; 10] = [0.5, -0.5, 1.0, 0.0, 1.0, 2.0, 3.0, -1.0, -2.0, -3.0];

/// A configuration without patience: nodes here answer at once or never.
pub const CONFIG: &str = r#"
[network]
listen = "127.0.0.1:0"
idle_seconds = 20.0
[rounds]
rounds = 1
gather_seconds = 30.0
wait_seconds = 30.0
max_attempts = 2
"#;

/// A coordinator's folder.
pub struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    /// A folder with that configuration.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join("model.toml"), "kind = \"test\"\n").unwrap();
        std::fs::write(
            model.join("vocabulary.txt"),
            "<pad>\n<unk>\n<begin>\n<end>\n",
        )
        .unwrap();
        std::fs::write(model.join("initial.safetensors"), weights_file()).unwrap();
        let made = Self { folder };
        let listen = "127.0.0.1:4433".parse().unwrap();
        init(&made.path(), &model, listen, None).unwrap();
        made.configure(config);
        made
    }

    pub fn configure(&self, config: &str) {
        // These clients speak the protocol of the weaker threat model.
        let weaker = "[cohort]\nthreat_model = \"honest-but-curious\"\n";
        let config = match config.contains("[cohort]") {
            true => config.replace("[cohort]\n", weaker),
            false => format!("{config}{weaker}min_clients = 3\n"),
        };
        std::fs::write(self.path().join("coordinator.toml"), config).unwrap();
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("coordinator")
    }

    /// The flat weights after a round.
    pub fn weights(&self, round: u32) -> Vec<f32> {
        let name = format!("weights/round-{round:04}.safetensors");
        flat(&std::fs::read(self.path().join(name)).unwrap())
    }

    /// One new token.
    pub fn token(&self) -> Token {
        enrol(&self.path(), 1, None, 1).unwrap().remove(0).token
    }

    /// Starts the coordinator.
    pub fn run(&self) -> Running {
        let (events, receiver) = Events::none().and_observer();
        let (stop, shutdown) = watch::channel(false);
        let options = Options {
            events,
            ..Options::default()
        };
        let coordinator = Coordinator::open(&self.path(), options, shutdown).unwrap();
        Running {
            address: coordinator.address(),
            events: receiver,
            stop,
            task: tokio::spawn(coordinator.run()),
            seen: Vec::new(),
        }
    }

    /// Starts the coordinator and enrols so many clients.
    pub async fn run_with(&self, clients: u8) -> (Running, Vec<Client>) {
        let running = self.run();
        let mut enrolled = Vec::new();
        for number in 1..=clients {
            enrolled.push(running.enrol(&self.token(), number).await.unwrap());
        }
        (running, enrolled)
    }
}

/// A coordinator that runs.
pub struct Running {
    pub address: SocketAddr,
    pub stop: watch::Sender<bool>,
    events: UnboundedReceiver<Value>,
    task: JoinHandle<Result<Finished, RunError>>,
    seen: Vec<Value>,
}

impl Running {
    /// The next event of that name; what comes before is kept.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let event = timeout(PATIENCE, self.events.recv())
                .await
                .unwrap_or_else(|_| panic!("no event {name}: {:#?}", self.seen))
                .unwrap_or_else(|| panic!("no event {name}: {:#?}", self.seen));
            self.seen.push(event.clone());
            if event["event"] == name {
                return event;
            }
        }
    }

    /// All events seen so far with that name.
    pub fn seen(&self, name: &str) -> Vec<&Value> {
        let of_name = self.seen.iter().filter(|event| event["event"] == name);
        of_name.collect()
    }

    /// How it ended.
    pub async fn ended(&mut self) -> Result<Finished, RunError> {
        let ended = timeout(PATIENCE, &mut self.task).await;
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        ended.expect("it should end").unwrap()
    }

    /// Kills it, as far as a task in the same process can be killed.
    pub async fn kill(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }

    /// Enrols a client with a token.
    pub async fn enrol(&self, token: &Token, number: u8) -> Result<Client, EnrolError> {
        let client = Client {
            number,
            tls: TlsIdentity::generate().unwrap().into(),
            key: IdentityKey::generate().unwrap().into(),
            pinned: token.coordinator(),
        };
        self.enrol_again(token, &client).await.map(|()| client)
    }

    /// Enrols a client that exists.
    pub async fn enrol_again(&self, token: &Token, client: &Client) -> Result<(), EnrolError> {
        let link = connect(
            self.address,
            &client.tls,
            token.coordinator(),
            Alpn::Enrol,
            &Timeouts::default(),
        )
        .await
        .unwrap();
        let name = Name::fitted(&format!("node {}", client.number));
        let enrolled = secagg_wire::enrol::enrol(
            &link.connection,
            token,
            &client.key,
            &client.tls.fingerprint(),
            name,
            PATIENCE,
        )
        .await?;
        assert_eq!(enrolled.client_id, client.id());
        Ok(())
    }
}

/// The flat vector of a weights file.
pub fn flat(bytes: &[u8]) -> Vec<f32> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    assert_eq!(file.tensor("a").unwrap().shape(), [4]);
    assert_eq!(file.tensor("b").unwrap().shape(), [2, 3]);
    let data = ["a", "b"].map(|name| file.tensor(name).unwrap().data());
    let (elements, rest) = (data.concat(), 4);
    elements
        .chunks(rest)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

fn weights_file() -> Vec<u8> {
    let bytes: Vec<u8> = INITIAL.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = |shape, data| TensorView::new(Dtype::F32, shape, data).unwrap();
    let tensors = [
        ("b", view(vec![2, 3], &bytes[16..])),
        ("a", view(vec![4], &bytes[..16])),
    ];
    safetensors::serialize(tensors, None).unwrap()
}
