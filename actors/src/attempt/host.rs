//! Steps that the node does for a job, outside its container: checkouts.
//!
//! Init asks for them in its spool, where the job can forge what it likes: so one runs at a time, each step once, and none
//! outlives the end of its step.

use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{Action, Event, Native, Repo, RepoId};
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Parts;
use super::control::Directories;
use crate::workspace::{Checkout, CloneUrl, Point, Source, checkout};

/// Where the container sees the objects of the repository's mirror, which its checkouts share.
pub(super) const OBJECTS: &str = "/troupe-objects";

/// How a step went; an error is in words for the person who pushed.
pub(super) type Done = Result<(), String>;

/// The host steps of one attempt.
#[derive(Default)]
pub(super) struct Hosts {
    /// The last one that was begun.
    last: Option<u16>,
    tasks: JoinSet<(u16, Done)>,
    /// What they do to the workspace without a chance to stop.
    writes: TaskTracker,
}

impl Hosts {
    /// True when nothing of an earlier step is left, and this one comes after it.
    pub(super) fn ready_for(&self, step: u16) -> bool {
        self.tasks.is_empty() && self.writes.is_empty() && self.last.is_none_or(|last| step > last)
    }

    /// The step that is under way.
    pub(super) fn under_way(&self) -> Option<u16> {
        self.last.filter(|_| !self.tasks.is_empty())
    }

    /// Begins a step that it is ready for; the work holds the token as long as it writes into the workspace.
    pub(super) fn begin<F>(&mut self, step: u16, work: impl FnOnce(TaskTrackerToken) -> F)
    where
        F: Future<Output = Done> + Send + 'static,
    {
        self.last = Some(step);
        let work = AssertUnwindSafe(work(self.writes.token())).catch_unwind();
        self.tasks.spawn(async move {
            let panicked = |_| Err("the node's part of this step panicked (see the node's log)".to_owned());
            (step, work.await.unwrap_or_else(panicked))
        });
    }

    /// The next one that is done; none when none is under way. What was aborted has no answer: init ended it itself.
    pub(super) async fn next(&mut self) -> Option<(u16, Done)> {
        loop {
            if let Ok(done) = self.tasks.join_next().await? {
                return Some(done);
            }
        }
    }

    /// Ends what is under way, soon.
    pub(super) fn abort(&mut self) {
        self.tasks.abort_all();
    }

    /// Ends what is under way; answers when nothing of it is left.
    pub(super) async fn over(&mut self) {
        self.tasks.shutdown().await;
        self.writes.close();
        self.writes.wait().await;
    }
}

/// A checkout with all it needs; owned, so that it runs beside the attempt.
pub(super) struct HostStep {
    pub(super) parts: Arc<Parts>,
    pub(super) repo: Option<(RepoId, Repo)>,
    pub(super) event: Arc<Event>,
    pub(super) directories: Directories,
    /// Which step.
    pub(super) step: u16,
}

impl HostStep {
    /// Does it.
    pub(super) async fn run(self, action: Action, writing: TaskTrackerToken) -> Done {
        let Action::Native { what: Native::Checkout, with } = action else {
            return Err("this step is not the node's to do".to_owned());
        };
        let of = |name: &str| with.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let (path, git_ref) = (of("path").unwrap_or_default(), of("ref").unwrap_or_default());
        let depth = of("fetch-depth").map_or(Ok(1), |depth| depth.parse());
        let depth = depth.map_err(|_| "fetch-depth: expected a whole number".to_owned())?;
        let (id, repo) = self.repo.ok_or("there is no repository to check out: this run belongs to none")?;
        let url = CloneUrl::parse(&repo.clone_url).map_err(|e| format!("the clone URL: {e}"))?;
        let own = git_ref.is_empty();
        // A commit is asked for as such, so that one that no branch reaches any more is found, too.
        let is_commit = matches!(git_ref.len(), 40 | 64) && git_ref.bytes().all(|b| b.is_ascii_hexdigit());
        let (wanted_ref, wanted_commit) = match (own, is_commit) {
            (true, _) => (self.event.git_ref.clone(), self.event.commit.clone()),
            (false, true) => (String::new(), git_ref.to_ascii_lowercase()),
            (false, false) => (git_ref, String::new()),
        };
        let origin = url.redacted();
        let source = Source { repo: id, url, git_ref: wanted_ref, commit: wanted_commit };
        let Point { git_ref, commit } =
            self.parts.mirrors.ensure(&source).await.map_err(|e| e.to_string())?;
        let mirror: PathBuf = self.parts.mirrors.dir(id);
        let objects = self.parts.seen(&mirror.join("objects"), OBJECTS);
        // Init has made the spool, as whatever user the image runs as.
        let spool = self.directories.spool.clone();
        let made =
            tokio::fs::symlink_metadata(&spool).await.map_err(|e| format!("{}: {e}", spool.display()))?;
        let owner = (made.uid() != rustix::process::geteuid().as_raw()).then(|| (made.uid(), made.gid()));
        checkout(Checkout {
            mirror,
            objects_seen_at: objects,
            origin,
            // Its own: a step that was ended half-way leaves its directory behind until the attempt is over.
            staging: self.directories.staging.join(self.step.to_string()),
            workspace: self.directories.workspace,
            path,
            git_ref,
            commit,
            depth,
            owner,
            timeout: self.parts.options.git_timeout,
            writing: Some(writing),
        })
        .await
        .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn one_step_at_a_time_each_once_in_order() {
        let mut hosts = Hosts::default();
        let (go, wait) = oneshot::channel::<()>();
        assert!(hosts.ready_for(1));
        hosts.begin(1, |_| async { wait.await.map_err(|e| e.to_string()) });
        assert_eq!(hosts.under_way(), Some(1));
        assert!(!hosts.ready_for(2), "one is under way");
        drop(go);
        let (step, done) = hosts.next().await.unwrap_or((0, Ok(())));
        assert!(step == 1 && done.is_err(), "{step} {done:?}");
        assert_eq!(hosts.under_way(), None);
        // Forged or asked again.
        assert!(!hosts.ready_for(0) && !hosts.ready_for(1) && hosts.ready_for(2));
        assert!(hosts.next().await.is_none());
    }

    #[tokio::test]
    async fn an_aborted_step_has_no_answer_and_the_next_waits_for_what_it_writes() {
        let mut hosts = Hosts::default();
        let (keep, kept) = oneshot::channel();
        hosts.begin(0, |token| async {
            drop(keep.send(token));
            std::future::pending().await
        });
        let token = kept.await.ok();
        assert!(token.is_some());
        hosts.abort();
        assert!(hosts.next().await.is_none());
        assert!(!hosts.ready_for(1), "it still writes");
        drop(token);
        assert!(hosts.ready_for(1));
        hosts.over().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_for_its_step() {
        let mut hosts = Hosts::default();
        hosts.begin(3, |_| async { std::panic::panic_any("a bug") });
        let (step, done) = hosts.next().await.unwrap_or((0, Ok(())));
        assert!(step == 3 && done.is_err(), "{step} {done:?}");
    }
}
