//! When the outbox sends what: one request at a time for a repository, few at a time to one server, pauses that grow after
//! failures. In the leader's memory: another leader begins anew. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::{RepoId, RunId};
use tokio::time::Instant;

/// Requests at one time.
const MOST: usize = 32;
/// Requests at one time to one server: when it hangs, the places of the others are free.
const MOST_OF_SERVER: usize = 4;
/// Pause after the first failure; doubled at each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Something that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) run: RunId,
    pub(super) repo: RepoId,
    /// Where its forge is asked.
    pub(super) server: String,
}

/// What is under way, and who waits until when.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    under_way: HashMap<RepoId, String>,
    resting: HashMap<RepoId, Rest>,
}

#[derive(Debug)]
struct Rest {
    failures: u32,
    until: Instant,
}

impl Lanes {
    /// Of those that wait, in their order, the ones to be sent now; they are under way from now on.
    pub(super) fn take(&mut self, waiting: impl IntoIterator<Item = Waiting>, now: Instant) -> Vec<Waiting> {
        let mut taken = Vec::new();
        // A repository's first one goes first, also when it is what cannot go now.
        let mut seen = HashSet::new();
        for one in waiting {
            if self.under_way.len() >= MOST {
                break;
            }
            let rests = self.resting.get(&one.repo).is_some_and(|rest| rest.until > now);
            if !seen.insert(one.repo) || rests || self.under_way.contains_key(&one.repo) {
                continue;
            }
            let same = self.under_way.values().filter(|server| **server == one.server).count();
            if same < MOST_OF_SERVER {
                self.under_way.insert(one.repo, one.server.clone());
                taken.push(one);
            }
        }
        taken
    }

    /// It was taken, or never will be.
    pub(super) fn done(&mut self, repo: RepoId) {
        self.under_way.remove(&repo);
        self.resting.remove(&repo);
    }

    /// It was not taken: the repository rests, at least as long as it was asked to. `jitter` is 0 to 1, so that not all come back
    /// at one time. For how long.
    pub(super) fn failed(&mut self, repo: RepoId, asked: Duration, jitter: f64, now: Instant) -> Duration {
        self.under_way.remove(&repo);
        let rest = self.resting.entry(repo).or_insert(Rest { failures: 0, until: now });
        let pause = PAUSE_MIN.saturating_mul(1 << rest.failures.min(16)).min(PAUSE_MAX);
        rest.failures += 1;
        let pause = pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0).max(asked);
        rest.until = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(run: u128, repo: u128, server: &str) -> Waiting {
        Waiting { run: RunId(run), repo: RepoId(repo), server: server.to_owned() }
    }

    fn runs(taken: &[Waiting]) -> Vec<u128> {
        taken.iter().map(|one| one.run.0).collect()
    }

    #[test]
    fn a_repositorys_are_sent_one_after_the_other_and_others_beside_it() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let all = [waiting(1, 1, "a"), waiting(2, 1, "a"), waiting(3, 2, "a")];
        assert_eq!(runs(&lanes.take(all.clone(), now)), [1, 3]);
        assert_eq!(runs(&lanes.take(all.clone(), now)), [] as [u128; 0]);
        lanes.done(RepoId(1));
        assert_eq!(runs(&lanes.take(all[1..].to_vec(), now)), [2]);
    }

    #[test]
    fn a_server_that_hangs_does_not_hold_another() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let hanging = (0..100).map(|n| waiting(n, n, "hangs"));
        assert_eq!(lanes.take(hanging.clone(), now).len(), MOST_OF_SERVER);
        let all = hanging.chain([waiting(500, 500, "answers")]);
        assert_eq!(runs(&lanes.take(all, now)), [500]);
        let many = (1000..2000).map(|n| waiting(n, n, &n.to_string()));
        assert_eq!(lanes.take(many, now).len(), MOST - MOST_OF_SERVER - 1);
    }

    #[test]
    fn pauses_grow_to_minutes_and_are_never_shorter_than_asked() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let one = || [waiting(1, 1, "a")];
        let seconds = |seconds| Duration::from_secs(seconds);
        assert_eq!(lanes.failed(RepoId(1), seconds(0), 1.0, now), seconds(1));
        assert_eq!(lanes.failed(RepoId(1), seconds(0), 0.0, now), seconds(1));
        assert_eq!(lanes.failed(RepoId(1), seconds(0), 1.0, now), seconds(4));
        assert_eq!(lanes.failed(RepoId(1), seconds(60), 1.0, now), seconds(60));
        assert!(lanes.take(one(), now + seconds(59)).is_empty());
        assert_eq!(lanes.take(one(), now + seconds(60)).len(), 1);
        for _ in 0..40 {
            lanes.failed(RepoId(1), seconds(0), 1.0, now);
        }
        assert_eq!(lanes.failed(RepoId(1), seconds(0), 1.0, now), PAUSE_MAX);
        assert_eq!(lanes.failed(RepoId(1), seconds(3600), 1.0, now), seconds(3600));
        lanes.done(RepoId(1));
        assert_eq!(lanes.failed(RepoId(1), seconds(0), 1.0, now), seconds(1), "it begins anew");
    }
}
