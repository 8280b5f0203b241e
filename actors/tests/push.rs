//! From an accepted push to finished jobs on one node: expansion from a real git server, checkout, run. As plain processes
//! and in containers; the state is one copy in memory. `TROUPE_NO_DOCKER=1` skips the latter, visibly.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use actors::artifacts::{Blobs, Limits};
use actors::attempt::{Containers, Options};
use actors::bulk::Shelf;
use actors::executor::{DockerExecutor, Executor, FakeExecutor};
use actors::logs::{Content, LogStore, follow};
use actors::root::{self, Handle, Parts};
use actors::runner::Sources;
use actors::shelf::NodeShelf;
use actors::supervisor::Policy;
use actors::workspace::Mirrors;
use actors::{gateway, init_binary, queue, runner};
use domain::{
    Access, AttemptId, BootId, Capacity, ClusterState, Command, DeliveryId, DeliveryState, Event, EventKind,
    JobId, Labels, NodeFacts, NodeId, Outcome, RepoId, Resources, RunId, Sealed,
};
use fixtures::GitServer;
use futures::StreamExt;
use support::OneCopy;

const REPO: RepoId = RepoId(7);
const WORKFLOW: &str = "
on: push
jobs:
  build:
    runs-on: linux
    container: troupe/busybox:local
    steps:
      - uses: actions/checkout@v4
      - run: |
          echo \"on $GITHUB_REF_NAME of $GITHUB_REPOSITORY: $(cat folder/hello.txt)\"
          test -f .git/HEAD
      - run: exit 3
        continue-on-error: true
  test:
    runs-on: linux
    container: troupe/busybox:local
    needs: build
    steps:
      - run: test \"$(pwd)\" = \"$GITHUB_WORKSPACE\" && echo tested
";

struct Node {
    node: NodeId,
    copy: Arc<OneCopy>,
    logs: LogStore,
    shelf: NodeShelf,
    handle: Handle,
}

async fn start(dir: &Path, docker: bool) -> Node {
    let node = NodeId(u64::from(docker) << 40 | 3 << 50 | u64::from(std::process::id()));
    let copy = OneCopy::led_by(node);
    let name: domain::NodeName = "n1".parse().unwrap();
    let (boot, attempts) = (BootId(1), dir.join("attempts"));
    let init = init_binary::install(dir).unwrap();
    let executor: Arc<dyn Executor> = match docker {
        true => Arc::new(DockerExecutor::connect(node, init).unwrap()),
        false => Arc::new(FakeExecutor::new(init)),
    };
    let logs = LogStore::new(attempts.clone(), 1 << 20);
    let blobs = Blobs::new(dir.join("blobs"));
    let mirrors = Mirrors::new(dir.join("mirrors"), Duration::from_secs(20));
    let options = Options {
        node,
        name: name.clone(),
        attempts: attempts.clone(),
        default_image: String::new(),
        images: BTreeMap::new(),
        grace: Duration::from_millis(300),
        pids: 64,
        git_timeout: Duration::from_secs(20),
        artifacts: Limits { files: 10, bytes: 1 << 20 },
        public_url: String::new(),
    };
    let shelf = NodeShelf::new(logs.clone(), blobs.clone());
    let reaper = runner::reaper::Options::new(blobs.clone());
    let work =
        Containers::new(options, Arc::clone(&copy) as _, executor, logs.clone(), blobs, mirrors.clone());
    let facts = NodeFacts {
        node,
        name: name.clone(),
        boot,
        cluster_addr: "127.0.0.1:1".to_owned(),
        http_addr: "127.0.0.1:2".to_owned(),
        labels: ["linux"].into_iter().collect(),
        capacity: Capacity { resources: Resources { cpu_millis: 4000, memory_mib: 4000 }, slots: 2 },
        version: "test".to_owned(),
    };
    let handle = root::start(Parts {
        replica: Arc::clone(&copy) as _,
        work: Arc::new(work),
        sources: Sources { mirrors },
        wire: None,
        bulk: None,
        gateway: gateway::Options::new(node, name, boot),
        queue: queue::Options { reconcile: Duration::from_millis(20), ..queue::Options::default() },
        runner: runner::Options {
            facts,
            attempts,
            heartbeat: Duration::from_millis(20),
            first_lease: Duration::from_secs(10),
            margin: Duration::from_millis(100),
            reaper,
        },
        policy: Policy::default(),
    })
    .await
    .unwrap();
    Node { node, copy, logs, shelf, handle }
}

