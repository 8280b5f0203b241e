//! Leases as nodes and the leader keep them: what silence means, when a leader begins, what is ended at once. The state is
//! one copy in memory; other nodes are heartbeats that the tests make up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::artifacts::Blobs;
use actors::gateway::{self, Answer, Rejection};
use actors::queue;
use actors::replica::{Leadership, ProposeError, Replica};
use actors::root::{self, Handle, Parts};
use actors::runner::work::{Finished, Survivor, SurvivorsError, Task, Told, Work};
use actors::runner::{self, Sources};
use actors::supervisor::Policy;
use actors::workspace::Mirrors;
use domain::{
    AttemptId, BootId, Capacity, ClusterState, Command, Effect, Fence, JobId, JobState, LogIndex, NodeFacts,
    NodeId, Outcome, Reply, Resources, StepResult, Timestamp,
};
use futures::future::BoxFuture;
use support::{OneCopy, PATIENCE, now, submit};
use tokio::sync::{broadcast, watch};

const ME: NodeId = NodeId(7);
const SILENT: NodeId = NodeId(8);
const TALKS: NodeId = NodeId(9);

fn facts(node: NodeId, label: &str) -> NodeFacts {
    NodeFacts {
        node,
        name: format!("n{node}").parse().unwrap(),
        boot: BootId(1),
        cluster_addr: "127.0.0.1:1".to_owned(),
        http_addr: "127.0.0.1:2".to_owned(),
        labels: [label].into_iter().collect(),
        capacity: Capacity { resources: Resources { cpu_millis: 4000, memory_mib: 4000 }, slots: 2 },
        version: "test".to_owned(),
    }
}

/// Work that says nothing and ends only when it is killed.
#[derive(Default)]
struct Mute(Mutex<Option<watch::Sender<Told>>>, watch::Sender<bool>);

impl Mute {
    async fn killed(&self) {
        let mut killed = self.1.subscribe();
        let killed = killed.wait_for(|killed| *killed);
        drop(tokio::time::timeout(PATIENCE, killed).await.unwrap().unwrap());
    }
}

struct MuteWork(Arc<Mute>);

impl Work for MuteWork {
    fn run(&self, task: Task) -> BoxFuture<'static, Finished> {
        let mute = Arc::clone(&self.0);
        task.progress.send_replace(Told { started_at: Some(now()), ..Told::default() });
        *mute.0.lock().unwrap() = Some(task.progress);
        Box::pin(async move {
            task.kill.cancelled().await;
            mute.1.send_replace(true);
            Finished::bare(Outcome::Lost, "killed")
        })
    }

    fn survivors(&self) -> BoxFuture<'_, Result<Vec<Survivor>, SurvivorsError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn clean(&self, _: AttemptId, _: Fence) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn tidy(&self, _: u16) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn parts(replica: Arc<dyn Replica>, mute: &Arc<Mute>, dir: &Path) -> Parts {
    let facts = facts(ME, "mine");
    let (name, boot) = (facts.name.clone(), facts.boot);
    Parts {
        replica,
        work: Arc::new(MuteWork(Arc::clone(mute))),
        sources: Sources { mirrors: Mirrors::new(dir.join("mirrors"), Duration::from_secs(5)) },
        wire: None,
        bulk: None,
        gateway: gateway::Options::new(ME, name, boot),
        queue: queue::Options {
            reconcile: Duration::from_millis(20),
            lease: Duration::from_secs(600),
            ..queue::Options::default()
        },
        runner: runner::Options {
            facts,
            attempts: dir.join("attempts"),
            heartbeat: Duration::from_millis(20),
            first_lease: Duration::from_secs(600),
            margin: Duration::from_secs(1),
            reaper: runner::reaper::Options::new(Blobs::new(dir.join("blobs"))),
        },
        policy: Policy { backoff_min: Duration::from_millis(1), ..Policy::default() },
    }
}

fn is(job: JobId, wanted: JobState) -> impl Fn(&ClusterState) -> bool {
    move |state| state.jobs.get(&job).is_some_and(|job| job.state == wanted)
}

async fn heard(handle: &Handle, copy: &Arc<OneCopy>, node: NodeId) {
    let replica: Arc<dyn Replica> = Arc::clone(copy) as _;
    let granted = async {
        while handle.desk().heartbeat(&replica, node, BootId(1), (Vec::new(), 2)).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, granted).await.unwrap();
}

