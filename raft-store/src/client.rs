//! Proposes from outside of a cluster, over the same links and in the same batches as its nodes.
//!
//! For who holds a certificate of the cluster's CA and is no member. Must not know what a command means.

use std::sync::Arc;
use std::time::Duration;

use domain::{Command, LogIndex};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SystemClock;
use crate::disk::LocalDisk;
use crate::members::{Book, Joined};
use crate::network::{Caller, Connection};
use crate::proposer::{Proposals, Proposer};
use crate::space::Space;
use crate::state_machine::View;
use crate::store::{Committed, Leadership, ProposeError};
use crate::transport::Transport;
use crate::wire::{Request, Response, Standing};

/// Between two questions who leads, to each node.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long a node may take to answer that.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a cluster is reached from outside.
#[derive(Debug)]
pub struct ClientOptions {
    /// Opens channels, as somebody who is no member.
    pub transport: Arc<dyn Transport>,
    /// Cluster ports of nodes, `host:port`: those that are asked who leads.
    pub nodes: Vec<String>,
    /// How long a proposal waits for a leader and its answer.
    pub propose: Duration,
}

/// How one of the nodes stands, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStanding {
    /// The node's cluster port, as it was given.
    pub addr: String,
    /// Raft's term and leader, as the node knows; none when it gave no answer.
    pub leader: Option<(u64, String)>,
    /// The last entry that it has applied.
    pub applied: LogIndex,
}

/// Proposes to a cluster; follows its leader. Clones share links and batches.
#[derive(Debug, Clone)]
pub struct Client {
    proposals: Proposals,
    leadership: watch::Receiver<Leadership>,
    standings: watch::Receiver<Vec<NodeStanding>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Client {
    /// Begins to look for the leader; [`Client::propose`] waits for it.
    #[must_use]
    pub fn open(options: ClientOptions) -> Self {
        // An id of its own, as every node has: a member's id with another's certificate would be refused.
        let from = rand::random();
        let caller = Caller {
            transport: options.transport,
            disk: Arc::new(LocalDisk),
            from,
            view: View::empty(),
            book: Book::default(),
            joined: Joined::default(),
            connect_timeout: PATIENCE,
        };
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (leaders, leadership) = watch::channel(Leadership::default());
        let silent = |addr: &String| NodeStanding { addr: addr.clone(), leader: None, applied: 0 };
        let (all, standings) = watch::channel(options.nodes.iter().map(silent).collect());
        let (leaders, all) = (Arc::new(leaders), Arc::new(all));
        for (number, addr) in options.nodes.into_iter().enumerate() {
            let ask = follow(caller.clone(), addr, number, Arc::clone(&leaders), Arc::clone(&all));
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = ask => {}
                }
            });
        }
        let (proposals, pending) = Proposals::channel(options.propose);
        let proposer = Proposer {
            raft: None,
            // Never asked: the leader's clock gives commands their time.
            clock: Arc::new(SystemClock),
            caller,
            leadership: leadership.clone(),
            // Its own disk says nothing: the leader looks at the leader's.
            space: watch::channel(Space::default()).1,
            forward_timeout: options.propose,
        };
        tasks.spawn(proposer.run(pending, shutdown.clone()));
        Self { proposals, leadership, standings, shutdown, tasks }
    }

    /// Brings a command into the log, as [`crate::Store::propose`] does.
    ///
    /// # Errors
    /// [`ProposeError`]; only `Unknown` leaves open whether the command was committed.
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        self.proposals.propose(command).await
    }

    /// Who leads, as the nodes say; of several answers the one of the highest term.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// How each of the nodes stands.
    #[must_use]
    pub fn standings(&self) -> watch::Receiver<Vec<NodeStanding>> {
        self.standings.clone()
    }

    /// Ends all tasks and closes the links. What is proposed afterwards, through any clone, is refused.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Asks one node who leads, again and again.
async fn follow(
    caller: Caller,
    addr: String,
    number: usize,
    leaders: Arc<watch::Sender<Leadership>>,
    standings: Arc<watch::Sender<Vec<NodeStanding>>>,
) {
    let mut connection = Connection::to_any(caller, addr);
    loop {
        let next = Instant::now() + INTERVAL;
        let answer = match connection.call(&Request::Standing, PATIENCE).await {
            Ok(Response::Standing(standing)) => Some(standing),
            Ok(other) => {
                tracing::debug!(?other, "a node did not say who leads");
                None
            }
            Err(error) => {
                tracing::debug!(?error, "a node did not say who leads");
                None
            }
        };
        publish(&leaders, answer.as_ref());
        standings.send_if_modified(|all| note(&mut all[number], answer.as_ref()));
        tokio::time::sleep_until(next).await;
    }
}

fn publish(leaders: &watch::Sender<Leadership>, answer: Option<&Standing>) {
    let Some((standing, leader)) = answer.and_then(|standing| Some((standing, standing.leader.clone()?)))
    else {
        return;
    };
    leaders.send_if_modified(|known| {
        let newer = standing.term > known.term || known.leader.is_none();
        if newer {
            *known = Leadership { term: standing.term, leader: Some(leader), is_me: false };
        }
        newer
    });
}

fn note(standing: &mut NodeStanding, answer: Option<&Standing>) -> bool {
    let leader =
        answer.and_then(|now| now.leader.as_ref().map(|(_, leader)| (now.term, leader.name.clone())));
    let applied = answer.map_or(standing.applied, |now| now.applied);
    let changed = (&standing.leader, standing.applied) != (&leader, applied);
    (standing.leader, standing.applied) = (leader, applied);
    changed
}