fn register(node: &Node, server: &GitServer) {
    node.copy.apply(Command::PutRepo {
        id: REPO,
        name: "team/demo".parse().unwrap(),
        clone_url: server.url(),
        webhook_secret: Sealed(Arc::from(&b"a sealed secret"[..])),
        labels: Labels::default(),
        access: Access::default(),
        approve_forks: false,
        over: None,
    });
}

/// A repository with this workflow, and its commit.
fn repository(node: &Node, workflow: &str) -> (GitServer, String) {
    let server = GitServer::start("on: push\n").unwrap();
    server.commit("folder/hello.txt", "hello there").unwrap();
    let commit = server.commit(".github/workflows/ci.yml", workflow).unwrap();
    register(node, &server);
    (server, commit)
}

/// What a delivery of this event ends in.
async fn expanded(node: &Node, id: u128, event: Event, workflow: &str) -> (Vec<RunId>, String) {
    let delivery = DeliveryId(id);
    node.copy.apply(Command::AcceptDelivery {
        id: delivery,
        repo: REPO,
        key: format!("k{id}"),
        digest: [id as u8; 32],
        event,
        only_path: workflow.to_owned(),
    });
    let is_expanded = |state: &ClusterState| {
        let delivery = state.deliveries.get(&delivery);
        matches!(delivery.map(|d| &d.state), Some(DeliveryState::Expanded { .. }))
    };
    let state = node.copy.until("a delivery that is expanded", is_expanded).await;
    match &state.deliveries.get(&delivery).unwrap().state {
        DeliveryState::Expanded { runs, reason } => (runs.to_vec(), reason.to_string()),
        other => panic!("{other:?}"),
    }
}

fn accept(node: &Node, delivery: DeliveryId, commit: String) {
    let event = Event {
        kind: EventKind::Push,
        git_ref: "refs/heads/main".to_owned(),
        commit,
        before: String::new(),
        sender: "ada".to_owned(),
        title: "change".to_owned(),
        ..Event::of(EventKind::Push)
    };
    node.copy.apply(Command::AcceptDelivery {
        id: delivery,
        repo: REPO,
        key: format!("k{delivery}"),
        digest: [delivery.0 as u8; 32],
        event,
        only_path: String::new(),
    });
}

/// Pushes a commit with this workflow, and waits until its run is over.
async fn push(node: &Node, workflow: &str) -> (Arc<ClusterState>, RunId) {
    let (_server, commit) = repository(node, workflow);
    let delivery = DeliveryId(1);
    accept(node, delivery, commit);
    let over = |run: &domain::Run| run.outcome.is_some();
    let state = node.copy.until("a run that is over", |s| s.runs.iter().any(|(_, run)| over(run))).await;
    let Some(DeliveryState::Expanded { runs, .. }) = state.deliveries.get(&delivery).map(|d| d.state.clone())
    else {
        panic!("not expanded");
    };
    let run = runs[0];
    (state, run)
}

