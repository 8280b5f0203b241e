//! A job ends once, by its last attempt, and as it must.

use std::collections::BTreeMap;

use crate::history::{Attempt, Job, Run};
use crate::work::{self, After};

use super::facts::Facts;
use super::{Invariant, Verdict};

/// So many losses end a job, as every job of the workload is asked for.
const MOST_ATTEMPTS: usize = 5;

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    never_change(facts, verdict);
    for (run, job, planned) in facts.jobs() {
        let attempts = facts.attempts_of(&job.id);
        verdict.expect(Invariant::OneOutcome, is_of_last_attempt(job, attempts));
        if job.outcome.is_some() {
            verdict.expect(Invariant::ExpectedOutcome, is_as_it_must(facts, run, job, planned));
        }
    }
}

/// What was seen of runs and jobs, in the order of time, and what is there at the end.
fn never_change(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut outcomes = BTreeMap::<String, String>::new();
    let mut attempts = BTreeMap::<String, u64>::new();
    let sightings = facts.history.sightings.iter().filter_map(|sighting| sighting.seen.as_ref());
    for run in sightings.chain(facts.runs.values()) {
        let of_jobs = run.jobs.iter().map(|job| (&job.id, &job.outcome));
        for (id, outcome) in of_jobs.chain([(&run.id, &run.outcome)]) {
            let Some(outcome) = outcome else { continue };
            let first = outcomes.entry(id.clone()).or_insert_with(|| outcome.clone());
            verdict.check(Invariant::OneOutcome, first == outcome, || {
                format!("{id} was seen as {first}, and as {outcome}")
            });
        }
        for job in &run.jobs {
            let most = attempts.entry(job.id.clone()).or_default();
            *most = (*most).max(job.attempts);
        }
    }
    for job in facts.runs.values().flat_map(|run| &run.jobs) {
        let most = attempts.get(&job.id).copied().unwrap_or_default();
        verdict.check(Invariant::OneOutcome, most <= job.attempts, || {
            format!("{} was seen with {most} attempts, and has {}", job.id, job.attempts)
        });
    }
}

fn is_of_last_attempt(job: &Job, attempts: &[Attempt]) -> Result<(), String> {
    let show = || {
        let each = attempts.iter().map(|attempt| format!("{} {:?}", attempt.fence, attempt.outcome));
        format!("{} is {:?}; its attempts: {:?}", job.id, job.outcome, each.collect::<Vec<_>>())
    };
    if attempts.len() as u64 != job.attempts {
        return Err(format!("{} has {} attempts; {}", job.id, job.attempts, show()));
    }
    if !attempts.windows(2).all(|two| two[0].fence < two[1].fence) {
        return Err(format!("fences do not grow: {}", show()));
    }
    let Some((last, before)) = attempts.split_last() else {
        return match job.outcome.as_deref() {
            None | Some("cancelled" | "skipped") => Ok(()),
            Some(_) => Err(format!("it ended without an attempt: {}", show())),
        };
    };
    if before.iter().any(|attempt| attempt.outcome.as_deref() != Some("lost")) {
        return Err(format!("one that was not lost was tried again: {}", show()));
    }
    match (job.outcome.as_deref(), last.outcome.as_deref()) {
        (None, _) | (Some("cancelled"), Some("lost")) => Ok(()),
        (job, last) if job == last => Ok(()),
        _ => Err(format!("its outcome is not that of its last attempt: {}", show())),
    }
}

fn is_as_it_must(facts: &Facts<'_>, run: &Run, job: &Job, planned: work::Job) -> Result<(), String> {
    let found = job.outcome.as_deref().unwrap_or_default();
    let of_need = |key: &&str| run.jobs.iter().find(|need| need.key == **key)?.outcome.as_deref();
    let may_run =
        planned.after == After::Always || planned.needs.iter().all(|need| of_need(need) == Some("succeeded"));
    let expected = match (may_run, planned.exit) {
        (false, _) => "skipped",
        (true, 0) => "succeeded",
        (true, _) => "failed",
    };
    let holds = match found {
        "cancelled" => facts.cancelled.contains(run.id.as_str()),
        "lost" => facts.attempts_of(&job.id).len() >= MOST_ATTEMPTS,
        found => found == expected,
    };
    let reason = || facts.attempts_of(&job.id).last().map(|last| last.reason.clone()).unwrap_or_default();
    if holds { Ok(()) } else { Err(format!("{} is {found}, not {expected}: {}", job.id, reason())) }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, found};
    use super::*;
    use crate::work::Kind;

    #[test]
    fn losses_and_cancels_are_fine() {
        let mut sample = Sample::new();
        let run = sample.accepted("a", Kind::Short);
        sample.lost_first(&run, 0);
        let run = sample.accepted("b", Kind::Long);
        sample.cancel(&run);
        sample.ends(&run, 0, "cancelled");
        sample.accepted("c", Kind::Broken);
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn an_outcome_that_changes_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.saw_outcome(&run, "failed");
        assert_eq!(found(&sample), [Invariant::OneOutcome, Invariant::OneOutcome]);
    }

    #[test]
    fn an_outcome_of_an_earlier_attempt_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.lost_first(&run, 0);
        sample.attempt(&run, 0, 2).outcome = Some("lost".to_owned());
        assert_eq!(found(&sample), [Invariant::OneOutcome]);
        sample.attempt(&run, 0, 2).outcome = Some("succeeded".to_owned());
        sample.attempt(&run, 0, 2).fence = 1;
        sample.container(&run, 0, 2).fence = 1;
        assert_eq!(found(&sample), [Invariant::OneOutcome]);
    }

    #[test]
    fn what_succeeded_may_not_be_tried_again() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        sample.lost_first(&run, 0);
        sample.attempt(&run, 0, 1).outcome = Some("failed".to_owned());
        assert!(found(&sample).contains(&Invariant::OneOutcome));
    }

    #[test]
    fn an_outcome_that_its_script_cannot_have_is_found() {
        for outcome in ["failed", "cancelled", "lost", "timed_out"] {
            let mut sample = Sample::new();
            let run = sample.accepted("k", Kind::Short);
            sample.ends(&run, 0, outcome);
            assert!(found(&sample).contains(&Invariant::ExpectedOutcome), "{outcome}");
        }
    }
}
