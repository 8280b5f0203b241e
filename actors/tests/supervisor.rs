//! The supervisor against children that panic, fail to start and end by themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actors::health::{Board, Standing, Trouble};
use actors::supervisor::{Child, Policy, Supervisor};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Notify, watch};

const PATIENCE: Duration = Duration::from_secs(20);

fn policy(restarts: usize) -> Policy {
    Policy {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        restarts,
        window: Duration::from_secs(3600),
        jitter: Arc::new(|| 0.5),
        board: Board::default(),
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
async fn past_the_cap_supervisors_end_up_to_the_root_and_say_which_child_it_was() {
    let (lives, policy) = (Arc::new(watch::channel(0).0), policy(2));
    let (inner, of_inner) = (Arc::clone(&lives), policy.clone());
    let child = Child::supervisor("inner", of_inner, move || vec![fragile(&inner, false, usize::MAX)]);
    let (_, over) = Supervisor::start(policy.clone(), vec![child]).await.unwrap();
    tokio::time::timeout(PATIENCE, over).await.unwrap().unwrap();
    assert_eq!(*lives.borrow(), 3, "one life and two restarts; the level above does not begin anew");
    let words = policy.board.last_words().unwrap();
    assert_eq!(words, "fragile was restarted 2 times within 3600s and failed again; last failure: poked");
    let trouble = policy.board.trouble().unwrap();
    assert!(matches!(&trouble, Trouble::GivenUp { child: "fragile", .. }), "{trouble:?}");
    let inner = policy.board.standings().into_iter().find(|(name, _)| *name == "inner");
    assert_eq!(inner.unwrap().1, Standing::GivenUp { last: words });
}

/// A task that ends whenever it is told to.
fn ends_when_told(told: &Arc<Notify>) -> Child {
    let told = Arc::clone(told);
    Child::task("mortal", move |stop| {
        let told = Arc::clone(&told);
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = told.notified() => Err("told to end".into()),
            }
        })
    })
}

async fn standing(board: &Board, wanted: impl Fn(&Standing) -> bool) -> Standing {
    let look = async {
        loop {
            match board.standings().into_iter().find(|(_, standing)| wanted(standing)) {
                Some((_, standing)) => return standing,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap()
}

#[tokio::test]
async fn the_board_shows_who_is_down_and_who_storms() {
    let policy = policy(4);
    let (board, told) = (policy.board.clone(), Arc::new(Notify::new()));
    let (supervisor, over) = Supervisor::start(policy, vec![ends_when_told(&told)]).await.unwrap();
    assert_eq!(board.trouble(), None);
    for time in 1..=3 {
        told.notify_one();
        let down = standing(&board, |standing| matches!(standing, Standing::Restarting { .. })).await;
        assert_eq!(down, Standing::Restarting { restarts: time, last: "told to end".to_owned() });
        let trouble = board.trouble().unwrap();
        assert!(matches!(trouble, Trouble::Down { child: "mortal", .. }), "{trouble:?}");
        let storm = time > 2;
        let last = "told to end".to_owned();
        let up = Standing::Running { restarts: time, storm, last };
        standing(&board, |standing| *standing == up).await;
        assert_eq!(board.trouble().is_some(), storm, "{:?}", board.trouble());
    }
    let words = board.trouble().unwrap().to_string();
    assert_eq!(words, "mortal was restarted 3 times within 3600s; last failure: told to end");
    supervisor.stop_and_wait(None, None).await.unwrap();
    over.await.unwrap();
    assert_eq!(board.standings(), [], "what was stopped is not missed");
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