async fn pushed(docker: bool) {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), docker).await;
    let (state, run) = push(&node, WORKFLOW).await;
    let attempt = |index| AttemptId { job: JobId { run, index }, number: 1 };
    let first = state.attempts.get(&attempt(0)).unwrap();
    assert_eq!(state.runs.get(&run).unwrap().outcome, Some(Outcome::Succeeded), "{first:?}");
    let steps: Vec<_> = first.steps.iter().map(|step| (step.exit_code, step.outcome)).collect();
    let (fine, bad) = ((Some(0), Some(Outcome::Succeeded)), (Some(3), Some(Outcome::Failed)));
    assert_eq!(steps, [fine, fine, bad]);
    assert_eq!(node.output(attempt(0)).await, "on main of team/demo: hello there\n");
    assert_eq!(node.output(attempt(1)).await, "tested\n");
    // The shelf gives the same frames, from an offset.
    let shelved = node.shelf.log(attempt(1), 3, false).await.unwrap();
    let bytes: Vec<u8> = shelved.map(|part| part.unwrap().to_vec()).concat().await;
    let (frame, _) = actors::logs::Frame::decode(&bytes).unwrap();
    assert!(matches!(frame.content, Content::Output(_, ref rest) if rest == b"ted\n"), "{frame:?}");
    let absent = AttemptId { job: JobId { run: RunId(1), index: 0 }, number: 1 };
    assert!(node.shelf.log(absent, 0, true).await.is_none());
    node.end().await;
}

impl Node {
    /// Ends it; nothing of it may be left.
    async fn end(self) {
        self.handle.runners().empty().await;
        self.handle.shutdown().await;
        let label = format!("label=troupe.node={}", self.node);
        let listed = Process::new("docker").args(["ps", "-aq", "--filter", &label]).output();
        let left = listed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        assert_eq!(left, "", "containers are removed once their end is reported");
        for slot in 0..2 {
            let _ = Process::new("docker")
                .args(["network", "rm", &format!("troupe-{}-slot-{slot}", self.node)])
                .output();
        }
    }

    async fn output(&self, attempt: AttemptId) -> String {
        let frames = follow(self.logs.clone(), attempt, 0);
        let bytes = frames.map(|frame| match frame.unwrap().content {
            Content::Output(_, bytes) => bytes,
            _ => Vec::new(),
        });
        String::from_utf8(bytes.concat().await).unwrap()
    }
}

#[tokio::test]
async fn what_is_not_there_ends_in_a_run_that_says_so_and_a_tag_is_found_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), false).await;
    let workflow =
        "on: workflow_dispatch\njobs:\n  a:\n    runs-on: elsewhere\n    steps: [{ run: \"true\" }]\n";
    let server = GitServer::start(workflow).unwrap();
    fixtures::git(&server.repo(), &["tag", "v1"]).unwrap();
    register(&node, &server);
    let asked = |git_ref: &str| Event {
        git_ref: git_ref.to_owned(),
        payload: format!(r#"{{"inputs":{{}},"ref":"{git_ref}"}}"#),
        ..Event::of(EventKind::WorkflowDispatch)
    };
    let (runs, _) = expanded(&node, 1, asked("v1"), "ci.yml").await;
    let run = node.copy.until("its run", |state| state.runs.contains(&runs[0])).await;
    let event = &run.runs.get(&runs[0]).unwrap().event;
    assert_eq!(event.git_ref, "refs/tags/v1");
    let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
    assert_eq!(payload["ref"], "refs/tags/v1");
    let (runs, _) = expanded(&node, 2, asked("typo"), "ci.yml").await;
    let state = node.copy.until("its run", |state| state.runs.contains(&runs[0])).await;
    let run = state.runs.get(&runs[0]).unwrap();
    assert_eq!((run.outcome, &*run.path), (Some(Outcome::Failed), "ci.yml"));
    let why = run.error.as_deref().unwrap();
    assert!(why.starts_with("ci.yml: typo was not found in git://"), "{why}");
    node.end().await;
}

