//! A stage's figures, named as `troupe bench submit --json` names them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One stage.
#[derive(Debug, Serialize)]
pub struct Row {
    clients: usize,
    submits: usize,
    accepted: usize,
    errors: BTreeMap<String, usize>,
    seconds: f64,
    submits_per_second: f64,
    latency: Option<Summary>,
}

/// Latencies in milliseconds; percentiles by the nearest rank.
#[derive(Debug, Serialize)]
struct Summary {
    count: usize,
    mean_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Row {
    /// Of all latencies in nanoseconds, in any order.
    pub fn new(clients: usize, elapsed: Duration, mut nanos: Vec<u64>, errors: BTreeMap<String, usize>) -> Self {
        nanos.sort_unstable();
        let count = nanos.len();
        let seconds = elapsed.as_secs_f64();
        Self {
            clients,
            submits: count + errors.values().sum::<usize>(),
            accepted: count,
            errors,
            seconds,
            submits_per_second: count as f64 / seconds,
            latency: summary(&nanos),
        }
    }
}

fn summary(sorted: &[u64]) -> Option<Summary> {
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied().map(millis);
    Some(Summary {
        count: sorted.len(),
        mean_ms: millis(sorted.iter().sum()) / sorted.len() as f64,
        p50_ms: at(50)?,
        p95_ms: at(95)?,
        p99_ms: at(99)?,
        max_ms: at(100)?,
    })
}
