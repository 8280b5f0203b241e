//! What must always be true, numbered as in docs/invariants.md; checked in unit tests, simulation and chaos alike.

use std::collections::BTreeMap;

use crate::{AttemptId, ClusterState, DeliveryState, JobId, JobState, NodeId, QueueKey, Resources, limits};

/// A broken invariant: its number and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is broken: {found}")]
pub struct Violation {
    /// As in docs/invariants.md.
    pub number: &'static str,
    /// What was found.
    pub found: String,
}

type Check = Result<(), Violation>;

fn broken(number: &'static str, found: impl Into<String>) -> Check {
    Err(Violation { number, found: found.into() })
}

/// All that can be seen in one state. Cost: O(state).
///
/// # Errors
/// The first violation.
pub fn check_state(state: &ClusterState) -> Check {
    queue_is_the_queued_jobs(state)?;
    held_is_the_placed_and_running_jobs(state)?;
    at_most_one_open_attempt(state)?;
    no_job_before_its_needs(state)?;
    only_what_lasts_outlives_a_cancel(state)?;
    counts_are_right(state)?;
    finished_runs_are_finished(state)?;
    nothing_is_held_by_a_lost_node(state)?;
    drains_are_of_nodes_that_drain(state)?;
    tables_agree(state)?;
    members_are_known_once(state)?;
    paused_runs_stand_still(state)?;
    undecided_is_the_deciding_jobs(state)?;
    groups_are_of_open_ones(state)?;
    who_waits_is_held(state)?;
    pending_deliveries_are_those_not_expanded(state)
}

/// All that can be seen in one step.
///
/// # Errors
/// The first violation.
pub fn check_step(before: &ClusterState, after: &ClusterState) -> Check {
    finished_never_changes(before, after)?;
    fences_only_grow(before, after)?;
    capacity_is_never_exceeded(before, after)?;
    time_never_goes_back(before, after)?;
    removed_is_for_ever(before, after)
}

/// the queue holds exactly the jobs in state `Queued`, each at its place.
///
/// # Errors
/// The violation.
pub fn queue_is_the_queued_jobs(state: &ClusterState) -> Check {
    let queued: Vec<QueueKey> = {
        let jobs = state.jobs.iter().filter(|(_, job)| job.state == JobState::Queued);
        let mut keys: Vec<_> = jobs.map(|(id, job)| job.queue_key(*id)).collect();
        keys.sort();
        keys
    };
    let queue: Vec<QueueKey> = state.queue.iter().map(|(key, ())| *key).collect();
    if queue == queued { Ok(()) } else { broken("Q-1", format!("queue {queue:?}, queued jobs {queued:?}")) }
}

/// `held` is exactly the jobs in state `Placed` or `Running`, under their node.
///
/// # Errors
/// The violation.
pub fn held_is_the_placed_and_running_jobs(state: &ClusterState) -> Check {
    let holds = |state: JobState| matches!(state, JobState::Placed | JobState::Running);
    let mut jobs: Vec<(NodeId, JobId)> =
        state.jobs.iter().filter(|(_, job)| holds(job.state)).map(|(id, job)| (job.node, *id)).collect();
    jobs.sort();
    let held: Vec<(NodeId, JobId)> = state.held.iter().map(|(key, ())| *key).collect();
    if held == jobs { Ok(()) } else { broken("Q-2", format!("held {held:?}, placed and running {jobs:?}")) }
}

/// a job has at most one open attempt: the last, and only while it is placed or running. Fences grow with attempts.
///
/// # Errors
/// The violation.
pub fn at_most_one_open_attempt(state: &ClusterState) -> Check {
    let mut last: Option<(AttemptId, crate::Fence)> = None;
    for (id, attempt) in state.attempts.iter() {
        let Some(job) = state.jobs.get(&id.job) else { return broken("Q-3", format!("{id} has no job")) };
        let present = job.attempts == id.number && matches!(job.state, JobState::Placed | JobState::Running);
        if attempt.outcome.is_none() != present {
            return broken("Q-3", format!("{id} of a job {:?}: outcome {:?}", job.state, attempt.outcome));
        }
        if present && (job.fence, job.node) != (attempt.fence, attempt.node) {
            return broken("Q-3", format!("{id}: fence or node differ between job and attempt"));
        }
        if let Some((before, fence)) = last
            && before.job == id.job
            && fence >= attempt.fence
        {
            return broken("Q-3", format!("{id} has fence {}, {before} has {fence}", attempt.fence));
        }
        last = Some((*id, attempt.fence));
    }
    Ok(())
}

