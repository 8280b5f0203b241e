//! Names of the metrics that actors record, described once. Never labelled by job or run.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// Placements taken by the state machine.
pub const PLACEMENTS: &str = "troupe_placements_total";
/// Attempts that ended on this node, by `outcome`.
pub const ATTEMPTS: &str = "troupe_attempts_total";
/// Slots of this node, by `state`: idle, busy, offline.
pub const SLOTS: &str = "troupe_runner_slots";
/// Open jobs, by `state`; recorded by the leader.
pub const QUEUE_DEPTH: &str = "troupe_queue_jobs";
/// From a cancel or a pause in the log until the attempt is so, by `intent`: cancel, pause, resume.
pub const INTENT_SECONDS: &str = "troupe_intent_seconds";
/// From queued to placed.
pub const QUEUED_SECONDS: &str = "troupe_job_queued_seconds";
/// From placed to started.
pub const PLACED_SECONDS: &str = "troupe_job_placed_seconds";
/// From started to finished.
pub const RUN_SECONDS: &str = "troupe_job_run_seconds";
/// Sessions with other nodes that are up.
pub const PEERS_UP: &str = "troupe_peers_up";
/// Requests and sessions refused because a peer said to be another than its certificate names.
pub const GATEWAY_REFUSED: &str = "troupe_gateway_refused_total";
/// Nodes whose lease ran out, as this leader found.
pub const NODES_LOST: &str = "troupe_nodes_lost_total";
/// Reports of this node's attempts that were refused: the attempt was taken from it, or is over.
pub const REPORTS_REFUSED: &str = "troupe_reports_refused_total";
/// Times this node ended its attempts because it could not renew its lease.
pub const SELF_FENCED: &str = "troupe_self_fenced_total";
/// How much earlier than the leader this node gives its lease up, in seconds.
pub const LEASE_MARGIN: &str = "troupe_lease_margin_seconds";
/// How long this process was seen to stand still, in seconds; what is past counts less and less.
pub const STALL: &str = "troupe_stall_seconds";
/// How much faster than this node's the leader's clock runs, at least.
pub const CLOCK_LAG: &str = "troupe_clock_lag_ratio";
/// Restarts of supervised children, by `actor`.
pub const ACTOR_RESTARTS: &str = "troupe_actor_restarts_total";
/// Supervised children that do not run now.
pub const ACTORS_DOWN: &str = "troupe_actors_down";

/// Runs of which a forge is to be told; recorded by the leader.
pub const OUTBOX_NOTICES: &str = "troupe_outbox_notices";
/// How long the oldest of them waits; recorded by the leader.
pub const OUTBOX_OLDEST: &str = "troupe_outbox_oldest_seconds";
/// Commit statuses that were sent, by `forge` and `outcome`: told, again, never.
pub const OUTBOX_SENT: &str = "troupe_outbox_sent_total";

/// Describes all of them to the recorder.
pub fn describe() {
    describe_counter!(PLACEMENTS, "Placements taken by the state machine");
    describe_counter!(ATTEMPTS, "Attempts that ended on this node, by outcome");
    describe_gauge!(SLOTS, "Slots of this node, by state");
    describe_gauge!(QUEUE_DEPTH, "Open jobs, by state; recorded by the leader");
    describe_histogram!(
        INTENT_SECONDS,
        Unit::Seconds,
        "Time from a cancel or a pause to its attempt being so, by intent"
    );
    describe_histogram!(QUEUED_SECONDS, Unit::Seconds, "Time from queued to placed");
    describe_histogram!(PLACED_SECONDS, Unit::Seconds, "Time from placed to started");
    describe_histogram!(RUN_SECONDS, Unit::Seconds, "Time from started to finished");
    describe_gauge!(PEERS_UP, "Sessions with other nodes that are up");
    describe_counter!(
        GATEWAY_REFUSED,
        "Requests and sessions refused because a peer said to be another than its certificate names"
    );
    describe_counter!(NODES_LOST, "Nodes whose lease ran out, as this leader found");
    describe_counter!(REPORTS_REFUSED, "Reports of this node's attempts that were refused");
    describe_counter!(SELF_FENCED, "Times this node ended its attempts because it could not renew its lease");
    describe_gauge!(
        LEASE_MARGIN,
        Unit::Seconds,
        "How much earlier than the leader this node gives its lease up"
    );
    describe_gauge!(
        STALL,
        Unit::Seconds,
        "How long this process was seen to stand still; what is past counts less and less"
    );
    describe_gauge!(CLOCK_LAG, "How much faster than this node's the leader's clock runs, at least");
    describe_counter!(ACTOR_RESTARTS, "Restarts of this node's supervised actors, by actor");
    describe_gauge!(ACTORS_DOWN, "Supervised actors of this node that do not run now");
    describe_gauge!(OUTBOX_NOTICES, "Runs of which a forge is to be told; recorded by the leader");
    describe_gauge!(
        OUTBOX_OLDEST,
        Unit::Seconds,
        "How long the oldest commit status waits to be told; recorded by the leader"
    );
    describe_counter!(
        OUTBOX_SENT,
        "Commit statuses that were sent, by forge and outcome: told, again, never"
    );
    // What never happened is shown as never, so that its first time is a change.
    for name in [PLACEMENTS, NODES_LOST, SELF_FENCED, GATEWAY_REFUSED, REPORTS_REFUSED] {
        counter!(name).increment(0);
    }
}
