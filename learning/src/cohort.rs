//! What is assumed of a round's roster, by coordinator and simulator alike.

use secagg::{Assumptions, Bound, GraphKind, ThreatModel};

/// What is assumed of a roster of `n` clients of which a share `corrupt` may be corrupt and a share
/// `dropped`, both from 0 to 1, may be lost after the roster: one corrupt client at least, because
/// clients reckon with one by their own policy.
#[must_use]
pub fn assumptions(
    threat_model: ThreatModel,
    graph: GraphKind,
    n: u32,
    corrupt: f64,
    dropped: f64,
) -> Assumptions {
    let mut corrupt_clients = Bound::Fraction(corrupt);
    if (0.0..1.0).contains(&(corrupt * f64::from(n))) {
        corrupt_clients = Bound::Clients(1);
    }
    Assumptions::new(
        threat_model,
        graph,
        n,
        corrupt_clients,
        Bound::Fraction(dropped),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_corrupt_client_at_least_is_assumed() {
        let corrupt = |n, share| {
            assumptions(
                ThreatModel::HonestButCurious,
                GraphKind::Complete,
                n,
                share,
                0.1,
            )
            .choose()
            .unwrap()
            .max_corrupt()
        };
        assert_eq!(
            [corrupt(9, 0.0), corrupt(9, 0.1), corrupt(20, 0.1)],
            [1, 1, 2]
        );
    }
}
