//! What time it is for people: a seam, so that a simulation can have clocks that differ and jump.
//!
//! Never for order or for timeouts: those go by log index and by the runtime's clock.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// A clock that is shared by all who look at it.
pub type SharedClock = Arc<dyn Clock>;

/// A wall clock, which may be wrong and may go back.
pub trait Clock: Debug + Send + Sync {
    /// Now, in milliseconds since 1970.
    fn now(&self) -> Timestamp;
}

/// This machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as u64)
    }
}
