//! A node's attempts without the node: the work itself, on processes, containers or an executor of the test.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests that use parts; a test that cannot go on stops"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use actors::artifacts::{Blobs, Limits};
use actors::attempt::{Containers, Options};
use actors::executor::{ContainerId, DockerExecutor, Executor, FakeExecutor, FoundState};
use actors::init_binary;
use actors::logs::{Content, Frame, LogStore, follow};
use actors::runner::work::{Finished, Task, Told};
use actors::workspace::Mirrors;
use domain::{
    Access, Action, AttemptId, BootId, Capacity, Command, DeliveryId, DeliveryState, Event, EventKind, Fence,
    JobId, JobSpec, Labels, NewJob, NewRun, NodeFacts, NodeId, Outcome, Placement, RepoId, Resources, RunId,
    Sealed, SpecBytes, StepSpec,
};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{OneCopy, PATIENCE};

/// Of a rig's first attempt.
pub const FENCE: Fence = Fence(3);
/// Of output of one attempt, in bytes.
const LOG_CAP: u64 = 1 << 30;

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Processes,
    Containers,
}

/// A node that can die and come back.
pub struct Rig {
    pub dir: tempfile::TempDir,
    pub node: NodeId,
    pub copy: Arc<OneCopy>,
    pub logs: LogStore,
    pub executor: Arc<dyn Executor>,
    pub work: Containers,
    pub attempt: AttemptId,
    pub fence: Fence,
    /// The node's lease; an hour, unless the test says otherwise.
    pub lease: watch::Sender<Option<Instant>>,
    /// The attempt's run is paused.
    pub paused: watch::Sender<bool>,
    grace: Duration,
}

/// A task that runs, and what it is told.
pub struct Running {
    pub lives: JoinSet<Finished>,
    pub told: watch::Receiver<Told>,
    pub cancel: CancellationToken,
    pub kill: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let label = format!("label=troupe.node={}", self.node);
        for (list, remove) in
            [(&["ps", "-aq"][..], ["rm", "-f"]), (&["network", "ls", "-q"][..], ["network", "rm"])]
        {
            let listed = Process::new("docker").args(list).args(["--filter", &label]).output();
            let ids = listed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
            for id in ids.split_whitespace() {
                let _ = Process::new("docker").args(remove).arg(id).output();
            }
        }
    }
}

pub fn run(script: &str) -> StepSpec {
    let script = script.to_owned();
    step(Action::Run { script, shell: "sh".to_owned(), working_directory: String::new() })
}

pub fn step(action: Action) -> StepSpec {
    StepSpec { action, ..StepSpec::default() }
}

pub fn spec(steps: Vec<StepSpec>) -> JobSpec {
    JobSpec { timeout_seconds: 120, steps, artifacts: vec!["out".to_owned()], ..JobSpec::default() }
}

fn new_run(run: RunId, spec: &JobSpec) -> NewRun {
    let resources = Resources { cpu_millis: 500, memory_mib: 64 };
    let job = NewJob { resources, retry: domain::Retry::of_losses(3), ..NewJob::named("job") };
    let spec = SpecBytes(raft_store::codec::encode(spec).unwrap().into());
    NewRun::of(run, "x", vec![job], vec![spec])
}

fn facts(node: NodeId) -> NodeFacts {
    NodeFacts {
        node,
        name: "n1".parse().unwrap(),
        boot: BootId(1),
        cluster_addr: "127.0.0.1:1".to_owned(),
        http_addr: "127.0.0.1:2".to_owned(),
        labels: Labels::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 2 },
        version: "test".to_owned(),
    }
}

/// Gives the attempt to the node.
fn place(copy: &OneCopy, attempt: AttemptId, node: NodeId) -> Fence {
    let placement = Placement { job: attempt.job, number: attempt.number, node };
    copy.apply(Command::Place { placements: vec![placement] });
    domain_state(copy).attempts.get(&attempt).unwrap().fence
}