/// N-1: a node is never given more than it offers. (One that comes back offering less may be over until jobs end.)
///
/// # Errors
/// The violation.
pub fn capacity_is_never_exceeded(before: &ClusterState, after: &ClusterState) -> Check {
    for (id, node) in after.nodes.iter() {
        let (used, count): (Resources, u16) = after.used(*id);
        let capacity = node.capacity;
        let over = used.cpu_millis > capacity.resources.cpu_millis
            || used.memory_mib > capacity.resources.memory_mib
            || count > capacity.slots;
        if over && count > before.used(*id).1 {
            return broken("N-1", format!("node {id}: {count} jobs take {used:?} of {capacity:?}"));
        }
    }
    Ok(())
}

/// J-1: a job leaves `Waiting` only when all that it needs is finished; `Waiting(n)` counts those that are not. A
/// cancelled job may leave earlier.
///
/// # Errors
/// The violation.
pub fn no_job_before_its_needs(state: &ClusterState) -> Check {
    for (id, job) in state.jobs.iter() {
        let open = state.open_needs(*id, job);
        let right = match job.state {
            JobState::Waiting(n) => n == open && open > 0,
            JobState::Finished(_) => open == 0 || job.cancel_requested,
            _ => open == 0,
        };
        if !right {
            return broken(
                "J-1",
                format!("job {id} is {:?} while {open} of its needs are not finished", job.state),
            );
        }
    }
    Ok(())
}

/// J-3: of a run whose end was asked for, a job that is not finished lasts, or was told to end.
///
/// # Errors
/// The violation.
pub fn only_what_lasts_outlives_a_cancel(state: &ClusterState) -> Check {
    let cancelled = |id: &JobId| state.runs.get(&id.run).is_some_and(|run| run.cancel_requested);
    for (id, job) in state.jobs.iter().filter(|(id, job)| job.outcome().is_none() && cancelled(id)) {
        if !job.cancel_requested && !state.lasts(*id) {
            return broken("J-3", format!("job {id} is {:?} in a run that was cancelled", job.state));
        }
    }
    Ok(())
}

/// C-1: the counts of open jobs, in all and per run, are right.
///
/// # Errors
/// The violation.
pub fn counts_are_right(state: &ClusterState) -> Check {
    let mut per_run = BTreeMap::new();
    for (id, job) in state.jobs.iter() {
        *per_run.entry(id.run).or_insert(0_u32) += u32::from(job.outcome().is_none());
    }
    let total: u32 = per_run.values().sum();
    if total != state.open_jobs {
        return broken("C-1", format!("{} open jobs are counted, there are {total}", state.open_jobs));
    }
    for (id, run) in state.runs.iter() {
        let open = per_run.get(id).copied().unwrap_or(0);
        if u32::from(run.open_jobs) != open {
            return broken("C-1", format!("run {id} counts {} open jobs, it has {open}", run.open_jobs));
        }
    }
    Ok(())
}

/// a run is finished exactly when all its jobs are.
///
/// # Errors
/// The violation.
pub fn finished_runs_are_finished(state: &ClusterState) -> Check {
    match state.runs.iter().find(|(_, run)| run.outcome.is_some() != (run.open_jobs == 0)) {
        Some((id, run)) => {
            broken("R-1", format!("run {id}: {} open jobs, outcome {:?}", run.open_jobs, run.outcome))
        }
        None => Ok(()),
    }
}

/// N-2: a lost node holds nothing and expands nothing.
///
/// # Errors
/// The violation.
pub fn nothing_is_held_by_a_lost_node(state: &ClusterState) -> Check {
    let lost = |id: &NodeId| state.nodes.get(id).is_none_or(|node| node.lost);
    if let Some(((node, job), ())) = state.held.iter().find(|((node, _), ())| lost(node)) {
        return broken("N-2", format!("job {job} is held by the lost node {node}"));
    }
    for (id, delivery) in state.deliveries.iter() {
        if let DeliveryState::Expanding { node, .. } = &delivery.state
            && lost(node)
        {
            return broken("N-2", format!("delivery {id} is expanded by the lost node {node}"));
        }
    }
    Ok(())
}

/// N-3: only a node that drains has a deadline for it, and a node leaves in the life that is registered.
///
/// # Errors
/// The violation.
pub fn drains_are_of_nodes_that_drain(state: &ClusterState) -> Check {
    for (id, node) in state.nodes.iter() {
        if node.drain_until.is_some() && !node.drain {
            return broken("N-3", format!("node {id} does not drain, until {:?}", node.drain_until));
        }
        if node.leave.is_some_and(|leave| leave.boot != node.boot) {
            return broken("N-3", format!("node {id} of life {:?} has {:?}", node.boot, node.leave));
        }
    }
    Ok(())
}

