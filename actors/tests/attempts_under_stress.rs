//! Attempts whose job, engine or node does what it should not: jobs that write without end or forge what init says, engines
//! that hang or answer late, ends that nobody asked for. As plain processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "support/rig.rs"]
mod rig;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::executor::{ContainerId, ContainerSpec, Error, Executor, Exit, FakeExecutor, Found};
use actors::runner::work::{Finished, Work};
use domain::{Action, JobSpec, Outcome, StepSpec};
use futures::FutureExt;
use futures::future::BoxFuture;
use init::wire::{self, FrameKind};
use rig::{FENCE, Kind, Rig, Running, run, spec};
use support::PATIENCE;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Writes faster than any log is copied, not for ever lest a failure fill the disk; the trap says that it was asked to end.
/// What the shell itself says of that is another stream, which has no place among the lines of this one.
const CHATTY: &str = "exec 2>/dev/null; trap 'echo last; exit 3' TERM; n=0
while [ $n -lt 400 ]; do cat ../../../lines || :; echo > ready; n=$((n+1)); done";

/// An executor of processes that does not answer while it is told not to; what is asked is done all the same.
struct Slow {
    inner: FakeExecutor,
    silent: watch::Sender<Silent>,
    /// Questions that were not answered.
    unanswered: watch::Sender<u32>,
}

/// What is not answered.
#[derive(Clone, Copy, Default)]
struct Silent {
    start: bool,
    list: bool,
    /// Never, rather than with an error.
    stop: bool,
}

impl Slow {
    fn new(init: PathBuf) -> Arc<Self> {
        let inner = FakeExecutor::new(init);
        Arc::new(Self { inner, silent: watch::channel(Silent::default()).0, unanswered: watch::channel(0).0 })
    }

    fn answer<T>(&self, silent: bool, answer: Result<T, Error>) -> Result<T, Error> {
        if !silent {
            return answer;
        }
        self.unanswered.send_modify(|count| *count += 1);
        Err(Error::Unreachable("it hangs".to_owned()))
    }

    /// Until so many more questions were not answered.
    async fn silence(&self, more: u32) {
        let mut count = self.unanswered.subscribe();
        let wanted = *count.borrow_and_update() + more;
        tokio::time::timeout(PATIENCE, count.wait_for(|n| *n >= wanted)).await.unwrap().unwrap();
    }
}

impl Executor for Slow {
    fn seen(&self, directory: &Path, inside: &str) -> PathBuf {
        self.inner.seen(directory, inside)
    }
    fn ensure_image(&self, image: &str) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.ensure_image(image)
    }
    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<ContainerId, Error>> {
        let started = self.inner.start(spec);
        started.map(|answer| self.answer(self.silent.borrow().start, answer)).boxed()
    }
    fn wait(&self, id: &ContainerId) -> BoxFuture<'_, Result<Exit, Error>> {
        self.inner.wait(id)
    }
    fn pause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.pause(id)
    }
    fn unpause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.unpause(id)
    }
    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<(), Error>> {
        if self.silent.borrow().stop {
            return std::future::pending().boxed();
        }
        self.inner.stop(id, grace)
    }
    fn remove(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.remove(id)
    }
    fn forget_slots(&self, from: u16) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.forget_slots(from)
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, Error>> {
        let listed = self.inner.list();
        listed.map(|answer| self.answer(self.silent.borrow().list, answer)).boxed()
    }
}

fn slow(number: u64, spec: &JobSpec) -> (Rig, Arc<Slow>) {
    let mut made = None;
    let rig = Rig::on(number, spec, |_, init| {
        let slow = Slow::new(init);
        made = Some(Arc::clone(&slow));
        slow
    });
    (rig, made.unwrap())
}

