//! What needs another starts after it.

use crate::history::{Container, Job, MILLI, Run};
use crate::work::{self, After};

use super::facts::Facts;
use super::{Invariant, Verdict};

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (run, job, planned) in facts.jobs() {
        for started in facts.started(&job.id) {
            for need in planned.needs {
                verdict.expect(Invariant::ParentsFirst, after(facts, run, started, need, planned));
            }
        }
    }
}

fn after(
    facts: &Facts<'_>,
    run: &Run,
    started: &Container,
    need: &str,
    planned: work::Job,
) -> Result<(), String> {
    let child = &started.attempt;
    let Some(need) = run.jobs.iter().find(|job| job.key == need) else {
        return Err(format!("{child} needs {need}, which {} does not have", run.id));
    };
    let Job { id, outcome, attempts, .. } = need;
    if planned.after == After::Success && outcome.as_deref() != Some("succeeded") {
        return Err(format!("{child} started, and {id}, which it needs, is {outcome:?}"));
    }
    // Earlier attempts were lost, and what a dead node still runs is nobody's parent.
    let last = format!("{id}/{attempts}");
    let Some(parent) = facts.started(id).find(|container| container.attempt == last) else { return Ok(()) };
    match (parent.ended, started.started) {
        (Some(ended), Some(at)) if ended <= at => Ok(()),
        (ended, at) => {
            let early = ended.zip(at).map(|(ended, at)| format!("{} ms early", (ended - at) / MILLI));
            Err(format!("{child} started before {last} had ended ({})", early.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{SECOND, Sample, found};
    use super::*;
    use crate::work::Kind;

    #[test]
    fn one_after_the_other_is_fine() {
        let mut sample = Sample::new();
        for (key, kind) in [("a", Kind::Chain), ("b", Kind::Diamond), ("c", Kind::Broken)] {
            sample.accepted(key, kind);
        }
        assert_eq!(found(&sample), []);
    }

    #[test]
    fn a_child_that_starts_too_early_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Chain);
        let child = sample.container(&run, 1, 1).started;
        sample.container(&run, 0, 1).ended = child.map(|at| at + SECOND / 10);
        assert_eq!(found(&sample), [Invariant::ParentsFirst]);
    }

    #[test]
    fn a_child_of_one_that_failed_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Broken);
        sample.placed(&run, 1, "succeeded");
        assert!(found(&sample).contains(&Invariant::ParentsFirst));
    }
}