impl Rig {
    /// None, said aloud, where containers are not wanted.
    pub fn new(kind: Kind, number: u64, spec: &JobSpec) -> Option<Self> {
        if matches!(kind, Kind::Containers) && std::env::var_os("TROUPE_NO_DOCKER").is_some() {
            println!("skipped: TROUPE_NO_DOCKER is set");
            return None;
        }
        Some(Self::on(number, spec, |node, init| match kind {
            Kind::Processes => Arc::new(FakeExecutor::new(init)),
            Kind::Containers => Arc::new(DockerExecutor::connect(node, init).unwrap()),
        }))
    }

    /// On an executor that the test makes of the node's id and the installed init.
    pub fn on(
        number: u64,
        spec: &JobSpec,
        executor: impl FnOnce(NodeId, PathBuf) -> Arc<dyn Executor>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeId(number << 40 | u64::from(std::process::id()));
        let copy = OneCopy::led_by(node);
        let run = RunId(u128::from(node.0));
        let attempt = AttemptId { job: JobId { run, index: 0 }, number: 1 };
        let executor = executor(node, init_binary::install(dir.path()).unwrap());
        copy.apply(Command::SubmitRun {
            key: String::new(),
            digest: [0; 32],
            sender: "t".to_owned(),
            run: new_run(run, spec),
            max_open_jobs: 9,
        });
        copy.apply(Command::RegisterNode(facts(node)));
        let fence = place(&copy, attempt, node);
        assert_eq!(fence, FENCE);
        let logs = LogStore::new(dir.path().join("attempts"), LOG_CAP);
        let grace = Duration::from_millis(300);
        let work = Self::work(dir.path(), node, &copy, &executor, &logs, grace);
        let lease = watch::channel(Some(Instant::now() + Duration::from_secs(3600))).0;
        Self {
            dir,
            node,
            copy,
            logs,
            executor,
            work,
            attempt,
            fence,
            lease,
            paused: watch::channel(false).0,
            grace,
        }
    }

    /// The attempt is now one of a run of this repository.
    pub fn pushed_to(&mut self, clone_url: String, spec: &JobSpec) {
        let (repo, delivery, run) = (RepoId(1), DeliveryId(1), RunId(u128::from(self.node.0) + 1));
        let event = Event {
            kind: EventKind::Push,
            git_ref: "refs/heads/main".to_owned(),
            commit: "c".repeat(40),
            before: String::new(),
            sender: "ada".to_owned(),
            title: "change".to_owned(),
            ..Event::of(EventKind::Push)
        };
        self.copy.apply(Command::PutRepo {
            id: repo,
            name: "team/demo".parse().unwrap(),
            clone_url,
            webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
            labels: Labels::default(),
            access: Access::default(),
            approve_forks: false,
            over: None,
        });
        let (key, only_path) = (String::new(), String::new());
        self.copy.apply(Command::AcceptDelivery {
            id: delivery,
            repo,
            key,
            digest: [0; 32],
            event,
            only_path,
        });
        self.copy.apply(Command::AssignExpansion { delivery, node: self.node });
        let state = domain_state(&self.copy);
        let DeliveryState::Expanding { fence, .. } = state.deliveries.get(&delivery).unwrap().state else {
            panic!("not given to the node: {:?}", state.deliveries.get(&delivery));
        };
        let runs = vec![new_run(run, spec)];
        self.copy.apply(Command::ExpandDelivery {
            delivery,
            fence,
            commit: "c".repeat(40),
            git_ref: "refs/heads/main".to_owned(),
            payload: String::new(),
            runs,
            triggers: None,
            numbers_from: None,
            reason: String::new(),
        });
        self.attempt = AttemptId { job: JobId { run, index: 0 }, number: 1 };
        self.fence = place(&self.copy, self.attempt, self.node);
    }

    fn work(
        dir: &Path,
        node: NodeId,
        copy: &Arc<OneCopy>,
        executor: &Arc<dyn Executor>,
        logs: &LogStore,
        grace: Duration,
    ) -> Containers {
        let options = Options {
            node,
            name: "n1".parse().unwrap(),
            attempts: dir.join("attempts"),
            default_image: "troupe/busybox:local".to_owned(),
            images: BTreeMap::new(),
            grace,
            pids: 64,
            // Longer than any test has patience: no test may wait for it.
            git_timeout: PATIENCE * 10,
            artifacts: Limits { files: 10, bytes: 1 << 20 },
            public_url: "https://ci.example".to_owned(),
        };
        let blobs = Blobs::new(dir.join("blobs"));
        let mirrors = Mirrors::new(dir.join("mirrors"), PATIENCE * 10);
        Containers::new(options, Arc::clone(copy) as _, Arc::clone(executor), logs.clone(), blobs, mirrors)
    }

