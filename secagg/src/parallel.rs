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

#[cfg(all(test, feature = "parallel"))]
mod tests {
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::{
        mask::{self, Mask},
        secret::Key,
        vector::{Layout, Segment, Vector},
        words::Sign,
    };

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let segment = |name, len, bits| Segment::new(name, len, bits).unwrap();
        let segments = [
            segment("vertical", 30_000, 20),
            segment("narrow", 9_000, 31),
            segment("wide", 5_000, 48),
        ];
        let layout = Layout::new(segments.into()).unwrap();
        let work = || {
            let mut vector = Vector::zero(&layout);
            let masks = [1, 2, 3].map(|byte| Mask {
                key: Key::from_bytes([byte; 32]),
                sign: if byte == 2 { Sign::Minus } else { Sign::Plus },
            });
            mask::apply(&masks, &mut vector);
            vector.reduce();
            let numbers: Vec<usize> = (0..1_000).collect();
            let squares = map(&numbers, |number| number * number);
            let chunks = map_chunks(&numbers, 7, |chunk| chunk.to_vec());
            (vector, squares, chunks == numbers)
        };
        let on = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(work)
        };
        let (one, squares, in_order) = on(1);
        assert!(in_order && squares.iter().copied().eq((0..1_000).map(|n| n * n)));
        assert!(one != Vector::zero(&layout));
        for threads in 2..=4 {
            assert!(on(threads) == (one.clone(), squares.clone(), true));
        }
    }
}
