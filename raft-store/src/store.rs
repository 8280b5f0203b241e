//! The facade: open, propose, read, watch, shut down.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use domain::{ClusterState, Command, Effect, LogIndex, NodeId, Release, Reply};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, RaftMetrics, ServerState};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::birth;
use crate::disk::{self, SharedDisk};
use crate::members::{self, Book, Joined, Members, Rules};
use crate::network::{Caller, Connection, Network};
use crate::options::{OpenError, Options, Timings, config};
use crate::proposer::{Proposals, Proposer, read_index};
use crate::server::{Node, Receiver, Server};
use crate::types::{NodeAddress, TypeConfig};
use crate::wire::{Probe, Request, Response};
use crate::{LogStore, Space, StateMachine, View, bootstrap, metrics, snapshot_due, space};

/// Between two questions for the index of a linearizable read, while nobody leads.
const READ_AGAIN: Duration = Duration::from_millis(50);

/// How long the last users of the log may take to end once Raft has.
const CLOSING: Duration = Duration::from_secs(30);

/// Why a proposal was not seen to be committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not committed: there was no leader in time. Try again later.
    #[error("no leader could be reached in time; nothing was changed, try again")]
    Unavailable,
    /// May or may not be committed: the leader was lost while it worked.
    #[error("the leader was lost while it worked; the change may or may not have been made")]
    Unknown,
    /// Certainly not committed: too large.
    #[error("a command of {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes found.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Certainly not committed: the leader's disk is nearly full.
    #[error("the disk of the node that leads has not enough room (raft.min_free_mib); nothing was changed")]
    NoSpace,
    /// Certainly not committed: a node of the cluster is of a release that does not know it.
    #[error(
        "this needs release {needed} on every node, and one has {release}; upgrade all nodes, then try again"
    )]
    NotYet {
        /// The first release that knows it.
        needed: Release,
        /// The lowest of the cluster's nodes.
        release: Release,
    },
    /// The store is shut down.
    #[error("this node is shutting down")]
    Stopped,
}

/// A committed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The state machine's answer.
    pub reply: Reply,
    /// The entry's index.
    pub index: LogIndex,
}

/// Who leads, as this node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Raft's term.
    pub term: u64,
    /// The leader and how it is reached; none during an election.
    pub leader: Option<(u64, NodeAddress)>,
    /// This node leads.
    pub is_me: bool,
}

/// What a person asks of a store.
#[derive(Debug, Clone)]
pub struct Status {
    /// Who leads.
    pub leadership: Leadership,
    /// Last entry in the log; 0 before the first.
    pub last_log: LogIndex,
    /// Last applied entry.
    pub applied: LogIndex,
    /// Entry of the last snapshot; 0 without one.
    pub snapshot: LogIndex,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// The voters are being changed: a majority of those before the change is needed as well.
    pub changing: bool,
    /// Who only follows.
    pub learners: Vec<NodeId>,
    /// On the leader: how many entries each member is behind.
    pub lag: Vec<(NodeId, u64)>,
    /// Set when Raft has stopped for good: the process must end.
    pub fatal: Option<String>,
}

/// The replicated state of the cluster, seen from this node. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    raft: Node,
    view: View,
    caller: Caller,
    proposals: Proposals,
    leadership: watch::Receiver<Leadership>,
    timings: Timings,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    log_open: watch::Receiver<()>,
    failed: watch::Receiver<Option<String>>,
    space: watch::Receiver<Space>,
    members: Arc<Members>,
}

