//! Who is whose neighbour. Clients are named by their rank in the roster, which is ascending by id,
//! so the order of ranks is the order of ids.
//!
//! The complete graph is that of Bonawitz et al. 2017. The sparse one is a Harary ring of even
//! degree k (Bell et al. 2020, section 3): each client is the neighbour of the k/2 before and the
//! k/2 behind it on a circle. The places on the circle come from the digest of the roster, so that
//! a server that wants chosen neighbours around a victim has to redraw the whole graph, and
//! every client can compute its own neighbourhood.

use alloc::{sync::Arc, vec::Vec};

use chacha20::{ChaCha20, KeyIvInit, cipher::StreamCipher};

use crate::{
    codec::to_u32,
    params::GraphKind,
    primitives::{self, label},
    shamir,
};

/// The graph over a roster. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Graph {
    Complete { cohort: usize },
    Ring(Arc<Ring>),
}

/// A Harary ring.
#[derive(Debug)]
pub(crate) struct Ring {
    /// k / 2.
    reach: usize,
    /// The rank at each place of the circle.
    at: Vec<u32>,
    /// The place of each rank.
    place: Vec<u32>,
}

/// Whether there is a graph of this kind and degree over so many clients.
pub(crate) fn has_degree(kind: GraphKind, cohort: usize, degree: u32) -> bool {
    let degree = degree as usize;
    let complete = degree + 1 == cohort;
    // A holder's coordinate has 16 bits.
    if degree > shamir::MAX_HOLDERS as usize {
        return false;
    }
    match kind {
        GraphKind::Complete => complete,
        GraphKind::Sparse => {
            complete || (degree >= 2 && degree.is_multiple_of(2) && degree + 1 < cohort)
        }
    }
}

impl Graph {
    /// The graph of this degree (see [`has_degree`]) over the roster with this digest. A degree of
    /// n − 1 is the complete graph, whatever the kind.
    pub(crate) fn new(cohort: usize, degree: u32, roster_digest: &[u8; 32]) -> Self {
        let degree = degree as usize;
        if degree + 1 >= cohort {
            return Self::Complete { cohort };
        }
        let at = permutation(to_u32(cohort), roster_digest);
        let mut place = alloc::vec![0; cohort];
        for (rank, index) in at.iter().zip(0_u32..) {
            if let Some(place) = place.get_mut(*rank as usize) {
                *place = index;
            }
        }
        Self::Ring(Arc::new(Ring {
            reach: degree / 2,
            at,
            place,
        }))
    }

    /// Neighbours of each client (k).
    pub(crate) fn degree(&self) -> usize {
        match self {
            Self::Complete { cohort } => cohort.saturating_sub(1),
            Self::Ring(ring) => 2 * ring.reach,
        }
    }

    /// The neighbours of a client in ascending order; the client itself is never among them.
    pub(crate) fn neighbours(&self, of: usize) -> impl Iterator<Item = usize> + use<> {
        let mut ring = Vec::new();
        let mut complete = 0..0;
        match self {
            Self::Complete { cohort } => complete = 0..*cohort,
            Self::Ring(it) => {
                ring.extend(it.around(of));
                ring.sort_unstable();
            }
        }
        ring.into_iter()
            .chain(complete.filter(move |rank| *rank != of))
    }

    /// The position of `holder` among the neighbours of `owner`.
    pub(crate) fn position(&self, owner: usize, holder: usize) -> Option<usize> {
        match self {
            Self::Complete { cohort } if owner == holder || holder >= *cohort => None,
            Self::Complete { .. } if holder < owner => Some(holder),
            Self::Complete { .. } => Some(holder - 1),
            Self::Ring(ring) => {
                let mut below = 0;
                let mut found = false;
                for rank in ring.around(owner) {
                    found |= rank == holder;
                    below += usize::from(rank < holder);
                }
                found.then_some(below)
            }
        }
    }
}

impl Ring {
    /// The neighbours in the order of the circle.
    fn around(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        let len = self.at.len();
        let place = self.place.get(of).map_or(0, |place| *place as usize);
        let steps = (1..=self.reach).flat_map(move |step| [step, len - step]);
        steps
            .filter_map(move |step| self.at.get((place + step) % len))
            .map(|rank| *rank as usize)
    }
}

