//! What is asked between a placement and its container: does the cluster still give it to this node, does its machine have
//! what a container needs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/rig.rs"]
mod rig;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::executor::{ContainerId, ContainerSpec, Error, Executor, Exit, FakeExecutor, Found};
use actors::replica::Replica;
use domain::{Command, JobState, Outcome, Reply};
use futures::future::BoxFuture;
use rig::{Kind, Rig, run, spec};

#[tokio::test]
async fn an_attempt_whose_placement_was_taken_back_does_not_begin() {
    let rig = Rig::new(Kind::Processes, 41, &spec(vec![run("echo > ran")])).unwrap();
    let reason = "its node was slow".to_owned();
    let reply = rig.copy.apply(Command::Unplace { attempt: rig.attempt, fence: rig.fence, reason });
    assert_eq!(reply, Reply::Done);
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(finished.reason.contains("stale fence"), "{}", finished.reason);
    assert!(rig.containers().await.is_empty() && !rig.file("workspace/ran").exists());
}

#[tokio::test]
async fn a_placement_cannot_be_taken_back_once_its_container_may_run() {
    let rig = Rig::new(Kind::Processes, 42, &spec(vec![run("echo > ready; sleep 600")])).unwrap();
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    assert_eq!(rig.copy.state().jobs.get(&rig.attempt.job).map(|job| job.state), Some(JobState::Running));
    let reason = "its node was slow".to_owned();
    let reply = rig.copy.apply(Command::Unplace { attempt: rig.attempt, fence: rig.fence, reason });
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    running.kill.cancel();
    running.end().await;
}

/// An engine on a machine that lacks something.
struct Lacking(FakeExecutor);

impl Executor for Lacking {
    fn seen(&self, directory: &Path, inside: &str) -> PathBuf {
        self.0.seen(directory, inside)
    }
    fn ensure_image(&self, image: &str) -> BoxFuture<'_, Result<(), Error>> {
        self.0.ensure_image(image)
    }
    fn start(&self, _: ContainerSpec) -> BoxFuture<'_, Result<ContainerId, Error>> {
        let lacking =
            Error::Machine { action: "create the network", why: "no more address pools".to_owned() };
        Box::pin(std::future::ready(Err(lacking)))
    }
    fn wait(&self, id: &ContainerId) -> BoxFuture<'_, Result<Exit, Error>> {
        self.0.wait(id)
    }
    fn pause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.0.pause(id)
    }
    fn unpause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.0.unpause(id)
    }
    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        self.0.stop(id, grace)
    }
    fn remove(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.0.remove(id)
    }
    fn forget_slots(&self, _: u16) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, Error>> {
        self.0.list()
    }
}

#[tokio::test]
async fn what_a_machine_lacks_loses_the_attempt_and_does_not_fail_the_job() {
    let steps = spec(vec![run("true")]);
    let rig = Rig::on(43, &steps, |_, init| Arc::new(Lacking(FakeExecutor::new(init))));
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(finished.reason.contains("no more address pools"), "{}", finished.reason);
}
