//! What was accepted is there, once; what was refused is not; and what was acknowledged is seen from then on.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Answer, Nanos};

use super::facts::Facts;
use super::{Invariant, Verdict};

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    seen(facts, verdict);
    if facts.history.views.is_empty() {
        return;
    }
    accepted(facts, verdict);
    refused(facts, verdict);
    reruns(facts, verdict);
}

/// Runs of a key, without those that repeat them.
fn runs_of_keys<'a>(facts: &'a Facts<'_>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for run in facts.runs.values().filter(|run| run.rerun_of.is_none()) {
        if let Some(key) = Facts::key(run) {
            found.entry(key).or_default().push(run.id.as_str());
        }
    }
    found
}

fn accepted(facts: &Facts<'_>, verdict: &mut Verdict) {
    let runs = runs_of_keys(facts);
    for (key, tries) in &facts.by_key {
        let answers: BTreeSet<&str> = tries
            .iter()
            .filter_map(|operation| match &operation.answer {
                Answer::Done(id) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        // That a delivery is there and no run yet is another matter.
        if answers.is_empty() || answers.iter().all(|id| facts.history.pending.contains(*id)) {
            continue;
        }
        let there = runs.get(key).map_or(&[][..], Vec::as_slice);
        let right = answers.len() == 1
            && there.len() == 1
            && tries
                .iter()
                .filter(|operation| matches!(operation.answer, Answer::Done(_)))
                .all(|operation| facts.made(operation).is_some_and(|run| run.id == there[0]));
        verdict.check(Invariant::AcceptedOnce, right, || {
            format!("{key} was accepted as {answers:?}, and its runs are {there:?}")
        });
    }
}

fn refused(facts: &Facts<'_>, verdict: &mut Verdict) {
    let runs = runs_of_keys(facts);
    for (key, tries) in &facts.by_key {
        if tries.iter().all(|operation| matches!(operation.answer, Answer::Refused(_))) {
            verdict.check(Invariant::RefusedIsAbsent, !runs.contains_key(key), || {
                format!("{key} was only ever refused, and is run {:?}", runs[key])
            });
        }
    }
    for (key, there) in &runs {
        verdict.check(Invariant::RefusedIsAbsent, facts.by_key.contains_key(key), || {
            format!("nobody asked for {key}, and it is run {there:?}")
        });
    }
}

/// A rerun has no key: each that was accepted is there, and those that are there were accepted or are unknown.
fn reruns(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut unknown = BTreeMap::<&str, usize>::new();
    let mut done = BTreeMap::<&str, BTreeSet<&str>>::new();
    for operation in &facts.history.operations {
        let Action::Rerun { run: of } = &operation.action else { continue };
        match &operation.answer {
            Answer::Done(id) => {
                let fresh = done.entry(of).or_default().insert(id);
                let there = facts.runs.get(id).is_some_and(|run| run.rerun_of.as_ref() == Some(of));
                verdict.check(Invariant::AcceptedOnce, fresh && there, || {
                    format!("a rerun of {of} was accepted as {id}, which is not there or was given out twice")
                });
            }
            Answer::Perhaps(_) => *unknown.entry(of).or_default() += 1,
            Answer::Refused(_) => {}
        }
    }
    let mut there = BTreeMap::<&str, usize>::new();
    for run in facts.runs.values() {
        if let Some(of) = &run.rerun_of {
            *there.entry(of).or_default() += 1;
        }
    }
    for (of, there) in there {
        let most = done.get(of).map_or(0, BTreeSet::len) + unknown.get(of).copied().unwrap_or_default();
        verdict.check(Invariant::RefusedIsAbsent, there <= most, || {
            format!("{of} was repeated {there} times, and that was asked for {most} times")
        });
    }
}

fn seen(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut known = BTreeMap::<&str, Nanos>::new();
    for operation in &facts.history.operations {
        if let (Answer::Done(id), Action::Submit { .. } | Action::Rerun { .. }) =
            (&operation.answer, &operation.action)
        {
            let at = known.entry(id).or_insert(operation.answered);
            *at = (*at).min(operation.answered);
        }
    }
    for sighting in &facts.history.sightings {
        if known.get(sighting.run.as_str()).is_some_and(|at| *at < sighting.asked) {
            verdict.check(Invariant::AcknowledgedIsSeen, sighting.seen.is_some(), || {
                format!(
                    "run {} was acknowledged, and later unknown to node {}",
                    sighting.run,
                    sighting.node + 1
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, found};
    use super::*;
    use crate::work::Kind;

    #[test]
    fn what_was_accepted_and_is_there_once_is_fine() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.unknown("k", Kind::Short);
        sample.saw(&run, true);
        let repeated = sample.rerun(&run, true);
        sample.saw(&repeated, true);
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn a_rerun_that_sorts_before_what_it_repeats_is_fine() {
        let mut sample = Sample::new();
        let first = sample.run("k", Kind::Chain);
        let run = sample.accepted("k", Kind::Chain);
        assert!(first < run);
        sample.repeats(&first, &run);
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn a_lost_submit_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.forget(&run);
        assert_eq!(found(&sample), [Invariant::AcceptedOnce]);
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Chain);
        sample.forget(&run);
        assert_eq!(found(&sample), [Invariant::AcceptedOnce]);
        sample.history.pending.insert(format!("D-{run}"));
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn a_doubled_submit_is_found() {
        let mut sample = Sample::new();
        sample.accepted("k", Kind::Short);
        sample.accepted("k", Kind::Short);
        assert_eq!(found(&sample), [Invariant::AcceptedOnce]);
        // Also where only one of the two was answered.
        let mut sample = Sample::new();
        sample.accepted("k", Kind::Short);
        sample.unknown("k", Kind::Short);
        sample.run("k", Kind::Short);
        assert_eq!(found(&sample), [Invariant::AcceptedOnce]);
    }

    #[test]
    fn what_was_refused_may_not_be_there_and_what_is_unknown_may() {
        let mut sample = Sample::new();
        sample.refused("k", Kind::Short);
        assert_eq!(found(&sample), []);
        sample.run("k", Kind::Short);
        assert_eq!(found(&sample), [Invariant::RefusedIsAbsent]);
        sample.unknown("k", Kind::Short);
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn what_nobody_asked_for_is_found() {
        let mut sample = Sample::new();
        sample.run("k", Kind::Short);
        assert_eq!(found(&sample), [Invariant::RefusedIsAbsent]);
    }

    #[test]
    fn lost_and_unasked_reruns_are_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let repeated = sample.rerun(&run, true);
        sample.forget(&repeated);
        assert_eq!(found(&sample), [Invariant::AcceptedOnce]);
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.rerun(&run, false);
        assert_eq!(found(&sample), [Invariant::RefusedIsAbsent]);
    }

    #[test]
    fn a_run_that_vanishes_after_it_was_acknowledged_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.saw(&run, false);
        assert_eq!(found(&sample), [Invariant::AcknowledgedIsSeen]);
    }
}
