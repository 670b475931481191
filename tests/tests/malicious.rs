//! Rounds in which nodes do not trust the coordinator.

use anyhow::Result;
use secagg_tests::{
    Federation,
    swarm::{Act, Moment, Options, Script},
};

const MALICIOUS: (&str, &str) = ("cohort.threat_model", "\"malicious\"");

/// Of twelve clients one is lost in every phase. The threshold is 7, so the 8 that reveal are just
/// enough: nobody holds a share of its own seeds.
#[test]
fn clients_are_lost_in_every_phase() -> Result<()> {
    let lost = [
        (0, Moment::ShareKeys),
        (1, Moment::MaskedInput),
        (2, Moment::ConsistencyCheck),
        (3, Moment::Unmask),
    ];
    let script = |(client, moment)| Script::first_round(client, moment, Act::Leave);
    let options = Options {
        scripts: lost.into_iter().map(script).collect(),
        ..Options::default()
    };
    let settings = [MALICIOUS, ("cohort.min_clients", "11")];
    let mut federation = Federation::new(12, options, &settings, &[])?;
    federation.swarm.start_all()?;
    // Whoever uploaded is in the sum, whatever it does later.
    federation.check_sum(1, &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11])?;
    for (client, phase) in [(2, "consistency-check"), (3, "unmask")] {
        let name = federation.swarm.name(client).to_owned();
        assert_eq!(federation.lost_names(1, phase)?, [name]);
    }
    Ok(())
}

/// The sparse graph, with a degree and a threshold that the coordinator has chosen and every
/// client has checked.
#[test]
fn a_sparse_graph_sums() -> Result<()> {
    let settings = [("cohort.graph", "\"sparse\""), ("cohort.min_clients", "40")];
    let mut federation = Federation::new(40, Options::default(), &settings, &[])?;
    federation.swarm.start_all()?;
    let everybody: Vec<usize> = (0..40).collect();
    federation.check_sum(1, &everybody)
}
