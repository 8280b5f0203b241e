//! A replicated state with one copy, in memory, and work without containers.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests that use parts; a test that cannot go on stops"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors::replica::{Leadership, NodeAddress, ProposeError, Replica};
use actors::runner::work::{Finished, Survivor, SurvivorsError, Task, Told, Work};
use domain::{
    AttemptId, ClusterState, Command, Condition, Effect, Entry, Fence, JobId, LogIndex, NewJob, NewRun,
    NodeId, Outcome, Reply, Resources, RunId, SpecBytes, Timestamp,
};
use futures::future::BoxFuture;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}

/// A small job that may be tried three times, on any node with these labels.
pub fn submission(id: u128, labels: &[&str]) -> Command {
    let job = NewJob {
        key: "job".to_owned(),
        needs: Vec::new(),
        condition: Condition::Success,
        labels: labels.iter().copied().collect(),
        resources: Resources { cpu_millis: 100, memory_mib: 10 },
        priority: 0,
        retry: domain::Retry::of_losses(3),
        ..NewJob::named("job")
    };
    let run = NewRun::of(RunId(id), "x", vec![job], vec![SpecBytes(Arc::from([1u8]))]);
    Command::SubmitRun {
        key: String::new(),
        digest: [0; 32],
        sender: "t".to_owned(),
        run,
        max_open_jobs: 100,
    }
}

/// Submits it; its job.
pub fn submit(copy: &OneCopy, id: u128, labels: &[&str]) -> JobId {
    assert!(matches!(copy.apply(submission(id, labels)), Reply::Run { .. }));
    JobId { run: RunId(id), index: 0 }
}

pub struct OneCopy {
    state: Mutex<Arc<ClusterState>>,
    applied: watch::Sender<LogIndex>,
    effects: broadcast::Sender<(LogIndex, Effect)>,
    pub leadership: watch::Sender<Leadership>,
    /// While set, nothing can be proposed.
    pub cut_off: watch::Sender<bool>,
    /// How often it was asked whether the state is recent.
    pub asked: watch::Sender<u64>,
}

impl OneCopy {
    pub fn led_by(node: NodeId) -> Arc<Self> {
        let leadership = Leadership { term: 1, leader: Some((node.0, NodeAddress::default())), is_me: true };
        Arc::new(Self {
            state: Mutex::default(),
            applied: watch::channel(0).0,
            effects: broadcast::channel(1024).0,
            leadership: watch::channel(leadership).0,
            cut_off: watch::channel(false).0,
            asked: watch::channel(0).0,
        })
    }

    pub fn apply(&self, command: Command) -> Reply {
        let mut state = self.state.lock().unwrap();
        let index = *self.applied.borrow() + 1;
        let mut next = (**state).clone();
        let (reply, effects) = next.apply(index, &Entry { at: now(), command });
        domain::invariants::check_state(&next).unwrap();
        domain::invariants::check_step(&state, &next).unwrap();
        *state = Arc::new(next);
        self.applied.send_replace(index);
        for effect in effects {
            let _nobody_listens = self.effects.send((index, effect));
        }
        reply
    }

    /// Waits until the state is as wanted; on impatience, panics with what it is.
    pub async fn until(&self, what: &str, wanted: impl Fn(&ClusterState) -> bool) -> Arc<ClusterState> {
        let mut applied = self.applied.subscribe();
        let waiting = async {
            loop {
                applied.borrow_and_update();
                let state = self.state();
                if wanted(&state) {
                    return state;
                }
                applied.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(state) => state,
            Err(_) => {
                panic!("not in time: {what}; jobs: {:#?}", self.state().jobs.iter().collect::<Vec<_>>())
            }
        }
    }
}

impl Replica for OneCopy {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        Box::pin(async move {
            if *self.cut_off.borrow() {
                return Err(ProposeError::Unavailable);
            }
            Ok(self.apply(command))
        })
    }
    fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.state.lock().unwrap())
    }
    fn applied(&self) -> watch::Receiver<LogIndex> {
        self.applied.subscribe()
    }
    fn effects(&self) -> broadcast::Receiver<(LogIndex, Effect)> {
        self.effects.subscribe()
    }
    fn confirm(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move {
            match *self.cut_off.borrow() {
                true => Err(ProposeError::Unavailable),
                false => Ok(()),
            }
        })
    }
    fn current(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        self.asked.send_modify(|times| *times += 1);
        self.confirm()
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
}

/// The fence, and how it is to end.
type Begun = (Fence, watch::Sender<Option<Finished>>);

/// Work that ends when the test says so. Like containers, it outlives the node process that began it.
#[derive(Default)]
pub struct Bench {
    pub begun: Mutex<HashMap<AttemptId, Begun>>,
    pub cleaned: Mutex<Vec<AttemptId>>,
    pub panics: Mutex<bool>,
}

impl Bench {
    pub fn end(&self, attempt: AttemptId, outcome: Outcome) {
        let finished = Finished { log_bytes: 7, ..Finished::bare(outcome, "") };
        self.begun.lock().unwrap()[&attempt].1.send_replace(Some(finished));
    }
}

pub struct BenchWork(pub Arc<Bench>);

impl Work for BenchWork {
    fn run(&self, task: Task) -> BoxFuture<'static, Finished> {
        let panics = *self.0.panics.lock().unwrap();
        assert!(!panics, "work that panics");
        let ended = {
            let mut begun = self.0.begun.lock().unwrap();
            assert_eq!(task.adopted, begun.contains_key(&task.attempt), "adopted, or begun twice");
            let entry = begun.entry(task.attempt).or_insert_with(|| (task.fence, watch::channel(None).0));
            entry.1.subscribe()
        };
        Box::pin(async move {
            task.progress.send_replace(Told { started_at: Some(now()), ..Told::default() });
            let mut ended = ended;
            tokio::select! {
                finished = ended.wait_for(Option::is_some) => finished.unwrap().clone().unwrap(),
                () = CancellationToken::cancelled(&task.cancel) => Finished::bare(Outcome::Cancelled, "cancelled"),
                () = CancellationToken::cancelled(&task.kill) => Finished::bare(Outcome::Lost, "killed"),
            }
        })
    }

    fn survivors(&self) -> BoxFuture<'_, Result<Vec<Survivor>, SurvivorsError>> {
        let begun = self.0.begun.lock().unwrap();
        let of = |(attempt, (fence, _)): (&AttemptId, &Begun)| Survivor {
            attempt: *attempt,
            fence: *fence,
            slot: None,
        };
        let found = begun.iter().map(of).collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn clean(&self, attempt: AttemptId, _: Fence) -> BoxFuture<'_, ()> {
        self.0.begun.lock().unwrap().remove(&attempt);
        self.0.cleaned.lock().unwrap().push(attempt);
        Box::pin(std::future::ready(()))
    }

    fn tidy(&self, _: u16) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
