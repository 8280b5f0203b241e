//! The job queue's keeper: exists on the leader's node, only while it leads.
//!
//! Effects wake it, but everything it does is derived from the state again and again; a hint that is lost costs only
//! time. Must not know containers or how a run is made from files.

mod candidates;
mod decider;
mod dispatcher;
mod expansions;
mod intents;
mod leases;
pub mod outbox;
mod retention;
mod scheduler;
mod timer;
mod trouble;
mod unheld;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{BootId, ClusterState, Holding, NodeId};
use futures::future::BoxFuture;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::faults::{self, Point};
use crate::gateway::{Answer, Gateway, Outcome, Rejection};
use crate::replica::{Leadership, SharedReplica};
use crate::supervisor::{Child, Failure, Message, Policy, Supervisor};
pub(crate) use expansions::pause as expansion_pause;
use leases::{Leases, NotRenewed};
use trouble::Troubles;

/// How the queue behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a lease lasts. Nodes stop their containers earlier than that by a margin.
    pub lease: Duration,
    /// A placement that its node, when it is heard of so long after, does not hold is taken back.
    pub acknowledge: Duration,
    /// How often the state is compared with what should be.
    pub reconcile: Duration,
    /// Wakes within this time become one plan.
    pub debounce: Duration,
    /// Queued jobs looked at in one plan.
    pub examine: usize,
    /// An expansion that takes longer is given to another node.
    pub expansion: Duration,
    /// Finished runs are forgotten after this long; zero keeps them for ever.
    pub retention: Duration,
    /// How often runs past retention are looked for.
    pub retention_every: Duration,
    /// How forges are told.
    pub outbox: outbox::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            acknowledge: Duration::from_secs(10),
            reconcile: Duration::from_millis(500),
            debounce: Duration::from_millis(2),
            examine: 4096,
            expansion: Duration::from_secs(300),
            retention: Duration::from_secs(90 * 24 * 3600),
            retention_every: Duration::from_secs(60),
            outbox: outbox::Options::default(),
        }
    }
}

/// The entrance for heartbeats: the queue of the present term, when this node leads.
#[derive(Clone, Default)]
pub struct Desk {
    present: Arc<Mutex<Option<Arc<Leases>>>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("leads", &self.present().is_some()).finish()
    }
}

impl Desk {
    fn present(&self) -> Option<Arc<Leases>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, leases: Option<Arc<Leases>>) {
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = leases;
    }

    /// Takes a heartbeat: renews the lease and remembers what the node holds.
    ///
    /// # Errors
    /// [`Rejection::NotLeader`], or [`Rejection::NotRegistered`] when the node is lost or about to be.
    pub fn heartbeat(
        &self,
        replica: &SharedReplica,
        node: NodeId,
        boot: BootId,
        (holdings, slots): (Vec<Holding>, u16),
    ) -> Outcome {
        let leases = self.present().ok_or(Rejection::NotLeader)?;
        if !is_known(&replica.state(), node, boot) {
            return Err(Rejection::NotRegistered);
        }
        let granted = leases.renew(node, boot, holdings, slots).map_err(|why| match why {
            NotRenewed::RunOut => Rejection::NotRegistered,
            NotRenewed::NotLeader => Rejection::NotLeader,
        })?;
        // Lost in the meantime: what was granted is forgotten with the next look at leases.
        if !is_known(&replica.state(), node, boot) {
            return Err(Rejection::NotRegistered);
        }
        Ok(Answer::Lease {
            granted_millis: granted.as_millis() as u64,
            term: leases.term,
            clock_micros: leases.began.elapsed().as_micros() as u64,
        })
    }

    /// Nodes whose lease holds, as this leader sees it; empty when this node does not lead.
    #[must_use]
    pub fn live(&self) -> BTreeSet<NodeId> {
        self.present().map(|leases| leases.live()).unwrap_or_default()
    }
}

/// Whether this life of a node is registered and not lost.
fn is_known(state: &ClusterState, node: NodeId, boot: BootId) -> bool {
    state.nodes.get(&node).is_some_and(|n| n.boot == boot && !n.lost)
}

/// What the parts of the queue share.
#[derive(Clone)]
struct Shared {
    replica: SharedReplica,
    gateway: Gateway,
    options: Options,
    leases: Arc<Leases>,
    troubles: Arc<Mutex<Troubles>>,
}