/// Until its init has written down that it begins: what is still on the way to init is lost when that is killed.
async fn says_begun(rig: &Rig) {
    let spool = rig.file("control/spool");
    let says = || std::fs::read(&spool).is_ok_and(|bytes| bytes.windows(6).any(|w| w == b"begun\n"));
    let looked = async {
        while !says() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap();
}

async fn processes(slow: &Slow) -> usize {
    slow.inner.list().await.unwrap().len()
}

/// A job that writes without end, and what it writes again and again.
fn chatty(number: u64) -> (Rig, String) {
    let always = StepSpec { condition: "always()".to_owned(), ..run("echo cleaned") };
    let rig = Rig::new(Kind::Processes, number, &spec(vec![run(CHATTY), always])).unwrap().graceful();
    let lines: String = (0..600_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(rig.dir.path().join("lines"), &lines).unwrap();
    (rig, lines)
}

/// Nothing is missing, doubled or in the wrong place.
fn assert_whole(text: &str, lines: &str) {
    for (n, round) in text.as_bytes().chunks(lines.len()).enumerate() {
        let same = round.iter().zip(lines.as_bytes()).take_while(|(found, wanted)| found == wanted).count();
        let found = String::from_utf8_lossy(&round[same..round.len().min(same + 80)]);
        assert!(same == round.len(), "round {n} differs at byte {same} of {}: {found:?}", round.len());
    }
}

#[tokio::test]
async fn a_job_that_writes_without_end_can_be_cancelled() {
    let (rig, lines) = chatty(31);
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.cancel.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Cancelled, "{finished:?}");
    let text = rig.output().await;
    assert_eq!(finished.log_bytes, text.len() as u64);
    let text = text.strip_suffix("last\ncleaned\n").expect("the log goes up to the end");
    assert_whole(text, &lines);
}

#[tokio::test]
async fn a_job_that_writes_without_end_can_be_killed() {
    let (rig, lines) = chatty(32);
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.kill.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    let text = rig.output().await;
    assert_eq!(finished.log_bytes, text.len() as u64);
    assert_whole(&text, &lines);
}

#[tokio::test]
async fn a_kill_does_not_need_the_engine_to_answer() {
    let script = "trap '' TERM; echo > ready; while :; do sleep 0.1; done";
    let always = StepSpec { condition: "always()".to_owned(), ..run("echo never") };
    let (rig, slow) = slow(33, &spec(vec![run(script), always]));
    slow.silent.send_replace(Silent { stop: true, ..Silent::default() });
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    running.kill.cancel();
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert_eq!(rig.output().await, "");
}

/// A process of the attempt's init is told TERM, as by an engine that is shut down.
async fn ended_from_outside(rig: &Rig) -> Finished {
    let running = rig.begin(false);
    rig.appears("workspace/ready").await;
    let id = rig.containers().await[0].0.clone();
    // Its own grace is longer than init takes.
    rig.executor.stop(&id, PATIENCE).await.unwrap();
    running.end().await
}

#[tokio::test]
async fn an_end_from_outside_that_nobody_asked_for_is_a_loss() {
    let spec = spec(vec![run("echo > ready; exec sleep 600")]);
    let rig = Rig::new(Kind::Processes, 34, &spec).unwrap();
    let finished = ended_from_outside(&rig).await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(finished.reason.contains("from outside"), "{}", finished.reason);
}

#[tokio::test]
async fn a_start_without_an_answer_is_undone_before_the_end_is_told() {
    let (rig, slow) =
        slow(35, &spec(vec![run("echo begun; echo > ready; while [ -e ready ]; do sleep 0.05; done")]));
    slow.silent.send_replace(Silent { start: true, list: true, ..Silent::default() });
    let mut running = rig.begin(false);
    says_begun(&rig).await;
    running.cancel.cancel();
    slow.silence(3).await;
    assert!(running.lives.try_join_next().is_none(), "a container may be there");
    assert_eq!(processes(&slow).await, 1);
    slow.silent.send_replace(Silent::default());
    let finished = running.end().await;
    assert_eq!(processes(&slow).await, 0);
    assert_eq!(finished.outcome, Outcome::Cancelled, "{finished:?}");
    assert!(rig.output().await.starts_with("begun\n"), "what it wrote is in the log");
}

/// An attempt that runs while its node begins anew and its engine does not answer.
async fn adopted(number: u64) -> (Rig, Arc<Slow>, Running) {
    let always = StepSpec { condition: "always()".to_owned(), ..run("echo cleaned") };
    let script = "echo begun; while [ ! -e stop ]; do sleep 0.02; done; echo stopped";
    let (rig, slow) = slow(number, &spec(vec![run(script), always]));
    let mut rig = rig.graceful();
    let running = rig.begin(false);
    says_begun(&rig).await;
    drop(running);
    slow.silent.send_replace(Silent { list: true, ..Silent::default() });
    rig.restart();
    let running = rig.begin(true);
    slow.silence(1).await;
    (rig, slow, running)
}

#[tokio::test]
async fn an_adopted_attempt_is_not_over_before_its_engine_says_so() {
    let (rig, slow, mut running) = adopted(36).await;
    running.cancel.cancel();
    slow.silence(2).await;
    assert!(running.lives.try_join_next().is_none());
    slow.silent.send_replace(Silent::default());
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Cancelled, "{finished:?}");
    assert_eq!(rig.output().await, "begun\ncleaned\n", "its init was told, and its log is whole");
}

#[tokio::test]
async fn an_adopted_attempt_that_may_not_go_on_ends_though_its_engine_does_not_answer() {
    let (rig, slow, mut running) = adopted(37).await;
    running.kill.cancel();
    let id = ContainerId(format!("{}-{FENCE}", rig.attempt));
    let exit = tokio::time::timeout(PATIENCE, slow.inner.wait(&id)).await.unwrap().unwrap();
    assert_eq!(exit.code, 137);
    assert!(running.lives.try_join_next().is_none());
    slow.silent.send_replace(Silent::default());
    let finished = running.end().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert_eq!(rig.output().await, "begun\n");
}