impl Store {
    /// Opens log and state, starts Raft and serves the links that others open; begins a cluster as told.
    ///
    /// # Errors
    /// [`OpenError`]. Damaged storage is refused, with what to do.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let state_dir = options.data_dir.join("state");
        let disk = options.disk;
        let sizes = options.log_sizes;
        let open_log = move |disk: SharedDisk, dir: &Path| LogStore::open(disk, dir, sizes);
        let log = open_at(&disk, "the log", options.data_dir.join("log"), open_log).await?;
        let machine = open_at(&disk, "the state", state_dir, StateMachine::open).await?;
        // A directory's new entries outlive a power failure then: without them a node could vote twice in a term.
        let sync = |disk: SharedDisk, dir: &Path| disk.sync_dir(dir);
        open_at(&disk, "the data directory", options.data_dir.clone(), sync).await?;
        let read = |disk: SharedDisk, dir: &Path| Joined::read(&*disk, dir);
        let joined = open_at(&disk, "the mark of joining", options.data_dir.clone(), read).await?;
        let read =
            |disk: SharedDisk, dir: &Path| Ok((birth::seen(&*disk, dir)?, birth::had_log(&*disk, dir)?));
        let (seen_before, had_log) = open_at(&disk, "the marks", options.data_dir.clone(), read).await?;
        let snapshots = machine.snapshots();
        let view = machine.view();
        let log_open = log.watch_open();
        let timings = options.timings;
        let me = options.node.0;
        let connect_timeout = timings.election;
        let caller = Caller {
            transport: options.transport,
            disk: disk.clone(),
            from: me,
            view: view.clone(),
            book: Book::default(),
            joined,
            connect_timeout,
        };
        let network = Network { caller: caller.clone() };
        let config = Arc::new(config(timings, options.compaction)?);
        let (space_sender, space) = watch::channel(Space::default());
        let looks =
            space::watch(disk.clone(), options.data_dir.clone(), options.min_free, log.clone(), space_sender);
        let raft = Raft::new(me, config, network, log, machine)
            .await
            .map_err(|e| OpenError::Raft { why: e.to_string() })?;
        if had_log && !raft.is_initialized().await.unwrap_or(true) {
            // An error while it ends changes nothing: this node does not start.
            let _ = raft.shutdown().await;
            return Err(OpenError::Wiped { path: options.data_dir });
        }
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (proposals, pending) = Proposals::channel(timings.propose);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let least = options.compaction.snapshot_every;
        let (failed_sender, failed) = watch::channel(None);
        tasks.spawn(until(shutdown.clone(), looks));
        tasks.spawn(until(shutdown.clone(), snapshot_due::run(raft.clone(), view.clone(), least)));
        tasks.spawn(until(shutdown.clone(), watch_raft(raft.clone(), me, leadership_sender, failed_sender)));
        let probe = Probe {
            node: me,
            name: options.name.to_string(),
            cluster_addr: options.cluster_addr,
            initialized: false,
            expect: options.bootstrap_expect as u64,
            sees: Vec::new(),
        };
        let (sees, seen) = watch::channel(Vec::new());
        let (begins, begun_with) = watch::channel(seen_before);
        let (heard_sender, heard) = watch::channel(Instant::now());
        let members = Arc::new(Members {
            raft: raft.clone(),
            view: view.clone(),
            caller: caller.clone(),
            clock: options.clock.clone(),
            leadership: leadership.clone(),
            timings,
            rules: Rules::new(options.voting, timings.heartbeat),
            me: NodeAddress { name: probe.name.clone(), cluster_addr: probe.cluster_addr.clone() },
            heard,
            removed: watch::Sender::new(None),
            memory: Mutex::default(),
            signer: OnceLock::new(),
        });
        tasks.spawn(until(shutdown.clone(), members::manage(Arc::clone(&members))));
        tasks.spawn(until(shutdown.clone(), members::watch_standing(Arc::clone(&members))));
        let server = Server {
            raft: raft.clone(),
            view: view.clone(),
            me: probe.clone(),
            sees: seen,
            begins: begun_with,
            receiver: Receiver::new(Arc::clone(&snapshots)),
            snapshots,
            clock: options.clock.clone(),
            space: space.clone(),
            propose_timeout: timings.propose,
            members: Arc::clone(&members),
            heard: heard_sender,
        };
        tasks.spawn(Arc::new(server).run(options.incoming, tasks.clone(), shutdown.clone()));
        let proposer = Proposer {
            raft: Some(raft.clone()),
            clock: options.clock.clone(),
            caller: caller.clone(),
            leadership: leadership.clone(),
            space: space.clone(),
            forward_timeout: timings.propose,
        };
        tasks.spawn(proposer.run(pending, shutdown.clone()));
        let way = space::give_way(space.clone(), leadership.clone(), Arc::clone(&members));
        tasks.spawn(until(shutdown.clone(), way));
        let inner = Inner {
            raft: raft.clone(),
            view,
            caller: caller.clone(),
            proposals,
            leadership,
            timings,
            shutdown,
            tasks,
            log_open,
            failed,
            space,
            members,
        };
        let store = Self { inner: Arc::new(inner) };
        let begin = bootstrap::run(bootstrap::Plan {
            store: store.downgrade(),
            raft,
            caller,
            me: probe,
            clock: options.clock,
            disk,
            sees,
            begins,
            seeds: options.seeds,
            data_dir: options.data_dir,
        });
        store.inner.tasks.spawn(until(store.inner.shutdown.clone(), begin));
        Ok(store)
    }

    /// The part of the store that is about members.
    pub(crate) fn membership(&self) -> &Members {
        &self.inner.members
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    pub(crate) fn shutdown_token(&self) -> CancellationToken {
        self.inner.shutdown.clone()
    }

    pub(crate) fn downgrade(&self) -> std::sync::Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// Brings a command into the log through whoever leads, and waits until it is committed and applied there.
    ///
    /// # Errors
    /// [`ProposeError`]; only `Unknown` leaves open whether the command was committed.
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        // Here, too: a leader of an older release could not even read it.
        self.state().knows(&command).map_err(|(needed, release)| ProposeError::NotYet { needed, release })?;
        self.inner.proposals.propose(command).await
    }

    /// The state as this node has applied it, which may be a little behind. Cheap.
    #[must_use]
    pub fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.inner.view.current().state)
    }

    /// The state with its index.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.inner.view
    }

    /// The index of the last applied entry, as it grows.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<LogIndex> {
        self.inner.view.index()
    }

    /// Effects of what is applied from now on: hints, for the leader only.
    #[must_use]
    pub fn effects(&self) -> broadcast::Receiver<(LogIndex, Effect)> {
        self.inner.view.effects()
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Waits until this node has applied everything that was committed when this was called.
    ///
    /// # Errors
    /// [`ProposeError::Unavailable`] without a leader in time.
    pub async fn linearizable(&self) -> Result<LogIndex, ProposeError> {
        let read = async {
            // Who leads may be about to change, or may not have heard yet that it does: asked again, as long as there is time.
            let mut leadership = self.leadership();
            let index = loop {
                leadership.mark_unchanged();
                match self.leaders_read_index().await {
                    Ok(index) => break index,
                    Err(ProposeError::Unavailable) => {
                        if let Ok(Err(_)) = tokio::time::timeout(READ_AGAIN, leadership.changed()).await {
                            return Err(ProposeError::Stopped);
                        }
                    }
                    Err(error) => return Err(error),
                }
            };
            let mut applied = self.applied();
            applied.wait_for(|now| *now >= index).await.map_err(|_| ProposeError::Stopped)?;
            Ok(index)
        };
        tokio::time::timeout(self.inner.timings.propose, read).await.unwrap_or(Err(ProposeError::Unavailable))
    }

    async fn leaders_read_index(&self) -> Result<LogIndex, ProposeError> {
        let leadership = self.inner.leadership.borrow().clone();
        let answer = match (leadership.leader, leadership.is_me) {
            (_, true) => read_index(&self.inner.raft).await,
            (Some((leader, address)), false) => {
                let mut connection = Connection::new(self.inner.caller.clone(), leader, address);
                match connection.call(&Request::ReadIndex, self.inner.timings.propose).await {
                    Ok(Response::ReadIndex(index)) => index,
                    _ => return Err(ProposeError::Unavailable),
                }
            }
            (None, false) => return Err(ProposeError::Unavailable),
        };
        answer.map_err(|why| {
            tracing::debug!(why, "no linearizable read");
            ProposeError::Unavailable
        })
    }

    /// How much room this node's disk has.
    #[must_use]
    pub fn space(&self) -> Space {
        *self.inner.space.borrow()
    }

    /// How the store stands.
    #[must_use]
    pub fn status(&self) -> Status {
        status_of(&self.inner.raft.metrics().borrow_watched(), self.inner.caller.from)
    }

    /// Resolves with the reason when Raft has stopped for good, as it does when the disk fails: this process must end, so
    /// that nobody takes it for a member that works.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.clone();
        let why = failed.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default());
        match why {
            Ok(why) => why,
            // Nobody watches any more: the store was shut down.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops Raft and everything that belongs to it, and waits for it: the data directory may be opened again.
    pub async fn shutdown(&self) {
        self.inner.shutdown.cancel();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end in order");
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        let mut open = self.inner.log_open.clone();
        let closed = async { while open.changed().await.is_ok() {} };
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            tracing::warn!("the log is still in use {} s after the store was stopped", CLOSING.as_secs());
        }
    }
}

