//! What clients did and were told, by key, and whether there is an order in which it all makes sense (Wing, Gong and Lowe).
//!
//! A write that failed as unknown may have been done at any time after it was asked for, or never.

use std::collections::BTreeMap;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};
use todc_utils::specifications::Specification;

/// An operation of a client.
#[derive(Debug, Clone)]
pub struct Done<O> {
    /// What, with its answer.
    pub op: O,
    /// Its place among all calls and answers.
    pub called: u64,
    /// The place of its answer; none if it may still be done.
    pub answered: Option<u64>,
}

/// A register: the URL of a repository, as a number; 0 before the first write. All values written are different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterOp {
    Write(u64),
    Read(u64),
}

#[derive(Debug)]
pub struct Register;

impl Specification for Register {
    type State = u64;
    type Operation = RegisterOp;

    fn init() -> u64 {
        0
    }

    fn apply(op: &RegisterOp, state: &u64) -> (bool, u64) {
        match op {
            RegisterOp::Write(value) => (true, *value),
            RegisterOp::Read(value) => (value == state, *state),
        }
    }
}

/// An idempotency key: the first run submitted under it is the answer to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnceOp {
    /// The run asked for, and the run and whether it was known, as answered; no answer if it is unknown.
    Submit(u64, Option<(u64, bool)>),
    /// The run, 0 for none.
    Read(u64),
}

#[derive(Debug)]
pub struct Once;

impl Specification for Once {
    type State = u64;
    type Operation = OnceOp;

    fn init() -> u64 {
        0
    }

    fn apply(op: &OnceOp, state: &u64) -> (bool, u64) {
        match (op, *state) {
            (OnceOp::Read(run), state) => (*run == state, state),
            (OnceOp::Submit(run, answer), 0) => (answer.is_none_or(|answer| answer == (*run, false)), *run),
            (OnceOp::Submit(_, answer), first) => {
                (answer.is_none_or(|answer| answer == (first, true)), first)
            }
        }
    }
}

/// What a job's record says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct JobState {
    /// 0 queued, 1 placed, 2 running, 3 finished.
    pub phase: u8,
    /// Attempts so far.
    pub attempts: u16,
    /// The present fence; 0 while it is queued.
    pub fence: u64,
}

/// A job under its fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOp {
    /// The attempt's number, and whether it was taken; under which fence, if it was or may have been.
    Place(u16, Option<bool>, u64),
    /// The attempt's number and fence, and whether it was accepted.
    Start(u16, u64, Option<bool>),
    Finish(u16, u64, Option<bool>),
    Unplace(u16, u64, Option<bool>),
    Read(JobState),
}

#[derive(Debug)]
pub struct Job;

impl Specification for Job {
    type State = JobState;
    type Operation = JobOp;

    fn init() -> JobState {
        JobState::default()
    }

    fn apply(op: &JobOp, state: &JobState) -> (bool, JobState) {
        let is_present = |number: u16, fence: u64| state.fence == fence && state.attempts == number;
        let (allowed, answer, next) = match *op {
            JobOp::Read(found) => return (found == *state, *state),
            JobOp::Place(number, answer, fence) => {
                let next = JobState { phase: 1, attempts: number, fence };
                (state.phase == 0 && number == state.attempts + 1, answer, next)
            }
            JobOp::Start(number, fence, answer) => {
                let allowed = is_present(number, fence) && [1, 2].contains(&state.phase);
                (allowed, answer, JobState { phase: 2, ..*state })
            }
            // The same end again is as good as the first.
            JobOp::Finish(number, fence, answer) => {
                let allowed = is_present(number, fence) && state.phase > 0;
                (allowed, answer, JobState { phase: 3, ..*state })
            }
            JobOp::Unplace(number, fence, answer) => {
                let allowed = is_present(number, fence) && state.phase == 1;
                (allowed, answer, JobState { phase: 0, fence: 0, ..*state })
            }
        };
        (answer.is_none_or(|answer| answer == allowed), if allowed { next } else { *state })
    }
}

/// Whether there is an order; the history in words if there is none.
///
/// # Errors
/// The history.
pub fn check<S: Specification>(key: &str, done: &[Done<S::Operation>]) -> Result<(), String>
where
    S::Operation: Clone + std::fmt::Debug,
{
    let mut places = BTreeMap::new();
    for (n, one) in done.iter().enumerate() {
        places.insert((one.called, n), (n, Action::Call(one.op.clone())));
        let answered = one.answered.unwrap_or(u64::MAX);
        places.insert((answered, n), (n, Action::Response(one.op.clone())));
    }
    if places.is_empty()
        || WGLChecker::<S>::is_linearizable(Actions::from_actions(places.into_values().collect()))
    {
        return Ok(());
    }
    let mut sorted = done.to_vec();
    sorted.sort_by_key(|one| one.called);
    let lines = sorted.iter().map(|one| match one.answered {
        Some(answered) => format!("    {:>6} to {answered:>6}  {:?}", one.called, one.op),
        None => format!("    {:>6} on           {:?}", one.called, one.op),
    });
    let lines: Vec<String> = lines.collect();
    Err(format!("no order of these operations on {key} explains their answers:\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done<O>(op: O, called: u64, answered: impl Into<Option<u64>>) -> Done<O> {
        Done { op, called, answered: answered.into() }
    }

    #[test]
    fn a_stale_read_is_found_and_an_unknown_write_may_be_seen_late() {
        use RegisterOp::{Read, Write};
        let stale = [done(Write(1), 1, 2), done(Write(2), 3, 4), done(Read(1), 5, 6)];
        assert!(check::<Register>("r", &stale).is_err());
        let late = [done(Write(1), 1, None), done(Read(0), 2, 3), done(Read(1), 4, 5)];
        assert!(check::<Register>("r", &late).is_ok());
        let back = [done(Write(1), 1, None), done(Read(1), 2, 3), done(Read(0), 4, 5)];
        assert!(check::<Register>("r", &back).is_err());
    }

    #[test]
    fn a_key_that_is_forgotten_is_found() {
        let good =
            [done(OnceOp::Submit(7, Some((7, false))), 1, 2), done(OnceOp::Submit(8, Some((7, true))), 3, 4)];
        assert!(check::<Once>("k", &good).is_ok());
        let bad = [
            done(OnceOp::Submit(7, Some((7, false))), 1, 2),
            done(OnceOp::Submit(8, Some((8, false))), 3, 4),
        ];
        assert!(check::<Once>("k", &bad).is_err());
    }

    #[test]
    fn a_stale_fence_that_is_accepted_is_found() {
        let placed = done(JobOp::Place(1, Some(true), 50), 1, 2);
        let back = done(JobOp::Unplace(1, 50, Some(true)), 3, 4);
        let again = done(JobOp::Place(2, Some(true), 60), 5, 6);
        let stale = |accepted| done(JobOp::Finish(1, 50, Some(accepted)), 7, 8);
        let all = |accepted| [placed.clone(), back.clone(), again.clone(), stale(accepted)];
        assert!(check::<Job>("j", &all(false)).is_ok());
        assert!(check::<Job>("j", &all(true)).is_err());
    }
}
