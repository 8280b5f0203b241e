//! How much earlier than the leader this node gives its lease up: so much as is configured, or more where more was measured.
//!
//! Two things make a margin too short: a clock that runs slower than the leader's, by which a lease seems to last longer here
//! than there; and a machine that stands still, on which what should have ended by now has not. Both are measured: the
//! first against the time that the leader says with each lease, the second by sleeps that take too long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use ractor::ActorProcessingErr;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{CLOCK_LAG, LEASE_MARGIN, STALL};

/// A sleep that should take so long is measured again and again.
const NAP: Duration = Duration::from_millis(50);
/// A stall that was seen counts half as much after so long.
const HALF_LIFE: Duration = Duration::from_secs(5);
/// Clocks are compared over at least so long; over less, the way there and back is most of what would be seen.
const BASELINE_MIN: Duration = Duration::from_secs(10);
/// And over at most so long: rates change with the temperature of a machine, and when its time is set right.
const BASELINE_MAX: Duration = Duration::from_secs(600);

/// The leader's clock in one answer: microseconds since its term began here, and when the question was sent and answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) term: u64,
    pub(super) leader: Duration,
    pub(super) sent: Instant,
    pub(super) received: Instant,
}

/// What was measured. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Margin {
    configured: Duration,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The longest stall, as it counted at this time.
    stall: Option<(Duration, Instant)>,
    /// The reading that later ones are compared with.
    first: Option<Reading>,
    /// How much faster than this node's the leader's clock runs, at least: 0.001 is a millisecond in a second.
    lag: f64,
}

impl Margin {
    /// With what is configured, before anything was measured.
    pub(super) fn new(configured: Duration) -> Self {
        Self { configured, seen: Arc::default() }
    }

    /// The margin for a lease of this length.
    pub(super) fn of(&self, lease: Duration, now: Instant) -> Duration {
        let needed = {
            let seen = self.lock();
            seen.stalled(now) + lease.mul_f64(seen.lag)
        };
        let margin = self.configured.max(needed);
        gauge!(LEASE_MARGIN).set(margin.as_secs_f64());
        margin
    }

    /// Whether at least half of a lease of this length would be left, or all that is configured: with less, what is begun here
    /// would hardly be begun when it had to be ended.
    pub(super) fn leaves_half(&self, lease: Duration, now: Instant) -> bool {
        self.of(lease, now) <= self.configured.max(lease / 2)
    }

    /// A sleep took so much longer than it should have.
    fn stall(&self, late: Duration, now: Instant) {
        let mut seen = self.lock();
        let longest = seen.stalled(now).max(late);
        seen.stall = Some((longest, now));
        gauge!(STALL).set(longest.as_secs_f64());
    }

    /// Compares clocks.
    pub(super) fn read(&self, reading: Reading) {
        let mut seen = self.lock();
        match seen.first {
            Some(first) if first.term == reading.term => {
                let baseline = reading.sent.saturating_duration_since(first.sent);
                if baseline >= BASELINE_MIN {
                    seen.lag = lag(first, reading);
                    gauge!(CLOCK_LAG).set(seen.lag);
                }
                if baseline >= BASELINE_MAX {
                    seen.first = Some(reading);
                }
            }
            // What was known of the leader before says nothing of this one.
            _ => (seen.first, seen.lag) = (Some(reading), 0.0),
        }
    }

    /// This node begins anew: what lies between the readings before and after is a break, and no rate of a clock.
    pub(super) fn begin_anew(&self) {
        let mut seen = self.lock();
        (seen.first, seen.lag) = (None, 0.0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// How much the longest stall counts by now.
    fn stalled(&self, now: Instant) -> Duration {
        let Some((stall, at)) = self.stall else { return Duration::ZERO };
        stall.mul_f64(0.5f64.powf(now.saturating_duration_since(at).as_secs_f64() / HALF_LIFE.as_secs_f64()))
    }
}

/// By how much the leader's clock was faster, at least. The leader read its clock somewhere between question and answer, so
/// between the two readings at most the time from the first question to the last answer passed here.
fn lag(first: Reading, last: Reading) -> f64 {
    let here = last.received.saturating_duration_since(first.sent).as_secs_f64();
    let there = last.leader.saturating_sub(first.leader).as_secs_f64();
    if here > 0.0 { (there / here - 1.0).max(0.0) } else { 0.0 }
}

/// Measures how long this process, and with it the machine, stands still.
pub(super) async fn watch(margin: Margin, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    loop {
        let began = Instant::now();
        if stop.run_until_cancelled(tokio::time::sleep(NAP)).await.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        margin.stall(now.duration_since(began).saturating_sub(NAP), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const CONFIGURED: Duration = Duration::from_secs(10);

    #[test]
    fn a_stall_longer_than_the_margin_counts_and_is_forgotten_by_and_by() {
        let (margin, now) = (Margin::new(CONFIGURED), Instant::now());
        margin.stall(Duration::from_secs(3), now);
        assert_eq!(margin.of(LEASE, now), CONFIGURED);
        margin.stall(Duration::from_secs(24), now);
        margin.stall(Duration::from_millis(1), now);
        assert_eq!(margin.of(LEASE, now), Duration::from_secs(24));
        assert!(!margin.leaves_half(LEASE, now) && margin.leaves_half(LEASE, now + HALF_LIFE));
        assert_eq!(margin.of(LEASE, now + HALF_LIFE), Duration::from_secs(12));
        assert_eq!(margin.of(LEASE, now + HALF_LIFE * 2), CONFIGURED);
    }

    #[test]
    fn a_leader_whose_clock_is_faster_makes_the_margin_longer_by_what_is_certain() {
        let (margin, begin) = (Margin::new(CONFIGURED), Instant::now());
        let reading = |term, at: u64, leader: f64| {
            let (sent, leader) = (begin + Duration::from_secs(at), Duration::from_secs_f64(leader));
            Reading { term, leader, sent, received: sent + Duration::from_millis(100) }
        };
        margin.read(reading(1, 0, 5.0));
        // Too soon to tell.
        margin.read(reading(1, 5, 20.0));
        assert_eq!(margin.of(LEASE, begin), CONFIGURED);
        // As fast as here, and slower: both are harmless.
        for leader in [105.0, 80.0] {
            margin.read(reading(1, 100, leader));
            assert_eq!(margin.of(LEASE, begin), CONFIGURED);
        }
        // Twice as fast: of 30 s there, 15 s have passed here. The way there and back is no excuse.
        margin.read(reading(1, 100, 205.0));
        let found = margin.of(LEASE, begin).as_secs_f64();
        assert!((29.9..30.0).contains(&found), "{found}");
        // Another leader, another clock; another life in the cluster, another beginning.
        margin.read(reading(2, 200, 0.0));
        assert_eq!(margin.of(LEASE, begin), CONFIGURED);
        margin.read(reading(2, 300, 500.0));
        assert_ne!(margin.of(LEASE, begin), CONFIGURED);
        margin.begin_anew();
        assert_eq!(margin.of(LEASE, begin), CONFIGURED);
    }
}
