//! Latencies, percentiles, rates and ratios. Pure.
//!
//! Every latency is kept: percentiles are exact, by the nearest rank, not interpolated between buckets.

use std::time::Duration;

use serde::Serialize;

/// Latencies of one kind, in no order.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    nanos: Vec<u64>,
}

/// What is said of latencies; all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean_ms: f64,
    /// Half of them are not longer.
    pub p50_ms: f64,
    /// 95 of 100 are not longer.
    pub p95_ms: f64,
    /// 99 of 100 are not longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// One more.
    pub fn push(&mut self, latency: Duration) {
        self.nanos.push(latency.as_nanos() as u64);
    }

    /// All of another.
    pub fn extend(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nanos.len()
    }

    /// What is said of them; nothing when there are none.
    #[must_use]
    pub fn summary(mut self) -> Option<Summary> {
        self.nanos.sort_unstable();
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let sum: u64 = self.nanos.iter().sum();
        Some(Summary {
            count: self.nanos.len(),
            mean_ms: millis(sum) / self.nanos.len() as f64,
            p50_ms: millis(percentile(&self.nanos, 50)?),
            p95_ms: millis(percentile(&self.nanos, 95)?),
            p99_ms: millis(percentile(&self.nanos, 99)?),
            max_ms: millis(*self.nanos.last()?),
        })
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<T: IntoIterator<Item = Duration>>(latencies: T) -> Self {
        Self { nanos: latencies.into_iter().map(|latency| latency.as_nanos() as u64).collect() }
    }
}

/// The smallest value that `percent` of the sorted values (1 to 100) do not exceed.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

/// So many in so long, per second; 0 in no time.
#[must_use]
pub fn per_second(count: usize, elapsed: Duration) -> f64 {
    ratio(count as f64, elapsed.as_secs_f64()).unwrap_or(0.0)
}

/// How many times `of` the `value` is; nothing can be said of nothing.
#[must_use]
pub fn ratio(value: f64, of: f64) -> Option<f64> {
    (of > 0.0 && value.is_finite()).then(|| value / of)
}

/// A figure in a table, with about three digits that mean something.
#[must_use]
pub fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!([1, 50, 95, 99, 100].map(|p| percentile(&hundred, p)), [1, 50, 95, 99, 100].map(Some));
        // Of few values the high percentiles are the longest, never something beyond it.
        assert_eq!([50, 95, 99].map(|p| percentile(&[1, 2, 3], p)), [Some(2), Some(3), Some(3)]);
        assert_eq!([1, 50, 99].map(|p| percentile(&[7], p)), [Some(7); 3]);
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_summary_does_not_depend_on_the_order() {
        let mut one: Latencies = [5, 1].map(Duration::from_millis).into_iter().collect();
        one.push(Duration::from_millis(3));
        one.extend([2, 9].map(Duration::from_millis).into_iter().collect());
        let expected = Summary { count: 5, mean_ms: 4.0, p50_ms: 3.0, p95_ms: 9.0, p99_ms: 9.0, max_ms: 9.0 };
        assert_eq!(one.summary(), Some(expected));
        assert_eq!(Latencies::default().summary(), None);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(per_second(30, Duration::from_millis(1500)), 20.0);
        assert_eq!(per_second(0, Duration::ZERO), 0.0);
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!((ratio(1.0, 0.0), ratio(f64::NAN, 1.0)), (None, None));
        assert_eq!([None, Some(0.123), Some(12.34), Some(1234.5)].map(shown), ["-", "0.12", "12.3", "1234"]);
    }
}
