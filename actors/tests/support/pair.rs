//! Two nodes with one replicated state, whose attempts are started by hand, on processes or containers: what jobs leave to each other.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests that use parts; a test that cannot go on stops"
)]

use std::collections::BTreeMap;
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actors::artifacts::{Blobs, Limits};
use actors::attempt::{Beyond, Containers, Options};
use actors::bulk::{ByteStream, FetchError, Others, Shelf};
use actors::caches;
use actors::executor::{DockerExecutor, Executor, FakeExecutor, Found};
use actors::init_binary;
use actors::logs::{Content, LogStore, follow};
use actors::replica::Replica;
use actors::runner::work::{Finished, Task, Told, Work};
use actors::shelf::NodeShelf;
use actors::workspace::Mirrors;
use domain::{
    Access, Action, AttemptId, AttemptReport, BootId, Capacity, Command, DeliveryId, DeliveryState, Event,
    EventKind, Fence, JobId, JobSpec, Labels, Native, NewJob, NewRun, NodeFacts, NodeId, Placement, Progress,
    RepoId, Resources, RunId, Sealed, SpecBytes, StepSpec,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{OneCopy, PATIENCE};

pub const REPO: RepoId = RepoId(7);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Processes,
    Containers,
}

/// A node.
pub struct Node {
    pub id: NodeId,
    pub dir: tempfile::TempDir,
    pub executor: Arc<dyn Executor>,
    pub logs: LogStore,
    pub blobs: Blobs,
    pub work: Containers,
}

/// Both of them.
pub struct Pair {
    pub copy: Arc<OneCopy>,
    pub nodes: [Node; 2],
    pub shelves: Arc<Shelves>,
    next: AtomicU64,
}

/// What both have on their shelves; one of them may be away.
#[derive(Default)]
pub struct Shelves {
    pub all: std::sync::Mutex<BTreeMap<NodeId, NodeShelf>>,
    pub away: AtomicBool,
}

impl Others for Shelves {
    fn artifact(&self, node: NodeId, digest: [u8; 32]) -> BoxFuture<'_, Result<ByteStream, FetchError>> {
        async move {
            if self.away.load(Ordering::Relaxed) {
                return Err(FetchError::UnknownNode(node));
            }
            let shelf = self.all.lock().unwrap().get(&node).cloned().ok_or(FetchError::UnknownNode(node))?;
            shelf.artifact(digest).await.ok_or(FetchError::NotThere(node))
        }
        .boxed()
    }
}

/// A job that was given to a node.
pub struct Given {
    pub attempt: AttemptId,
    pub fence: Fence,
    pub node: usize,
}

/// One that runs.
pub struct Running {
    pub given: Given,
    pub cancel: CancellationToken,
    pub kill: CancellationToken,
    pub lease: watch::Sender<Option<Instant>>,
    pub told: watch::Receiver<Told>,
    paused: watch::Sender<bool>,
    lives: JoinSet<Finished>,
}

impl Running {
    pub async fn end(&mut self) -> Finished {
        // Several containers each, beside other tests on few processors: slow is not wrong.
        tokio::time::timeout(PATIENCE * 4, self.lives.join_next()).await.unwrap().unwrap().unwrap()
    }
}

impl Running {
    /// Its node's process dies: nobody is told anything any more.
    pub async fn die(&mut self) {
        self.lives.shutdown().await;
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in &self.nodes {
            let label = format!("label=troupe.node={}", node.id);
            for (list, remove) in [
                (&["ps", "-aq"][..], ["rm", "-f"]),
                (&["network", "ls", "-q"][..], ["network", "rm"]),
                (&["volume", "ls", "-q"][..], ["volume", "rm"]),
            ] {
                let listed = Process::new("docker").args(list).args(["--filter", &label]).output();
                let ids =
                    listed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
                for id in ids.split_whitespace() {
                    let _ = Process::new("docker").args(remove).arg(id).output();
                }
            }
        }
    }
}

pub fn push(git_ref: &str) -> Event {
    event(EventKind::Push, git_ref, "")
}

pub fn event(kind: EventKind, git_ref: &str, base_ref: &str) -> Event {
    Event {
        git_ref: git_ref.to_owned(),
        base_ref: base_ref.to_owned(),
        commit: "c".repeat(40),
        sender: "ada".to_owned(),
        payload: r#"{"repository":{"default_branch":"main"}}"#.to_owned(),
        ..Event::of(kind)
    }
}

