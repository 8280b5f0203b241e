//! The facade: open, propose, read, watch, shut down.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{ClusterState, Command, Effect, LogIndex, NodeId, NodeName, Reply, limits};
use links::{Dialer, Link};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, Raft, RaftMetrics, ServerState, SnapshotPolicy};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::{LocalDisk, SharedDisk};
use crate::network::{Caller, Connection, Network};
use crate::proposer::{Pending, Proposer, read_index};
use crate::server::{Node, Server};
use crate::types::{NodeAddress, TypeConfig};
use crate::wire::{Probe, Request, Response};
use crate::{LogSizes, LogStore, StateMachine, View, bootstrap, metrics};

/// Commands that wait to be batched, at most; proposing waits past that.
const PENDING: usize = 8192;

/// How long the last users of the log may take to end once Raft has.
const CLOSING: Duration = Duration::from_secs(30);

/// A proposal that is certainly not in the log is given up so much before its caller is, so that the caller hears it.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// Raft's times.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// A follower that hears nothing for so long asks for an election; the upper bound is twice this.
    pub election: Duration,
    /// How long a proposal waits for a leader.
    pub propose: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election: Duration::from_millis(600),
            propose: Duration::from_secs(10),
        }
    }
}

/// What a store is opened with.
#[derive(Debug)]
pub struct Options {
    /// This node's directory.
    pub data_dir: PathBuf,
    /// This node's id, from [`crate::identity`].
    pub node: NodeId,
    /// This node's name, as its certificate has it.
    pub name: NodeName,
    /// Where other nodes reach this node's cluster port.
    pub cluster_addr: String,
    /// Cluster ports of nodes to begin a cluster with, this node's among them or not.
    pub seeds: Vec<String>,
    /// A new cluster begins when exactly so many new nodes see each other.
    pub bootstrap_expect: usize,
    /// Opens links.
    pub dialer: Dialer,
    /// Links that others open for Raft.
    pub incoming: mpsc::Receiver<Link>,
    /// Raft's times.
    pub timings: Timings,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory.
    #[error("cannot open {what} in {}: {source}", path.display())]
    Storage {
        /// Log or state.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What was found.
        source: std::io::Error,
    },
    /// Raft's settings.
    #[error("raft settings: {why}")]
    Settings {
        /// What is wrong with them.
        why: String,
    },
    /// Raft did not start.
    #[error("raft did not start: {why}")]
    Raft {
        /// Its words.
        why: String,
    },
}

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
    pending: mpsc::Sender<Pending>,
    leadership: watch::Receiver<Leadership>,
    timings: Timings,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    log_open: watch::Receiver<()>,
    failed: watch::Receiver<Option<String>>,
}

