//! A node that holds the weights itself, and a coordinator whose log of steps is true or not.

use bytes::Bytes;
use secagg_learning::{
    Evolution, Plan, RoundKind, ServerOptimizer, ServerOptimizerConfig, Shapes, Step,
};
use secagg_wire::digest::{Digest, FileDigest, checkpoint_digest};
use secagg_wire::message::{CoordinatorMessage, Following, RoundResult};
use secagg_wire::phase::Phase;
use secagg_wire::steps::{LoggedStep, blocks};
use secagg_wire::text::Reason;

use crate::support::{Client, Coordinator, events, one};

const ADAM: ServerOptimizerConfig = ServerOptimizerConfig::FedAdam {
    rate: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    tau: 0.001,
};

const PAIRS: u32 = 4;

/// What the coordinator has, round by round.
struct Server {
    plan: Plan,
    shapes: Shapes,
    optimizer: ServerOptimizer,
    file: Bytes,
    log: Vec<LoggedStep>,
}

impl Server {
    fn new(coordinator: &Coordinator) -> Self {
        let plan = coordinator.plan(RoundKind::Train);
        let evolution = Evolution {
            pairs: PAIRS,
            sigma: 0.1,
        };
        let plan = Plan::new(RoundKind::Train, *plan.update(), *plan.training(), ADAM)
            .and_then(|plan| plan.with_evolution(Some(evolution)))
            .unwrap();
        let shapes = Shapes::read(&coordinator.initial).unwrap();
        Self {
            optimizer: ServerOptimizer::new(&ADAM, shapes.parameters() as usize).unwrap(),
            plan,
            shapes,
            file: coordinator.initial.clone(),
            log: Vec::new(),
        }
    }

    fn state(&self) -> Bytes {
        self.optimizer.to_file().unwrap().into()
    }

    fn step(&mut self) {
        let [weights, state] = [&self.file, &self.state()].map(|bytes| Digest::of(bytes));
        let from = checkpoint_digest(&weights, Some(&state));
        let number = u8::try_from(self.log.len()).unwrap();
        let step = Step {
            factor: 0.5,
            seed: [number; 32],
            falls: vec![0.2, -0.1, 0.3, f32::from(number)],
        };
        let mut flat = self.shapes.flat(&self.file).unwrap();
        step.make(&self.plan, &mut self.optimizer, &mut flat)
            .unwrap();
        self.file = self.shapes.file(&flat, &self.file).unwrap().into();
        self.log.push(LoggedStep { from, step });
    }

    /// Announces the weights with this log, and ends the round when the node has made its keys. Returns
    /// the files that it asked for: which of the log's, then whether weights and state.
    async fn round(
        &self,
        round: u64,
        coordinator: &Coordinator,
        client: &mut Client,
        log: &[LoggedStep],
    ) -> (usize, bool, bool) {
        let logged: Vec<FileDigest> = blocks(log)
            .into_iter()
            .map(|file| coordinator.add_file(file.into()))
            .collect();
        let (own, state) = (
            coordinator.add_file(self.file.clone()),
            coordinator.add_file(self.state()),
        );
        let (mut announce, _) = coordinator.announce(round, &self.plan);
        if let CoordinatorMessage::Announce {
            weights, following, ..
        } = &mut announce
        {
            *weights = own;
            *following = Some(Following {
                optimizer: Some(state),
                newest: logged.first().copied(),
            });
        }
        client.asked.clear();
        client.send(&announce).await;
        client.accepts().await;
        client.secagg(Phase::AdvertiseKeys).await;
        let reason = Reason::fitted("only the weights matter here");
        client.end(round, RoundResult::Abandoned { reason }).await;
        let asked = |file: &FileDigest| client.asked.contains(&file.sha256);
        let blocks = logged.iter().filter(|file| asked(file)).count();
        let (weights, state) = (asked(&own), asked(&state));
        // Who has just joined asks for the model's description and vocabulary, too.
        let joining = if round == 1 { 2 } else { 0 };
        assert_eq!(
            client.asked.len(),
            joining + blocks + usize::from(weights) + usize::from(state)
        );
        (blocks, weights, state)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_makes_the_weights_or_fetches_them_where_the_log_is_not_true() {
    let folder = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::new();
    let directory = folder.path().join("node");
    let (running, mut client) = one(&mut coordinator, &directory).await;
    let mut server = Server::new(&coordinator);
    let (client, coordinator) = (&mut client, &coordinator);
    // Blocks of the log, weights, state.
    let (joined, nothing, steps) = ((0, true, false), (0, false, false), (1, false, false));
    let fetched = |blocks| (blocks, true, true);

    // The first weights come with the model; the optimiser before its first step is known.
    assert_eq!(server.round(1, coordinator, client, &[]).await, joined);
    server.step();
    let log = server.log.clone();
    assert_eq!(server.round(2, coordinator, client, &log).await, steps);
    // The same weights again, after a round that came to nothing.
    assert_eq!(server.round(3, coordinator, client, &log).await, nothing);

    // Three steps were missed: they are in the second block.
    for _ in 0..3 {
        server.step();
    }
    let log = server.log.clone();
    let found = server.round(4, coordinator, client, &log).await;
    assert_eq!(found, (2, false, false));

    // A number that is not the mean: the node ends up elsewhere, and notices.
    server.step();
    let mut forged = server.log.clone();
    forged.last_mut().unwrap().step.falls[0] += 0.1;
    let found = server.round(5, coordinator, client, &forged).await;
    assert_eq!(found, fetched(1));
    // Of a plan with other directions.
    server.step();
    let mut shorter = server.log.clone();
    shorter.last_mut().unwrap().step.falls.pop();
    let found = server.round(6, coordinator, client, &shorter[5..]).await;
    assert_eq!(found, fetched(1));
    // The log begins after what the node holds.
    server.step();
    server.step();
    let log = server.log.clone();
    let found = server.round(7, coordinator, client, &log[7..]).await;
    assert_eq!(found, fetched(1));
    // From a checkpoint it goes on as before.
    server.step();
    let log = server.log.clone();
    assert_eq!(server.round(8, coordinator, client, &log).await, steps);

    client.finish().await;
    let path = running.events.clone();
    running.ended().await.unwrap();
    let ways: Vec<_> = events(&path, "weights")
        .iter()
        .map(|event| {
            let way = event["way"].as_str().unwrap().to_owned();
            (way, event["steps"].as_u64().unwrap())
        })
        .collect();
    let expected = [
        ("kept", 0),
        ("steps", 1),
        ("kept", 0),
        ("steps", 3),
        ("fetched", 0),
        ("fetched", 0),
        ("fetched", 0),
        ("steps", 1),
    ];
    assert_eq!(ways, expected.map(|(way, steps)| (way.to_owned(), steps)));
    let reasons: Vec<_> = events(&path, "steps_refused")
        .iter()
        .map(|event| event["reason"].as_str().unwrap().to_owned())
        .collect();
    let [target, length, start] = reasons.as_slice() else {
        panic!("{reasons:?}");
    };
    assert!(
        target.contains("lead to weights with the digest"),
        "{target}"
    );
    assert!(length.contains("a step under this plan has 88"), "{length}");
    assert!(start.contains("none of the 1 steps"), "{start}");
}
