//! Clusters of real processes and real containers, seen from outside: over HTTP, through the command line, through Docker.
//!
//! Must not know anything of the inside: what cannot be seen from outside is not asserted here. A helper that cannot go on
//! panics and says why: it is the test that fails.
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

pub mod addresses;
pub mod binary;
pub mod client;
pub mod cluster;
pub mod containers;
mod dialer;
pub mod drill;
pub mod engine;
pub mod evidence;
pub mod faults;
pub mod faulty;
pub mod follower;
pub mod gather;
pub mod history;
pub mod node;
pub mod oracle;
pub mod previous;
pub mod project;
pub mod push;
pub mod report;
pub mod round;
pub mod shim;
pub mod small_disk;
pub mod submits;
pub mod weather;
pub mod wires;
pub mod work;
pub mod workload;
pub mod world;

use std::fmt::Display;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest that anything is waited for. Nothing should take this long; it bounds a test that hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Milliseconds since 1970.
#[must_use]
pub fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Nanoseconds since 1970.
#[must_use]
pub fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none for 90 s.
pub async fn until<T>(what: impl Display, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain until {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
