//! When a snapshot is due: when the log since the last one is as long as the state is large.
//!
//! A snapshot writes the whole state. At a fixed distance, a large state would be written again and again while little of
//! it changed: with 100,000 jobs, and a snapshot after each 20,000 entries, nodes spent half of their processor time and
//! most of their disk on that. As it is, snapshots cost each entry about as much as the entry itself, whatever the
//! size, and a node that starts applies about as much as it reads.

use domain::{ClusterState, LogIndex};
use openraft::async_runtime::watch::WatchReceiver;

use crate::server::Node;
use crate::state_machine::View;

/// Asks for snapshots until Raft ends, each `least` entries after the one before or later.
pub(crate) async fn run(raft: Node, view: View, least: u64) {
    let mut metrics = raft.metrics();
    // The snapshot that the last one asked for follows upon: one is asked for once.
    let mut asked = None;
    loop {
        let (applied, snapshot) = {
            let metrics = metrics.borrow_watched();
            let index = |id: Option<openraft::alias::LogIdOf<crate::TypeConfig>>| id.map_or(0, |id| id.index);
            (index(metrics.last_applied), index(metrics.snapshot))
        };
        if asked != Some(snapshot) && is_due(applied, snapshot, least, &view.current().state) {
            asked = Some(snapshot);
            if let Err(error) = raft.trigger().snapshot().await {
                tracing::debug!(%error, "no snapshot: raft has ended");
                return;
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// A job is the most of what a state holds; everything else comes with one.
fn is_due(applied: LogIndex, snapshot: LogIndex, least: u64, state: &ClusterState) -> bool {
    applied.saturating_sub(snapshot) >= least.max(state.jobs.len() as u64)
}

#[cfg(test)]
mod tests {
    use domain::{Command, Entry, JobId, NewJob, NewRun, RunId, SpecBytes, Timestamp};

    use super::*;

    /// A state with so many jobs.
    fn with_jobs(jobs: u16) -> ClusterState {
        let mut state = ClusterState::default();
        for number in 0..jobs {
            let id = RunId(u128::from(number) + 1);
            let run = NewRun::of(id, "", vec![NewJob::named("job")], vec![SpecBytes([][..].into())]);
            let command = Command::SubmitRun {
                key: String::new(),
                digest: [0; 32],
                sender: String::new(),
                run,
                max_open_jobs: u32::MAX,
            };
            state.apply(u64::from(number) + 1, &Entry { at: Timestamp(1), command });
            assert!(state.jobs.contains(&JobId { run: id, index: 0 }));
        }
        state
    }

    #[test]
    fn a_small_state_is_written_at_a_distance_and_a_large_one_when_the_log_is_as_long() {
        let (small, large) = (with_jobs(0), with_jobs(300));
        for (applied, snapshot, due_small, due_large) in [
            (99, 0, false, false),
            (100, 0, true, false),
            (299, 0, true, false),
            (300, 0, true, true),
            (399, 100, true, false),
            (400, 100, true, true),
        ] {
            assert_eq!(is_due(applied, snapshot, 100, &small), due_small, "{applied} after {snapshot}");
            assert_eq!(is_due(applied, snapshot, 100, &large), due_large, "{applied} after {snapshot}");
        }
        assert!(!is_due(5, 300, 100, &small), "a snapshot that was received may be ahead");
    }
}
