//! A coordinator that lies, to real nodes: they refuse, and their operators can read why.
//!
//! The liar is the coordinator's own program with a hook (`--lie-to-nodes`) that changes what it
//! says to each node. It has one attempt at a round; where it ends with nothing, an honest one takes
//! its place and the same nodes, still running, complete the round.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{World, world::PATIENT};

/// Five nodes: everybody has four neighbours, and three shares or signatures are needed.
const NODES: usize = 5;

const SETTINGS: [(&str, &str); 2] = [("rounds.rounds", "1"), ("rounds.max_attempts", "1")];

/// A liar and its nodes, the victim known.
struct Lied {
    world: World,
    /// Its id.
    victim: String,
    /// The ids of the others, ascending.
    others: Vec<String>,
}

impl Lied {
    fn new(lie: &str, settings: &[(&str, &str)]) -> Result<Self> {
        Self::with_uploads(lie, settings, 1)
    }

    /// Nodes that upload more than once for a model, so that there is something to see after a lie
    /// that has cost them an upload.
    fn with_uploads(lie: &str, settings: &[(&str, &str)], uploads: u32) -> Result<Self> {
        let settings = [&PATIENT[..], &SETTINGS, settings].concat();
        let mut world = World::new(NODES, &settings, &["--lie-to-nodes", lie])?;
        for node in &world.nodes {
            let uploads = format!("uploads_per_model = {uploads}");
            node.set_policy("uploads_per_model = 1", &uploads)?;
        }
        world.start_all()?;
        let lie = world.coordinator.wait("lie", |lie| lie["round"] == 1)?;
        let victim = lie["victim"].as_str().context("no victim")?.to_owned();
        let ids: BTreeSet<String> = world
            .nodes
            .iter()
            .map(|node| node.id().to_owned())
            .collect();
        let others: Vec<String> = ids.into_iter().filter(|id| *id != victim).collect();
        ensure!(others.len() == NODES - 1, "{victim} is none of {others:?}");
        Ok(Self {
            world,
            victim,
            others,
        })
    }

    /// A node leaves an attempt at round 1, and its operator reads exactly this.
    fn refuses(&mut self, id: &str, attempt: u32, reason: &str) -> Result<()> {
        self.logs(id, attempt, "declined", "this node leaves it", reason)
    }

    fn logs(&mut self, id: &str, attempt: u32, event: &str, what: &str, why: &str) -> Result<()> {
        let node = self.world.nodes.iter_mut().find(|node| node.id() == id);
        let node = node.context("no such node")?;
        let found = node.wait(event, |found| {
            found["round"] == 1 && found["attempt"] == attempt
        })?;
        assert_eq!(found["reason"], why);
        let line = format!(" WARN round 1, attempt {attempt}: {what}: {why}");
        let log = node.log();
        ensure!(
            log.lines().any(|found| found.ends_with(&line)),
            "{line}\n{log}"
        );
        Ok(())
    }

    /// The coordinator gives up: neither a round nor new weights came of it.
    fn came_to_nothing(&mut self, attempt: u32, phase: &str, reason: &str) -> Result<()> {
        let coordinator = &mut self.world.coordinator;
        let abandoned = coordinator.wait("round_abandoned", |event| event["attempt"] == attempt)?;
        assert_eq!(abandoned["phase"], phase, "{abandoned}");
        assert_eq!(abandoned["reason"], reason, "{abandoned}");
        let status = coordinator.wait_end()?;
        assert_eq!(status.code(), Some(1), "{status}");
        let status = coordinator.status()?;
        assert_eq!(status["rounds"], serde_json::json!([]), "{status}");
        ensure!(!coordinator.has_weights(1), "there are new weights");
        for node in &mut self.world.nodes {
            node.still_running()?;
        }
        Ok(())
    }

    /// An honest coordinator takes over, and the round is complete with all nodes.
    fn honest_again(&mut self) -> Result<()> {
        self.world.coordinator.start(&[])?;
        let complete = self.world.round_complete(1)?;
        assert_eq!(complete["contributors"], NODES, "{complete}");
        assert_eq!(complete["attempt"], 2, "{complete}");
        for node in &mut self.world.nodes {
            node.wait_end()?;
        }
        Ok(())
    }
}

fn forged(client: &str) -> String {
    format!(
        "the protocol's checks: the advert of neighbour {client} is not believed: the advert is not \
         signed by its client's identity key for this session: the server changed it, or showed that \
         client another model, plan or parameters"
    )
}

/// The victim gets a model of its own, to train what no other node trains: its update would stand
/// out in the sum. The coordinator serves both models, and passes each side's messages off as ones
/// of the other's session. But what the victim has signed is for a session with its own model, and
/// what the others have signed for theirs: each side names the other.
#[test]
fn two_nodes_with_different_models() -> Result<()> {
    let mut lied = Lied::new("different-models", &[])?;
    for other in lied.others.clone() {
        lied.refuses(&other, 1, &forged(&lied.victim.clone()))?;
    }
    let first = lied.others[0].clone();
    lied.refuses(&lied.victim.clone(), 1, &forged(&first))?;
    lied.came_to_nothing(1, "share-keys", &too_few(0, "share-keys"))?;
    lied.honest_again()
}

