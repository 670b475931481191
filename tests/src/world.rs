//! A coordinator and real nodes that train a tiny model.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use secagg_wire::token::Token;
use tempfile::TempDir;

use crate::{
    Coordinator, Deadline, Event,
    authority::Authority,
    federation::QUICK,
    node::{self, Node},
};

/// A coordinator that runs and real nodes that do not yet, in a temporary folder.
#[derive(Debug)]
pub struct World {
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Who vouches for them.
    pub authority: Authority,
    /// The lines of each of the first nodes; later ones have everyday sentences.
    data: Vec<Vec<String>>,
    deadline: Deadline,
    folder: TempDir,
}

/// Each of the many processes of a test loads libtorch: on a busy machine that adds up.
const PATIENCE: Duration = Duration::from_secs(300);

/// The sizes of a tiny network with one recurrent cell, as options of `init-model`.
const CELL: [&str; 4] = ["--embedding", "12", "--units", "16"];

/// Nodes do not trust the coordinator, and joining, answering and training take as long as they
/// take.
const REAL: [(&str, &str); 5] = [
    ("cohort.threat_model", "\"malicious\""),
    ("rounds.wait_seconds", "300.0"),
    ("deadlines.answer_seconds", "60.0"),
    ("deadlines.train.min_seconds", "60.0"),
    ("deadlines.train.max_seconds", "60.0"),
];

/// No phase closes as long as somebody is in it who has neither answered nor left.
pub const PATIENT: [(&str, &str); 8] = [
    ("deadlines.share_keys.min_seconds", "60.0"),
    ("deadlines.share_keys.max_seconds", "60.0"),
    ("deadlines.masked_input.min_seconds", "60.0"),
    ("deadlines.masked_input.max_seconds", "60.0"),
    ("deadlines.consistency_check.min_seconds", "60.0"),
    ("deadlines.consistency_check.max_seconds", "60.0"),
    ("deadlines.unmask.min_seconds", "60.0"),
    ("deadlines.unmask.max_seconds", "60.0"),
];

impl World {
    /// The settings are those of [`QUICK`] for exactly this many nodes that do not trust the
    /// coordinator, and then `settings`. `options` are the coordinator's.
    ///
    /// # Errors
    /// When anything of it fails.
    pub fn new(nodes: usize, settings: &[(&str, &str)], options: &[&str]) -> Result<Self> {
        Self::with_model(&CELL, nodes, settings, options)
    }

    /// The same with another model: `model` are options of `init-model`.
    ///
    /// # Errors
    /// When anything of it fails.
    pub fn with_model(
        model: &[&str],
        nodes: usize,
        settings: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self> {
        let data = (0..nodes).map(everyday).collect();
        Self::with_data(&everyday(0), model, data, settings, options)
    }

    /// The same with other data: the lines that each node adds. A model's vocabulary comes from
    /// `public`, where there is any.
    ///
    /// # Errors
    /// When anything of it fails.
    pub fn with_data(
        public: &[String],
        model: &[&str],
        data: Vec<Vec<String>>,
        settings: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root: &Path = folder.path();
        let deadline = Deadline::after(PATIENCE);
        let files = node::init_model(root, public, model)?;
        let nodes = data.len();
        let count = nodes.to_string();
        let mut all = QUICK.to_vec();
        all.extend(REAL);
        all.extend([
            ("cohort.min_clients", count.as_str()),
            ("cohort.max_clients", count.as_str()),
        ]);
        all.extend(settings);
        let authority = Authority::new(&root.join("authority"))?;
        let mut coordinator = Coordinator::init(root, &files, authority.pin(), &all, deadline)?;
        coordinator.start_with(options)?;
        let mut world = Self {
            coordinator,
            nodes: Vec::new(),
            authority,
            data,
            deadline,
            folder,
        };
        world.nodes = world.joined(nodes, &world.authority)?;
        Ok(world)
    }

    /// One more node joins, for which this authority vouches.
    ///
    /// # Errors
    /// When a command fails.
    pub fn join(&mut self, authority: &Authority) -> Result<()> {
        let node = self.joined(1, authority)?;
        self.nodes.extend(node);
        Ok(())
    }

    /// Nodes that join at the same time: each command loads libtorch, which takes a while.
    fn joined(&self, nodes: usize, authority: &Authority) -> Result<Vec<Node>> {
        let address = self.coordinator.address()?;
        let tokens = self.coordinator.tokens(nodes)?;
        let join = |(index, token): (usize, &Token)| {
            Node::join(
                self.folder.path(),
                &format!("node-{index}"),
                address,
                token,
                authority,
                &self
                    .data
                    .get(index)
                    .cloned()
                    .unwrap_or_else(|| everyday(index)),
                self.deadline,
            )
        };
        thread::scope(|scope| {
            let joining = (self.nodes.len()..).zip(&tokens);
            let joining: Vec<_> = joining
                .map(|node| scope.spawn(move || join(node)))
                .collect();
            let joined = joining.into_iter();
            let joined =
                joined.map(|node| node.join().unwrap_or_else(|_| bail!("a join panicked")));
            joined.collect()
        })
    }

    /// Starts all nodes.
    ///
    /// # Errors
    /// When one runs already.
    pub fn start_all(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(|node| node.start(&[]))
    }

    /// The folder with everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for a round, and shows what the nodes say when it does not come.
    ///
    /// # Errors
    /// When it does not come.
    pub fn round_complete(&mut self, round: u64) -> Result<Event> {
        let complete = self.coordinator.round_complete(round);
        complete.with_context(|| {
            for node in &mut self.nodes {
                // Read once more, so that the text has the end.
                let _ = node.events().all();
            }
            let texts: Vec<String> = self.nodes.iter().map(Node::text).collect();
            texts.concat()
        })
    }
}

/// Everyday sentences, a few of them different for each node.
#[must_use]
pub fn everyday(node: usize) -> Vec<String> {
    let friends = ["anna", "ben", "carla", "david", "emma"];
    let friend = friends[node % friends.len()];
    let mut messages = Vec::new();
    for day in ["monday", "tuesday", "friday", "sunday"] {
        messages.push(format!("see you on {day} at the station"));
        messages.push(format!("i will be there on {day} with {friend}"));
        messages.push(format!("call me when you are home on {day}"));
        messages.push("thank you so much for the lovely evening".to_owned());
        messages.push(format!("{friend} says hello to all of you"));
    }
    messages
}
