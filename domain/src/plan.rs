//! Decides which queued job goes to which node.
//! Pure: knows no clocks, tasks or sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{ClusterState, Job, JobId, JobState, Labels, NodeId, Placement, Resources, RunId, limits};

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The replicated state.
    pub state: &'a ClusterState,
    /// Nodes that jobs may be given to now, as the leader sees it: their lease holds, and they say that they can begin some.
    pub candidates: &'a BTreeSet<NodeId>,
    /// Queued jobs looked at, at most, so that a long queue does not make a plan slow.
    pub examine: usize,
}

/// The planner's decision.
#[must_use]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the queue; at most [`limits::MAX_BATCH`].
    pub placements: Vec<Placement>,
    /// What was looked at and not placed, and why.
    pub unplaced: Vec<(JobId, Reason)>,
}

/// Why a job is not placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No node can be given jobs now.
    NoNode,
    /// No live node has all the labels.
    NoLabels {
        /// What was asked for.
        wanted: Labels,
    },
    /// No live node with the labels is large enough, even when idle.
    TooLarge {
        /// What was asked for.
        wanted: Resources,
    },
    /// All nodes that could take it drain.
    Draining,
    /// All nodes that could take it are full.
    Full,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode => f.write_str("no node can be given jobs now"),
            Self::NoLabels { wanted } => {
                write!(f, "no live node has the labels {}", wanted.iter().collect::<Vec<_>>().join(", "))
            }
            Self::TooLarge { wanted } => {
                let (cpu, memory) = (wanted.cpu_millis, wanted.memory_mib);
                write!(f, "no live node with the labels has {cpu} thousandths of a cpu and {memory} MiB")
            }
            Self::Draining => f.write_str("all nodes that could take it drain"),
            Self::Full => f.write_str("all nodes that could take it are full"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for p in &self.placements {
            writeln!(f, "{} attempt {} -> {}", p.job, p.number, p.node)?;
        }
        for (job, reason) in &self.unplaced {
            writeln!(f, "{job} stays: {reason}")?;
        }
        Ok(())
    }
}

struct Candidate<'a> {
    id: NodeId,
    labels: &'a Labels,
    drain: bool,
    slots: u16,
    total: Resources,
    free: Resources,
}

impl Candidate<'_> {
    fn has_room(&self, wanted: Resources) -> bool {
        self.slots > 0 && fits(self.free, wanted)
    }

    /// The least loaded goes first; ties by id, so that the plan is deterministic.
    fn rank(&self) -> (u64, u16, std::cmp::Reverse<NodeId>) {
        let share =
            |free: u32, total: u32| if total == 0 { 0 } else { u64::from(free) * 1000 / u64::from(total) };
        let cpu = share(self.free.cpu_millis, self.total.cpu_millis);
        let memory = share(self.free.memory_mib, self.total.memory_mib);
        (cpu.min(memory), self.slots, std::cmp::Reverse(self.id))
    }
}

fn fits(free: Resources, wanted: Resources) -> bool {
    wanted.cpu_millis <= free.cpu_millis && wanted.memory_mib <= free.memory_mib
}

