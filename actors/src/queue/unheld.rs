//! Placements that their node does not hold, and when they are to be taken back.
//!
//! Only a node that speaks can be taken at its word: one that is silent may have begun what it was given, and what it
//! holds is its own until its lease runs out. Must not know how placements are taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{AttemptId, BootId, ClusterState, Fence, Holding, JobState, NodeId};
use tokio::time::Instant;

/// What a node said in its last heartbeat.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) node: NodeId,
    pub(super) boot: BootId,
    /// When it was received.
    pub(super) heard: Instant,
    pub(super) holdings: Vec<Holding>,
    /// Attempts that it could begin beside those.
    pub(super) slots: u16,
}

/// Placements that their nodes, in these lives, were found not to hold, and since when.
#[derive(Debug, Default)]
pub(super) struct Unheld(BTreeMap<(AttemptId, Fence, BootId), Instant>);

impl Unheld {
    /// Compares the state with what nodes said; answers what is to be taken back: placements that a heartbeat did not
    /// name which came `acknowledge` or more after the placement was first seen.
    pub(super) fn look(
        &mut self,
        now: Instant,
        acknowledge: Duration,
        state: &ClusterState,
        said: &[Said],
    ) -> Vec<(AttemptId, Fence)> {
        let (mut still, mut late) = (BTreeMap::new(), Vec::new());
        for Said { node, boot, heard, holdings, .. } in said {
            for (holding, _) in state.holdings(*node) {
                let placed = state.jobs.get(&holding.job).is_some_and(|job| job.state == JobState::Placed);
                if !placed || holdings.contains(&holding) {
                    continue;
                }
                let attempt = AttemptId { job: holding.job, number: holding.number };
                let key = (attempt, holding.fence, *boot);
                let since = self.0.get(&key).copied().unwrap_or(now);
                still.insert(key, since);
                if *heard >= since + acknowledge {
                    late.push((attempt, holding.fence));
                }
            }
        }
        self.0 = still;
        late
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use domain::{
        Capacity, Command, Condition, Entry, JobId, Labels, NewJob, NewRun, NodeFacts, Placement, Reply,
        Resources, RunId, SpecBytes, Timestamp,
    };

    use super::*;

    pub(crate) const NODE: NodeId = NodeId(1);
    pub(crate) const BOOT: BootId = BootId(5);
    const ACKNOWLEDGE: Duration = Duration::from_secs(10);
    const JOB: JobId = JobId { run: RunId(1), index: 0 };

    /// One node, and one job that is placed there.
    pub(crate) fn placed() -> Result<ClusterState, domain::Refusal> {
        let name = "n1".parse().map_err(|_| domain::Refusal::AlreadyDone { what: "name".to_owned() })?;
        let facts = NodeFacts {
            node: NODE,
            name,
            boot: BOOT,
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: Labels::default(),
            capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 1 },
            version: String::new(),
        };
        let job = NewJob {
            key: "job".to_owned(),
            needs: Vec::new(),
            condition: Condition::Success,
            labels: Labels::default(),
            resources: Resources { cpu_millis: 100, memory_mib: 10 },
            priority: 0,
            retry: domain::Retry::of_losses(3),
            ..NewJob::named("job")
        };
        let run = NewRun::of(JOB.run, "x", vec![job], vec![SpecBytes(Arc::from([1u8]))]);
        let submit = Command::SubmitRun {
            key: String::new(),
            digest: [0; 32],
            sender: "t".to_owned(),
            run,
            max_open_jobs: 9,
        };
        let place = Command::Place { placements: vec![Placement { job: JOB, number: 1, node: NODE }] };
        let mut state = ClusterState::default();
        for (index, command) in [Command::RegisterNode(facts), submit, place].into_iter().enumerate() {
            let (reply, _) = state.apply(index as u64 + 1, &Entry { at: Timestamp(1), command });
            if let Reply::Refused(refusal) = reply {
                return Err(refusal);
            }
        }
        Ok(state)
    }

    fn said(heard: Instant, boot: BootId, holdings: Vec<Holding>) -> [Said; 1] {
        [Said { node: NODE, boot, heard, holdings, slots: 1 }]
    }

    #[test]
    fn only_a_heartbeat_after_the_time_to_acknowledge_takes_a_placement_back() -> Result<(), domain::Refusal>
    {
        let state = placed()?;
        let (attempt, fence) = (AttemptId { job: JOB, number: 1 }, Fence(3));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut unheld = Unheld::default();
        let mut look =
            |now, heard, boot| unheld.look(at(now), ACKNOWLEDGE, &state, &said(at(heard), boot, Vec::new()));
        assert_eq!(look(1, 0, BOOT), [], "its last heartbeat is older than the placement");
        assert_eq!(look(100, 0, BOOT), [], "silent since: it may run it until its lease is over");
        assert_eq!(look(100, 10, BOOT), [], "it spoke too early");
        assert_eq!(look(12, 11, BOOT), [(attempt, fence)]);
        // A new life begins anew: what it adopts is not known yet.
        assert_eq!(look(13, 13, BootId(6)), []);
        assert_eq!(look(23, 22, BootId(6)), []);
        assert_eq!(look(24, 23, BootId(6)), [(attempt, fence)]);
        let held = vec![Holding { job: JOB, number: 1, fence }];
        assert_eq!(unheld.look(at(50), ACKNOWLEDGE, &state, &said(at(50), BOOT, held)), []);
        // Held in between: the time counts anew.
        assert_eq!(unheld.look(at(51), ACKNOWLEDGE, &state, &said(at(51), BOOT, Vec::new())), []);
        Ok(())
    }
}