/// T-1: tables that speak of the same things agree: specifications, attempts, keys, names.
///
/// # Errors
/// The violation.
pub fn tables_agree(state: &ClusterState) -> Check {
    let attempts: usize = state.jobs.iter().map(|(_, job)| usize::from(job.attempts)).sum();
    let jobs: usize = state.runs.iter().map(|(_, run)| usize::from(run.jobs)).sum();
    let pairs = [
        ("jobs and runs", state.jobs.len(), jobs),
        ("specifications and jobs", state.specs.len(), state.jobs.len()),
        ("attempts and jobs", state.attempts.len(), attempts),
        ("keys and their ages", state.keys.len(), state.key_ages.len()),
        ("repositories and names", state.repos.len(), state.repo_names.len()),
    ];
    if let Some((what, a, b)) = pairs.into_iter().find(|(_, a, b)| a != b) {
        return broken("T-1", format!("{what}: {a} and {b}"));
    }
    if let Some((id, job)) = state
        .jobs
        .iter()
        .find(|(_, job)| job.losses + job.failures > job.retry.attempts.min(limits::MAX_ATTEMPTS))
    {
        let (found, most) = (job.losses + job.failures, job.retry.attempts);
        return broken("T-1", format!("job {id} did not succeed {found} times of {most}"));
    }
    Ok(())
}

/// D-1: `pending_deliveries` is exactly the deliveries that are not expanded.
///
/// # Errors
/// The violation.
pub fn pending_deliveries_are_those_not_expanded(state: &ClusterState) -> Check {
    let open: Vec<_> = state
        .deliveries
        .iter()
        .filter(|(_, delivery)| !matches!(delivery.state, DeliveryState::Expanded { .. }))
        .map(|(id, _)| *id)
        .collect();
    let pending: Vec<_> = state.pending_deliveries.iter().map(|(id, ())| *id).collect();
    if open == pending {
        Ok(())
    } else {
        broken("D-1", format!("pending {pending:?}, not expanded {open:?}"))
    }
}

/// M-1: a removed id is neither a node nor admitted, and a name belongs to one id among those that are.
///
/// # Errors
/// The violation.
pub fn members_are_known_once(state: &ClusterState) -> Check {
    let mut owners = BTreeMap::new();
    let registered = state.nodes.iter().map(|(id, node)| (*id, &node.name));
    for (id, name) in registered.chain(state.admitted.iter().map(|(id, node)| (*id, &node.name))) {
        if state.removed.contains(&id) {
            return broken("M-1", format!("node {id} was removed and is known as {name}"));
        }
        let owner = *owners.entry(name).or_insert(id);
        if owner != id {
            return broken("M-1", format!("the name {name} belongs to {owner} and to {id}"));
        }
    }
    Ok(())
}

/// M-2: what was removed stays removed, and a join token that was used keeps its one use while it is remembered.
///
/// # Errors
/// The violation.
pub fn removed_is_for_ever(before: &ClusterState, after: &ClusterState) -> Check {
    if let Some((id, _)) = before.removed.iter().find(|(id, _)| !after.removed.contains(id)) {
        return broken("M-2", format!("node {id} had been removed"));
    }
    for (id, token) in before.join_tokens.iter().filter(|(_, token)| token.used.is_some()) {
        if after.join_tokens.get(id).is_some_and(|now| now != token) {
            return broken("M-2", format!("join token {id} had been used as {:?}", token.used));
        }
    }
    Ok(())
}

/// P-1: no job of a paused run is queued, and what is held is held for a reason that is there. What is noted as paused is an open
/// run, or an open attempt.
///
/// # Errors
/// The violation.
pub fn paused_runs_stand_still(state: &ClusterState) -> Check {
    let wrong = |(id, job): &(&JobId, &crate::Job)| match job.state {
        JobState::Queued => state.paused_runs.contains(&id.run),
        JobState::Held => state.hold(**id).is_none(),
        _ => false,
    };
    if let Some((id, job)) = state.jobs.iter().find(wrong) {
        let paused = state.paused_runs.get(&id.run);
        return broken("P-1", format!("job {id} is {:?}, its run: {paused:?}", job.state));
    }
    let open = |id: &crate::RunId| state.runs.get(id).is_some_and(|run| run.outcome.is_none());
    if let Some((id, _)) = state.paused_runs.iter().find(|(id, _)| !open(id)) {
        return broken("P-1", format!("run {id} is paused and not open"));
    }
    let open = |id: &AttemptId| state.attempts.get(id).is_some_and(|attempt| attempt.outcome.is_none());
    match state.paused_attempts.iter().find(|(id, _)| !open(id)) {
        Some((id, _)) => broken("P-1", format!("attempt {id} is paused and not open")),
        None => Ok(()),
    }
}

