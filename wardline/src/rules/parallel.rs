//! Work on every item of a list, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Items that a thread takes at once.
const BATCH: usize = 16;

/// `f` of each item, in the items' order.
pub fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_batches(BATCH, items, f)
}

/// The same for items that are each much work.
pub fn map_each<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_batches(1, items, f)
}

fn in_batches<T: Sync, R: Send>(batch: usize, items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(items.len().div_ceil(batch));
    if workers < 2 {
        return items.iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(batch, Ordering::Relaxed);
            let Some(rest) = items.get(start..).filter(|rest| !rest.is_empty()) else { return done };
            let taken = &rest[..rest.len().min(batch)];
            done.push((start, taken.iter().map(&f).collect::<Vec<R>>()));
        }
    };
    let mut batches = thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut batches = work();
        for other in others {
            match other.join() {
                Ok(more) => batches.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        batches
    });
    batches.sort_by_key(|(start, _)| *start);
    batches.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_results_are_in_the_items_order() {
        for n in [0, 1, 15, 16, 17, 1000] {
            let items: Vec<usize> = (0..n).collect();
            let wanted: Vec<usize> = items.iter().map(|i| i * 3).collect();
            assert_eq!(super::map(&items, |i| i * 3), wanted);
            assert_eq!(super::map_each(&items, |i| i * 3), wanted);
        }
    }
}
