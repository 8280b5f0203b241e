//! Groups, undecided jobs, concurrency, approval: what workflows have beyond jobs that need each other.

use std::sync::Arc;

use domain::{Concurrency, Form, NewJob, NewRun, SpecBytes, Verdict};

use super::{Command, Move, Reply, World, new_job, pick};

/// What must not run at the same time, of few groups, so that they meet.
fn concurrency(bits: u64) -> Option<Concurrency> {
    let group = format!("G{}", bits % 2);
    let (cancel_in_progress, queue_all) = (bits & 4 == 0, bits & 8 == 0);
    bits.is_multiple_of(5).then_some(Concurrency { group, cancel_in_progress, queue_all })
}

/// Makes more of a run: some of its jobs are undecided, may fail, or are in a concurrency group, and it may have a group.
pub(super) fn enrich(run: &mut NewRun, one: Move) {
    let bits = |index: usize| one.a.rotate_left(11 * index as u32 + 3);
    run.concurrency = concurrency(bits(9));
    for (index, job) in run.jobs.iter_mut().enumerate() {
        let bits = bits(index);
        job.may_fail = bits.is_multiple_of(7);
        job.concurrency = concurrency(bits >> 8);
        job.environment = bits.is_multiple_of(6).then(|| format!("Env{}", bits % 2));
        job.spread = bits.is_multiple_of(3);
        job.form = if bits.is_multiple_of(4) { Form::Undecided } else { Form::Job };
    }
    if one.a.is_multiple_of(2) {
        let group = run.jobs.len() as u16;
        run.jobs.extend(group_of(one, group));
    }
}

/// A group at this place, and its members behind it.
fn group_of(one: Move, place: u16) -> Vec<NewJob> {
    let form = Form::Group { fail_fast: one.b & 2 == 0, max_parallel: (one.b % 3) as u16 };
    let key = |n: u16| format!("group{place}-{n}");
    let group = NewJob { form, needs: Vec::new(), ..NewJob { key: key(0), ..new_job(one, 0) } };
    let member = |n: u16| NewJob { group: Some(place), needs: Vec::new(), key: key(n), ..new_job(one, n) };
    std::iter::once(group).chain((1..=3).map(member)).collect()
}

impl World {
    /// The leader decides a job.
    pub(super) fn decide(&mut self, one: Move) -> Result<(), String> {
        let open: Vec<_> = self.state.undecided.iter().map(|(id, ())| *id).collect();
        let Some(job) = pick(&open, one.a).copied() else { return Ok(()) };
        let specs = vec![SpecBytes(Arc::from([1u8]))];
        let verdict = match one.b % 5 {
            0 => Verdict::Skip,
            1 => Verdict::Fail { reason: "no".to_owned() },
            2 => Verdict::Become { jobs: group_of(one, 0), specs },
            _ => Verdict::Become { jobs: vec![new_job(one, 0)], specs },
        };
        let before = self.state.runs.get(&job.run).map_or(0, |run| run.jobs);
        match self.apply(Command::DecideJob { job, verdict: verdict.clone() })? {
            Reply::Done => {}
            other => return Err(format!("a verdict was answered {other:?}")),
        }
        let after = self.state.runs.get(&job.run).map_or(0, |run| run.jobs);
        self.seen.decided += 1;
        self.seen.became += u64::from(after > before);
        // Decided once: who asks again, after a change of leader say, changes nothing.
        match self.apply(Command::DecideJob { job, verdict })? {
            Reply::Refused(_) => Ok(()),
            other => Err(format!("a second verdict was answered {other:?}")),
        }
    }

    pub(super) fn approve(&mut self, one: Move) -> Result<(), String> {
        let waiting: Vec<_> = self.state.unapproved.iter().map(|(run, ())| *run).collect();
        let Some(run) = pick(&waiting, one.a).copied() else { return Ok(()) };
        self.seen.approved += 1;
        self.apply(Command::ApproveRun { run, sender: "someone".to_owned() }).map(drop)
    }

    /// Nothing is left to be decided or approved.
    pub(super) fn decide_all(&mut self, one: Move) -> Result<(), String> {
        while !self.state.undecided.is_empty() {
            self.decide(one)?;
        }
        while !self.state.unapproved.is_empty() {
            self.approve(one)?;
        }
        self.seen.held_by_group +=
            self.state.groups.iter().map(|(_, group)| group.waiting.len() as u64).sum::<u64>();
        Ok(())
    }
}
