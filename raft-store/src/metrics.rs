//! Names of this crate's metrics, with what they mean.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::store::Status;

/// Histogram: seconds from the append of log entries to their being synced on this node's disk.
pub(crate) const APPEND_SECONDS: &str = "troupe_raft_append_seconds";
/// Histogram: entries that shared one sync of this node's log.
pub(crate) const SYNC_ENTRIES: &str = "troupe_raft_sync_entries";
/// Histogram: seconds that a proposal took on the node that made it, forwarding and waiting for a leader included.
pub(crate) const PROPOSE_SECONDS: &str = "troupe_raft_propose_seconds";
/// Histogram, on the leader: seconds from a batch of proposals until all of it is committed and applied here.
pub(crate) const WRITE_SECONDS: &str = "troupe_raft_write_seconds";
/// Histogram, on the leader: seconds until a member has answered an append of entries, its sync included.
pub(crate) const REPLICATE_SECONDS: &str = "troupe_raft_replicate_seconds";
/// Histogram, on the leader: seconds until a member has answered a heartbeat.
pub(crate) const HEARTBEAT_SECONDS: &str = "troupe_raft_heartbeat_seconds";
/// Counter: commands refused because a node proposed them in another's name.
pub(crate) const REFUSED_PROPOSALS: &str = "troupe_raft_refused_proposals_total";
/// Gauge: bytes that can still be written to the disk of the data directory.
pub(crate) const DISK_FREE: &str = "troupe_disk_free_bytes";
const TERM: &str = "troupe_raft_term";
const LEADER: &str = "troupe_raft_leader";
const LAST_LOG: &str = "troupe_raft_last_log_index";
const APPLIED: &str = "troupe_raft_applied_index";
const LAG: &str = "troupe_raft_lag_entries";

/// Describes all of them to the recorder that is installed.
pub fn describe() {
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from the append of log entries to their being synced on this node's disk"
    );
    describe_histogram!(SYNC_ENTRIES, "Entries that shared one sync of this node's log");
    describe_histogram!(
        PROPOSE_SECONDS,
        Unit::Seconds,
        "Time of a proposal on the node that made it, forwarding and waiting for a leader included"
    );
    describe_histogram!(
        WRITE_SECONDS,
        Unit::Seconds,
        "On the leader: time from a batch of proposals until all of it is committed and applied"
    );
    describe_histogram!(
        REPLICATE_SECONDS,
        Unit::Seconds,
        "On the leader: time until a member has answered an append of entries, its sync included"
    );
    describe_histogram!(
        HEARTBEAT_SECONDS,
        Unit::Seconds,
        "On the leader: time until a member has answered a heartbeat"
    );
    describe_counter!(REFUSED_PROPOSALS, "Commands refused because a node proposed them in another's name");
    counter!(REFUSED_PROPOSALS).increment(0);
    describe_gauge!(
        DISK_FREE,
        Unit::Bytes,
        "Bytes that can still be written to the disk of the data directory"
    );
    describe_gauge!(TERM, "Raft's term, as this node knows it");
    describe_gauge!(LEADER, "1 on the node that leads, 0 on the others");
    describe_gauge!(LAST_LOG, "Index of the last entry in this node's log");
    describe_gauge!(APPLIED, "Index of the last entry that this node has applied");
    describe_gauge!(LAG, "On the leader: entries that a member is behind");
}

pub(crate) fn record(status: &Status) {
    gauge!(TERM).set(number(status.leadership.term));
    gauge!(LEADER).set(f64::from(u8::from(status.leadership.is_me)));
    gauge!(LAST_LOG).set(number(status.last_log));
    gauge!(APPLIED).set(number(status.applied));
    for (node, lag) in &status.lag {
        gauge!(LAG, "node" => node.to_string()).set(number(*lag));
    }
}

/// Exact up to 2^53, which no term, index or size reaches.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn number(n: u64) -> f64 {
    n as f64
}
