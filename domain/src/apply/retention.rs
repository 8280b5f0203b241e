//! Finished runs leave the state.

use super::{Answer, Applying};
use crate::{AttemptId, JobId, Reply, RunId};

impl Applying<'_> {
    pub(super) fn forget_runs(&mut self, runs: &[RunId]) -> Answer {
        for id in runs {
            if self.state.runs.get(id).is_some_and(|run| run.outcome.is_some()) {
                self.forget_run(*id);
            }
        }
        Ok(Reply::Done)
    }

    fn forget_run(&mut self, id: RunId) {
        let Some(run) = self.state.runs.remove(&id) else { return };
        for index in 0..run.jobs {
            let job_id = JobId { run: id, index };
            let Some(job) = self.state.jobs.remove(&job_id) else { continue };
            self.state.specs.remove(&job_id);
            self.state.contexts.remove(&job_id);
            self.state.outputs.remove(&job_id);
            self.state.reasons.remove(&job_id);
            self.state.once_undecided.remove(&job_id);
            self.state.reviews.remove(&job_id);
            for number in 1..=job.attempts {
                self.state.attempts.remove(&AttemptId { job: job_id, number });
            }
        }
        self.state.outbox.remove(&id);
        self.state.approved.remove(&id);
        // The last of a delivery's runs takes the delivery along.
        let others =
            run.delivery.and_then(|delivery| self.state.deliveries.get(&delivery)).is_some_and(|delivery| {
                match &delivery.state {
                    crate::DeliveryState::Expanded { runs, .. } => {
                        runs.iter().any(|run| self.state.runs.contains(run))
                    }
                    _ => true,
                }
            });
        if let Some(delivery) = run.delivery.filter(|_| !others) {
            self.state.deliveries.remove(&delivery);
        }
    }
}
