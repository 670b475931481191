//! What a client itself insists on, whatever the server says.

use crate::{
    chooser,
    client::ClientError,
    graph,
    params::{GraphKind, MIN_COHORT, Parameters, ThreatModel},
    session::Session,
};

/// A client's own floors and ceilings. A session or roster beyond them is refused, with the value
/// and the bound.
///
/// It is written out, best over [`Policy::default`] with `..`, and so it is not `non_exhaustive`: a
/// client's owner should see a floor that a new version adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The weakest threat model that this client takes part in.
    pub threat_model: ThreatModel,
    /// Whether the sparse graph is accepted beside the complete one.
    pub sparse_graph: bool,
    /// Bound on corrupt credentials in one roster (A): a number, not a fraction of anything,
    /// because the server picks the roster.
    pub max_corrupt: u32,
    /// σ: with the sparse graph, corrupt clients may reach the threshold around any one client
    /// with a probability of at most 2^−(σ+1). Where the server is trusted to draw the graph once,
    /// 40 are enough, and more are not asked for.
    pub security_bits: u8,
    /// Smallest roster that this client takes part in.
    pub min_cohort: u32,
    /// Smallest set of clients whose sum this client helps to open.
    pub min_survivors: u32,
    /// The most bits of an element.
    pub max_bits: u8,
    /// The most bytes of a masked vector.
    pub max_vector_bytes: u64,
}

impl Default for Policy {
    /// A server that may do anything, and floors of three: nobody's input can be read off the sum
    /// by one other client.
    fn default() -> Self {
        Self {
            threat_model: ThreatModel::default(),
            sparse_graph: true,
            max_corrupt: 1,
            security_bits: chooser::security_bits(ThreatModel::Malicious),
            min_cohort: MIN_COHORT,
            min_survivors: MIN_COHORT,
            max_bits: 64,
            max_vector_bytes: 1 << 30,
        }
    }
}

impl Policy {
    /// Whether this client takes part in such a session at all.
    ///
    /// # Errors
    ///
    /// When the session is below the policy; the error names the value and the bound.
    pub fn accepts(&self, parameters: &Parameters) -> Result<(), ClientError> {
        let found = parameters.threat_model();
        // V-01. A server could announce the model in which it is trusted.
        if found < self.threat_model {
            let floor = self.threat_model;
            return Err(ClientError::ThreatModel { found, floor });
        }
        // V-02. Or a graph that this client does not want.
        if parameters.graph() == GraphKind::Sparse && !self.sparse_graph {
            return Err(ClientError::SparseGraph);
        }
        // V-43. Valid parameters may describe a vector of terabytes.
        for segment in parameters.layout().segments() {
            let (value, ceiling) = (segment.bits().into(), self.max_bits.into());
            at_most("modulus in bits", value, ceiling)?;
        }
        let bytes = parameters.layout().packed_len() as u64;
        at_most("vector in bytes", bytes, self.max_vector_bytes)
    }

    /// Checks the size of a roster, and degree and threshold against it.
    pub(crate) fn accepts_roster(
        &self,
        session: &Session,
        cohort: usize,
        degree: u32,
        threshold: u32,
    ) -> Result<(), ClientError> {
        let parameters = session.parameters();
        let count = cohort as u64;
        // V-03. A tiny cohort would make the sum one client's input.
        at_least("cohort", count, self.min_cohort.into())?;
        // V-04. The layout rules out that a sum wraps around for so many clients and no more.
        let range = parameters.cohort();
        at_least("cohort", count, (*range.start()).into())?;
        at_most("cohort", count, (*range.end()).into())?;
        // V-06. Only the graphs of the protocol: another degree has no ring.
        if !graph::has_degree(parameters.graph(), cohort, degree) {
            return Err(ClientError::Degree { degree, cohort });
        }
        at_most("threshold", threshold.into(), degree.into())?;
        // V-05. A low threshold would let corrupt clients open every seed; against a malicious
        // server two sets of holders without an honest one in both would open both seeds of one
        // client.
        let model = parameters.threat_model();
        let security_bits = self.security_bits.min(chooser::security_bits(model));
        let floor = chooser::min_threshold(
            model,
            crate::codec::to_u32(cohort),
            degree,
            self.max_corrupt,
            security_bits.into(),
        );
        at_least("threshold", threshold.into(), floor.into())
    }
}

pub(crate) fn at_least(what: &'static str, value: u64, floor: u64) -> Result<(), ClientError> {
    if value >= floor {
        return Ok(());
    }
    Err(ClientError::BelowFloor { what, value, floor })
}

pub(crate) fn at_most(what: &'static str, value: u64, ceiling: u64) -> Result<(), ClientError> {
    if value <= ceiling {
        return Ok(());
    }
    Err(ClientError::AboveCeiling {
        what,
        value,
        ceiling,
    })
}