/// Everybody else gets keys of the coordinator in the victim's name: it would read the shares that
/// they seal for the victim, and know the masks between the victim and them. It cannot sign the
/// keys as the victim does.
#[test]
fn a_nodes_swapped_key() -> Result<()> {
    let mut lied = Lied::new("swapped-key", &[])?;
    for other in lied.others.clone() {
        lied.refuses(&other, 1, &forged(&lied.victim.clone()))?;
    }
    lied.came_to_nothing(1, "share-keys", &too_few(1, "share-keys"))?;
    lied.honest_again()
}

/// Two of five nodes are told that the victim survived, and would reveal shares of its self mask;
/// three that it was lost, and would reveal shares of its mask seed. With both it would be left
/// without a mask. Every node signs the set that it was told, and is shown the signatures of all
/// others: neither set has three of its neighbours.
#[test]
fn two_sets_of_survivors() -> Result<()> {
    let mut lied = Lied::with_uploads("different-survivors", &[], 2)?;
    let unconfirmed = |valid: usize| {
        format!(
            "the survivors are not confirmed: the number of valid signatures on the survivor set is \
             {valid}, this client's floor is 3; the coordinator told others another set, or \
             withholds their signatures"
        )
    };
    let others = lied.others.clone();
    for (ids, valid) in [
        (&[lied.victim.clone(), others[0].clone()][..], 1),
        (&others[1..], 2),
    ] {
        for id in ids {
            lied.refuses(id, 1, &unconfirmed(valid))?;
        }
    }
    lied.came_to_nothing(1, "consistency-check", &too_few(0, "consistency-check"))?;
    lied.honest_again()
}

/// Everybody has signed that all survived; now the coordinator asks for signatures on a set without
/// the victim. With enough of both kinds it could ask some for shares of the one seed of the victim,
/// and others for shares of the other. A node signs once.
#[test]
fn a_second_set_to_sign() -> Result<()> {
    let mut lied = Lied::with_uploads("second-survivors", &[], 2)?;
    let reason = "a message of phase consistency-check came where one of unmask was due: the \
                  coordinator leaves out a phase, or asks a second time, and this node answers once \
                  in each";
    for id in [lied.others.clone(), vec![lied.victim.clone()]].concat() {
        lied.refuses(&id, 1, reason)?;
    }
    lied.came_to_nothing(1, "consistency-check", &too_few(0, "consistency-check"))?;
    lied.honest_again()
}

/// All nodes have revealed what opens the sum of all five. Now the coordinator tells the others that
/// the victim was lost after all: with three shares of its mask seed beside those of its self mask
/// the victim's own update would be open. Each node has revealed once and does not again; the
/// coordinator is left with the sum that everybody has signed.
#[test]
fn both_shares_of_a_node() -> Result<()> {
    let mut lied = Lied::new("both-shares", &[])?;
    let reason = "a message of phase consistency-check came after this node had revealed its shares: \
                  it reveals once, because shares for two sets of survivors would open the update of \
                  another node";
    for other in lied.others.clone() {
        lied.logs(&other, 1, "refused", "refused", reason)?;
    }
    let complete = lied.world.round_complete(1)?;
    assert_eq!(complete["contributors"], NODES, "{complete}");
    for node in &mut lied.world.nodes {
        // They stay for the closing round, and for the end.
        node.wait_end()?;
        assert_eq!(
            node.events().named("declined")?,
            [] as [serde_json::Value; 0]
        );
    }
    Ok(())
}

/// The others never get the victim's boxes, so that they mask among each other only, and are then
/// told that the victim survived: they would open a sum of four and believe it to be one of five.
/// In larger rings it could be one of very few.
#[test]
fn withheld_boxes() -> Result<()> {
    let mut lied = Lied::with_uploads("withheld-boxes", &[], 2)?;
    let reason = format!(
        "the protocol's checks: the survivor set holds client {}, of which the server delivered no \
         box to this client",
        lied.victim
    );
    for other in lied.others.clone() {
        lied.refuses(&other, 1, &reason)?;
    }
    lied.came_to_nothing(1, "consistency-check", &too_few(1, "consistency-check"))?;
    lied.honest_again()
}

/// All vectors are there when the coordinator says that the round has failed, and asks for the same
/// model again: with another set of nodes in a second sum, the difference of the two would be that of
/// few nodes, or of one. Each node has noted on its disk that it has uploaded for this model.
#[test]
fn a_failed_round_that_did_not_fail() -> Result<()> {
    let settings = [
        ("rounds.max_attempts", "2"),
        // Nobody signs: for the nodes the round is over.
        ("deadlines.consistency_check.min_seconds", "1.0"),
        ("deadlines.consistency_check.max_seconds", "1.0"),
    ];
    let mut lied = Lied::new("failed-round", &settings)?;
    let reason = "uploads made for this model: 1, allowed by the policy: 1 (uploads_per_model): \
                  another one could give the coordinator a second sum of it, whether or not a round \
                  has failed";
    for id in [lied.others.clone(), vec![lied.victim.clone()]].concat() {
        let node = lied.world.nodes.iter_mut().find(|node| node.id() == id);
        let node = node.context("no such node")?;
        let end = node.wait("round_end", |end| end["attempt"] == 1)?;
        assert_eq!(end["result"], "abandoned", "{end}");
        assert_eq!(end["reason"], "too many nodes were lost", "{end}");
        lied.refuses(&id, 2, reason)?;
    }
    let nobody = "0 of 5 nodes advertised their keys, 5 are needed (5 declined)";
    lied.came_to_nothing(2, "train", nobody)
}

fn too_few(left: usize, phase: &str) -> String {
    format!("{left} clients were left when {phase} closed, 4 are needed")
}
