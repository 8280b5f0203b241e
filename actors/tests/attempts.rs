//! Attempts as a node runs them, from a task to its end, as plain processes and in real containers. The state is one copy
//! in memory. `TROUPE_NO_DOCKER=1` skips those with containers, visibly.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/rig.rs"]
mod rig;
mod support;

use std::time::Duration;

use actors::executor::FoundState;
use actors::runner::work::{Survivor, Work};
use domain::{JobSpec, Outcome};
use rig::{FENCE, Kind, Rig, codes, run, spec};
use support::PATIENCE;
use tokio::time::Instant;

async fn steps_run(kind: Kind, number: u64) {
    let slot = matches!(kind, Kind::Containers).then_some(0);
    let steps = vec![
        run("echo one; mkdir out; echo kept > out/file"),
        run("echo two >&2; exit 4"),
        run("echo never"),
    ];
    let Some(rig) = Rig::new(kind, number, &spec(steps)) else { return };
    let finished = rig.finish().await;
    assert_eq!((finished.outcome, finished.reason.as_str()), (Outcome::Failed, "step 2 exited with 4"));
    let expected = [
        (Some(0), Some(Outcome::Succeeded)),
        (Some(4), Some(Outcome::Failed)),
        (None, Some(Outcome::Skipped)),
    ];
    assert_eq!(codes(&finished), expected);
    assert_eq!(rig.output().await, "one\ntwo\n");
    assert_eq!(finished.log_bytes, 8);
    let kept: Vec<_> = finished.artifacts.iter().map(|a| (a.path.as_str(), a.size)).collect();
    assert_eq!(kept, [("out/file", 5)]);
    let left = Survivor { attempt: rig.attempt, fence: FENCE, slot };
    assert_eq!(rig.work.survivors().await.unwrap(), [left]);
    rig.work.clean(rig.attempt, FENCE).await;
    assert!(rig.containers().await.is_empty() && rig.work.survivors().await.unwrap().is_empty());
    assert!(!rig.file("workspace").exists() && !rig.file("control").exists());
    assert_eq!(rig.output().await, "one\ntwo\n", "the log outlives its attempt");
}

#[tokio::test]
async fn steps_run_in_order_as_processes() {
    steps_run(Kind::Processes, 1).await;
}

#[tokio::test]
async fn steps_run_in_order_in_a_container() {
    steps_run(Kind::Containers, 2).await;
}

async fn cancelled(kind: Kind, number: u64) {
    let mut last = run("echo cleaned");
    last.condition = "always()".to_owned();
    let steps = vec![run("trap '' TERM; echo > ready; while true; do sleep 0.1; done"), last];
    let Some(rig) = Rig::new(kind, number, &spec(steps)) else { return };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.cancel.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Cancelled, "{finished:?}");
    assert_eq!(finished.steps[1].outcome, Some(Outcome::Succeeded), "{finished:?}");
    assert_eq!(rig.output().await, "cleaned\n");
    rig.work.clean(rig.attempt, FENCE).await;
}

#[tokio::test]
async fn a_process_that_does_not_heed_a_cancel_is_killed_and_its_always_steps_run() {
    cancelled(Kind::Processes, 3).await;
}

#[tokio::test]
async fn a_container_that_does_not_heed_a_cancel_is_killed_and_its_always_steps_run() {
    cancelled(Kind::Containers, 4).await;
}

#[tokio::test]
async fn a_node_that_comes_back_adopts_the_container_and_its_log_goes_on() {
    let script = "n=0; while [ ! -e stop ]; do echo line $n; n=$((n+1)); [ $n = 5 ] && echo > ready; sleep 0.02; done; echo last $n";
    let Some(mut rig) = Rig::new(Kind::Containers, 5, &spec(vec![run(script)])) else { return };
    let mut running = rig.begin(false);
    running.started().await;
    rig.appears("workspace/ready").await;
    let before = rig.containers().await;
    assert_eq!(before.len(), 1, "{before:?}");
    drop(running);
    rig.restart();
    let left = Survivor { attempt: rig.attempt, fence: FENCE, slot: Some(0) };
    assert_eq!(rig.work.survivors().await.unwrap(), [left]);
    let running = rig.begin(true);
    // More is written while nobody and while the new life reads.
    std::fs::write(rig.file("workspace/stop"), "").unwrap();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished:?}");
    assert_eq!(
        rig.containers().await,
        [(before[0].0.clone(), FoundState::Ended)],
        "it was the same container"
    );
    let text = rig.output().await;
    let lines: Vec<&str> = text.lines().collect();
    let count = lines.len() - 1;
    assert!(count >= 5, "{text}");
    let expected: Vec<String> =
        (0..count).map(|n| format!("line {n}")).chain([format!("last {count}")]).collect();
    assert_eq!(lines, expected, "a line is missing or doubled");
}

