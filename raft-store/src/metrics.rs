//! Names of this crate's metrics, with what they mean.

use metrics::{Unit, describe_histogram};

/// Histogram: seconds from the append of log entries to their being synced on this node's disk.
pub(crate) const APPEND_SECONDS: &str = "troupe_raft_append_seconds";

/// Describes all of them to the recorder that is installed.
pub fn describe() {
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from the append of log entries to their being synced on this node's disk"
    );
}
