//! What attempts wrote, to the byte.

use crate::history::{Attempt, MILLI, Nanos, Output, Run, TOO_LATE};
use crate::work::{ARTIFACT, Job};

use super::facts::Facts;
use super::{Invariant, Verdict};

/// The script writes hundredths of a second.
const SLACK: Nanos = 100 * MILLI;
/// Docker tells of a start once it has heard of it, which on a busy machine is long after the script began.
const LATE: Nanos = 2_000 * MILLI;

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (run, job, planned) in facts.jobs() {
        for (number, attempt) in (1..).zip(facts.attempts_of(&job.id)) {
            let whole = matches!(attempt.outcome.as_deref(), Some("succeeded" | "failed"));
            let nothing = Output::default();
            let output = facts.history.outputs.get(&attempt.id).unwrap_or(&nothing);
            verdict.expect(Invariant::OutputExact, log(run, planned, attempt, number, output, whole));
            if let Some(text) = &output.log {
                verdict.expect(Invariant::OneContainer, within(facts, attempt, text));
            }
            if whole {
                let found = artifacts(run, planned, attempt, number, output);
                verdict.expect(Invariant::ArtifactsExact, found);
            }
        }
    }
}

fn log(
    run: &Run,
    planned: Job,
    attempt: &Attempt,
    number: u64,
    output: &Output,
    whole: bool,
) -> Result<(), String> {
    let Some(text) = &output.log else {
        // What was lost may have no output any more, or never had.
        return if whole { Err(format!("{} has no output", attempt.id)) } else { Ok(()) };
    };
    if whole && text.len() as u64 != attempt.log_bytes {
        return Err(format!("{} has {} bytes of output, {} came", attempt.id, attempt.log_bytes, text.len()));
    }
    let words = |error| format!("{} ({:?}): {error}", attempt.id, attempt.outcome);
    planned.check_output(text, &run.id, number, whole).map_err(words)
}

/// The script ran while its container did.
fn within(facts: &Facts<'_>, attempt: &Attempt, text: &str) -> Result<(), String> {
    let job = attempt.id.split('/').next().unwrap_or_default();
    let Some(container) = facts.started(job).find(|container| container.attempt == attempt.id) else {
        return if Job::without_words(text).is_empty() {
            Ok(())
        } else {
            Err(format!("{} has output, and no container of it started", attempt.id))
        };
    };
    if container.exit == Some(TOO_LATE) && !Job::without_words(text).is_empty() {
        return Err(format!("{} has output, and its init says that it came too late for any", attempt.id));
    }
    let at = |seconds: f64| facts.history.booted + (seconds * 1e9) as Nanos;
    let known = container.ended.filter(|_| !container.cut_off);
    let (from, to) = (container.started.unwrap_or_default(), known.unwrap_or(Nanos::MAX - SLACK));
    let (begin, end) = Job::times(text);
    let outside = [begin, end].into_iter().flatten().map(at).find(|at| *at + LATE < from || *at > to + SLACK);
    match outside {
        None => Ok(()),
        Some(at) => {
            let off = at as i64 - from as i64;
            Err(format!(
                "{} wrote {} ms after its container started, when that did not run",
                attempt.id,
                off / MILLI as i64
            ))
        }
    }
}

fn artifacts(run: &Run, planned: Job, attempt: &Attempt, number: u64, output: &Output) -> Result<(), String> {
    let names: Vec<_> = attempt.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    let expected: &[&str] = if planned.keeps { &[ARTIFACT] } else { &[] };
    if names != expected {
        return Err(format!("{} kept {names:?}, not {expected:?}", attempt.id));
    }
    for artifact in &attempt.artifacts {
        let wanted = planned.artifact(&run.id, number);
        let found = output.artifacts.get(&artifact.path);
        let right = found.is_some_and(|(digest, bytes)| *digest == artifact.sha256 && *bytes == wanted);
        if !right || artifact.size != wanted.len() as u64 {
            return Err(format!("{} kept {artifact:?}, and {found:?} came", attempt.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{SECOND, Sample, found};
    use super::*;
    use crate::work::Kind;

    #[test]
    fn output_that_lacks_a_line_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let output = sample.output(&run, 0, 1);
        output.log = output.log.take().map(|text| text.replace("line 3\n", ""));
        assert_eq!(found(&sample), [Invariant::OutputExact]);
        sample.output(&run, 0, 1).log = None;
        assert_eq!(found(&sample), [Invariant::OutputExact]);
    }

    #[test]
    fn output_of_another_time_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let container = sample.container(&run, 0, 1);
        container.ended = container.ended.map(|at| at + 4 * SECOND);
        container.started = container.ended.map(|at| at - SECOND / 4);
        assert_eq!(found(&sample), [Invariant::OneContainer]);
    }

    #[test]
    fn an_artifact_of_other_bytes_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Keeps);
        assert_eq!(found(&sample), []);
        sample.output(&run, 0, 1).artifacts.get_mut(ARTIFACT).expect("one").1.push('!');
        assert_eq!(found(&sample), [Invariant::ArtifactsExact]);
    }

    #[test]
    fn an_artifact_of_another_digest_is_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Keeps);
        sample.output(&run, 0, 1).artifacts.get_mut(ARTIFACT).expect("one").0.push('0');
        assert_eq!(found(&sample), [Invariant::ArtifactsExact]);
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Keeps);
        sample.attempt(&run, 0, 1).artifacts.clear();
        assert_eq!(found(&sample), [Invariant::ArtifactsExact]);
    }
}
