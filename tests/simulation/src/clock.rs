//! Wall clocks: each node's is off by what it likes, and jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::Timestamp;
use raft_store::clock::Clock;

/// Milliseconds since 1970 at which each simulation begins.
const BEGIN: i64 = 1_700_000_000_000;

/// A node's wall clock. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    /// True time since the beginning, in milliseconds.
    now: Arc<AtomicI64>,
    off: Arc<AtomicI64>,
}

impl WallClock {
    /// True time goes on.
    pub fn set(&self, millis: u64) {
        self.now.store(millis as i64, Ordering::Relaxed);
    }

    /// From now on it shows so many milliseconds more than true time, or less.
    pub fn skew(&self, millis: i64) {
        self.off.store(millis, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let shown = BEGIN + self.now.load(Ordering::Relaxed) + self.off.load(Ordering::Relaxed);
        Timestamp(shown.max(0) as u64)
    }
}
