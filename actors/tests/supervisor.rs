//! The supervisor against children that panic, fail to start and end by themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actors::supervisor::{Child, Policy, Supervisor};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);

fn policy(restarts: usize) -> Policy {
    Policy {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        restarts,
        window: Duration::from_secs(3600),
        jitter: Arc::new(|| 0.5),
    }
}

/// Counts its lives; panics in its first message, or fails to start, for as long as it is told.
struct Fragile {
    lives: Arc<watch::Sender<usize>>,
    fails_to_start: bool,
    good_from: usize,
}

impl Actor for Fragile {
    type Msg = Poke;
    type State = ();
    type Arguments = ();
    async fn pre_start(&self, myself: ActorRef<Poke>, (): ()) -> Result<(), ActorProcessingErr> {
        self.lives.send_modify(|lives| *lives += 1);
        if *self.lives.borrow() < self.good_from {
            if self.fails_to_start {
                return Err("not yet".into());
            }
            myself.cast(Poke)?;
        }
        Ok(())
    }
    async fn handle(&self, _: ActorRef<Poke>, Poke: Poke, (): &mut ()) -> Result<(), ActorProcessingErr> {
        panic!("poked");
    }
}

struct Poke;
impl ractor::Message for Poke {}

fn fragile(lives: &Arc<watch::Sender<usize>>, fails_to_start: bool, good_from: usize) -> Child {
    let lives = Arc::clone(lives);
    Child::actor("fragile", move || (Fragile { lives: Arc::clone(&lives), fails_to_start, good_from }, ()))
}

async fn reaches(lives: &watch::Sender<usize>, wanted: usize) {
    let mut lives = lives.subscribe();
    tokio::time::timeout(PATIENCE, lives.wait_for(|n| *n >= wanted)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_child_that_panics_is_restarted_and_its_sibling_is_left_alone() {
    let (bad, good) = (Arc::new(watch::channel(0).0), Arc::new(watch::channel(0).0));
    let children = vec![fragile(&bad, false, 4), fragile(&good, false, 0)];
    let (supervisor, over) = Supervisor::start(policy(10), children).await.unwrap();
    reaches(&bad, 4).await;
    assert_eq!(*good.borrow(), 1);
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
    assert_eq!(*bad.borrow(), 4);
}

#[tokio::test]
async fn a_failed_pre_start_is_scheduled_again() {
    let lives = Arc::new(watch::channel(0).0);
    let (supervisor, over) = Supervisor::start(policy(10), vec![fragile(&lives, true, 3)]).await.unwrap();
    reaches(&lives, 3).await;
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
}

#[tokio::test]
async fn past_the_cap_the_supervisor_ends_and_its_parent_restarts_it() {
    let lives = Arc::new(watch::channel(0).0);
    let inner = Arc::clone(&lives);
    let child = Child::supervisor("inner", policy(2), move || vec![fragile(&inner, false, usize::MAX)]);
    let (_, over) = Supervisor::start(policy(3), vec![child]).await.unwrap();
    // Gives up by itself: 4 lives of the inner one, each with 3 lives of the child.
    tokio::time::timeout(PATIENCE, over).await.unwrap().unwrap();
    assert_eq!(*lives.borrow(), 12);
}

#[tokio::test]
async fn a_task_that_panics_is_restarted_and_one_that_is_stopped_ends_first() {
    let (lives, ended) = (Arc::new(watch::channel(0).0), Arc::new(AtomicBool::new(false)));
    let runs = Arc::new(AtomicUsize::new(0));
    let child = {
        let (lives, ended, runs) = (Arc::clone(&lives), Arc::clone(&ended), Arc::clone(&runs));
        Child::task("task", move |stop| {
            let (lives, ended, run) =
                (Arc::clone(&lives), Arc::clone(&ended), runs.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move {
                lives.send_modify(|n| *n += 1);
                assert!(run >= 2, "too early");
                stop.cancelled().await;
                tokio::task::yield_now().await;
                ended.store(true, Ordering::SeqCst);
                Ok(())
            })
        })
    };
    let (supervisor, over) = Supervisor::start(policy(10), vec![child]).await.unwrap();
    reaches(&lives, 3).await;
    assert!(!ended.load(Ordering::SeqCst));
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
    assert!(ended.load(Ordering::SeqCst), "the supervisor ended before its task");
}
