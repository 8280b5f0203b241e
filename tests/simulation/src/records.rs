//! All that clients did, kept by key as it ends, and judged when the run is over.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ClusterState, Reply};
use raft_store::{Committed, ProposeError};

use crate::history::{self, Done, Job, JobOp, Once, OnceOp, Register, RegisterOp};
use crate::requests::{Ended, Request, Seen, fence_of, is_done};

/// The records of a run.
#[derive(Debug, Default)]
pub struct Records {
    registers: BTreeMap<u64, Vec<Done<RegisterOp>>>,
    keys: BTreeMap<u64, Vec<Done<OnceOp>>>,
    jobs: BTreeMap<u64, Vec<Done<JobOp>>>,
    indices: BTreeSet<u64>,
    /// The highest index that was acknowledged.
    pub acknowledged: u64,
    /// Place of the next call or answer.
    next: u64,
}

impl Records {
    /// The place of a call or an answer that is made now.
    pub fn place(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A request has ended; with nothing, when its node died under it.
    ///
    /// # Errors
    /// What cannot be right whatever else happens.
    pub fn ended(&mut self, request: Request, called: u64, how: Option<Ended>) -> Result<(), String> {
        let answered = Some(self.place());
        match how {
            Some(Ended::Committed(committed)) => {
                if !self.indices.insert(committed.index) {
                    return Err(format!(
                        "two commands were committed at index {}: {request:?}",
                        committed.index
                    ));
                }
                self.acknowledged = self.acknowledged.max(committed.index);
                self.committed(request, called, answered, &committed)?;
            }
            Some(Ended::Seen(seen)) => self.seen(request, called, answered, seen),
            // Certainly not done.
            Some(Ended::Failed(
                ProposeError::Unavailable | ProposeError::NoSpace | ProposeError::Stopped,
            )) => {}
            Some(Ended::Failed(ProposeError::Unknown)) | None => self.unknown(request, called),
            Some(Ended::Failed(error)) => return Err(format!("{request:?} failed: {error}")),
        }
        Ok(())
    }

    fn committed(
        &mut self,
        request: Request,
        called: u64,
        answered: Option<u64>,
        committed: &Committed,
    ) -> Result<(), String> {
        let (done, index) = (is_done(&committed.reply), committed.index);
        let wrong = || Err(format!("{request:?} was answered {:?}", committed.reply));
        let job = |op| Done { op, called, answered };
        match request {
            Request::Register if done => {}
            Request::Write { key, value } if done => {
                self.registers.entry(key).or_default().push(Done {
                    op: RegisterOp::Write(value),
                    called,
                    answered,
                });
            }
            Request::Submit { key, run } => {
                let Reply::Run { id, duplicate, .. } = &committed.reply else { return wrong() };
                let op = OnceOp::Submit(run, Some((id.0 as u64, *duplicate)));
                self.keys.entry(key).or_default().push(Done { op, called, answered });
            }
            Request::Place { run, number } => {
                self.job(run).push(job(JobOp::Place(number, Some(done), index)));
            }
            Request::Start { run, number, fence } => {
                self.job(run).push(job(JobOp::Start(number, fence, Some(done))));
            }
            Request::Finish { run, number, fence } => {
                self.job(run).push(job(JobOp::Finish(number, fence, Some(done))));
            }
            Request::Unplace { run, number, fence } => {
                self.job(run).push(job(JobOp::Unplace(number, fence, Some(done))));
            }
            _ => return wrong(),
        }
        Ok(())
    }

    fn job(&mut self, run: u64) -> &mut Vec<Done<JobOp>> {
        self.jobs.entry(run).or_default()
    }

    fn seen(&mut self, request: Request, called: u64, answered: Option<u64>, seen: Seen) {
        match (request, seen) {
            (Request::ReadRegister { key }, Seen::Register(value)) => {
                self.registers.entry(key).or_default().push(Done {
                    op: RegisterOp::Read(value),
                    called,
                    answered,
                });
            }
            (Request::ReadOnce { key }, Seen::Once(run)) => {
                self.keys.entry(key).or_default().push(Done { op: OnceOp::Read(run), called, answered });
            }
            (Request::ReadJob { run }, Seen::Job(state)) => {
                self.job(run).push(Done { op: JobOp::Read(state), called, answered });
            }
            _ => {}
        }
    }

    fn unknown(&mut self, request: Request, called: u64) {
        let answered = None;
        let job = |op| Done { op, called, answered };
        match request {
            Request::Write { key, value } => {
                self.registers.entry(key).or_default().push(Done {
                    op: RegisterOp::Write(value),
                    called,
                    answered,
                });
            }
            Request::Submit { key, run } => {
                self.keys.entry(key).or_default().push(Done {
                    op: OnceOp::Submit(run, None),
                    called,
                    answered,
                });
            }
            // Its fence is known at the end only.
            Request::Place { run, number } => self.job(run).push(job(JobOp::Place(number, None, 0))),
            Request::Start { run, number, fence } => {
                self.job(run).push(job(JobOp::Start(number, fence, None)))
            }
            Request::Finish { run, number, fence } => {
                self.job(run).push(job(JobOp::Finish(number, fence, None)))
            }
            Request::Unplace { run, number, fence } => {
                self.job(run).push(job(JobOp::Unplace(number, fence, None)));
            }
            _ => {}
        }
    }

    /// Judges all of it; `end` is the state that all nodes agree on at the end, which everybody could read then.
    ///
    /// # Errors
    /// A history without an order.
    pub fn judge(mut self, end: &ClusterState) -> Result<Judged, String> {
        let (mut judged, last, answered) = (Judged::default(), self.place(), Some(self.place()));
        for (key, mut done) in std::mem::take(&mut self.registers) {
            if let Some(Seen::Register(value)) = (Request::ReadRegister { key }).look(end) {
                done.push(Done { op: RegisterOp::Read(value), called: last, answered });
            }
            let done = without_unseen_writes(done);
            judged.add(done.len());
            history::check::<Register>(&format!("register {key}"), &done)?;
        }
        for (key, mut done) in std::mem::take(&mut self.keys) {
            if let Some(Seen::Once(run)) = (Request::ReadOnce { key }).look(end) {
                done.push(Done { op: OnceOp::Read(run), called: last, answered });
            }
            let done = without_unseen_submits(done);
            judged.add(done.len());
            history::check::<Once>(&format!("idempotency key {key}"), &done)?;
        }
        for (run, mut done) in std::mem::take(&mut self.jobs) {
            match (Request::ReadJob { run }).look(end) {
                Some(Seen::Job(state)) => {
                    done.push(Done { op: JobOp::Read(state), called: last, answered });
                }
                _ => {
                    return Err(format!("the job of run {run} was acknowledged and is not there at the end"));
                }
            }
            let done = without_idle_unknowns(with_fences(done, |number| fence_of(end, run, number)));
            judged.add(done.len());
            history::check::<Job>(&format!("the job of run {run}"), &done)?;
        }
        Ok(judged)
    }
}

/// What was judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// Histories, one for each key.
    pub histories: u64,
    /// Operations in them.
    pub operations: u64,
}