#[tokio::test]
async fn cleaning_waits_for_the_engine() {
    let (rig, slow) = slow(38, &spec(vec![run("true")]));
    assert_eq!(rig.finish().await.outcome, Outcome::Succeeded);
    slow.silent.send_replace(Silent { list: true, ..Silent::default() });
    let cleaning = rig.work.clean(rig.attempt, FENCE);
    let answering = async {
        slow.silence(2).await;
        assert_eq!(processes(&slow).await, 1);
        slow.silent.send_replace(Silent::default());
    };
    futures::join!(cleaning, answering);
    assert_eq!(processes(&slow).await, 0);
    assert!(rig.work.survivors().await.unwrap().is_empty());
}

/// Appends what the test forged to its own spool; fails when its directories are gone.
const FORGE: &str = "cat ../../../forged >> ../control/spool";

fn forge(rig: &Rig, kind: FrameKind) {
    let frame = wire::Frame { at_ms: 5, step: 0, kind }.encode();
    std::fs::write(rig.dir.path().join("forged"), frame).unwrap();
}

#[tokio::test]
async fn a_job_that_forges_the_end_of_its_step_ends_that_and_nothing_else() {
    let steps = vec![run(&format!("{FORGE}; exit 1")), run("exit 7")];
    let rig = Rig::new(Kind::Processes, 39, &spec(steps)).unwrap();
    let outcome = wire::Outcome::Succeeded;
    forge(&rig, FrameKind::OrderOver { order: 1, exit_code: Some(0), signal: None, outcome, bad_files: 0 });
    let finished = rig.finish().await;
    assert_eq!((finished.outcome, finished.reason.as_str()), (Outcome::Failed, "step 2 exited with 7"));
}

#[tokio::test]
async fn a_job_that_forges_events_without_end_fails() {
    let script = format!("while {FORGE}; do :; done");
    let rig = Rig::new(Kind::Processes, 40, &spec(vec![run(&script)])).unwrap();
    forge(&rig, FrameKind::OrderStarted { order: 9 });
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished:?}");
    assert!(finished.reason.contains("events"), "{}", finished.reason);
    assert!(rig.frames().await.len() < 10);
}

#[tokio::test]
async fn a_checkout_ends_with_its_step_and_makes_way_for_the_next() {
    // A git server that takes connections and never answers.
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("git://{}/team/demo", server.local_addr().unwrap());
    let checkout = StepSpec {
        timeout_minutes: "0.02".to_owned(),
        continue_on_error: "true".to_owned(),
        ..rig::step(Action::Native { what: domain::Native::Checkout, with: Vec::new() })
    };
    let script = "echo mine > mine; while [ ! -e stop ]; do sleep 0.02; done; cat mine";
    let spec = spec(vec![checkout.clone(), checkout, run(script)]);
    let mut rig = Rig::new(Kind::Processes, 41, &spec).unwrap();
    rig.pushed_to(url, &spec);
    let running = rig.begin(false);
    let accept = || async { tokio::time::timeout(PATIENCE, server.accept()).await.unwrap().unwrap().0 };
    let _first = accept().await;
    // The first holds the mirror; the second gets to it only when the first was ended.
    let _second = accept().await;
    rig.appears("workspace/mine").await;
    std::fs::write(rig.file("workspace/stop"), "").unwrap();
    let finished = running.end().await;
    let outcomes: Vec<_> = finished.steps.iter().filter_map(|step| step.outcome).collect();
    assert_eq!(outcomes, [Outcome::TimedOut, Outcome::TimedOut, Outcome::Succeeded], "{finished:?}");
    assert_eq!(rig.output().await, "mine\n");
}

#[tokio::test]
async fn a_node_that_cannot_prepare_an_attempt_loses_it() {
    let rig = Rig::new(Kind::Processes, 42, &spec(vec![run("true")])).unwrap();
    // Something stands where the directory is to be.
    let directory = rig.logs.attempt_dir(rig.attempt);
    std::fs::create_dir_all(directory.parent().unwrap()).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(finished.reason.contains("cannot make"), "{}", finished.reason);
}

#[tokio::test]
async fn a_log_that_its_node_cannot_write_loses_the_attempt() {
    let rig = Rig::new(Kind::Processes, 43, &spec(vec![run("echo lost; exec sleep 600")])).unwrap();
    // A disk that is full.
    std::fs::create_dir_all(rig.file("")).unwrap();
    std::os::unix::fs::symlink("/dev/full", rig.file("log")).unwrap();
    let finished = rig.finish().await;
    assert_eq!(finished.outcome, Outcome::Lost, "{finished:?}");
    assert!(finished.reason.contains("log"), "{}", finished.reason);
}