pub fn run(script: &str) -> StepSpec {
    let (script, shell) = (script.to_owned(), "sh".to_owned());
    let action = Action::Run { script, shell, working_directory: String::new() };
    StepSpec { action, ..StepSpec::default() }
}

pub fn native(what: Native, with: &[(&str, &str)]) -> StepSpec {
    let with = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    StepSpec { action: Action::Native { what, with }, ..StepSpec::default() }
}

pub fn spec(steps: Vec<StepSpec>) -> JobSpec {
    JobSpec { timeout_seconds: 120, steps, ..JobSpec::default() }
}

impl Pair {
    /// None, said aloud, where containers are not wanted.
    pub fn new(kind: Kind, number: u64) -> Option<Self> {
        if kind == Kind::Containers && std::env::var_os("TROUPE_NO_DOCKER").is_some() {
            println!("skipped: TROUPE_NO_DOCKER is set");
            return None;
        }
        let id = |n: u64| NodeId(number << 40 | n << 36 | u64::from(std::process::id()));
        let copy = OneCopy::led_by(id(1));
        copy.apply(Command::PutRepo {
            id: REPO,
            name: "team/demo".parse().unwrap(),
            clone_url: "https://forge.example/team/demo.git".to_owned(),
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Labels::default(),
            access: Access::default(),
            approve_forks: false,
            over: None,
        });
        let shelves = Arc::new(Shelves::default());
        let nodes = [1, 2].map(|n| Node::new(kind, id(n), n, &copy, &shelves));
        Some(Self { copy, nodes, shelves, next: AtomicU64::new(1) })
    }

    /// A run with these jobs, none of them begun.
    pub fn submit(&self, event: Event, specs: &[JobSpec]) -> RunId {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (delivery, run) =
            (DeliveryId(n.into()), RunId(u128::from(self.nodes[0].id.0) << 8 | u128::from(n)));
        let (git_ref, payload) = (event.git_ref.clone(), event.payload.clone());
        let accept = Command::AcceptDelivery {
            id: delivery,
            repo: REPO,
            key: n.to_string(),
            digest: [n as u8; 32],
            event,
            only_path: String::new(),
        };
        self.copy.apply(accept);
        self.copy.apply(Command::AssignExpansion { delivery, node: self.nodes[0].id });
        let state = self.copy.state();
        let DeliveryState::Expanding { fence, .. } = state.deliveries.get(&delivery).unwrap().state else {
            panic!("not given to the node: {:?}", state.deliveries.get(&delivery));
        };
        let resources = Resources { cpu_millis: 500, memory_mib: 128 };
        let job = |at: usize| NewJob {
            resources,
            retry: domain::Retry::of_losses(3),
            spec: u16::try_from(at).unwrap(),
            ..NewJob::named(&format!("job{at}"))
        };
        let jobs = (0..specs.len()).map(job).collect();
        let encoded = |spec: &JobSpec| SpecBytes(raft_store::codec::encode(spec).unwrap().into());
        let runs = vec![NewRun::of(run, "x", jobs, specs.iter().map(encoded).collect())];
        let commit = "c".repeat(40);
        self.copy.apply(Command::ExpandDelivery {
            delivery,
            fence,
            commit,
            git_ref,
            payload,
            runs,
            triggers: None,
            numbers_from: None,
            reason: String::new(),
        });
        run
    }

    /// Gives a job to a node.
    pub fn place(&self, run: RunId, index: u16, node: usize) -> Given {
        let attempt = AttemptId { job: JobId { run, index }, number: 1 };
        let placement = Placement { job: attempt.job, number: 1, node: self.nodes[node].id };
        self.copy.apply(Command::Place { placements: vec![placement] });
        let fence = self.copy.state().attempts.get(&attempt).unwrap().fence;
        Given { attempt, fence, node }
    }

