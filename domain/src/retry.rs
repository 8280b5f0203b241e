//! Whether and when a job is tried again after an attempt that did not succeed.

use serde::{Deserialize, Serialize};

use crate::{Outcome, limits};

/// What a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, 1 to [`limits::MAX_ATTEMPTS`]. One that its node took back before it began is none.
    pub attempts: u16,
    /// Seconds before it is tried again after it failed, 0 to [`limits::MAX_BACKOFF_SECONDS`]; twice as long each further time.
    pub backoff_seconds: u32,
    /// After its node was lost: at once, on another if there is one.
    pub lost: bool,
    /// After it failed.
    pub failed: bool,
    /// After a limit of time ended it.
    pub timed_out: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self::of_losses(limits::MAX_ATTEMPTS)
    }
}

impl Retry {
    /// Only what is lost is tried again, at most so many times in all.
    #[must_use]
    pub fn of_losses(attempts: u16) -> Self {
        Self { attempts, backoff_seconds: 0, lost: true, failed: false, timed_out: false }
    }

    /// Whether a job is tried again when this many of its attempts have counted, the last of which ended so.
    pub(crate) fn again(&self, outcome: Outcome, counted: u16) -> bool {
        let covered = match outcome {
            Outcome::Lost => self.lost,
            Outcome::Failed => self.failed,
            Outcome::TimedOut => self.timed_out,
            Outcome::Succeeded | Outcome::Cancelled | Outcome::Skipped => false,
        };
        covered && counted < self.attempts
    }

    /// How long it waits after so many failures (from 1), in milliseconds.
    pub(crate) fn backoff_millis(&self, failures: u16) -> u64 {
        let doubled = u64::from(self.backoff_seconds) << failures.saturating_sub(1).min(16);
        doubled.min(u64::from(limits::MAX_BACKOFF_SECONDS)) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_twice_as_long_each_time_and_never_longer_than_the_limit() {
        let retry = Retry { backoff_seconds: 30, failed: true, ..Retry::of_losses(3) };
        let waits: Vec<_> = (1..=9).map(|failures| retry.backoff_millis(failures) / 1000).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(Retry::default().backoff_millis(3), 0);
    }

    #[test]
    fn only_what_is_asked_for_is_tried_again_and_so_often() {
        let retry = Retry { timed_out: true, ..Retry::of_losses(2) };
        for (outcome, counted, again) in [
            (Outcome::TimedOut, 1, true),
            (Outcome::TimedOut, 2, false),
            (Outcome::Lost, 1, true),
            (Outcome::Failed, 1, false),
            (Outcome::Cancelled, 1, false),
        ] {
            assert_eq!(retry.again(outcome, counted), again, "{outcome:?} after {counted}");
        }
    }
}
