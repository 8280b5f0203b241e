//! Which nodes jobs may be given to now. Stricter than who lives: a placement on a node that is silent, or that says that it can
//! begin nothing, would only wait there until it is taken back or lost. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{ClusterState, NodeId};
use tokio::time::Instant;

use super::unheld::Said;

/// A node that was not heard of for this part of a lease is silent: several heartbeats, and long before the lease is over.
const SILENT: u32 = 5;
/// Within these bounds: longer than heartbeats are apart, and not as long as a job should wait for a node that is gone.
const SILENT_MIN: Duration = Duration::from_millis(250);
const SILENT_MAX: Duration = Duration::from_secs(10);

/// Of `live`, those that were heard of just now and offer all slots that they have.
pub(super) fn candidates(
    now: Instant,
    lease: Duration,
    state: &ClusterState,
    live: &BTreeSet<NodeId>,
    said: &[Said],
) -> BTreeSet<NodeId> {
    let silent = (lease / SILENT).clamp(SILENT_MIN, SILENT_MAX);
    let may = |said: &&Said| {
        let all = state.nodes.get(&said.node).map_or(0, |node| usize::from(node.capacity.slots));
        live.contains(&said.node)
            && now.saturating_duration_since(said.heard) < silent
            && usize::from(said.slots) + said.holdings.len() >= all
    };
    said.iter().filter(may).map(|said| said.node).collect()
}

#[cfg(test)]
mod tests {
    use domain::{BootId, Fence, Holding, JobId, RunId};

    use super::*;
    use crate::queue::unheld::tests::{BOOT, NODE, placed};

    const LEASE: Duration = Duration::from_secs(30);

    #[test]
    fn only_who_was_heard_and_offers_all_slots_is_given_jobs() -> Result<(), domain::Refusal> {
        // Its node has one slot.
        let (state, now) = (placed()?, Instant::now());
        let holding = Holding { job: JobId { run: RunId(1), index: 0 }, number: 1, fence: Fence(3) };
        let said = |node, seconds: u64, slots, holdings: &[Holding]| Said {
            node,
            boot: BOOT,
            heard: now - Duration::from_secs(seconds),
            holdings: holdings.to_vec(),
            slots,
        };
        let live = BTreeSet::from([NODE]);
        let of = |said| !candidates(now, LEASE, &state, &live, &[said]).is_empty();
        assert!(of(said(NODE, 0, 1, &[])));
        assert!(of(said(NODE, 5, 1, &[])));
        // What it holds may be over by now, as the state will know first.
        assert!(of(said(NODE, 5, 0, &[holding])));
        assert!(!of(said(NODE, 6, 1, &[])), "silent");
        assert!(!of(said(NODE, 0, 0, &[])), "it has no lease that is of use");
        assert!(!of(Said { boot: BootId(0), ..said(NodeId(9), 0, 1, &[]) }), "unknown");
        assert!(candidates(now, LEASE, &state, &BTreeSet::new(), &[said(NODE, 0, 1, &[])]).is_empty());
        Ok(())
    }
}
