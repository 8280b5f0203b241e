//! Nodes in trouble rest: one that loses attempts through its own fault (no room on its disk, an engine that does not answer) is
//! idle, and so would be given the next job, too, and burn the attempts of all that is queued. Pure.
//!
//! In the leader's memory: a new leader tries every node afresh.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::NodeId;
use tokio::time::Instant;

/// After the first loss; doubled at each further one that follows before anything went well there.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<NodeId, Trouble>);

#[derive(Debug)]
struct Trouble {
    losses: u32,
    until: Instant,
}

impl Troubles {
    /// An attempt was lost there; how long the node rests.
    pub(super) fn lost(&mut self, node: NodeId, now: Instant) -> Duration {
        let trouble = self.0.entry(node).or_insert(Trouble { losses: 0, until: now });
        // Those that were under way when the first one was lost are no further signs of anything.
        if trouble.losses == 0 || trouble.until <= now {
            let rest = REST_MIN.saturating_mul(1 << trouble.losses.min(16)).min(REST_MAX);
            (trouble.losses, trouble.until) = (trouble.losses + 1, now + rest);
        }
        trouble.until.saturating_duration_since(now)
    }

    /// A job ended there as jobs do, or the node has begun another life.
    pub(super) fn well(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    /// Those that rest now.
    pub(super) fn resting(&self, now: Instant) -> BTreeSet<NodeId> {
        self.0.iter().filter(|(_, trouble)| trouble.until > now).map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_rests_twice_as_long_each_time_until_something_goes_well() {
        let (mut troubles, begin, node) = (Troubles::default(), Instant::now(), NodeId(1));
        let mut now = begin;
        for seconds in [1, 2, 4, 8] {
            assert!(troubles.resting(now).is_empty());
            assert_eq!(troubles.lost(node, now), Duration::from_secs(seconds));
            // What was lost at the same time counts once.
            assert_eq!(troubles.lost(node, now), Duration::from_secs(seconds));
            assert_eq!(troubles.resting(now), BTreeSet::from([node]));
            now += Duration::from_secs(seconds);
        }
        for _ in 0..40 {
            now += troubles.lost(node, now);
        }
        assert_eq!(troubles.lost(node, now), REST_MAX);
        troubles.well(node);
        assert!(troubles.resting(now).is_empty());
        assert_eq!(troubles.lost(node, now), REST_MIN);
    }
}
