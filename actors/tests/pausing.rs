//! Attempts whose run is paused: nothing of them runs, their limits do not count it, and they can be ended all the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/rig.rs"]
mod rig;
mod support;

use std::time::Duration;

use actors::executor::FoundState;
use domain::{Action, JobSpec, Outcome, StepSpec};
use rig::{Kind, Rig, Running, codes, run, spec};
use support::PATIENCE;
use tokio::time::Instant;

/// Writes a line again and again until it may end.
const SCRIPT: &str = "while [ ! -e stop ]; do echo x >> lines; sleep 0.01; done; echo done";

async fn stands_still(running: &mut Running, wanted: bool) {
    let told = running.told.wait_for(|told| told.paused.is_some_and(|since| since.is_some() == wanted));
    tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
}

fn lines(rig: &Rig) -> usize {
    std::fs::read(rig.file("workspace/lines")).map_or(0, |bytes| bytes.len())
}

/// It writes, and is not seen to for a while once it is paused.
async fn paused(rig: &Rig, running: &mut Running) {
    rig.appears("workspace/lines").await;
    rig.paused.send_replace(true);
    stands_still(running, true).await;
    let (before, until) = (lines(rig), Instant::now() + Duration::from_millis(300));
    while Instant::now() < until {
        assert_eq!(lines(rig), before);
        tokio::task::yield_now().await;
    }
}

async fn pauses_and_goes_on(kind: Kind, number: u64) {
    // Less than it stands still, for the job and for an action whose second step comes after that.
    let (path, steps) = ("act".to_owned(), vec![run(SCRIPT), run("echo again")]);
    let action = Action::Composite { path, inputs: Vec::new(), steps, outputs: Vec::new() };
    let limited = StepSpec { timeout_minutes: "0.033".to_owned(), action, ..StepSpec::default() };
    let job = JobSpec { timeout_seconds: 2, expressions: true, ..spec(vec![limited]) };
    let Some(mut rig) = Rig::new(kind, number, &job) else { return };
    let began = Instant::now();
    let mut running = rig.begin(false);
    paused(&rig, &mut running).await;
    if matches!(kind, Kind::Containers) {
        assert_eq!(rig.containers().await[0].1, FoundState::Paused);
        // The node's next life finds it so, and knows since when.
        drop(running);
        rig.restart();
        running = rig.begin(true);
        stands_still(&mut running, true).await;
    }
    while began.elapsed() < Duration::from_secs(4) {
        assert!(running.lives.try_join_next().is_none(), "it ended while it was paused");
        tokio::task::yield_now().await;
    }
    rig.paused.send_replace(false);
    stands_still(&mut running, false).await;
    std::fs::write(rig.file("workspace/stop"), "").unwrap();
    let finished = running.end().await;
    assert_eq!(codes(&finished), [(None, Some(Outcome::Succeeded))], "{finished:?}");
    assert_eq!(rig.output().await, "done\nagain\n");
}

#[tokio::test]
async fn processes_stand_still_and_go_on_within_their_limit() {
    pauses_and_goes_on(Kind::Processes, 60).await;
}

#[tokio::test]
async fn a_container_stands_still_and_goes_on_within_its_limit_also_under_the_next_life_of_its_node() {
    pauses_and_goes_on(Kind::Containers, 61).await;
}

async fn is_ended(kind: Kind, number: u64) {
    for (more, wanted) in [(0, Outcome::Cancelled), (1, Outcome::Lost)] {
        let Some(rig) = Rig::new(kind, number + more, &spec(vec![run(SCRIPT)])) else { return };
        let mut running = rig.begin(false);
        paused(&rig, &mut running).await;
        match wanted {
            Outcome::Lost => running.kill.cancel(),
            _ => {
                rig.copy.apply(domain::Command::CancelRun { run: rig.attempt.job.run, force: false });
                running.cancel.cancel();
            }
        }
        let finished = running.end().await;
        assert_eq!(finished.outcome, wanted, "{finished:?}");
    }
}

#[tokio::test]
async fn processes_that_stand_still_can_be_cancelled_and_killed() {
    is_ended(Kind::Processes, 62).await;
}

#[tokio::test]
async fn a_container_that_stands_still_can_be_cancelled_and_killed() {
    is_ended(Kind::Containers, 64).await;
}

#[tokio::test]
async fn an_attempt_of_a_paused_run_does_not_begin() {
    let Some(rig) = Rig::new(Kind::Processes, 66, &spec(vec![run("echo > began; echo done")])) else {
        return;
    };
    rig.paused.send_replace(true);
    let mut running = rig.begin(false);
    stands_still(&mut running, true).await;
    assert!(rig.containers().await.is_empty() && !rig.file("workspace/began").exists());
    rig.paused.send_replace(false);
    assert_eq!(running.end().await.outcome, Outcome::Succeeded);
}
