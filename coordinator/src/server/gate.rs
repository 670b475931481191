//! Quotas on connections, before anything is spent on them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts connections and handshakes.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    counts: Arc<Mutex<Counts>>,
    max_connections: usize,
    handshakes_per_address: usize,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    handshakes: BTreeMap<IpAddr, usize>,
}

/// What becomes of an incoming connection.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may shake hands.
    Admit(Admission),
    /// Its address must be shown to be real first.
    Validate,
    /// There are too many.
    Refuse(&'static str),
}

impl Gate {
    pub(crate) fn new(max_connections: usize, handshakes_per_address: usize) -> Self {
        Self {
            counts: Arc::default(),
            max_connections,
            handshakes_per_address,
        }
    }

    pub(crate) fn admit(&self, address: IpAddr, validated: bool) -> Verdict {
        let mut counts = self.counts();
        if counts.connections >= self.max_connections {
            return Verdict::Refuse("too many connections");
        }
        let pending: usize = counts.handshakes.values().sum();
        if pending >= VALIDATE_FROM && !validated {
            return Verdict::Validate;
        }
        let here = counts.handshakes.entry(address).or_default();
        if *here >= self.handshakes_per_address {
            return Verdict::Refuse("too many handshakes from this address");
        }
        *here += 1;
        counts.connections += 1;
        drop(counts);
        Verdict::Admit(Admission {
            gate: self.clone(),
            handshake: Some(address),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    gate: Gate,
    handshake: Option<IpAddr>,
}

impl Admission {
    pub(crate) fn handshake_done(&mut self) {
        let Some(address) = self.handshake.take() else {
            return;
        };
        let mut counts = self.gate.counts();
        if let Some(count) = counts.handshakes.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.handshakes.remove(&address);
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.handshake_done();
        self.gate.counts().connections -= 1;
    }
}

/// Handshakes in progress from which on a source address must be shown to be real.
const VALIDATE_FROM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn one_address_cannot_hold_all_handshakes() {
        let gate = Gate::new(10, 2);
        let Verdict::Admit(mut first) = gate.admit(HERE, false) else {
            panic!("refused");
        };
        let Verdict::Admit(_second) = gate.admit(HERE, false) else {
            panic!("refused");
        };
        assert!(matches!(gate.admit(HERE, true), Verdict::Refuse(_)));
        assert!(matches!(gate.admit(THERE, true), Verdict::Admit(_)));
        first.handshake_done();
        assert!(matches!(gate.admit(HERE, true), Verdict::Admit(_)));
    }

    #[test]
    fn a_dropped_connection_gives_its_place_back() {
        let gate = Gate::new(1, 2);
        let verdict = gate.admit(HERE, true);
        assert!(matches!(verdict, Verdict::Admit(_)));
        assert!(matches!(gate.admit(THERE, true), Verdict::Refuse(_)));
        drop(verdict);
        assert!(matches!(gate.admit(THERE, true), Verdict::Admit(_)));
    }

    #[test]
    fn many_handshakes_ask_for_a_real_address() {
        let gate = Gate::new(1000, 1000);
        let held: Vec<_> = (0..VALIDATE_FROM)
            .map(|_| gate.admit(HERE, false))
            .collect();
        assert!(matches!(gate.admit(HERE, false), Verdict::Validate));
        assert!(matches!(gate.admit(HERE, true), Verdict::Admit(_)));
        drop(held);
    }
}
