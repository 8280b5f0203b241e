//! The node's clocks, read in one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// Now, by this node's clock; 0 for a clock before 1970.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}

/// Since this machine started, the time it slept included: the clock that a container's init reads as well.
#[must_use]
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
