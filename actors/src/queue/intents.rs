//! How long it takes from a person's intent (a cancel, a pause) in the log until its attempt says that it is so. In the leader's
//! memory, for metrics: what a change of leaders falls into is not measured. Pure.

use std::collections::HashMap;
use std::time::Duration;

use domain::JobId;
use tokio::time::Instant;

/// What is wanted of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Intent {
    Cancel,
    Pause,
    Resume,
}

impl Intent {
    /// As metrics name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// Those that are under way.
#[derive(Debug, Default)]
pub(super) struct Intents(HashMap<JobId, (Intent, Instant)>);

impl Intents {
    /// It is in the log. Repeated, it counts from the first time; another one takes its place.
    pub(super) fn given(&mut self, job: JobId, intent: Intent, now: Instant) {
        match self.0.get(&job) {
            Some((present, _)) if *present == intent => {}
            _ => {
                self.0.insert(job, (intent, now));
            }
        }
    }

    /// It is so: how long that took, if it was given here.
    pub(super) fn done(&mut self, job: JobId, intent: Intent, now: Instant) -> Option<Duration> {
        let (present, since) = *self.0.get(&job)?;
        (present == intent).then(|| {
            self.0.remove(&job);
            now.saturating_duration_since(since)
        })
    }

    /// The job is over, and with it all that was wanted of it.
    pub(super) fn over(&mut self, job: JobId) {
        self.0.remove(&job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_measured_once_from_the_first_time_and_the_last_one_counts() {
        let (mut intents, begin) = (Intents::default(), Instant::now());
        let job = JobId { run: domain::RunId(1), index: 0 };
        let at = |seconds| begin + Duration::from_secs(seconds);
        intents.given(job, Intent::Pause, at(0));
        intents.given(job, Intent::Pause, at(1));
        assert_eq!(intents.done(job, Intent::Resume, at(2)), None);
        assert_eq!(intents.done(job, Intent::Pause, at(2)), Some(Duration::from_secs(2)));
        assert_eq!(intents.done(job, Intent::Pause, at(3)), None);
        intents.given(job, Intent::Pause, at(4));
        intents.given(job, Intent::Cancel, at(5));
        assert_eq!(intents.done(job, Intent::Cancel, at(7)), Some(Duration::from_secs(2)));
        intents.given(job, Intent::Cancel, at(8));
        intents.over(job);
        assert_eq!(intents.done(job, Intent::Cancel, at(9)), None);
    }
}
