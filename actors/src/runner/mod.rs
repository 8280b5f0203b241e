//! This node's attempts: slots, runners, adoption after a restart, results, its lease, and expansions.
//!
//! Must not know: how containers work ([`work::Work`]), how the queue decides.

pub(crate) mod contexts;
mod ending;
pub mod environment;
mod expander;
mod heart;
mod heed;
mod life;
mod margin;
pub mod reaper;
mod report;
mod urls;
pub mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{
    AttemptId, AttemptReport, ClusterState, DeliveryId, Fence, Holding, JobState, NodeFacts, NodeId, Outcome,
};
use metrics::gauge;
use ractor::ActorProcessingErr;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::faults::{self, Point};
use crate::gateway::{Answer, Gateway, Outcome as Reply, Rejection};
use crate::metrics::{SELF_FENCED, SLOTS};
use crate::replica::SharedReplica;
use crate::supervisor::Child;
pub use expander::Sources;
use life::SharedWork;
use margin::Margin;
pub(crate) use report::{Reported, report as report_until_known};
use work::{Finished, Survivor};

/// Orders that wait for the runner supervisor, at most.
const ORDERS: usize = 1024;

/// How this node runs attempts.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this node says of itself.
    pub facts: NodeFacts,
    /// Directory with a sub-directory per attempt.
    pub attempts: PathBuf,
    /// Between two heartbeats to the leader.
    pub heartbeat: Duration,
    /// What runs here may go on for so long after registration without a heartbeat that is answered. At most the lease
    /// that the leader grants (`queue::Options::lease`).
    pub first_lease: Duration,
    /// This node gives its lease up so much earlier than the leader may, at least.
    pub margin: Duration,
    /// What is removed when no attempt owns it any more.
    pub reaper: reaper::Options,
}

/// What the parts of the runner share.
#[derive(Clone)]
struct Shared {
    replica: SharedReplica,
    work: SharedWork,
    options: Arc<Options>,
    held: Arc<Mutex<HashMap<AttemptId, Held>>>,
    /// Until when attempts may run here; none before the first lease.
    deadline: watch::Sender<Option<Instant>>,
    /// How much earlier than the leader's count that is.
    margin: Margin,
    /// This life is registered: the state here is at least as new as that.
    registered: watch::Sender<bool>,
    /// This life has ended attempts because its time to drain was over.
    drained: Arc<AtomicBool>,
}

/// An attempt that has a runner here.
#[derive(Debug)]
struct Held {
    fence: Fence,
    slot: u16,
    paused: watch::Sender<bool>,
    cancel: CancellationToken,
    kill: CancellationToken,
}

/// Where an attempt that is taken up comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It begins now.
    Now,
    /// An earlier life of this node left it, in this slot.
    Earlier(Option<u16>),
}

#[derive(Debug)]
enum Order {
    Start(AttemptId, Fence),
    Cancel(AttemptId, Fence),
    Expand(DeliveryId, Fence),
    Clean(Survivor),
}

/// Gives orders to this node's runner supervisor. Clones share it.
#[derive(Clone)]
pub struct Runners {
    shared: Shared,
    orders: mpsc::Sender<Order>,
    queue: Arc<tokio::sync::Mutex<mpsc::Receiver<Order>>>,
    ready: watch::Sender<bool>,
    busy: watch::Sender<usize>,
}

impl std::fmt::Debug for Runners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runners").field("holds", &self.holdings()).finish_non_exhaustive()
    }
}

impl Runners {
    /// For this node.
    #[must_use]
    pub fn new(replica: SharedReplica, work: Arc<dyn work::Work>, options: Options) -> Self {
        let (orders, queue) = mpsc::channel(ORDERS);
        let shared = Shared {
            replica,
            work,
            margin: Margin::new(options.margin),
            options: Arc::new(options),
            held: Arc::default(),
            deadline: watch::channel(None).0,
            registered: watch::channel(false).0,
            drained: Arc::default(),
        };
        Self {
            shared,
            orders,
            queue: Arc::new(tokio::sync::Mutex::new(queue)),
            ready: watch::channel(false).0,
            busy: watch::channel(0).0,
        }
    }