    /// Jobs of this node are given these secrets.
    pub fn with_secrets(mut self, secrets: &'static [(&'static str, &'static str)]) -> Self {
        let all = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let given = move |_: &domain::ClusterState, _, _: &Event| Ok(secrets.iter().map(all).collect());
        self.work = self.work.clone().with_secrets(Arc::new(given));
        self
    }

    /// The node's process dies: nothing of it is left but what is on disk and in the engine.
    pub fn restart(&mut self) {
        self.logs = LogStore::new(self.dir.path().join("attempts"), LOG_CAP);
        let (dir, logs) = (self.dir.path(), &self.logs);
        self.work = Self::work(dir, self.node, &self.copy, &self.executor, logs, self.grace);
    }

    /// For a job that ends by itself when it is asked to, however slow this machine is.
    pub fn graceful(mut self) -> Self {
        self.grace = PATIENCE;
        self.restart();
        self
    }

    pub fn begin(&self, adopted: bool) -> Running {
        use actors::runner::work::Work;
        let (progress, told) = watch::channel(Told::default());
        let (cancel, kill) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            attempt: self.attempt,
            fence: self.fence,
            slot: 0,
            adopted,
            lease: self.lease.subscribe(),
            paused: self.paused.subscribe(),
            cancel: cancel.clone(),
            kill: kill.clone(),
            progress,
        };
        let mut lives = JoinSet::new();
        lives.spawn(self.work.run(task));
        Running { lives, told, cancel, kill }
    }

    pub async fn finish(&self) -> Finished {
        self.begin(false).end().await
    }

    /// All of the log, when the attempt is over; until then it waits.
    pub async fn frames(&self) -> Vec<Frame> {
        follow(self.logs.clone(), self.attempt, 0).map(Result::unwrap).collect().await
    }

    pub async fn output(&self) -> String {
        let bytes = self.frames().await.into_iter().map(|frame| match frame.content {
            Content::Output(_, bytes) => bytes,
            _ => Vec::new(),
        });
        String::from_utf8(bytes.collect::<Vec<_>>().concat()).unwrap()
    }

    pub fn file(&self, below: &str) -> PathBuf {
        self.logs.attempt_dir(self.attempt).join(below)
    }

    /// How long the attempt may go on, as its init reads it.
    pub fn permit(&self) -> Option<Duration> {
        let bytes = std::fs::read(self.file(init::permit::FILE)).ok()?;
        let permit = init::permit::Permit::decode(bytes.as_slice().try_into().ok()?)?;
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let now: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        Some(Duration::from_millis(permit.until_ms.saturating_sub((now * 1000.0) as u64)))
    }

    pub async fn appears(&self, below: &str) {
        let path = self.file(below);
        let looked = async {
            while !path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.unwrap();
    }

    pub async fn containers(&self) -> Vec<(ContainerId, FoundState)> {
        self.executor.list().await.unwrap().into_iter().map(|found| (found.id, found.state)).collect()
    }
}

fn domain_state(copy: &OneCopy) -> Arc<domain::ClusterState> {
    actors::replica::Replica::state(copy)
}

impl Running {
    pub async fn end(mut self) -> Finished {
        tokio::time::timeout(PATIENCE, self.lives.join_next()).await.unwrap().unwrap().unwrap()
    }

    pub async fn started(&mut self) {
        let started = self.told.wait_for(|told| told.started_at.is_some());
        tokio::time::timeout(PATIENCE, started).await.unwrap().unwrap();
    }
}

pub fn codes(finished: &Finished) -> Vec<(Option<i32>, Option<Outcome>)> {
    finished.steps.iter().map(|step| (step.exit_code, step.outcome)).collect()
}