#[tokio::test]
async fn a_commit_whose_message_asks_for_no_runs_has_none_and_its_delivery_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), false).await;
    let workflow = "on: [push, workflow_dispatch]\njobs:\n  a:\n    runs-on: elsewhere\n    steps: [{ run: \"true\" }]\n";
    let server = GitServer::start(workflow).unwrap();
    let message = "Release 1\n\nNothing to build here [skip ci]";
    let by = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    fixtures::git(&server.repo(), &[&by[..], &["commit", "-q", "--allow-empty", "-m", message]].concat())
        .unwrap();
    let commit = server.head().unwrap();
    register(&node, &server);
    let at = |kind| Event {
        git_ref: "refs/heads/main".to_owned(),
        commit: commit.clone(),
        title: "Release 1".to_owned(),
        ..Event::of(kind)
    };
    let (runs, reason) = expanded(&node, 1, at(EventKind::Push), "").await;
    assert_eq!((runs, reason), (Vec::new(), format!("the message of {commit} says [skip ci]")));
    let (runs, reason) = expanded(&node, 2, at(EventKind::WorkflowDispatch), "ci.yml").await;
    assert_eq!((runs.len(), &*reason), (1, ""), "who asks by hand is given it");
    let of_none = Event { commit: String::new(), ..at(EventKind::RepositoryDispatch) };
    let (runs, reason) = expanded(&node, 3, of_none, "").await;
    assert_eq!((runs.len(), &*reason), (0, "no workflow at its commit wants it"));
    node.end().await;
}

#[tokio::test]
async fn a_push_becomes_finished_processes() {
    pushed(false).await;
}

/// Deliveries of one repository are expanded at the same time: whose numbers another took is expanded once more.
#[tokio::test]
async fn what_is_computed_from_the_number_of_a_run_has_the_number_that_it_gets() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), false).await;
    let workflow = "on: push\nrun-name: r${{ github.run_number }}\nconcurrency: ci-${{ github.RUN_NUMBER }}\njobs: {a: {runs-on: linux, if: 'false', steps: [{run: x}]}}\n";
    let (_server, commit) = repository(&node, workflow);
    for id in 1..=4 {
        accept(&node, DeliveryId(id), commit.clone());
    }
    let state = node.copy.until("a run for each", |s| s.runs.iter().count() == 4).await;
    let mut made: Vec<_> = state
        .runs
        .iter()
        .map(|(_, run)| (run.number, run.title.to_string(), run.concurrency.clone()))
        .collect();
    made.sort_by_key(|(number, ..)| *number);
    for (at, (number, title, group)) in (1..).zip(made) {
        assert_eq!((number, title), (at, format!("r{at}")));
        assert_eq!(group.map(|one| one.group.clone()), Some(format!("ci-{at}")));
    }
    node.end().await;
}

#[tokio::test]
async fn a_push_becomes_finished_containers() {
    if std::env::var_os("TROUPE_NO_DOCKER").is_some() {
        println!("skipped: TROUPE_NO_DOCKER is set");
        return;
    }
    pushed(true).await;
}

#[tokio::test]
async fn a_checkout_belongs_to_the_user_that_the_image_runs_as() {
    if std::env::var_os("TROUPE_NO_DOCKER").is_some() {
        println!("skipped: TROUPE_NO_DOCKER is set");
        return;
    }
    let image = format!("troupe/as-a-user-{}:local", std::process::id());
    let docker =
        |args: &[&str]| assert!(Process::new("docker").args(args).output().unwrap().status.success());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM troupe/busybox:local\nUSER 1234:567\n").unwrap();
    docker(&["build", "-q", "-t", &image, dir.path().to_str().unwrap()]);
    let node = start(dir.path(), true).await;
    let script = "touch folder/new .git/new && echo changed >folder/hello.txt && stat -c %u:%g . folder .git";
    let workflow = format!(
        "on: push\njobs:\n  build:\n    runs-on: linux\n    container: {image}\n    steps:\n      \
         - uses: actions/checkout@v4\n      - run: {script}\n      - uses: actions/checkout@v4\n        \
         with: {{ path: a/b }}\n      - run: touch a/new a/b/new a/b/folder/new\n"
    );
    let (state, run) = push(&node, &workflow).await;
    let attempt = AttemptId { job: JobId { run, index: 0 }, number: 1 };
    let output = node.output(attempt).await;
    assert_eq!(output, "1234:567\n1234:567\n1234:567\n");
    let made = state.attempts.get(&attempt).unwrap();
    assert_eq!(made.outcome, Some(Outcome::Succeeded), "{made:?}");
    node.end().await;
    docker(&["image", "rm", &image]);
}
