//! What the node does itself for a job, outside its container.
//!
//! It begins when init says in its spool that the order for it has, and there the job can forge what it likes: so one runs at a time,
//! each order once, and none outlives the end of its order.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lead::Did;

/// How it went; an error is in words for the person who pushed.
pub(super) type Done = Result<Did, String>;

/// The host steps of one attempt.
#[derive(Default)]
pub(super) struct Hosts {
    /// The last one that was begun.
    last: Option<u32>,
    tasks: JoinSet<(u32, Done)>,
    /// What they do to the workspace without a chance to stop, and what is left to be done after them.
    writes: TaskTracker,
}

impl Hosts {
    /// True when nothing of an earlier step is left, and this one comes after it.
    pub(super) fn ready_for(&self, step: u32) -> bool {
        self.tasks.is_empty() && self.writes.is_empty() && self.last.is_none_or(|last| step > last)
    }

    /// The step that is under way.
    pub(super) fn under_way(&self) -> Option<u32> {
        self.last.filter(|_| !self.tasks.is_empty())
    }

    /// Begins a step that it is ready for; the work holds the token as long as it writes into the workspace.
    pub(super) fn begin<F>(&mut self, step: u32, work: impl FnOnce(TaskTrackerToken) -> F)
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

    /// What is left to be done of a step that is over, before the next one begins.
    pub(super) fn afterwards(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.writes.spawn(work);
    }

    /// An earlier life of this node has done it.
    pub(super) fn skip(&mut self, step: u32) {
        self.last = Some(step);
    }

    /// The next one that is done; none when none is under way. What was aborted has no answer: init ended it itself.
    pub(super) async fn next(&mut self) -> Option<(u32, Done)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::native::NativeDone;
    use tokio::sync::oneshot;

    fn did() -> Did {
        Did::Native(NativeDone::default())
    }

    #[tokio::test]
    async fn one_step_at_a_time_each_once_in_order() {
        let mut hosts = Hosts::default();
        let (go, wait) = oneshot::channel::<()>();
        assert!(hosts.ready_for(1));
        hosts.begin(1, |_| async { wait.await.map(|()| did()).map_err(|e| e.to_string()) });
        assert_eq!(hosts.under_way(), Some(1));
        assert!(!hosts.ready_for(2), "one is under way");
        drop(go);
        let (step, done) = hosts.next().await.unwrap_or_else(|| (0, Ok(did())));
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
        let (step, done) = hosts.next().await.unwrap_or_else(|| (0, Ok(did())));
        assert!(step == 3 && done.is_err(), "{step} {done:?}");
    }
}
