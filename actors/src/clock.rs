//! The node's wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// Now, by this node's clock; 0 for a clock before 1970.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
