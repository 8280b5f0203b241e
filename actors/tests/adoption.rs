//! What a node takes up after a restart: in which slots, and without waiting for what is only to be removed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actors::artifacts::Blobs;
use actors::root::{self, Parts};
use actors::runner::work::{Finished, Survivor, SurvivorsError, Task, Work};
use actors::runner::{self, Sources};
use actors::supervisor::Policy;
use actors::workspace::Mirrors;
use actors::{gateway, queue};
use domain::{
    AttemptId, BootId, Capacity, Command, Fence, JobId, Labels, NodeFacts, NodeId, Outcome, Placement, Reply,
    Resources, RunId,
};
use futures::future::BoxFuture;
use support::{OneCopy, PATIENCE, submit};
use tokio::sync::watch;

const ME: NodeId = NodeId(7);

fn facts(boot: u64) -> NodeFacts {
    NodeFacts {
        node: ME,
        name: "n1".parse().unwrap(),
        boot: BootId(boot),
        cluster_addr: "127.0.0.1:1".to_owned(),
        http_addr: "127.0.0.1:2".to_owned(),
        labels: Labels::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 4000, memory_mib: 4000 }, slots: 4 },
        version: "test".to_owned(),
    }
}

fn place(copy: &OneCopy, attempt: AttemptId) -> Fence {
    let placement = Placement { job: attempt.job, number: attempt.number, node: ME };
    let reply = copy.apply(Command::Place { placements: vec![placement] });
    assert_eq!(reply, Reply::Placed { placed: 1, refused: Vec::new() });
    actors::replica::Replica::state(copy).attempts.get(&attempt).unwrap().fence
}

/// Work that says in which slots it was run; nothing that is over can ever be removed.
struct Slots {
    left: Vec<Survivor>,
    ran: watch::Sender<BTreeMap<AttemptId, (u16, bool)>>,
}

impl Work for Slots {
    fn run(&self, task: Task) -> BoxFuture<'static, Finished> {
        self.ran.send_modify(|ran| ran.extend([(task.attempt, (task.slot, task.adopted))]));
        Box::pin(async move {
            task.kill.cancelled().await;
            Finished::bare(Outcome::Lost, "killed")
        })
    }

    fn survivors(&self) -> BoxFuture<'_, Result<Vec<Survivor>, SurvivorsError>> {
        Box::pin(std::future::ready(Ok(self.left.clone())))
    }

    fn clean(&self, _: AttemptId, _: Fence) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn tidy(&self, _: u16) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn first(job: JobId) -> AttemptId {
    AttemptId { job, number: 1 }
}

#[tokio::test]
async fn adopted_attempts_keep_their_slots_and_nobody_else_gets_them() {
    let (copy, dir) = (OneCopy::led_by(ME), tempfile::tempdir().unwrap());
    copy.apply(Command::RegisterNode(facts(1)));
    let (third, prepared) = (first(submit(&copy, 1, &[])), first(submit(&copy, 2, &[])));
    let over = AttemptId { job: JobId { run: RunId(99), index: 0 }, number: 1 };
    let left = vec![
        Survivor { attempt: prepared, fence: place(&copy, prepared), slot: None },
        Survivor { attempt: over, fence: Fence(1), slot: Some(0) },
        Survivor { attempt: third, fence: place(&copy, third), slot: Some(2) },
    ];
    let work = Arc::new(Slots { left, ran: watch::channel(BTreeMap::new()).0 });
    let facts = facts(2);
    let name = facts.name.clone();
    let handle = root::start(Parts {
        replica: Arc::clone(&copy) as _,
        work: Arc::clone(&work) as _,
        sources: Sources { mirrors: Mirrors::new(dir.path().join("mirrors"), Duration::from_secs(5)) },
        wire: None,
        bulk: None,
        gateway: gateway::Options::new(ME, name, facts.boot),
        queue: queue::Options { reconcile: Duration::from_millis(20), ..queue::Options::default() },
        runner: runner::Options {
            facts,
            attempts: dir.path().join("attempts"),
            heartbeat: Duration::from_millis(20),
            first_lease: Duration::from_secs(10),
            margin: Duration::from_millis(100),
            reaper: runner::reaper::Options::new(Blobs::new(dir.path().join("blobs"))),
        },
        policy: Policy { backoff_min: Duration::from_millis(1), ..Policy::default() },
    })
    .await
    .unwrap();
    let new = first(submit(&copy, 3, &[]));
    let mut ran = work.ran.subscribe();
    let ran = ran.wait_for(|ran| ran.contains_key(&new));
    let ran = tokio::time::timeout(PATIENCE, ran).await.unwrap().unwrap().clone();
    // 0 is taken by what is being removed, 2 by the container that is in its network.
    assert_eq!(ran, BTreeMap::from([(third, (2, true)), (prepared, (1, true)), (new, (3, false))]));
    handle.shutdown().await;
}
