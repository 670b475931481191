//! Work that falls into independent parts: over all threads with the feature `parallel`, one part
//! after the other without it. The result is the same.

use alloc::vec::Vec;

#[cfg(feature = "parallel")]
use rayon::prelude::*;

/// Calls `work` for every part, with room that it may use for one part after the other.
#[cfg(not(feature = "parallel"))]
pub(crate) fn for_each<T, R>(
    parts: impl Iterator<Item = T>,
    room: impl Fn() -> R,
    work: impl Fn(&mut R, T),
) {
    let mut room = room();
    parts.for_each(|part| work(&mut room, part));
}

/// The results of `work` for every part, in order.
#[cfg(not(feature = "parallel"))]
pub(crate) fn map<T, R>(parts: &[T], work: impl Fn(&T) -> R) -> Vec<R> {
    parts.iter().map(work).collect()
}

/// All that `work` gives for chunks of at most `size` parts, in order.
#[cfg(not(feature = "parallel"))]
pub(crate) fn map_chunks<T, R>(parts: &[T], size: usize, work: impl Fn(&[T]) -> Vec<R>) -> Vec<R> {
    parts.chunks(size).flat_map(work).collect()
}

/// Calls `work` for every part, with room that it may use for one part after the other.
#[cfg(feature = "parallel")]
pub(crate) fn for_each<T: Send, R: Send>(
    parts: impl Iterator<Item = T>,
    room: impl Fn() -> R + Sync + Send,
    work: impl Fn(&mut R, T) + Sync + Send,
) {
    let parts: Vec<T> = parts.collect();
    parts.into_par_iter().for_each_init(room, work);
}

/// The results of `work` for every part, in order.
#[cfg(feature = "parallel")]
pub(crate) fn map<T: Sync, R: Send>(parts: &[T], work: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    parts.par_iter().map(work).collect()
}

/// All that `work` gives for chunks of at most `size` parts, in order.
#[cfg(feature = "parallel")]
pub(crate) fn map_chunks<T: Sync, R: Send>(
    parts: &[T],
    size: usize,
    work: impl Fn(&[T]) -> Vec<R> + Sync + Send,
) -> Vec<R> {
    parts.par_chunks(size).flat_map_iter(work).collect()
}
