//! What is asked between a placement and its container: does the cluster still give it to this node, does its machine have
//! what a container needs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/rig.rs"]
mod rig;
mod support;

use actors::replica::Replica;
use domain::{Command, JobState, Outcome, Reply};
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