#[tokio::test]
async fn an_attempt_that_ended_while_its_node_was_away_is_taken_up_to_its_end() {
    let Some(mut rig) = Rig::new(Kind::Containers, 6, &spec(vec![run("echo > ready; echo done; exit 7")]))
    else {
        return;
    };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    drop(running);
    let id = rig.containers().await[0].0.clone();
    rig.executor.wait(&id).await.unwrap();
    rig.restart();
    let finished = rig.begin(true).end().await;
    assert_eq!(codes(&finished), [(Some(7), Some(Outcome::Failed))]);
    assert_eq!(rig.output().await, "done\n");
}

#[tokio::test]
async fn an_attempt_whose_container_was_removed_is_lost_and_not_run_again() {
    let Some(mut rig) = Rig::new(Kind::Containers, 7, &spec(vec![run("echo x > ready; sleep 600")])) else {
        return;
    };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    drop(running);
    let id = rig.containers().await[0].0.clone();
    rig.executor.remove(&id).await.unwrap();
    rig.restart();
    let finished = rig.begin(true).end().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(rig.containers().await.is_empty());
}

#[tokio::test]
async fn a_node_that_may_no_longer_hold_an_attempt_ends_its_container_at_once() {
    let script = "trap '' TERM; echo > ready; while true; do sleep 0.1; done";
    let Some(rig) = Rig::new(Kind::Containers, 8, &spec(vec![run(script)])) else { return };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.kill.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    // The engine's list may be a moment behind its own wait.
    let ended =
        async { while rig.containers().await.iter().any(|(_, state)| *state != FoundState::Ended) {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

/// Whoever ends it, it is not its node: that is dead.
async fn its_node_dies(kind: Kind, number: u64) {
    let script = "trap '' TERM; echo > ready; while true; do sleep 0.1; done";
    let Some(mut rig) = Rig::new(kind, number, &spec(vec![run(script)])) else { return };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    // Renewed while the node lives.
    let until = Instant::now() + Duration::from_secs(2);
    rig.lease.send_replace(Some(until));
    let permit = async {
        let long = Instant::now() + Duration::from_secs(600);
        while rig.permit().is_none_or(|left| Instant::now() + left > long) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, permit).await.unwrap();
    drop(running);
    let id = rig.containers().await[0].0.clone();
    let exit = tokio::time::timeout(PATIENCE, rig.executor.wait(&id)).await.unwrap().unwrap();
    assert_eq!(exit.code, i64::from(init::permit::RAN_OUT), "{exit:?}");
    // A permit has milliseconds.
    assert!(Instant::now() + Duration::from_millis(2) >= until, "it ended before its lease");
    rig.lease.send_replace(Some(Instant::now() + Duration::from_secs(600)));
    rig.restart();
    let finished = rig.begin(true).end().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(finished.reason.contains("lease"), "{finished:?}");
}

/// A node that stood still goes on in the middle of a start, and has a new lease by the time the container is there.
#[tokio::test]
async fn an_attempt_that_was_given_up_has_no_part_in_a_new_lease() {
    let Some(rig) = Rig::new(Kind::Processes, 12, &spec(vec![run("echo > ready; sleep 600")])) else {
        return;
    };
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.kill.cancel();
    rig.lease.send_replace(Some(Instant::now() + Duration::from_secs(7200)));
    let none = async {
        while rig.permit().is_some_and(|left| !left.is_zero()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, none).await.unwrap();
    assert_eq!(running.end().await.outcome, Outcome::Lost);
}

#[tokio::test]
async fn a_process_whose_node_is_dead_ends_with_its_lease() {
    its_node_dies(Kind::Processes, 10).await;
}

#[tokio::test]
async fn a_container_whose_node_is_dead_ends_with_its_lease() {
    its_node_dies(Kind::Containers, 11).await;
}

#[tokio::test]
async fn an_image_that_cannot_be_had_fails_the_attempt_with_the_engines_words() {
    // Nothing listens there: a registry that is down.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spec = JobSpec {
        container: domain::Container { image: format!("127.0.0.1:{port}/absent:1"), ..Default::default() },
        ..spec(vec![run("true")])
    };
    let Some(rig) = Rig::new(Kind::Containers, 9, &spec) else { return };
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Failed);
    assert!(finished.reason.contains("absent:1"), "{}", finished.reason);
    assert!(rig.output().await.contains(&finished.reason), "the person who looks at the log sees it, too");
}

#[tokio::test]
async fn a_job_that_puts_a_link_in_the_place_of_its_spool_reads_nothing_of_the_host() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "a secret of the host").unwrap();
    let script = format!("ln -sf {} /troupe/spool; echo > ready; sleep 600", secret.path().display());
    let Some(rig) = Rig::new(Kind::Containers, 10, &spec(vec![run(&script)])) else { return };
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished:?}");
    assert!(!rig.output().await.contains("secret"));
    assert_eq!(std::fs::read_to_string(secret.path()).unwrap(), "a secret of the host");
}
