//! A node alone with the real store and the real cluster port: the tree on consensus instead of a copy in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use actors::artifacts::Blobs;
use actors::root::{self, Parts};
use actors::runner::Sources;
use actors::supervisor::Policy;
use actors::workspace::Mirrors;
use actors::{gateway, queue, runner};
use domain::{
    AttemptId, BootId, Capacity, JobId, JobState, Labels, NodeFacts, NodeId, Outcome, Resources, RunId,
};
use links::{Dialer, Identity, Limits, Port, Protocol, ca};
use raft_store::clock::SystemClock;
use raft_store::disk::LocalDisk;
use raft_store::{Compaction, LogSizes, Options, Store, Timings, Voting};
use support::{Bench, BenchWork, PATIENCE, submission};
use tokio_util::sync::CancellationToken;

async fn until_state(store: &Store, job: JobId, wanted: JobState) {
    let mut applied = store.applied();
    let check = async {
        while store.state().jobs.get(&job).is_none_or(|j| j.state != wanted) {
            applied.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, check).await.unwrap();
}

#[tokio::test]
async fn a_run_is_placed_and_finishes_through_consensus() {
    let dir = tempfile::tempdir().unwrap();
    ca::init(&dir.path().join("ca")).unwrap();
    let files =
        ca::issue(&dir.path().join("ca"), &dir.path().join("n1"), &"n1".parse().unwrap(), 30).unwrap();
    let identity = Identity::load(files).unwrap();
    let port = Port::bind("127.0.0.1:0", identity.clone(), Limits::default()).await.unwrap();
    let (addr, me, name, boot) = (port.local_addr().unwrap().to_string(), NodeId(7), "n1", BootId(1));
    let dialer = Dialer::new(identity);
    let options = Options {
        data_dir: dir.path().join("data"),
        node: me,
        name: name.parse().unwrap(),
        cluster_addr: addr.clone(),
        seeds: vec![addr.clone()],
        bootstrap_expect: 1,
        transport: Arc::new(dialer.clone()),
        incoming: Box::new(port.incoming(Protocol::Raft).unwrap()),
        disk: Arc::new(LocalDisk),
        clock: Arc::new(SystemClock),
        timings: Timings::default(),
        voting: Voting::default(),
        log_sizes: LogSizes::default(),
        min_free: 0,
        compaction: Compaction::default(),
    };
    let incoming = port.incoming(Protocol::Actors).unwrap();
    let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
    tasks.spawn(port.run(stop.clone()));
    let store = Store::open(options).await.unwrap();
    let bench = Arc::<Bench>::default();
    let facts = NodeFacts {
        node: me,
        name: name.parse().unwrap(),
        boot,
        cluster_addr: addr,
        http_addr: "127.0.0.1:2".to_owned(),
        labels: Labels::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 1 },
        version: "test".to_owned(),
    };
    let node = root::start(Parts {
        replica: Arc::new(store.clone()),
        work: Arc::new(BenchWork(Arc::clone(&bench))),
        sources: Sources { mirrors: Mirrors::new(dir.path().join("mirrors"), Duration::from_secs(5)) },
        wire: Some(gateway::Wire { dialer, incoming }),
        bulk: None,
        gateway: gateway::Options::new(me, name.parse().unwrap(), boot),
        queue: queue::Options::default(),
        runner: runner::Options {
            facts,
            attempts: dir.path().join("attempts"),
            heartbeat: Duration::from_millis(100),
            first_lease: Duration::from_secs(10),
            margin: Duration::from_secs(1),
            reaper: runner::reaper::Options::new(Blobs::new(dir.path().join("blobs"))),
        },
        policy: Policy::default(),
    })
    .await
    .unwrap();

    store.propose(submission(1, &[])).await.unwrap();
    let job = JobId { run: RunId(1), index: 0 };
    until_state(&store, job, JobState::Running).await;
    bench.end(AttemptId { job, number: 1 }, Outcome::Succeeded);
    until_state(&store, job, JobState::Finished(Outcome::Succeeded)).await;
    node.shutdown().await;
    store.shutdown().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}
