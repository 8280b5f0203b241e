//! Placements: optimistic when planned, verified again here.

use std::sync::Arc;

use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::{
    Attempt, AttemptId, Effect, Fence, JobState, Outcome, Placement, Refusal, Reply, Timestamp, limits,
    shared,
};

impl Applying<'_> {
    pub(super) fn place(&mut self, placements: &[Placement]) -> Answer {
        if placements.len() > limits::MAX_BATCH {
            return Err(invalid(
                "placements",
                format!("{}, the limit is {}", placements.len(), limits::MAX_BATCH),
            ));
        }
        let (mut placed, mut refused) = (0, Vec::new());
        for placement in placements {
            match self.check(placement) {
                Ok(()) => {
                    self.place_one(placement);
                    placed += 1;
                }
                Err(refusal) => refused.push((placement.job, refusal)),
            }
        }
        Ok(Reply::Placed { placed, refused })
    }

    fn check(&self, placement: &Placement) -> Result<(), Refusal> {
        let job = self.state.jobs.get(&placement.job).ok_or_else(|| not_found("job", placement.job))?;
        if job.state != JobState::Queued {
            return Err(wrong_state(format!("job {}", placement.job), job.state.as_str(), "placing it"));
        }
        if placement.number != job.attempts.saturating_add(1) {
            let found = format!("at attempt {}", job.attempts);
            return Err(wrong_state(format!("job {}", placement.job), found, "placing it by an older plan"));
        }
        let unfit = |why: String| Refusal::NodeUnfit { node: placement.node, why };
        let node = self.state.nodes.get(&placement.node).ok_or_else(|| unfit("it is unknown".to_owned()))?;
        if node.lost || node.drains() {
            return Err(unfit(if node.lost { "it is lost" } else { "it drains" }.to_owned()));
        }
        if let Some(label) = node.labels.missing(&job.labels).next() {
            return Err(unfit(format!("it has no label {label:?}")));
        }
        let (used, count) = self.state.used(placement.node);
        let capacity = node.capacity;
        let fits = count < capacity.slots
            && used.cpu_millis.saturating_add(job.resources.cpu_millis) <= capacity.resources.cpu_millis
            && used.memory_mib.saturating_add(job.resources.memory_mib) <= capacity.resources.memory_mib;
        if fits { Ok(()) } else { Err(unfit("it is full".to_owned())) }
    }

    fn place_one(&mut self, placement: &Placement) {
        let (now, fence, node) = (self.state.now, self.fence, placement.node);
        // Out of the queue before anything that its place depends on changes.
        if let Some(key) = self.state.jobs.get(&placement.job).map(|job| job.queue_key(placement.job)) {
            self.state.queue.remove(&key);
        }
        self.state.jobs.update(&placement.job, |job| {
            job.state = JobState::Placed;
            job.attempts = placement.number;
            job.node = node;
            job.fence = fence;
            job.placed_at = now;
            job.started_at = Timestamp(0);
        });
        self.state.held.insert((node, placement.job), ());
        let attempt = AttemptId { job: placement.job, number: placement.number };
        let record = Attempt {
            node,
            fence,
            placed_at: now,
            started_at: Timestamp(0),
            finished_at: Timestamp(0),
            outcome: None,
            reason: shared(""),
            steps: Arc::from([]),
            artifacts: Arc::from([]),
            log_bytes: 0,
            annotations: [].into(),
        };
        self.state.attempts.insert(attempt, record);
        self.effects.push(Effect::StartAttempt { node, attempt, fence });
    }

    /// Only a placement whose container is not known to run can be taken back.
    pub(super) fn unplace(&mut self, attempt: AttemptId, given: Fence, reason: &str) -> Answer {
        let job = self.state.jobs.get(&attempt.job).ok_or_else(|| not_found("job", attempt.job))?;
        if job.fence != given || job.attempts != attempt.number {
            return Err(Refusal::StaleFence { given, present: job.fence });
        }
        if job.state != JobState::Placed {
            return Err(wrong_state(
                format!("job {}", attempt.job),
                job.state.as_str(),
                "taking its placement back",
            ));
        }
        let (cancelled, fence) = (job.cancel_requested, self.fence);
        self.end_attempt(attempt.job, Outcome::Lost, reason);
        self.state.jobs.update(&attempt.job, |job| job.fence = fence);
        if cancelled {
            self.move_job(attempt.job, JobState::Finished(Outcome::Cancelled));
        } else {
            self.admit(attempt.job);
        }
        self.settle(attempt.job.run);
        Ok(Reply::Done)
    }
}
