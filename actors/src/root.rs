//! The tree of a node: gateway, queue, runners under one supervisor.
//!
//! Must not know configuration files or HTTP: everything it needs comes in as [`Parts`].

use std::sync::Arc;
use std::time::Duration;

use domain::{BootId, Command, NodeId, Refusal, Reply};
use futures::future::BoxFuture;
use ractor::ActorRef;
use tokio::task::JoinHandle;

use crate::gateway::{self, Gateway, Handler, Outcome, Request, Wire};
use crate::health::Board;
use crate::queue::{self, Desk};
use crate::replica::{ProposeError, SharedReplica};
use crate::runner::{self, Runners, Sources, work::Work};
use crate::supervisor::{Child, Message, Policy, Supervisor};

/// Tries to tell the cluster that this node leaves, and the pause between two.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(100);

/// What a node's tree is made of.
pub struct Parts {
    /// The replicated state.
    pub replica: SharedReplica,
    /// Runs attempts.
    pub work: Arc<dyn Work>,
    /// Mirrors and the workflow language.
    pub sources: Sources,
    /// Links with other nodes; none for a node alone.
    pub wire: Option<Wire>,
    /// Serves logs and artifacts to other nodes ([`crate::bulk::child`]); none for a node alone.
    pub bulk: Option<Child>,
    /// Of the gateway.
    pub gateway: gateway::Options,
    /// Of the queue.
    pub queue: queue::Options,
    /// Of the runners.
    pub runner: runner::Options,
    /// How children are restarted.
    pub policy: Policy,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("runner", &self.runner).finish_non_exhaustive()
    }
}

/// A tree that runs.
pub struct Handle {
    node: NodeId,
    boot: BootId,
    replica: SharedReplica,
    root: ActorRef<Message>,
    over: JoinHandle<()>,
    gateway: Gateway,
    runners: Runners,
    desk: Desk,
    board: Board,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Why a tree does not start.
#[derive(Debug, thiserror::Error)]
#[error("the actors do not start: {why}")]
pub struct StartError {
    /// ractor's words.
    pub why: String,
}

/// Why a node cannot say that it leaves.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// It was not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be proposed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// Starts the tree.
///
/// # Errors
/// [`StartError`] when a child could not be started and could not be scheduled again.
pub async fn start(parts: Parts) -> Result<Handle, StartError> {
    let Parts { replica, work, sources, wire, bulk, gateway, queue, runner, policy } = parts;
    let (node, boot, of_handle) = (runner.facts.node, runner.facts.boot, Arc::clone(&replica));
    let blobs = runner.reaper.blobs.clone();
    // Before anything is put in.
    let removed = tokio::task::spawn_blocking(move || blobs.remove_temporaries()).await;
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!(?removed, "what was left half-written among the blobs cannot be removed");
    }
    let desk = Desk::default();
    let runners = Runners::new(Arc::clone(&replica), work, runner);
    let handler = handler(Arc::clone(&replica), desk.clone(), runners.clone());
    let (gateway, sessions) = Gateway::new(gateway, Arc::clone(&replica), handler, wire);
    let mut children: Vec<Child> = sessions.into_iter().chain(bulk).collect();
    children.push(queue::child(replica, gateway.clone(), desk.clone(), queue, policy.clone()));
    let of_runners = (runners.clone(), gateway.clone(), sources);
    children.push(Child::supervisor("runner supervisor", policy.clone(), move || {
        let (runners, gateway, sources) = &of_runners;
        runners.children(gateway, sources)
    }));
    let board = policy.board.clone();
    let (root, over) =
        Supervisor::start(policy, children).await.map_err(|e| StartError { why: e.to_string() })?;
    Ok(Handle { node, boot, replica: of_handle, root, over, gateway, runners, desk, board })
}

fn handler(replica: SharedReplica, desk: Desk, runners: Runners) -> Handler {
    Arc::new(move |request| -> BoxFuture<'static, Outcome> {
        let (replica, desk, runners) = (Arc::clone(&replica), desk.clone(), runners.clone());
        Box::pin(async move {
            match request {
                // Introductions are the gateway's own.
                Request::Ping | Request::Introduce { .. } => Ok(gateway::Answer::Done),
                Request::StartAttempt { attempt, fence } => runners.start(attempt, fence).await,
                Request::CancelAttempt { attempt, fence } => runners.cancel(attempt, fence).await,
                Request::StartExpansion { delivery, fence } => runners.expand(delivery, fence).await,
                Request::Heartbeat { node, boot, holdings, slots } => {
                    desk.heartbeat(&replica, node, boot, (holdings, slots))
                }
            }
        })
    })
}

impl Handle {
    /// Requests to other nodes.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// This node's attempts.
    #[must_use]
    pub fn runners(&self) -> &Runners {
        &self.runners
    }

    /// The queue's entrance, for what only the leader knows (who lives).
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Asks for no new placements for the rest of this node's life and waits until what runs here has ended and is reported.
    /// With `requeue` it is ended now, and its jobs are queued again. Dropped, it leaves what still runs to the next life.
    ///
    /// # Errors
    /// [`LeaveError`] when the cluster cannot be told; nothing is waited for then.
    pub fn leave(&self, requeue: bool) -> impl Future<Output = Result<(), LeaveError>> + Send + use<> {
        let (replica, runners, node, life) =
            (Arc::clone(&self.replica), self.runners.clone(), self.node, Some(self.boot));
        async move {
            // By the cluster's time: it is over wherever that is known.
            let until = requeue.then(|| replica.state().now);
            let drain = Command::SetDrain { node, drain: true, until, life };
            for left in (0..TRIES).rev() {
                match replica.propose(drain.clone()).await {
                    Ok(Reply::Refused(refusal)) => return Err(refusal.into()),
                    Ok(_) => break,
                    // A leader that stops has just handed over: who leads now is found out. The same again does no harm.
                    Err(ProposeError::Unavailable | ProposeError::Unknown) if left > 0 => {
                        tokio::time::sleep(AGAIN).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            runners.empty().await;
            Ok(())
        }
    }

    /// How the actors of this node fare.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Resolves when the root gave up, with which actor and why: the node must end.
    pub async fn failed(&mut self) -> String {
        // Cancelled or panicked is over, too.
        let over = (&mut self.over).await;
        self.board.last_words().unwrap_or_else(|| format!("their supervisor ended ({over:?})"))
    }

    /// Stops everything and waits for it. Containers go on; the next life of this node adopts them.
    pub async fn shutdown(mut self) {
        // An error means that it had ended.
        drop(self.root.stop_and_wait(None, None).await);
        if !self.over.is_finished() {
            drop((&mut self.over).await);
        }
    }
}
