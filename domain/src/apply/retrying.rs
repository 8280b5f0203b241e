//! Jobs that ask for it are tried again after they failed, once a while is over.

use super::{Answer, Applying, invalid, not_found};
use crate::{Effect, JobId, Outcome, Reply, Timestamp};

impl Applying<'_> {
    /// Ends an attempt after which its job is tried again; false, and nothing is done, when it is not.
    pub(super) fn try_again(&mut self, id: JobId, outcome: Outcome, reason: &str) -> bool {
        let (fence, now) = (self.fence, self.state.now);
        let wanted = |job: &&crate::Job| {
            !job.cancel_requested && job.retry.again(outcome, job.losses + job.failures + 1)
        };
        let Some(job) = self.state.jobs.get(&id).filter(wanted) else { return false };
        let wait = job.retry.backoff_millis(job.failures + 1);
        self.state.jobs.update(&id, |job| {
            job.failures += 1;
            job.fence = fence;
        });
        self.end_attempt(id, outcome, reason);
        if wait > 0 {
            self.state.backoffs.insert(id, Timestamp(now.0 + wait));
            self.effects.push(Effect::WakeClock);
        }
        self.admit(id);
        true
    }

    /// A job has waited long enough.
    pub(super) fn end_backoff(&mut self, id: JobId) -> Answer {
        let until = *self.state.backoffs.get(&id).ok_or_else(|| not_found("backoff of job", id))?;
        if until > self.state.now {
            return Err(invalid("job", format!("{id} is tried again in {} ms", until.0 - self.state.now.0)));
        }
        self.state.backoffs.remove(&id);
        self.settle(id.run);
        Ok(Reply::Done)
    }
}