impl Judged {
    fn add(&mut self, operations: usize) {
        self.histories += 1;
        self.operations += operations as u64;
    }
}

/// An unknown write that nobody saw changes nothing for anybody; one that was seen was done before that.
fn without_unseen_writes(done: Vec<Done<RegisterOp>>) -> Vec<Done<RegisterOp>> {
    let mut first_seen: BTreeMap<u64, u64> = BTreeMap::new();
    for one in &done {
        if let (RegisterOp::Read(value), Some(at)) = (&one.op, one.answered) {
            let first = first_seen.entry(*value).or_insert(at);
            *first = at.min(*first);
        }
    }
    let known = done.into_iter().filter_map(|one| match one.op {
        RegisterOp::Write(value) if one.answered.is_none() => {
            Some(Done { answered: Some(*first_seen.get(&value)?), ..one })
        }
        _ => Some(one),
    });
    known.collect()
}

/// The same for a submit: only the first of a key's can have done anything.
fn without_unseen_submits(done: Vec<Done<OnceOp>>) -> Vec<Done<OnceOp>> {
    let mut first_seen: BTreeMap<u64, u64> = BTreeMap::new();
    for one in &done {
        let (OnceOp::Submit(_, Some((run, _))) | OnceOp::Read(run)) = one.op else { continue };
        let at = one.answered.unwrap_or(u64::MAX);
        let first = first_seen.entry(run).or_insert(at);
        *first = at.min(*first);
    }
    let known = done.into_iter().filter_map(|one| match one.op {
        OnceOp::Submit(run, None) => Some(Done { answered: Some(*first_seen.get(&run)?), ..one }),
        _ => Some(one),
    });
    known.collect()
}

/// Gives unknown placements the fence that their attempt has at the end; those without an attempt were never taken.
fn with_fences(done: Vec<Done<JobOp>>, fence: impl Fn(u16) -> Option<u64>) -> Vec<Done<JobOp>> {
    let taken: BTreeSet<u16> = done
        .iter()
        .filter_map(|one| match one.op {
            JobOp::Place(number, Some(true), _) => Some(number),
            _ => None,
        })
        .collect();
    let known = done.into_iter().filter_map(|one| match one.op {
        JobOp::Place(number, None, _) if taken.contains(&number) => None,
        JobOp::Place(number, None, _) => Some(Done { op: JobOp::Place(number, None, fence(number)?), ..one }),
        _ => Some(one),
    });
    known.collect()
}

/// What an operation shows of a job, once it is answered: attempts so far, and whether the last of them is over.
fn shown(op: &JobOp) -> Option<(u16, bool)> {
    match *op {
        JobOp::Read(state) => Some((state.attempts, [0, 3].contains(&state.phase))),
        JobOp::Place(number, Some(true), _) | JobOp::Start(number, _, Some(true)) => Some((number, false)),
        JobOp::Finish(number, _, Some(true)) | JobOp::Unplace(number, _, Some(true)) => Some((number, true)),
        _ => None,
    }
}

/// An unknown operation on an attempt does nothing any more once the attempt is seen to be over (a placement, once it is seen
/// to be made): it was done before, or may as well have been. One that was asked for after that is nothing.
fn without_idle_unknowns(done: Vec<Done<JobOp>>) -> Vec<Done<JobOp>> {
    let seen: Vec<(u64, u16, bool)> = done
        .iter()
        .filter_map(|one| shown(&one.op).zip(one.answered).map(|((n, over), at)| (at, n, over)))
        .collect();
    let first = |test: &dyn Fn(u16, bool) -> bool| {
        seen.iter().filter(|(_, number, over)| test(*number, *over)).map(|(at, ..)| *at).min()
    };
    let known = done.into_iter().filter_map(|one| {
        let idle = match one.op {
            JobOp::Place(number, None, _) => first(&|n, _| n >= number),
            JobOp::Start(number, _, None)
            | JobOp::Finish(number, _, None)
            | JobOp::Unplace(number, _, None) => first(&|n, over| n > number || (n == number && over)),
            _ => return Some(one),
        };
        match idle {
            Some(at) if at < one.called => None,
            answered => Some(Done { answered, ..one }),
        }
    });
    known.collect()
}
