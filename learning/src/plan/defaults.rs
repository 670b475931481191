//! What a configuration means where it says nothing else.

use super::{Compression, Parts, ServerOptimizerConfig, UpdatePlan};

impl UpdatePlan {
    /// 16 bits a value, for a model of so many parameters and so many clients a round.
    #[must_use]
    pub const fn default_for(parameters: u32, max_cohort: u32) -> Self {
        Self {
            parameters,
            clip_norm: 10.0,
            range: 0.5,
            value_bits: 16,
            weight_cap: 1000,
            max_cohort,
            compression: Compression::NONE,
            parts: Parts::ALL,
        }
    }
}

impl ServerOptimizerConfig {
    /// The mean update is added as it is.
    pub const DEFAULT: Self = Self::FedAvg { rate: 1.0 };
}