impl Store {
    /// Opens log and state, starts Raft and serves the links that others open; begins a cluster as told.
    ///
    /// # Errors
    /// [`OpenError`]. Damaged storage is refused, with what to do.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let state_dir = options.data_dir.join("state");
        let disk: SharedDisk = Arc::new(LocalDisk);
        let open_log = move |dir: &Path| LogStore::open(disk, dir, LogSizes::default());
        let log = open_at("the log", options.data_dir.join("log"), open_log).await?;
        let machine = open_at("the state", state_dir.clone(), StateMachine::open).await?;
        sync_directory(&options.data_dir).await?;
        let view = machine.view();
        let log_open = log.watch_open();
        let timings = options.timings;
        let me = options.node.0;
        let connect_timeout = timings.election;
        let caller = Caller { dialer: options.dialer, from: me, view: view.clone(), connect_timeout };
        let network = Network { caller: caller.clone() };
        let config = Arc::new(config(timings)?);
        let raft = Raft::new(me, config, network, log, machine)
            .await
            .map_err(|e| OpenError::Raft { why: e.to_string() })?;
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (pending, receiver) = mpsc::channel(PENDING);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (failed_sender, failed) = watch::channel(None);
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
        let server = Server {
            raft: raft.clone(),
            view: view.clone(),
            me: probe.clone(),
            sees: seen,
            snapshot_dir: state_dir,
            propose_timeout: timings.propose,
        };
        tasks.spawn(Arc::new(server).run(options.incoming, tasks.clone(), shutdown.clone()));
        let proposer = Proposer {
            raft: raft.clone(),
            caller: caller.clone(),
            leadership: leadership.clone(),
            forward_timeout: timings.propose,
        };
        tasks.spawn(proposer.run(receiver, shutdown.clone()));
        let inner = Inner {
            raft: raft.clone(),
            view,
            caller: caller.clone(),
            pending,
            leadership,
            timings,
            shutdown,
            tasks,
            log_open,
            failed,
        };
        let store = Self { inner: Arc::new(inner) };
        let begin = bootstrap::run(bootstrap::Plan {
            store: store.downgrade(),
            raft,
            caller,
            me: probe,
            sees,
            seeds: options.seeds,
            data_dir: options.data_dir,
        });
        store.inner.tasks.spawn(until(store.inner.shutdown.clone(), begin));
        Ok(store)
    }

    fn downgrade(&self) -> std::sync::Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// Brings a command into the log through whoever leads, and waits until it is committed and applied there.
    ///
    /// # Errors
    /// [`ProposeError`]; only `Unknown` leaves open whether the command was committed.
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        let size = crate::codec::size_of(&command);
        let limit = 2 * limits::MAX_SPEC_BYTES;
        if size > limit as u64 {
            return Err(ProposeError::TooLarge { size: size as usize, limit });
        }
        let (answer, committed) = oneshot::channel();
        let since = Instant::now();
        let deadline = since + self.inner.timings.propose;
        let pending = Pending { command, size, deadline: deadline - ANSWER_TIME, answer };
        tokio::time::timeout_at(deadline, self.inner.pending.send(pending))
            .await
            .map_err(|_| ProposeError::Unavailable)?
            .map_err(|_| ProposeError::Stopped)?;
        let result = match tokio::time::timeout_at(deadline, committed).await {
            Ok(Ok(result)) => result,
            // It may be under way: whoever gives up on it does not know.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        };
        ::metrics::histogram!(metrics::PROPOSE_SECONDS).record(since.elapsed());
        result
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
            let index = self.leaders_read_index().await?;
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

    /// How the store stands.
    #[must_use]
    pub fn status(&self) -> Status {
        status_of(&self.inner.raft.metrics().borrow_watched(), self.inner.caller.from)
    }

    /// Resolves with the reason when Raft has stopped for good, as it does when the disk fails: this process must end, so
    /// that nobody takes it for a member that works.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
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

/// A directory's new entries outlive a power failure when this returns: without them a node could vote twice in a term.
async fn sync_directory(path: &Path) -> Result<(), OpenError> {
    open_at("the data directory", path.to_owned(), |path| std::fs::File::open(path)?.sync_all()).await
}

async fn until(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

async fn open_at<T: Send + 'static>(
    what: &'static str,
    path: PathBuf,
    open: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, OpenError> {
    let at = path.clone();
    let opened = tokio::task::spawn_blocking(move || open(&at))
        .await
        .unwrap_or_else(|e| Err(std::io::Error::other(e)));
    opened.map_err(|source| OpenError::Storage { what, path, source })
}

/// See docs/adr/0001 for the settings that are not openraft's own.
fn config(timings: Timings) -> Result<Config, OpenError> {
    let millis = |time: Duration| time.as_millis() as u64;
    let config = Config {
        cluster_name: "troupe".to_owned(),
        heartbeat_interval: millis(timings.heartbeat),
        election_timeout_min: millis(timings.election),
        election_timeout_max: 2 * millis(timings.election),
        install_snapshot_timeout: 10_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(20_000),
        replication_lag_threshold: 1_000_000,
        max_in_snapshot_log_to_keep: 20_000,
        enable_pre_vote: Some(true),
        ..Config::default()
    };
    config.validate().map_err(|e| OpenError::Settings { why: e.to_string() })
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
