//! Runs that are paused: nothing of them goes on.

use crate::history::{Action, Answer, MILLI, Nanos};

use super::facts::Facts;
use super::{Invariant, Verdict};

/// What a node may take, beside the lease, to stop what runs there: until then it has heard of it, or its containers have ended.
const SLACK: Nanos = 2_000 * MILLI;

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (run, from, to) in pauses(facts) {
        let of_run = format!("{run}.");
        let containers = &facts.history.containers;
        let went_on = containers.iter().filter(|container| container.attempt.starts_with(&of_run)).find_map(
            |container| {
                let ran = container.ran(facts.history.ended).into_iter();
                let longest =
                    ran.map(|(began, ended)| to.min(ended).saturating_sub(from.max(began))).max()?;
                (longest > 0).then(|| {
                    format!(
                        "{} went on for {} ms, and its run was paused",
                        container.attempt,
                        longest / MILLI
                    )
                })
            },
        );
        verdict.expect(Invariant::PausedStandsStill, went_on.map_or(Ok(()), Err));
    }
}

/// From when at the latest nothing of which run may go on, and until when at the earliest somebody asked for something else.
fn pauses<'a>(facts: &Facts<'a>) -> Vec<(&'a str, Nanos, Nanos)> {
    let mut found = Vec::new();
    let operations = &facts.history.operations;
    for operation in operations {
        let (Action::Pause { run }, Answer::Done(_)) = (&operation.action, &operation.answer) else {
            continue;
        };
        // Of one that was answered before this one was asked, nothing is left.
        let undone = operations.iter().filter(|other| match &other.action {
            Action::Resume { run: of } | Action::Cancel { run: of } => {
                of == run && other.answered > operation.asked
            }
            _ => false,
        });
        let to = undone.map(|other| other.asked).min().unwrap_or(facts.history.ended);
        let from = operation.answered + facts.history.lease_ms * MILLI + SLACK;
        if from < to {
            found.push((run.as_str(), from, to));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{SECOND, Sample, found};
    use super::*;
    use crate::history::Operation;
    use crate::work::Kind;

    /// A run that was paused when it began, and resumed so many seconds later; it ran for half a minute.
    fn paused(seconds: u64) -> (Sample, String) {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let began = sample.container(&run, 0, 1).started.expect("it started");
        sample.container(&run, 0, 1).ended = Some(began + 30 * SECOND);
        for (action, at) in [
            (Action::Pause { run: run.clone() }, began),
            (Action::Resume { run: run.clone() }, began + seconds * SECOND),
        ] {
            sample.history.operations.push(Operation {
                node: 0,
                action,
                asked: at,
                answered: at + SECOND / 10,
                answer: Answer::Done(run.clone()),
            });
        }
        (sample, run)
    }

    #[test]
    fn what_goes_on_is_found() {
        // No node need have heard of so short a one.
        assert_eq!(found(&paused(4).0), []);
        let (mut sample, run) = paused(20);
        assert_eq!(found(&sample), [Invariant::PausedStandsStill]);
        let began = sample.container(&run, 0, 1).started.expect("it started");
        sample.container(&run, 0, 1).still = vec![(began + SECOND, began + 20 * SECOND)];
        assert_eq!(found(&sample), []);
        sample.container(&run, 0, 1).still = vec![(began + SECOND, began + 15 * SECOND)];
        assert_eq!(found(&sample), [Invariant::PausedStandsStill]);
    }

    #[test]
    fn one_that_was_asked_for_something_else_may_go_on() {
        let mut sample = paused(20).0;
        sample.history.operations[1].answer = Answer::Perhaps("reset".to_owned());
        assert_eq!(found(&sample), []);
        let (mut sample, run) = paused(20);
        let at = sample.history.operations[1].asked + SECOND;
        let cancel = Action::Cancel { run };
        sample.history.operations.push(Operation {
            node: 1,
            action: cancel,
            asked: at,
            answered: at + SECOND,
            answer: Answer::Refused("unavailable".to_owned()),
        });
        assert_eq!(found(&sample), []);
    }
}
