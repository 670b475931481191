//! The same work on many things, as many at a time as there are cores.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

/// The machine's cores.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does the work on every item and returns the results in the order of the items.
///
/// # Errors
///
/// The first error in that order; after an error no further item is begun.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    in_parallel_on(cores(), items, work)
}

/// The same with so many items at a time.
///
/// # Errors
///
/// As of [`in_parallel`].
pub(crate) fn in_parallel_on<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    let result = work(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    if let Ok(mut results) = results.lock() {
                        results.push((place, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::ensure;

    #[test]
    fn results_keep_their_order() {
        let items: Vec<u32> = (0..50).collect();
        let squares = in_parallel(&items, |n| Ok(n * n)).unwrap();
        assert_eq!(squares, items.iter().map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(in_parallel(&[0; 0], |n| Ok(*n)).unwrap(), [0; 0]);
    }

    #[test]
    fn an_error_ends_the_work() {
        let done = AtomicUsize::new(0);
        let items: Vec<u32> = (0..1000).collect();
        let error = in_parallel(&items, |n| {
            done.fetch_add(1, Ordering::Relaxed);
            ensure!(*n != 3, "three");
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "three");
        assert!(done.into_inner() < 1000);
    }
}
