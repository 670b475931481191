//! Who is whose neighbour. Positions are ranks in the roster, which is ascending by id, so the
//! order of ranks is the order of ids.

use crate::params::GraphKind;

/// The graph over a roster.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    kind: GraphKind,
    cohort: usize,
}

impl Graph {
    pub(crate) const fn new(kind: GraphKind, cohort: usize) -> Self {
        Self { kind, cohort }
    }

    /// Neighbours of each client (k).
    pub(crate) const fn degree(&self) -> usize {
        match self.kind {
            GraphKind::Complete => self.cohort.saturating_sub(1),
        }
    }

    /// The neighbours of a client in ascending order; the client itself is never among them.
    pub(crate) fn neighbours(&self, of: usize) -> impl Iterator<Item = usize> + use<> {
        match self.kind {
            GraphKind::Complete => (0..self.cohort).filter(move |rank| *rank != of),
        }
    }

    /// The position of `holder` among the neighbours of `owner`.
    pub(crate) fn position(&self, owner: usize, holder: usize) -> Option<usize> {
        match self.kind {
            GraphKind::Complete if owner == holder || holder >= self.cohort => None,
            GraphKind::Complete if holder < owner => Some(holder),
            GraphKind::Complete => Some(holder - 1),
        }
    }
}

/// The Shamir coordinate of the holder at this position among the owner's neighbours.
pub(crate) fn coordinate(position: usize) -> u16 {
    u16::try_from(position + 1).expect("parameters allow at most 65,535 holders")
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn positions_are_those_of_the_neighbour_list() {
        let graph = Graph::new(GraphKind::Complete, 5);
        assert_eq!(graph.degree(), 4);
        for owner in 0..5 {
            let neighbours: Vec<usize> = graph.neighbours(owner).collect();
            assert_eq!(neighbours.len(), 4);
            assert!(!neighbours.contains(&owner));
            for (position, holder) in neighbours.into_iter().enumerate() {
                assert_eq!(graph.position(owner, holder), Some(position));
            }
            assert_eq!(graph.position(owner, owner), None);
            assert_eq!(graph.position(owner, 5), None);
        }
    }
}
