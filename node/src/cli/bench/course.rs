//! The course of a comparison: rounds of one kind of work and the other in turn, so that what else the machine does
//! falls on both.
//!
//! Must not know what is compared.

use std::time::{Duration, Instant};

use futures::StreamExt;

/// Work of one kind over all rounds.
#[derive(Debug)]
pub struct Side<T> {
    /// What came of each.
    pub results: Vec<T>,
    /// Time that the rounds of this kind took.
    pub elapsed: Duration,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { results: Vec::new(), elapsed: Duration::ZERO }
    }
}

impl<T> Side<T> {
    /// One round: so many, `at_once` of them at one time.
    pub async fn round<F: Future<Output = T>>(
        &mut self,
        count: usize,
        at_once: usize,
        mut one: impl FnMut() -> F,
    ) {
        let begun = Instant::now();
        let mut results = futures::stream::iter(0..count).map(|_| one()).buffer_unordered(at_once);
        while let Some(result) = results.next().await {
            self.results.push(result);
        }
        self.elapsed += begun.elapsed();
    }
}

/// How many in each round: as even as can be, none empty.
#[must_use]
pub fn rounds(count: usize, rounds: usize) -> Vec<usize> {
    let rounds = rounds.clamp(1, count.max(1));
    (0..rounds).map(|round| count / rounds + usize::from(round < count % rounds)).filter(|n| *n > 0).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn rounds_are_even_and_make_up_the_whole() {
        assert_eq!(rounds(10, 3), [4, 3, 3]);
        assert_eq!(rounds(24, 3), [8, 8, 8]);
        assert_eq!(rounds(2, 5), [1, 1]);
        assert_eq!(rounds(0, 3), [0_usize; 0]);
    }

    #[tokio::test]
    async fn no_more_than_allowed_run_at_once() {
        let (now, most) = (Cell::new(0_usize), Cell::new(0));
        let mut side = Side::default();
        for count in rounds(7, 2) {
            let one = || async {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                tokio::task::yield_now().await;
                now.set(now.get() - 1);
            };
            side.round(count, 3, one).await;
        }
        assert_eq!((side.results.len(), most.get(), now.get()), (7, 3, 0));
    }
}
