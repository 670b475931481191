//! How an update is made smaller before it is masked.

use serde::{Deserialize, Serialize};

use super::{PlanError, check};

/// How an update is made smaller before it is masked, and how the server undoes it
/// (see [`crate::compression`]).
///
/// All of it is linear and the same for every client of a session, so that the masked vectors add
/// up. Choosing each client's largest elements instead (top-k) is not possible: the positions, which
/// travel in the clear, would tell which words a client has used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Rotates the update at random before it is rounded; `None`: no rotation.
    pub rotation: Option<Rotated>,
    /// Share of the coordinates that is sent, above 0 (at least 1e-6) to 1, rounded up to a whole
    /// number of them. The others count as zero.
    pub fraction: f32,
    /// Error feedback: each client keeps what it did not send and adds it to its next update.
    /// Without it the server divides the mean by the share that was sent, so that it is unbiased.
    pub feedback: bool,
}

/// A random rotation and the range that suits it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotated {
    /// Takes the place of [`UpdatePlan::range`](super::UpdatePlan::range): the largest magnitude of
    /// one weighted coordinate, in units of clip_norm/√(trained parameters), 0.01 to 65,536.
    ///
    /// An update of length clip_norm and full weight has, once rotated, coordinates with a standard
    /// deviation of 1 such unit, or up to √2 where the number of parameters is no power of two. A
    /// coordinate beyond r units, to be clamped, has a probability of at most 2·exp(−r²/4) for any
    /// update: 4 % for r = 4, and 1e-6 for r = 7.7. Those of a normal distribution are fewer.
    pub range: f32,
}

impl Default for Compression {
    /// [`Compression::NONE`].
    fn default() -> Self {
        Self::NONE
    }
}

impl Compression {
    /// Everything is sent as it is.
    pub const NONE: Self = Self {
        rotation: None,
        fraction: 1.0,
        feedback: false,
    };

    /// How many of `len` coordinates are sent.
    #[must_use]
    pub fn coordinates(&self, len: u32) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share from 0 to 1 of a u32, in f64, which holds every u32"
        )]
        let count = (f64::from(self.fraction) * f64::from(len)).ceil() as u32;
        count.clamp(len.min(1), len)
    }

    pub(super) fn check(&self) -> Result<(), PlanError> {
        check::float("update.compression.fraction", self.fraction, 1e-6, 1.0)?;
        match self.rotation {
            Some(Rotated { range }) => {
                check::float("update.compression.rotation.range", range, 0.01, 65_536.0)
            }
            None => Ok(()),
        }
    }
}