#[tokio::test]
async fn a_placement_is_taken_back_from_a_node_that_speaks_and_not_from_one_that_is_silent() {
    let (copy, dir) = (OneCopy::led_by(ME), tempfile::tempdir().unwrap());
    let mut parts = parts(Arc::clone(&copy) as _, &Arc::default(), dir.path());
    parts.queue.acknowledge = Duration::from_millis(100);
    let handle = root::start(parts).await.unwrap();
    for (node, label) in [(SILENT, "silent"), (TALKS, "talks")] {
        copy.apply(Command::RegisterNode(facts(node, label)));
        heard(&handle, &copy, node).await;
    }
    // From here on, one is cut off: it may or may not have been told of what it is given.
    let given = submit(&copy, 1, &["silent"]);
    copy.until("placed on the silent node", is(given, JobState::Placed)).await;
    let other = submit(&copy, 2, &["talks"]);
    copy.until("placed on the other node", is(other, JobState::Placed)).await;
    let again = async {
        copy.until("taken back and placed again", |s| s.jobs.get(&other).is_some_and(|j| j.attempts >= 2))
            .await
    };
    let talk = async {
        loop {
            heard(&handle, &copy, TALKS).await;
            tokio::task::yield_now().await;
        }
    };
    let state = tokio::select! {
        state = again => state,
        () = talk => unreachable!(),
    };
    // Placed earlier, so that it would have been taken back earlier.
    let silent = state.jobs.get(&given).unwrap();
    assert_eq!((silent.state, silent.attempts), (JobState::Placed, 1));
    handle.shutdown().await;
}

/// A replica whose leadership nobody confirms until the test says so.
struct Doubtful {
    copy: Arc<OneCopy>,
    asked: watch::Sender<u32>,
    sure: watch::Sender<bool>,
}

impl Replica for Doubtful {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>> {
        self.copy.propose(command)
    }
    fn state(&self) -> Arc<ClusterState> {
        self.copy.state()
    }
    fn applied(&self) -> watch::Receiver<LogIndex> {
        self.copy.applied()
    }
    fn effects(&self) -> broadcast::Receiver<(LogIndex, Effect)> {
        self.copy.effects()
    }
    fn confirm(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        self.asked.send_modify(|asked| *asked += 1);
        let sure = *self.sure.borrow();
        Box::pin(std::future::ready(sure.then_some(()).ok_or(ProposeError::Unavailable)))
    }
    fn current(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        self.copy.current()
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.copy.leadership()
    }
}

#[tokio::test]
async fn a_leader_grants_and_places_nothing_before_a_quorum_has_confirmed_it() {
    let (copy, dir) = (OneCopy::led_by(ME), tempfile::tempdir().unwrap());
    let doubtful = Arc::new(Doubtful {
        copy: Arc::clone(&copy),
        asked: watch::channel(0).0,
        sure: watch::channel(false).0,
    });
    copy.apply(Command::RegisterNode(facts(TALKS, "talks")));
    let job = submit(&copy, 1, &["mine"]);
    let handle = root::start(parts(Arc::clone(&doubtful) as _, &Arc::default(), dir.path())).await.unwrap();
    let mut asked = doubtful.asked.subscribe();
    let asked = asked.wait_for(|asked| *asked >= 3);
    drop(tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap());
    let replica: Arc<dyn Replica> = Arc::clone(&doubtful) as _;
    let refused = handle.desk().heartbeat(&replica, TALKS, BootId(1), (Vec::new(), 2));
    assert_eq!(refused, Err(Rejection::NotLeader));
    assert!(is(job, JobState::Queued)(&copy.state()));
    doubtful.sure.send_replace(true);
    heard(&handle, &copy, TALKS).await;
    let granted = handle.desk().heartbeat(&replica, TALKS, BootId(1), (Vec::new(), 2));
    assert!(matches!(granted, Ok(Answer::Lease { granted_millis: 1.., .. })), "{granted:?}");
    copy.until("runs", is(job, JobState::Running)).await;
    handle.shutdown().await;
}

/// A node alone with a job that runs and says nothing.
async fn running(heartbeat: Duration) -> (Arc<OneCopy>, Arc<Mute>, Handle, tempfile::TempDir) {
    let (copy, mute, dir) = (OneCopy::led_by(ME), Arc::<Mute>::default(), tempfile::tempdir().unwrap());
    let mut parts = parts(Arc::clone(&copy) as _, &mute, dir.path());
    parts.runner.heartbeat = heartbeat;
    let handle = root::start(parts).await.unwrap();
    heard(&handle, &copy, ME).await;
    let job = submit(&copy, 1, &["mine"]);
    copy.until("runs", is(job, JobState::Running)).await;
    (copy, mute, handle, dir)
}

#[tokio::test]
async fn a_report_that_is_refused_ends_the_attempt() {
    // No further heartbeat: nobody else tells this node.
    let (copy, mute, handle, _dir) = running(Duration::from_secs(3600)).await;
    assert_eq!(copy.apply(Command::LoseNode { node: ME, boot: BootId(1) }), Reply::Done);
    let at = Timestamp(1);
    let step = StepResult {
        exit_code: Some(0),
        signal: None,
        name: String::new(),
        outcome: Some(Outcome::Succeeded),
        started_at: at,
        finished_at: at,
    };
    let progress = mute.0.lock().unwrap().take().unwrap();
    progress.send_modify(|told| told.steps = vec![step]);
    mute.killed().await;
    handle.shutdown().await;
}

#[tokio::test]
async fn what_the_state_gives_to_others_is_ended_although_no_leader_says_so() {
    let (copy, mute, handle, _dir) = running(Duration::from_millis(20)).await;
    copy.leadership.send_replace(Leadership { term: 2, leader: None, is_me: false });
    assert_eq!(copy.apply(Command::LoseNode { node: ME, boot: BootId(1) }), Reply::Done);
    mute.killed().await;
    handle.shutdown().await;
}
