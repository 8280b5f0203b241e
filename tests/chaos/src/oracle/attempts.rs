//! Containers, as Docker told of them, against what the cluster says that it did.

use crate::faults::Class;
use crate::history::{Attempt, Container, MILLI, Nanos};

use super::facts::Facts;
use super::{Invariant, Verdict};

/// What the cluster's time and Docker's may differ by.
const SLACK: Nanos = 100 * MILLI;

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (job, containers) in &facts.containers {
        let started: Vec<_> = facts.started(job).collect();
        for (at, later) in started.iter().enumerate() {
            for earlier in &started[..at] {
                overlap(facts, earlier, later, verdict);
            }
        }
        if !facts.history.views.is_empty() {
            one_each(facts, job, containers, verdict);
        }
    }
    // The cluster's time is somebody's clock.
    let clocks_are_right = facts.history.faults.iter().all(|fault| fault.class != Class::Clock);
    for job in facts.runs.values().flat_map(|run| &run.jobs) {
        if job.outcome.as_deref() == Some("cancelled") && job.attempts == 0 {
            let started = facts.started(&job.id).count();
            verdict.check(Invariant::CancelledNeverStarts, started == 0, || {
                format!("{} was cancelled before it was placed, and {started} containers started", job.id)
            });
        }
        for attempt in facts.attempts_of(&job.id) {
            if clocks_are_right {
                over(facts, attempt, verdict);
            }
            if matches!(attempt.outcome.as_deref(), Some("succeeded" | "failed")) {
                let started = facts.started(&job.id).any(|container| container.attempt == attempt.id);
                verdict.check(Invariant::OneContainer, started, || {
                    format!("{} is {:?}, and no container of it started", attempt.id, attempt.outcome)
                });
            }
        }
    }
    slots(facts, verdict);
}

fn overlap(facts: &Facts<'_>, earlier: &Container, later: &Container, verdict: &mut Verdict) {
    let [one, other] = [earlier, later].map(|container| container.ran(facts.history.ended));
    let both = one.iter().flat_map(|a| other.iter().map(|b| a.1.min(b.1).saturating_sub(a.0.max(b.0))));
    let both = both.max().unwrap_or_default();
    verdict.check(Invariant::NoOverlap, both == 0, || {
        format!(
            "{} on {} and {} on {} ran beside each other for {} ms",
            earlier.attempt,
            name(facts, earlier),
            later.attempt,
            name(facts, later),
            both / MILLI
        )
    });
}

/// However it came to its end: a report that is another attempt's ends one whose container runs.
fn over(facts: &Facts<'_>, attempt: &Attempt, verdict: &mut Verdict) {
    let over = attempt.finished_at * MILLI + SLACK;
    let containers = facts.history.containers.iter().filter(|container| container.attempt == attempt.id);
    let last = containers.flat_map(|container| container.ran(facts.history.ended)).map(|(_, to)| to).max();
    if let Some(last) = last.filter(|_| attempt.outcome.is_some()) {
        verdict.check(Invariant::OverIsOver, last <= over, || {
            let (id, outcome, reason) = (&attempt.id, &attempt.outcome, &attempt.reason);
            let late = (last - over) / MILLI;
            format!("{id} ran on for {late} ms after it was {outcome:?} ({reason})")
        });
    }
}

fn name(facts: &Facts<'_>, container: &Container) -> String {
    let node = facts.history.nodes.iter().find(|node| node.id == container.node);
    node.map_or_else(|| container.node.clone(), |node| node.name.clone())
}

/// One attempt, one fence, one node, and one container that starts.
fn one_each(facts: &Facts<'_>, job: &str, containers: &[&Container], verdict: &mut Verdict) {
    for container in containers {
        let attempts = facts.attempts_of(job);
        let holds = attempts.iter().any(|attempt| {
            attempt.id == container.attempt
                && attempt.fence == container.fence
                && attempt.node == container.node
        });
        verdict.check(Invariant::OneContainer, holds, || {
            let Container { attempt, fence, .. } = container;
            format!(
                "a container of {attempt} under fence {fence} on {} is of no attempt: {:?}",
                name(facts, container),
                attempts.iter().map(|attempt| (&attempt.id, attempt.fence)).collect::<Vec<_>>()
            )
        });
    }
    for attempt in facts.attempts_of(job) {
        let started = facts.started(job).filter(|container| container.attempt == attempt.id).count();
        verdict.check(Invariant::OneContainer, started <= 1, || {
            format!("{started} containers of {} started", attempt.id)
        });
    }
}