impl Inner {
    pub(crate) fn store(self: Arc<Self>) -> Store {
        Store { inner: self }
    }
}

/// A store that may be gone.
pub(crate) type WeakStore = std::sync::Weak<Inner>;

/// The store, if it is not gone.
pub(crate) fn upgrade(weak: &WeakStore) -> Option<Store> {
    weak.upgrade().map(Inner::store)
}

async fn until(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

async fn open_at<T: Send + 'static>(
    on: &SharedDisk,
    what: &'static str,
    path: PathBuf,
    open: impl FnOnce(SharedDisk, &Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, OpenError> {
    let (shared, at) = (Arc::clone(on), path.clone());
    let opened = disk::blocking(&**on, move || open(shared, &at)).await;
    opened.map_err(|source| OpenError::Storage { what, path, source })
}

fn status_of(metrics: &RaftMetrics<TypeConfig>, me: u64) -> Status {
    let membership = metrics.membership_config.membership();
    let address = |id: u64| membership.get_node(&id).cloned().unwrap_or_default();
    let last_log = metrics.last_log_index.unwrap_or(0);
    let behind = |index: Option<u64>| last_log.saturating_sub(index.unwrap_or(0));
    let replication = metrics.replication.iter().flatten();
    Status {
        leadership: Leadership {
            term: metrics.current_term,
            leader: metrics.current_leader.map(|id| (id, address(id))),
            is_me: metrics.current_leader == Some(me) && metrics.state == ServerState::Leader,
        },
        last_log,
        applied: metrics.last_applied.map_or(0, |id| id.index),
        snapshot: metrics.snapshot.map_or(0, |id| id.index),
        voters: membership.voter_ids().map(NodeId).collect(),
        changing: membership.get_joint_config().len() > 1,
        learners: membership.learner_ids().map(NodeId).collect(),
        lag: replication.map(|(id, at)| (NodeId(*id), behind(at.map(|at| at.index)))).collect(),
        fatal: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}

/// Publishes who leads, the gauges, and that Raft has failed, whenever Raft's own metrics change.
async fn watch_raft(
    raft: Node,
    me: u64,
    sender: watch::Sender<Leadership>,
    failed: watch::Sender<Option<String>>,
) {
    let mut receiver = raft.metrics();
    loop {
        let status = status_of(&receiver.borrow_watched(), me);
        metrics::record(&status);
        sender.send_if_modified(|before| {
            let changed = *before != status.leadership;
            *before = status.leadership;
            changed
        });
        if let Some(why) = status.fatal {
            failed.send_replace(Some(why));
        }
        if receiver.changed().await.is_err() {
            if failed.borrow().is_none() {
                failed.send_replace(Some("Raft has ended".to_owned()));
            }
            return;
        }
    }
}
