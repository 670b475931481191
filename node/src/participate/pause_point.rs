//! The places in a round where a build with test hooks can wait.

/// Where a build with test hooks can pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PausePoint {
    /// Before evaluation and training.
    Train,
    /// Before the advert.
    AdvertiseKeys,
    /// Before the shares.
    ShareKeys,
    /// Before the masked vector.
    MaskedInput,
    /// When half of the masked vector was sent.
    Upload,
    /// Before the shares are revealed.
    Unmask,
}
