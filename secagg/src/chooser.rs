//! Stand-in until the branch with the chooser is merged.
use crate::params::ThreatModel;

pub(crate) fn min_threshold(
    threat_model: ThreatModel,
    _cohort: u32,
    degree: u32,
    max_corrupt: u32,
    _security_bits: u32,
) -> u32 {
    let corrupt = max_corrupt.saturating_add(1);
    match threat_model {
        ThreatModel::HonestButCurious => corrupt.max(2),
        ThreatModel::Malicious => degree.saturating_add(corrupt).div_ceil(2),
    }
}