/// `undecided` is exactly the jobs in state `Deciding`; a group is open as long as a member of it is not finished, and no
/// longer, unless it was ended.
///
/// # Errors
/// The violation.
pub fn undecided_is_the_deciding_jobs(state: &ClusterState) -> Check {
    let deciding: Vec<_> =
        state.jobs.iter().filter(|(_, job)| job.state == JobState::Deciding).map(|(id, _)| *id).collect();
    let undecided: Vec<_> = state.undecided.iter().map(|(id, ())| *id).collect();
    if undecided != deciding {
        return broken("Q-4", format!("undecided {undecided:?}, deciding {deciding:?}"));
    }
    for (id, job) in state.jobs.iter().filter(|(_, job)| job.state == JobState::Open) {
        if !matches!(job.form, crate::Form::Group { .. }) {
            return broken("Q-4", format!("job {id} is open and no group"));
        }
        if state.members(id.run, id.index).all(|(_, member)| member.outcome().is_some()) {
            return broken("Q-4", format!("group {id} is open and all its members are finished"));
        }
    }
    Ok(())
}

/// G-1: whoever holds a concurrency group or waits for it is there and not finished, and stands in it once.
///
/// # Errors
/// The violation.
pub fn groups_are_of_open_ones(state: &ClusterState) -> Check {
    for (id, group) in state.groups.iter() {
        let mut seen = std::collections::BTreeSet::new();
        for claimant in std::iter::once(&group.holder).chain(group.waiting.iter()) {
            let open = match claimant.job {
                Some(index) => state
                    .jobs
                    .get(&JobId { run: claimant.run, index })
                    .is_some_and(|job| job.outcome().is_none()),
                None => state.runs.get(&claimant.run).is_some_and(|run| run.outcome.is_none()),
            };
            if !open || !seen.insert(*claimant) {
                return broken(
                    "G-1",
                    format!("{claimant:?} of the group {id:?} is finished, or there twice"),
                );
            }
        }
    }
    Ok(())
}

/// H-1: what waits for its next try or for a review is a held job, and no other is waited for.
///
/// # Errors
/// The violation.
pub fn who_waits_is_held(state: &ClusterState) -> Check {
    let held = |id: &JobId| state.jobs.get(id).is_some_and(|job| job.state == JobState::Held);
    if let Some((id, until)) = state.backoffs.iter().find(|(id, _)| !held(id)) {
        return broken("H-1", format!("job {id} is tried again at {until:?} and not held"));
    }
    match state.reviews.iter().find(|(id, review)| review.is_open() && !held(id)) {
        Some((id, _)) => broken("H-1", format!("job {id} waits for a review and is not held")),
        None => Ok(()),
    }
}

/// J-2: a finished job, attempt or run never changes (it may be forgotten).
///
/// # Errors
/// The violation.
pub fn finished_never_changes(before: &ClusterState, after: &ClusterState) -> Check {
    for (id, job) in before.jobs.iter().filter(|(_, job)| job.outcome().is_some()) {
        if after.jobs.get(id).is_some_and(|now| now != job) {
            return broken("J-2", format!("job {id} was {:?}", job.state));
        }
    }
    for (id, attempt) in before.attempts.iter().filter(|(_, attempt)| attempt.outcome.is_some()) {
        if after.attempts.get(id).is_some_and(|now| now != attempt) {
            return broken("J-2", format!("attempt {id} had ended {:?}", attempt.outcome));
        }
    }
    for (id, run) in before.runs.iter().filter(|(_, run)| run.outcome.is_some()) {
        if after.runs.get(id).is_some_and(|now| now != run) {
            return broken("J-2", format!("run {id} had ended {:?}", run.outcome));
        }
    }
    Ok(())
}

/// F-1: a job's fence and its number of attempts never shrink.
///
/// # Errors
/// The violation.
pub fn fences_only_grow(before: &ClusterState, after: &ClusterState) -> Check {
    for (id, job) in before.jobs.iter() {
        if after.jobs.get(id).is_some_and(|now| now.fence < job.fence || now.attempts < job.attempts) {
            return broken("F-1", format!("job {id} had fence {} at attempt {}", job.fence, job.attempts));
        }
    }
    Ok(())
}

/// C-2: replicated time never goes back.
///
/// # Errors
/// The violation.
pub fn time_never_goes_back(before: &ClusterState, after: &ClusterState) -> Check {
    if after.now >= before.now {
        Ok(())
    } else {
        broken("C-2", format!("{:?} after {:?}", after.now, before.now))
    }
}
