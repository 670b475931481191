use crate::demo::events::SpanKind;
use crate::demo::sample;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
}

#[test]
fn a_rounds_figures_come_with_the_next_round() {
    let rounds = sample::record().rounds();
    let numbers: Vec<_> = rounds
        .iter()
        .map(|round| (round.round, round.trains))
        .collect();
    assert_eq!(numbers, [(1, true), (2, true), (3, true), (4, false)]);
    close(rounds[0].validation_after.unwrap().loss, 5.6);
    close(rounds[2].validation_after.unwrap().loss, 3.6);
    assert_eq!(rounds[3].validation_after, None);
    let (before, after) = sample::record().before_and_after().unwrap();
    close(before.loss, 6.6);
    close(after.loss, 3.6);
}

#[test]
fn times_and_bytes_are_means_over_those_in_the_sum() {
    let record = sample::record();
    let rounds = record.rounds();
    assert_eq!(rounds[1].contributors, 3);
    close(rounds[1].node_ms.wall(SpanKind::Training), 700.0);
    assert_eq!(rounds[1].phases.len(), 4);
    assert_eq!(rounds[1].phases[2].lost, ["hana"]);
    let time = record.time();
    close(time.round_ms, 1010.0);
    close(time.node_ms.wall_sum(), 1000.0);
    close(time.cryptography_share, 3.5 / 353.5);
    let traffic = record.traffic(125_000);
    close(traffic.up_bytes, 250_000.0);
    close(traffic.up_ratio, 0.5);
    close(traffic.vector_bytes, 240_000.0);
    close(traffic.down_ratio, 0.84);
}

#[test]
fn deaths_are_told_by_both_sides() {
    let deaths = sample::record().deaths();
    assert_eq!(deaths.len(), 1);
    assert_eq!(deaths[0].before_phase, "masked-input");
    assert_eq!(deaths[0].missed_in.as_deref(), Some("masked-input"));
    assert_eq!(deaths[0].reason.as_deref(), Some("connection lost"));
    assert_eq!(deaths[0].back_in_round, Some(3));
    let nodes = sample::record().nodes();
    let hana = nodes.iter().find(|node| node.name == "hana").unwrap();
    assert_eq!(
        (hana.uploads, hana.in_sums, &*hana.client),
        (3, 3, "id-of-hana")
    );
    assert_eq!(hana.own_up_bytes, 750_000);
}

#[test]
fn the_hash_of_a_received_vector_is_found() {
    let record = sample::record();
    assert_eq!(record.received("bruno", 2).unwrap(), ("bruno-2", 3));
    let error = record.received("hana", 2).unwrap_err().to_string();
    assert!(
        error.contains("hana has uploaded nothing in round 2"),
        "{error}"
    );
    assert!(record.received("bruno", 9).is_err());
}