fn slots(facts: &Facts<'_>, verdict: &mut Verdict) {
    for node in &facts.history.nodes {
        let mut changes = Vec::new();
        for container in facts.history.containers.iter().filter(|container| container.node == node.id) {
            let Some(started) = container.started else { continue };
            changes.push((started, 1));
            changes.push((container.ended.unwrap_or(facts.history.ended), -1));
        }
        // One that ends when another starts makes room for it.
        changes.sort_unstable();
        let mut running = 0_i64;
        for (at, change) in changes {
            running += change;
            if change > 0 {
                verdict.check(Invariant::Slots, running <= node.slots as i64, || {
                    let after = at.saturating_sub(facts.history.began) / MILLI;
                    format!("{} ran {running} containers in {} slots after {after} ms", node.name, node.slots)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{SECOND, Sample, found};
    use super::*;
    use crate::history::{Fault, TOO_LATE};
    use crate::work::Kind;

    fn overlapping() -> (Sample, String) {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.lost_first(&run, 0);
        let later = sample.container(&run, 0, 2).started;
        sample.container(&run, 0, 1).ended = later.map(|at| at + SECOND / 2);
        (sample, run)
    }

    #[test]
    fn an_overlap_is_found() {
        assert_eq!(found(&overlapping().0), [Invariant::NoOverlap]);
    }

    #[test]
    fn what_ran_nothing_or_stood_still_overlaps_nothing() {
        let (mut sample, run) = overlapping();
        sample.container(&run, 0, 1).exit = Some(TOO_LATE);
        assert_eq!(found(&sample), [Invariant::OneContainer], "it has output");
        sample.output(&run, 0, 1).log = Some(String::new());
        assert_eq!(found(&sample), []);
        let (mut sample, run) = overlapping();
        let start = sample.container(&run, 0, 2).started.expect("it started");
        sample.container(&run, 0, 1).still = vec![(start, start + SECOND)];
        assert_eq!(found(&sample), []);
        sample.container(&run, 0, 1).still = vec![(start + SECOND / 4, start + SECOND)];
        assert_eq!(found(&sample), [Invariant::NoOverlap]);
    }

    #[test]
    fn what_runs_on_after_its_end_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let ended = sample.container(&run, 0, 1).ended.expect("it ended");
        sample.attempt(&run, 0, 1).finished_at = ended / MILLI - 300;
        assert_eq!(found(&sample), [Invariant::OverIsOver]);
        let fault = Fault {
            class: Class::Clock,
            nodes: vec![0],
            words: String::new(),
            effect: 1,
            began: 1,
            ended: 2,
        };
        sample.history.faults.push(fault);
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn a_container_of_no_attempt_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.container(&run, 0, 1).fence += 1;
        assert_eq!(found(&sample), [Invariant::OneContainer]);
    }

    #[test]
    fn an_attempt_that_starts_twice_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let mut again = sample.container(&run, 0, 1).clone();
        again.started = again.ended;
        again.ended = again.ended.map(|at| at + SECOND);
        sample.history.containers.push(again);
        assert_eq!(found(&sample), [Invariant::OneContainer]);
    }

    #[test]
    fn a_success_without_a_container_is_found() {
        let mut sample = Sample::new();
        sample.accepted("k", Kind::Short);
        sample.history.containers.clear();
        // Once for the success, once for its output.
        assert_eq!(found(&sample), [Invariant::OneContainer; 2]);
    }

    #[test]
    fn a_cancelled_job_that_starts_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Stuck);
        sample.cancel(&run);
        sample.never_placed(&run, 0);
        assert_eq!(found(&sample), []);
        sample.history.containers.push(Container {
            id: "c".to_owned(),
            node: sample.history.nodes[0].id.clone(),
            attempt: format!("{run}.0/1"),
            fence: 9,
            started: Some(SECOND),
            ended: Some(2 * SECOND),
            cut_off: false,
            exit: None,
            still: Vec::new(),
        });
        assert!(found(&sample).contains(&Invariant::CancelledNeverStarts));
    }

    #[test]
    fn more_containers_than_slots_are_found() {
        let mut sample = Sample::new();
        let runs: Vec<_> = ["a", "b", "c"].map(|key| sample.accepted(key, Kind::Short)).into();
        let first = sample.container(&runs[0], 0, 1).clone();
        let last = sample.container(&runs[2], 0, 1).ended;
        for run in &runs {
            sample.attempt(run, 0, 1).node.clone_from(&first.node);
            let container = sample.container(run, 0, 1);
            (container.node, container.started, container.ended) = (first.node.clone(), first.started, last);
        }
        assert_eq!(found(&sample), [Invariant::Slots]);
        sample.container(&runs[0], 0, 1).ended = first.ended;
        sample.container(&runs[2], 0, 1).started = first.ended;
        assert_eq!(found(&sample), []);
    }
}