    /// Attempts that have a runner here, reporting ones among them.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        let held = lock(&self.shared);
        held.iter().map(|(id, h)| Holding { job: id.job, number: id.number, fence: h.fence }).collect()
    }

    /// Begins an attempt; returns when the order is taken.
    ///
    /// # Errors
    /// [`Rejection::Unavailable`] while this node starts, [`Rejection::Busy`] when orders pile up.
    pub async fn start(&self, attempt: AttemptId, fence: Fence) -> Reply {
        self.order(fence, Order::Start(attempt, fence)).await
    }

    /// Ends an attempt; returns when the order is taken.
    ///
    /// # Errors
    /// As [`Runners::start`].
    pub async fn cancel(&self, attempt: AttemptId, fence: Fence) -> Reply {
        self.order(fence, Order::Cancel(attempt, fence)).await
    }

    /// Expands a delivery; returns when the order is taken.
    ///
    /// # Errors
    /// As [`Runners::start`].
    pub async fn expand(&self, delivery: DeliveryId, fence: Fence) -> Reply {
        self.order(fence, Order::Expand(delivery, fence)).await
    }

    /// A fence is a log index: once applied here, the state here knows what the order is about.
    async fn order(&self, fence: Fence, order: Order) -> Reply {
        if !*self.ready.borrow() {
            return Err(Rejection::Unavailable);
        }
        let mut applied = self.shared.replica.applied();
        applied.wait_for(|index| *index >= fence.0).await.map_err(|_| Rejection::Unavailable)?;
        self.orders.try_send(order).map_err(|_| Rejection::Busy)?;
        Ok(Answer::Done)
    }

    /// The children that do the work: the heart first, so that a lease is there.
    #[must_use]
    pub fn children(&self, gateway: &Gateway, sources: &Sources) -> Vec<Child> {
        let (heart, runners) = ((self.clone(), gateway.clone()), (self.clone(), sources.clone()));
        let of_heed = self.clone();
        let (of_reaper, margin) = (self.clone(), self.shared.margin.clone());
        vec![
            Child::task("stalls", move |stop| Box::pin(margin::watch(margin.clone(), stop))),
            Child::task("heed", move |stop| Box::pin(heed::run(of_heed.clone(), stop))),
            Child::task("heart", move |stop| Box::pin(heart::run(heart.0.clone(), heart.1.clone(), stop))),
            Child::task("runners", move |stop| {
                let (runners, sources) = runners.clone();
                Box::pin(async move {
                    let orders = Arc::clone(&runners.queue);
                    // Held for this life of the task; the life before has ended.
                    let mut orders = orders.lock().await;
                    runners.begin_anew();
                    let result = Keeper::new(runners.clone(), sources).run(&mut orders, stop).await;
                    runners.begin_anew();
                    result
                })
            }),
            Child::task("reaper", move |stop| Box::pin(reaper::run(of_reaper.clone(), stop))),
        ]
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, HashMap<AttemptId, Held>> {
    shared.held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the job when the attempt is its present one, here, under this fence.
fn present(state: &ClusterState, node: NodeId, attempt: AttemptId, fence: Fence) -> Option<JobState> {
    let job = state.jobs.get(&attempt.job)?;
    let mine = job.node == node && job.fence == fence && job.attempts == attempt.number;
    (mine && matches!(job.state, JobState::Placed | JobState::Running)).then_some(job.state)
}

struct Keeper {
    runners: Runners,
    sources: Sources,
    lives: JoinSet<AttemptId>,
    expansions: JoinSet<DeliveryId>,
    expanding: BTreeSet<DeliveryId>,
    /// Attempts that came before the one whose slot they get was cleared away.
    waiting: BTreeMap<AttemptId, Fence>,
}

impl Keeper {
    fn new(runners: Runners, sources: Sources) -> Self {
        Self {
            runners,
            sources,
            lives: JoinSet::new(),
            expansions: JoinSet::new(),
            expanding: BTreeSet::new(),
            waiting: BTreeMap::new(),
        }
    }

    async fn run(
        mut self,
        orders: &mut mpsc::Receiver<Order>,
        stop: CancellationToken,
    ) -> Result<(), ActorProcessingErr> {
        match stop.run_until_cancelled(self.recover()).await {
            Some(recovered) => recovered?,
            None => return Ok(()),
        }
        self.runners.ready.send_replace(true);
        let mut deadline = self.runners.shared.deadline.subscribe();
        loop {
            self.count();
            let limit = *deadline.borrow_and_update();
            tokio::select! {
                // Dropping the lives leaves their containers running: the next life of this node adopts them.
                () = stop.cancelled() => return Ok(()),
                never = faults::near(Point::Runners) => match never {},
                order = orders.recv() => match order {
                    Some(Order::Start(attempt, fence)) => self.start(attempt, fence),
                    Some(Order::Cancel(attempt, fence)) => self.cancel(attempt, fence),
                    Some(Order::Expand(delivery, fence)) => self.expand(delivery, fence),
                    Some(Order::Clean(left)) => self.clean(left.attempt, left.fence, left.slot),
                    None => return Ok(()),
                },
                Some(over) = self.lives.join_next() => {
                    // A life catches panics of its work; one of its own is a bug, and the supervisor restarts us.
                    lock(&self.runners.shared).remove(&over?);
                    for (attempt, fence) in std::mem::take(&mut self.waiting) {
                        self.start(attempt, fence);
                    }
                }
                Some(over) = self.expansions.join_next() => {
                    self.expanding.remove(&over?);
                }
                changed = deadline.changed() => changed?,
                () = until(limit) => self.self_fence(),
            }
        }
    }

    /// Takes up what the life before left: results to report, containers to adopt or to remove.
    async fn recover(&mut self) -> Result<(), ActorProcessingErr> {
        let shared = self.runners.shared.clone();
        shared.registered.subscribe().wait_for(|registered| *registered).await?;
        let root = shared.options.attempts.clone();
        let results = tokio::task::spawn_blocking(move || report::kept(&root)).await??;
        let mut survivors = shared.work.survivors().await?;
        let slot_of = |result: &AttemptReport| {
            let same = |s: &&Survivor| s.attempt == result.attempt && s.fence == result.fence;
            survivors.iter().find(same).and_then(|s| s.slot)
        };
        let results: Vec<_> = results.into_iter().map(|result| (slot_of(&result), result)).collect();
        for (slot, result) in results {
            tracing::info!(attempt = %result.attempt, "a result of an earlier life is reported");
            self.resend(result, slot);
        }
        let state = shared.replica.state();
        // What has a slot keeps it: its network is there. The rest takes what is left.
        survivors.sort_by_key(|survivor| survivor.slot.is_none());
        for Survivor { attempt, fence, slot } in survivors {
            if lock(&shared).contains_key(&attempt) {
                continue;
            }
            if present(&state, shared.options.facts.node, attempt, fence).is_some() {
                tracing::info!(%attempt, ?slot, "an attempt of an earlier life is adopted");
                self.spawn(attempt, fence, Origin::Earlier(slot));
            } else {
                tracing::info!(%attempt, %fence, "what is left of an attempt that is over is removed");
                self.clean(attempt, fence, slot);
            }
        }
        Ok(())
    }

    fn start(&mut self, attempt: AttemptId, fence: Fence) {
        let shared = &self.runners.shared;
        if lock(shared).contains_key(&attempt) {
            return;
        }
        match present(&shared.replica.state(), shared.options.facts.node, attempt, fence) {
            None => tracing::debug!(%attempt, %fence, "not started: it is no longer given to this node"),
            Some(JobState::Running) => {
                self.conclude(
                    attempt,
                    fence,
                    Finished::bare(Outcome::Lost, "its container is gone from its node"),
                );
            }
            Some(_) if shared.deadline.borrow().is_none_or(|deadline| deadline <= Instant::now()) => {
                tracing::warn!(%attempt, "not started: this node has no lease");
            }
            Some(_) => self.spawn(attempt, fence, Origin::Now),
        }
    }

    fn spawn(&mut self, attempt: AttemptId, fence: Fence, origin: Origin) {
        let shared = self.runners.shared.clone();
        let Some((held, slot)) = self.hold(attempt, fence, origin) else {
            tracing::debug!(%attempt, "waits for a slot that is just cleared");
            self.waiting.insert(attempt, fence);
            return;
        };
        let adopted = origin != Origin::Now;
        if !adopted {
            tracing::info!(%attempt, %fence, slot, "an attempt begins");
        }
        let lease = shared.deadline.subscribe();
        let (task, told) = life::task((attempt, fence), slot, adopted, &held, lease);
        lock(&shared).insert(attempt, held);
        self.lives.spawn(async move {
            life::live(shared, task, told).await;
            attempt
        });
    }

    fn hold(&self, attempt: AttemptId, fence: Fence, origin: Origin) -> Option<(Held, u16)> {
        let held = lock(&self.runners.shared);
        if held.contains_key(&attempt) {
            return None;
        }
        let busy: BTreeSet<u16> = held.values().map(|h| h.slot).collect();
        let free = |slots: u16| (0..slots).find(|slot| !busy.contains(slot));
        let slot = match origin {
            Origin::Now => free(self.runners.shared.options.facts.capacity.slots)?,
            Origin::Earlier(Some(slot)) => slot,
            // What ran already is taken up even when the node was given fewer slots since.
            Origin::Earlier(None) => free(u16::MAX)?,
        };
        let (cancel, kill) = (CancellationToken::new(), CancellationToken::new());
        let paused = self.runners.shared.replica.state().paused_runs.contains(&attempt.job.run);
        Some((Held { fence, slot, paused: watch::channel(paused).0, cancel, kill }, slot))
    }

    /// Holds an attempt while something is done about it that is no run.
    fn settle<F>(
        &mut self,
        attempt: AttemptId,
        fence: Fence,
        slot: Option<u16>,
        work: impl FnOnce(Shared) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = self.runners.shared.clone();
        let Some((held, _)) = self.hold(attempt, fence, Origin::Earlier(slot)) else { return };
        lock(&shared).insert(attempt, held);
        let work = work(shared);
        self.lives.spawn(async move {
            work.await;
            attempt
        });
    }

    /// Reports an end without a run.
    fn conclude(&mut self, attempt: AttemptId, fence: Fence, finished: Finished) {
        self.settle(attempt, fence, None, |shared| life::conclude(shared, attempt, fence, finished));
    }

    fn resend(&mut self, end: AttemptReport, slot: Option<u16>) {
        self.settle(end.attempt, end.fence, slot, |shared| life::send(shared, end));
    }

    /// Removes what is left, however long that takes; nothing else waits for it, and its slot stays taken.
    fn clean(&mut self, attempt: AttemptId, fence: Fence, slot: Option<u16>) {
        let clean = |shared: Shared| async move { shared.work.clean(attempt, fence).await };
        self.settle(attempt, fence, slot, clean);
    }

    fn cancel(&mut self, attempt: AttemptId, fence: Fence) {
        let shared = self.runners.shared.clone();
        let state = present(&shared.replica.state(), shared.options.facts.node, attempt, fence);
        {
            let held = lock(&shared);
            if let Some(held) = held.get(&attempt) {
                // What is no longer given to this node has no grace.
                if state.is_some() {
                    held.cancel.cancel()
                } else {
                    held.kill.cancel()
                }
                return;
            }
        }
        if state.is_some() {
            self.conclude(attempt, fence, Finished::bare(Outcome::Cancelled, "cancelled before it began"));
        }
    }

    fn expand(&mut self, delivery: DeliveryId, fence: Fence) {
        if self.expanding.insert(delivery) {
            let (shared, sources) = (self.runners.shared.clone(), self.sources.clone());
            self.expansions.spawn(async move {
                expander::expand(&shared.replica, &sources, delivery, fence).await;
                delivery
            });
        }
    }

    /// The lease could not be renewed: whatever runs here must be gone before it may run elsewhere.
    fn self_fence(&mut self) {
        // A heartbeat may have been answered in the meantime.
        let now = Instant::now();
        let expired = |deadline: &mut Option<Instant>| {
            let expired = deadline.is_some_and(|deadline| deadline <= now);
            if expired {
                *deadline = None;
            }
            expired
        };
        if !self.runners.shared.deadline.send_if_modified(expired) {
            return;
        }
        let held = lock(&self.runners.shared);
        let running: Vec<_> = held.values().filter(|h| !h.kill.is_cancelled()).collect();
        if !running.is_empty() {
            tracing::error!(attempts = running.len(), "the lease has run out: attempts are killed");
            metrics::counter!(SELF_FENCED).increment(1);
        }
        for held in running {
            held.kill.cancel();
        }
    }

    fn count(&self) {
        let (busy, slots) =
            (lock(&self.runners.shared).len(), self.runners.shared.options.facts.capacity.slots);
        self.runners.busy.send_replace(busy);
        let online = self.runners.shared.deadline.borrow().is_some();
        let idle = usize::from(slots).saturating_sub(busy);
        gauge!(SLOTS, "state" => "busy").set(busy as f64);
        gauge!(SLOTS, "state" => "idle").set(if online { idle as f64 } else { 0.0 });
        gauge!(SLOTS, "state" => "offline").set(if online { 0.0 } else { idle as f64 });
    }
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit).await,
        None => std::future::pending().await,
    }
}