/// A permutation of 0..n: Fisher–Yates from the end, each index from the `ChaCha20` stream under
/// a key that is a labelled hash of the roster digest (nonce zero, 32-bit little-endian words),
/// by rejection: the low bits of a word, and the next word where they are too large.
fn permutation(cohort: u32, roster_digest: &[u8; 32]) -> Vec<u32> {
    let key = primitives::hash(label::GRAPH, &[roster_digest]);
    let mut words = Words {
        cipher: ChaCha20::new(&key.into(), &[0; 12].into()),
        buffer: [0; 256],
        used: 256,
    };
    let mut at: Vec<u32> = (0..cohort).collect();
    for last in (1..cohort).rev() {
        // All ones up to the highest bit of `last`.
        let mask = u32::MAX >> last.leading_zeros();
        let chosen = loop {
            let candidate = words.next() & mask;
            if candidate <= last {
                break candidate;
            }
        };
        at.swap(chosen as usize, last as usize);
    }
    at
}

struct Words {
    cipher: ChaCha20,
    buffer: [u8; 256],
    used: usize,
}

impl Words {
    /// A million clients take two million words on average; the stream has 2^36.
    fn next(&mut self) -> u32 {
        if self.used == self.buffer.len() {
            self.cipher.write_keystream(&mut self.buffer);
            self.used = 0;
        }
        let word = self
            .buffer
            .get(self.used..)
            .and_then(|rest| rest.first_chunk());
        self.used += 4;
        word.map_or(0, |word| u32::from_le_bytes(*word))
    }
}

/// The Shamir coordinate of the holder at this position among the owner's neighbours.
pub(crate) fn coordinate(position: usize) -> u16 {
    u16::try_from(position + 1).expect("parameters allow at most 65,535 holders")
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn check(graph: &Graph, cohort: usize, degree: usize) {
        assert_eq!(graph.degree(), degree);
        for owner in 0..cohort {
            let neighbours: Vec<usize> = graph.neighbours(owner).collect();
            assert_eq!(neighbours.len(), degree);
            assert!(neighbours.is_sorted_by(|a, b| a < b));
            assert!(!neighbours.contains(&owner));
            for (position, holder) in neighbours.into_iter().enumerate() {
                assert_eq!(graph.position(owner, holder), Some(position));
                assert!(graph.neighbours(holder).any(|other| other == owner));
            }
            assert_eq!(graph.position(owner, owner), None);
            assert_eq!(graph.position(owner, cohort), None);
        }
    }

    #[test]
    fn positions_are_those_of_the_neighbour_list() {
        check(&Graph::new(5, 4, &[0; 32]), 5, 4);
    }

    #[test]
    fn a_ring_of_degree_two_is_one_circle() {
        let graph = Graph::new(9, 2, &[3; 32]);
        let (mut seen, mut at) = (BTreeSet::new(), 0);
        while seen.insert(at) {
            at = graph
                .neighbours(at)
                .find(|rank| !seen.contains(rank))
                .unwrap_or(0);
        }
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn only_even_rings_and_the_complete_graph_exist() {
        let all = |kind, cohort| (0..=8).filter(move |k| has_degree(kind, cohort, *k));
        assert!(all(GraphKind::Complete, 6).eq([5]));
        assert!(all(GraphKind::Sparse, 6).eq([2, 4, 5]));
        assert!(all(GraphKind::Sparse, 7).eq([2, 4, 6]));
        // One coordinate of 16 bits for each neighbour.
        assert!(has_degree(GraphKind::Complete, 65_536, 65_535));
        assert!(!has_degree(GraphKind::Complete, 65_537, 65_536));
        assert!(has_degree(GraphKind::Sparse, 70_000, 65_534));
        assert!(!has_degree(GraphKind::Sparse, 70_000, 65_536));
    }

    /// Every index of every step is equally likely: χ² over the places of one rank.
    #[test]
    fn places_are_uniform() {
        const COHORT: u32 = 7;
        let mut counts = [[0_u32; COHORT as usize]; COHORT as usize];
        for seed in 0..7_000_u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&seed.to_le_bytes());
            for (place, rank) in permutation(COHORT, &digest).into_iter().enumerate() {
                counts[place][rank as usize] += 1;
            }
        }
        for row in counts {
            let squares = row
                .iter()
                .map(|count| (f64::from(*count) - 1_000.0).powi(2));
            let statistic: f64 = squares.sum::<f64>() / 1_000.0;
            // 6 degrees of freedom: 0.1 % of fair rows are above 22.5; the digests are fixed.
            assert!(statistic < 22.5, "{statistic}");
        }
    }

    proptest! {
        #[test]
        fn rings_are_symmetric_and_regular(
            cohort in 4_usize..60, half in 1_usize..10, digest: [u8; 32],
        ) {
            prop_assume!(2 * half + 1 < cohort);
            let graph = Graph::new(cohort, u32::try_from(2 * half).unwrap(), &digest);
            check(&graph, cohort, 2 * half);
        }
    }
}