    pub fn begin(&self, given: Given, adopted: bool) -> Running {
        let (progress, told) = watch::channel(Told::default());
        let lease = watch::channel(Some(Instant::now() + Duration::from_secs(3600))).0;
        let paused = watch::channel(false).0;
        let (cancel, kill) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            attempt: given.attempt,
            fence: given.fence,
            slot: 0,
            adopted,
            lease: lease.subscribe(),
            paused: paused.subscribe(),
            cancel: cancel.clone(),
            kill: kill.clone(),
            progress,
        };
        let mut lives = JoinSet::new();
        lives.spawn(self.nodes[given.node].work.run(task));
        Running { given, cancel, kill, lease, told, paused, lives }
    }

    /// Runs a job to its end, which the cluster then knows; how it ended, and its log.
    pub async fn job(&self, run: RunId, index: u16, node: usize) -> (Finished, String) {
        let mut running = self.begin(self.place(run, index, node), false);
        let finished = running.end().await;
        self.over(&running.given, &finished).await;
        (finished, self.output(node, running.given.attempt).await)
    }

    /// A run of one job, to its end.
    pub async fn alone(&self, event: Event, node: usize, spec: JobSpec) -> (Finished, String) {
        self.job(self.submit(event, &[spec]), 0, node).await
    }

    /// Tells the cluster, and removes what is left.
    pub async fn over(&self, given: &Given, finished: &Finished) {
        let what = Progress::Finished {
            outcome: finished.outcome,
            reason: finished.reason.clone(),
            steps: finished.steps.clone(),
            artifacts: finished.artifacts.clone(),
            log_bytes: finished.log_bytes,
            outputs: finished.outputs.clone(),
            annotations: finished.annotations.clone(),
        };
        let node = &self.nodes[given.node];
        let report = AttemptReport { attempt: given.attempt, fence: given.fence, node: node.id, what };
        self.copy.apply(Command::Report(report));
        node.work.clean(given.attempt, given.fence).await;
    }

    pub async fn output(&self, node: usize, attempt: AttemptId) -> String {
        // One that was refused before it began has none.
        let frames = follow(self.nodes[node].logs.clone(), attempt, 0);
        let bytes = frames.map(|frame| match frame.map(|frame| frame.content) {
            Ok(Content::Output(_, bytes)) => bytes,
            _ => Vec::new(),
        });
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>().await.concat()).into_owned()
    }

    pub async fn containers(&self, node: usize) -> Vec<Found> {
        self.nodes[node].executor.list().await.unwrap()
    }
}

impl Node {
    fn new(kind: Kind, id: NodeId, n: u64, copy: &Arc<OneCopy>, shelves: &Arc<Shelves>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let init = init_binary::install(dir.path()).unwrap();
        let executor: Arc<dyn Executor> = match kind {
            Kind::Processes => Arc::new(FakeExecutor::new(init)),
            Kind::Containers => Arc::new(DockerExecutor::connect(id, init).unwrap()),
        };
        copy.apply(Command::RegisterNode(NodeFacts {
            node: id,
            name: format!("n{n}").parse().unwrap(),
            boot: BootId(n),
            cluster_addr: format!("127.0.0.1:{n}"),
            http_addr: format!("127.0.0.1:{n}"),
            labels: Labels::default(),
            capacity: Capacity { resources: Resources { cpu_millis: 9000, memory_mib: 9000 }, slots: 9 },
            version: "test".to_owned(),
        }));
        let logs = LogStore::new(dir.path().join("attempts"), 1 << 30);
        let blobs = Blobs::new(dir.path().join("blobs"));
        shelves.all.lock().unwrap().insert(id, NodeShelf::new(logs.clone(), blobs.clone()));
        let mut node = Self {
            id,
            work: unmade(dir.path(), id, copy, &executor, &logs, &blobs),
            dir,
            executor,
            logs,
            blobs,
        };
        node.work = node.work.clone().reaching(Beyond {
            others: Arc::clone(shelves) as _,
            cache: caches::Limits { entries: 1000, bytes: 1 << 30, ratio: 1000 },
            caches_bytes: 1 << 20,
        });
        node
    }

    /// Its process dies: nothing is left of it but what is on disk and in the engine.
    pub fn restart(&mut self, copy: &Arc<OneCopy>) {
        self.work = unmade(self.dir.path(), self.id, copy, &self.executor, &self.logs, &self.blobs);
    }
}

fn unmade(
    dir: &std::path::Path,
    node: NodeId,
    copy: &Arc<OneCopy>,
    executor: &Arc<dyn Executor>,
    logs: &LogStore,
    blobs: &Blobs,
) -> Containers {
    let options = Options {
        node,
        name: "n1".parse().unwrap(),
        attempts: dir.join("attempts"),
        default_image: "troupe/busybox:local".to_owned(),
        images: BTreeMap::new(),
        grace: Duration::from_millis(300),
        pids: 64,
        git_timeout: PATIENCE * 10,
        artifacts: Limits { files: 10, bytes: 1 << 20 },
        public_url: "https://ci.example".to_owned(),
    };
    let mirrors = Mirrors::new(dir.join("mirrors"), PATIENCE * 10);
    Containers::new(
        options,
        Arc::clone(copy) as _,
        Arc::clone(executor),
        logs.clone(),
        blobs.clone(),
        mirrors,
    )
}