/// Places queued jobs on eligible nodes: by priority, then age; each on the least loaded node that fits, one that was lost
/// on another than the last if it can be.
///
/// Deterministic in the snapshot. Never places a job twice and never exceeds a node's capacity (N-1). What was
/// looked at and could not be placed is in [`Plan::unplaced`], with the reason; once one job did not fit, others that
/// ask for the same are not tried again.
///
/// Cost: O(p n + e log s) for p placements on n nodes, e jobs examined, s distinct requests that do not fit.
pub fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut candidates = candidates(snapshot.state, snapshot.candidates.iter().copied());
    let mut plan = Plan::default();
    let mut hopeless: BTreeMap<(&Labels, u32, u32), Reason> = BTreeMap::new();
    let mut given: BTreeMap<(RunId, NodeId), usize> = BTreeMap::new();
    for (key, ()) in snapshot.state.queue.iter().take(snapshot.examine) {
        if plan.placements.len() >= limits::MAX_BATCH {
            break;
        }
        let Some(job) = snapshot.state.jobs.get(&key.job) else { continue };
        let wanted = job.resources;
        let shape = (&job.labels, wanted.cpu_millis, wanted.memory_mib);
        if let Some(reason) = hopeless.get(&shape) {
            plan.unplaced.push((key.job, reason.clone()));
            continue;
        }
        // Where it did not succeed it goes again only when no other has room.
        let last = (job.losses + job.failures > 0).then_some(job.node);
        let beside =
            |node: NodeId| if job.spread { others_on(snapshot.state, &given, key.job, node) } else { 0 };
        let best = candidates
            .iter_mut()
            .filter(|c| !c.drain && c.has_room(wanted) && c.labels.covers(&job.labels))
            .max_by_key(|c| (Some(c.id) != last, std::cmp::Reverse(beside(c.id)), c.rank()));
        match best {
            Some(node) => {
                node.slots -= 1;
                node.free.cpu_millis -= wanted.cpu_millis;
                node.free.memory_mib -= wanted.memory_mib;
                *given.entry((key.job.run, node.id)).or_default() += 1;
                plan.placements.push(Placement { job: key.job, number: job.attempts + 1, node: node.id });
            }
            None => {
                let reason = why_not(&candidates, &job.labels, wanted);
                hopeless.insert(shape, reason.clone());
                plan.unplaced.push((key.job, reason));
            }
        }
    }
    plan
}

/// How many jobs of a job's run a node holds, or is to be given by this plan.
fn others_on(
    state: &ClusterState,
    given: &BTreeMap<(RunId, NodeId), usize>,
    job: JobId,
    node: NodeId,
) -> usize {
    let (first, last) = (JobId { index: 0, ..job }, JobId { index: u16::MAX, ..job });
    let held = state.held.range((node, first)..=(node, last)).count();
    held + given.get(&(job.run, node)).copied().unwrap_or(0)
}

/// Why queued jobs wait, as any node can tell it: leases are the leader's business, so every node that is not lost
/// counts as live.
pub struct Waits<'a>(Vec<Candidate<'a>>);

impl<'a> Waits<'a> {
    /// Looks at all nodes once.
    #[must_use]
    pub fn new(state: &'a ClusterState) -> Self {
        Self(candidates(state, state.nodes.iter().map(|(id, _)| *id)))
    }

    /// None when a node has room, so that the next plan places it, and for a job that is not queued.
    #[must_use]
    pub fn why(&self, job: &Job) -> Option<Reason> {
        let room = |c: &Candidate<'_>| !c.drain && c.has_room(job.resources) && c.labels.covers(&job.labels);
        let waits = job.state == JobState::Queued && !self.0.iter().any(room);
        waits.then(|| why_not(&self.0, &job.labels, job.resources))
    }
}

fn candidates(state: &ClusterState, live: impl Iterator<Item = NodeId>) -> Vec<Candidate<'_>> {
    live.filter_map(|id| Some((id, state.nodes.get(&id)?)))
        .filter(|(_, node)| !node.lost)
        .map(|(id, node)| {
            let (used, count) = state.used(id);
            let total = node.capacity.resources;
            Candidate {
                id,
                labels: &node.labels,
                drain: node.drains(),
                slots: node.capacity.slots.saturating_sub(count),
                total,
                free: Resources {
                    cpu_millis: total.cpu_millis.saturating_sub(used.cpu_millis),
                    memory_mib: total.memory_mib.saturating_sub(used.memory_mib),
                },
            }
        })
        .collect()
}

fn why_not(candidates: &[Candidate<'_>], labels: &Labels, wanted: Resources) -> Reason {
    if candidates.is_empty() {
        return Reason::NoNode;
    }
    let labelled: Vec<_> = candidates.iter().filter(|c| c.labels.covers(labels)).collect();
    if labelled.is_empty() {
        return Reason::NoLabels { wanted: labels.clone() };
    }
    let large: Vec<_> = labelled.into_iter().filter(|c| fits(c.total, wanted)).collect();
    match large.as_slice() {
        [] => Reason::TooLarge { wanted },
        large if large.iter().all(|c| c.drain) => Reason::Draining,
        _ => Reason::Full,
    }
}