impl Shared {
    /// A node has not done what it was given, through its own fault.
    fn trouble(&self, node: NodeId) {
        let rest = self.troubles.lock().unwrap_or_else(PoisonError::into_inner).lost(node, Instant::now());
        tracing::info!(%node, ?rest, "a node in trouble is given no jobs for a while");
    }
}

type Work = BoxFuture<'static, Result<(), ActorProcessingErr>>;

/// The child that keeps the queue while this node leads.
#[must_use]
pub fn child(
    replica: SharedReplica,
    gateway: Gateway,
    desk: Desk,
    options: Options,
    policy: Policy,
) -> Child {
    Child::task("queue", move |stop| {
        let (replica, gateway, desk) = (Arc::clone(&replica), gateway.clone(), desk.clone());
        Box::pin(lead(replica, gateway, desk, options.clone(), policy.clone(), stop))
    })
}

async fn lead(
    replica: SharedReplica,
    gateway: Gateway,
    desk: Desk,
    options: Options,
    policy: Policy,
    stop: CancellationToken,
) -> Result<(), ActorProcessingErr> {
    let mut leadership = replica.leadership();
    loop {
        let now: Leadership = leadership.borrow_and_update().clone();
        if !now.is_me {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = leadership.changed() => changed?,
            }
            continue;
        }
        let same = |l: &Leadership| l.is_me && l.term == now.term;
        let confirmed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = leadership.wait_for(|l| !same(l)) => {
                changed?;
                continue;
            }
            confirmed = confirm(&replica, options.reconcile) => confirmed,
        };
        tracing::info!(term = now.term, "this node leads: the queue is here");
        let leases = Arc::new(Leases::new(now.term, options.lease, confirmed));
        let shared = Shared {
            replica: Arc::clone(&replica),
            gateway: gateway.clone(),
            options: options.clone(),
            leases,
            troubles: Arc::default(),
        };
        let (queue, mut over) = Supervisor::start(policy.clone(), children(&shared)).await?;
        let open = Open { desk: desk.clone(), queue };
        desk.set(Some(Arc::clone(&shared.leases)));
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            never = faults::near(Point::Queue) => match never {},
            changed = leadership.wait_for(|l| !same(l)) => changed.err().map(|e| e.to_string()),
            _ = &mut over => {
                let why = policy.board.last_words().unwrap_or_else(|| "the queue's supervisor ended".to_owned());
                return Err(Failure::Escalated { why }.into());
            }
        };
        desk.set(None);
        // An error means that it had ended.
        drop(open.queue.stop_and_wait(None, None).await);
        tracing::info!(term = now.term, "the queue is no longer here");
        match ended {
            Some(why) => return Err(why.into()),
            None if stop.is_cancelled() => return Ok(()),
            None => {}
        }
    }
}

/// A queue that is here. It has no parent, so that it would go on beside the next one when whoever opened it panics.
struct Open {
    desk: Desk,
    queue: ActorRef<Message>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.desk.set(None);
        self.queue.stop(None);
    }
}

/// Waits for the first confirmation that this node leads; answers when it began. Before that the state here may lack what
/// earlier leaders committed, and a later one may be there already: nothing may be granted, cancelled or taken back.
async fn confirm(replica: &SharedReplica, pause: Duration) -> Instant {
    loop {
        let began = Instant::now();
        match replica.confirm().await {
            Ok(()) => return began,
            Err(error) => tracing::debug!(%error, "leadership is not confirmed yet"),
        }
        tokio::time::sleep(pause).await;
    }
}

fn children(shared: &Shared) -> Vec<Child> {
    let part = |name, run: fn(Shared, CancellationToken) -> Work| {
        let shared = shared.clone();
        Child::task(name, move |stop| run(shared.clone(), stop))
    };
    vec![
        part("leases", |shared, stop| Box::pin(leases::run(shared, stop))),
        part("dispatcher", |shared, stop| Box::pin(dispatcher::run(shared, stop))),
        part("scheduler", |shared, stop| Box::pin(scheduler::run(shared, stop))),
        part("expansions", |shared, stop| Box::pin(expansions::run(shared, stop))),
        part("decider", |shared, stop| Box::pin(decider::run(shared, stop))),
        part("timer", |shared, stop| Box::pin(timer::run(shared, stop))),
        part("outbox", |shared, stop| Box::pin(outbox::run(shared, stop))),
        part("retention", |shared, stop| Box::pin(retention::run(shared, stop))),
    ]
}
