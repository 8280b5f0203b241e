//! When the outbox sends what: one request at a time for a repository, few at a time to one server, pauses that grow after
//! failures. What a server answers with an error may be about one commit, so that it holds up what is about the same commit alone;
//! a server that does not answer, or asks for a pause, holds up all of its repository. In the leader's memory: another leader begins anew. Pure.

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
    /// What it is about.
    pub(super) commit: String,
    /// Where its forge is asked.
    pub(super) server: String,
}

/// What is under way, and who waits until when.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    under_way: HashMap<RepoId, String>,
    repos: HashMap<RepoId, Rest>,
    runs: HashMap<RunId, Rest>,
}

#[derive(Debug)]
struct Rest {
    failures: u32,
    until: Instant,
}

impl Rest {
    fn new(now: Instant) -> Self {
        Self { failures: 0, until: now }
    }

    /// For so long after one more failure.
    fn pause(&self, jitter: f64) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// How something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// By an answer that may be about its commit alone.
    Answered,
    /// By none, or by one that asks for a pause of so long.
    Unanswered(Duration),
}

impl Lanes {
    /// Of those that wait, in their order, the ones to be sent now; they are under way from now on.
    pub(super) fn take(&mut self, waiting: impl IntoIterator<Item = Waiting>, now: Instant) -> Vec<Waiting> {
        let mut taken = Vec::new();
        // The last status of a commit and a name holds, so that of one commit the first one goes first.
        let mut behind = HashSet::new();
        for one in waiting {
            if self.under_way.len() >= MOST {
                break;
            }
            let rests = |rest: Option<&Rest>| rest.is_some_and(|rest| rest.until > now);
            if rests(self.repos.get(&one.repo)) || self.under_way.contains_key(&one.repo) {
                continue;
            }
            if rests(self.runs.get(&one.run)) {
                behind.insert((one.repo, one.commit));
                continue;
            }
            if behind.contains(&(one.repo, one.commit.clone())) {
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
    pub(super) fn done(&mut self, repo: RepoId, run: RunId) {
        self.under_way.remove(&repo);
        self.repos.remove(&repo);
        self.runs.remove(&run);
    }

    /// It was not taken, and rests with its repository; for how long it does. `jitter` is 0 to 1, so that not all come back at one time.
    pub(super) fn failed(
        &mut self,
        (repo, run): (RepoId, RunId),
        how: Failure,
        jitter: f64,
        now: Instant,
    ) -> Duration {
        self.under_way.remove(&repo);
        let of_repo = self.repos.entry(repo).or_insert_with(|| Rest::new(now));
        let pause = of_repo.pause(jitter);
        match how {
            Failure::Unanswered(asked) => {
                let pause = pause.max(asked);
                of_repo.failures += 1;
                of_repo.until = now + pause;
                pause
            }
            Failure::Answered => {
                let of_run = self.runs.entry(run).or_insert_with(|| Rest::new(now));
                // One that fails for ever does not make the pauses of the others longer; many that fail do.
                of_repo.failures += u32::from(of_run.failures == 0);
                of_repo.until = now + pause;
                let pause = of_run.pause(jitter);
                of_run.failures += 1;
                of_run.until = now + pause;
                pause
            }
        }
    }

    /// Forgets runs of which nothing waits any more.
    pub(super) fn keep(&mut self, waits: impl Fn(RunId) -> bool) {
        self.runs.retain(|run, _| waits(*run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(run: u128, repo: u128, server: &str) -> Waiting {
        Waiting { run: RunId(run), repo: RepoId(repo), commit: run.to_string(), server: server.to_owned() }
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
        lanes.done(RepoId(1), RunId(1));
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
        let failed = |lanes: &mut Lanes, asked, jitter| {
            lanes.failed((RepoId(1), RunId(1)), Failure::Unanswered(seconds(asked)), jitter, now)
        };
        assert_eq!(failed(&mut lanes, 0, 1.0), seconds(1));
        assert_eq!(failed(&mut lanes, 0, 0.0), seconds(1));
        assert_eq!(failed(&mut lanes, 0, 1.0), seconds(4));
        assert_eq!(failed(&mut lanes, 60, 1.0), seconds(60));
        assert!(lanes.take(one(), now + seconds(59)).is_empty());
        assert_eq!(lanes.take(one(), now + seconds(60)).len(), 1);
        for _ in 0..40 {
            failed(&mut lanes, 0, 1.0);
        }
        assert_eq!(failed(&mut lanes, 0, 1.0), PAUSE_MAX);
        assert_eq!(failed(&mut lanes, 3600, 1.0), seconds(3600));
        lanes.done(RepoId(1), RunId(1));
        assert_eq!(failed(&mut lanes, 0, 1.0), seconds(1), "it begins anew");
    }

    #[test]
    fn one_that_is_always_refused_holds_up_its_own_commit_and_not_its_repository() {
        let (mut lanes, mut now) = (Lanes::default(), Instant::now());
        let same_commit = Waiting { commit: "1".to_owned(), ..waiting(2, 1, "a") };
        let all = [waiting(1, 1, "a"), same_commit, waiting(3, 1, "a")];
        let mut pauses = Vec::new();
        for _ in 0..4 {
            assert_eq!(runs(&lanes.take(all[..1].to_vec(), now)), [1]);
            let pause = lanes.failed((RepoId(1), RunId(1)), Failure::Answered, 1.0, now);
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8], "alone it is tried as ever");
        lanes.take(all.clone(), now);
        lanes.failed((RepoId(1), RunId(1)), Failure::Answered, 1.0, now);
        assert!(lanes.take(all.clone(), now + Duration::from_secs(1)).is_empty());
        now += Duration::from_secs(2);
        assert_eq!(runs(&lanes.take(all.clone(), now)), [3], "what came later of its commit waits");
        lanes.done(RepoId(1), RunId(3));
        assert_eq!(runs(&lanes.take(all[..2].to_vec(), now + Duration::from_secs(14))), [1]);
    }

    #[test]
    fn a_server_that_refuses_everything_is_asked_less_and_less() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let mut later = now;
        for run in 0..12 {
            later += PAUSE_MAX;
            assert_eq!(lanes.take([waiting(run, 1, "a")], later).len(), 1);
            lanes.failed((RepoId(1), RunId(run)), Failure::Answered, 1.0, later);
        }
        assert!(lanes.take([waiting(99, 1, "a")], later + PAUSE_MAX - PAUSE_MIN).is_empty());
        lanes.keep(|_| false);
        assert!(lanes.runs.is_empty());
    }
}
