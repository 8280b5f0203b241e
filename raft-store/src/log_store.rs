//! Raft's log and vote on disk, by the raft-log crate: an entry is acknowledged only after fdatasync.
//!
//! Appends that come while a sync is under way share the next one. raft-log does that only for those that come within a
//! wait that every append would pay for; without the wait, each queued append has a sync of its own.
//! A torn last record is cut off when the log is opened; an error of fsync is handed to openraft, which stops.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{LogId, OptionalSend, RaftLogReader};
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::codeq::{Decode, Encode};
use raft_log::{Callback, Config, RaftLog, Types};
use tokio::sync::{oneshot, watch};

use crate::codec::{self, size_of};
use crate::metrics::{APPEND_SECONDS, SYNC_ENTRIES};
use crate::types::TypeConfig;

/// Size at which a file of the log is closed and the next is begun, in bytes.
const CHUNK_BYTES: usize = 64 * 1024 * 1024;
/// Entries kept in memory for replication, in bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

type Payload = openraft::alias::PayloadOf<TypeConfig>;

/// The log store. Clones share the log.
#[derive(Debug, Clone)]
pub struct LogStore {
    shared: Arc<Mutex<Shared>>,
    _syncer: Arc<Syncer>,
    /// The last field, so that it is dropped when the rest is: without senders the log is closed.
    open: watch::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    log: RaftLog<LogTypes>,
    /// Syncs of appends that are under way; whoever hears of the end of the last sees to those that wait.
    syncing: u32,
    /// In the log, but not yet in any sync.
    waiting: Vec<Append>,
    next: mpsc::Sender<Next>,
}

/// What the syncer is to do.
enum Next {
    /// A sync of appends has ended: begin that of those that wait.
    Sync,
    /// The store is closed.
    Close,
}

impl Shared {
    /// Begins a sync of these appends, and of all that is in the log.
    fn sync(&mut self, appends: Vec<Append>) -> io::Result<()> {
        self.syncing += 1;
        let together = Together { appends, next: self.next.clone() };
        self.log.flush(true, Some(Flushed::Appends(together)))
    }

    fn sync_waiting(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let appends = std::mem::take(&mut self.waiting);
        self.sync(appends)
    }
}

/// Begins the next sync when one has ended. On a thread of its own: raft-log's, which tells of the end, must never wait
/// for the log.
#[derive(Debug)]
struct Syncer {
    next: mpsc::Sender<Next>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    fn start(shared: Arc<Mutex<Shared>>, todo: mpsc::Receiver<Next>) -> io::Result<Self> {
        let next = lock(&shared).next.clone();
        let work = move || {
            while let Ok(Next::Sync) = todo.recv() {
                let mut shared = lock(&shared);
                // Each sync that was begun says once that it has ended, also when it failed.
                shared.syncing -= 1;
                if shared.syncing > 0 {
                    continue;
                }
                if let Err(error) = shared.sync_waiting() {
                    // Its appends were told, which stops Raft.
                    tracing::error!(%error, "the log cannot be synced");
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-sync".to_owned()).spawn(work)?;
        Ok(Self { next, thread: Some(thread) })
    }
}

impl Drop for Syncer {
    /// The log is closed when this returns: it may be opened again at once.
    fn drop(&mut self) {
        drop(self.next.send(Next::Close));
        // A panic there has been said already.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore {
    /// Opens the log in `dir`, which is made when needed.
    ///
    /// # Errors
    /// The system's, or what is damaged before the end of the log: such a node must be seeded anew from its peers.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut config = Config::new(dir.display());
        config.wal.chunk_max_size = Some(CHUNK_BYTES);
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        config.log_cache_capacity = Some(CACHE_BYTES);
        let log = RaftLog::open(Arc::new(config))?;
        let (next, todo) = mpsc::channel();
        let shared = Arc::new(Mutex::new(Shared { log, syncing: 0, waiting: Vec::new(), next }));
        let syncer = Arc::new(Syncer::start(shared.clone(), todo)?);
        Ok(Self { shared, _syncer: syncer, open: watch::channel(()).0 })
    }

    /// Loses its sender when every clone is gone: the log is closed then, and may be opened again. Openraft ends some of
    /// its tasks without waiting for them.
    pub(crate) fn watch_open(&self) -> watch::Receiver<()> {
        self.open.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Makes a change and waits until it is synced.
    async fn durably(&self, change: impl FnOnce(&mut RaftLog<LogTypes>) -> io::Result<()>) -> io::Result<()> {
        let (sender, synced) = oneshot::channel();
        {
            let mut shared = self.lock();
            // Told in the order in which they came.
            shared.sync_waiting()?;
            change(&mut shared.log)?;
            shared.log.flush(true, Some(Flushed::Waiting(sender)))?;
        }
        synced.await.map_err(|_| io::Error::other("the log's writer is gone"))?
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let entry = |(id, payload): (StoredLogId, StoredPayload)| EntryOf::<TypeConfig>::new(id.0, payload.0);
        self.lock().log.read(from, to).map(|record| record.map(entry)).collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        Ok(self.lock().log.log_state().vote().map(|vote| vote.0))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let shared = self.lock();
        let state = shared.log.log_state();
        let (purged, last) = (state.purged().map(|id| id.0), state.last().map(|id| id.0));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> io::Result<()> {
        let vote = StoredVote(*vote);
        self.durably(|log| log.save_vote(vote).map(drop)).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        // Written with the next flush: an older value after a crash is allowed, and only means more to apply again.
        let log = &mut self.lock().log;
        match committed.map(StoredLogId) {
            Some(committed) if log.log_state().last().is_some_and(|last| committed <= *last) => {
                log.commit(committed).map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<TypeConfig>>> {
        Ok(self.lock().log.log_state().committed().map(|id| id.0))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut append = Append { callback, since: Instant::now(), entries: 0 };
        let entries = entries.into_iter().map(|entry| {
            append.entries += 1;
            (StoredLogId(entry.log_id), StoredPayload(entry.payload))
        });
        let mut shared = self.lock();
        shared.log.append(entries)?;
        shared.waiting.push(append);
        if shared.syncing > 0 { Ok(()) } else { shared.sync_waiting() }
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        if self.lock().log.log_state().last().is_none_or(|end| end.0.index < from) {
            return Ok(());
        }
        self.durably(|log| log.truncate(from).map(drop)).await
    }

    async fn purge(&mut self, up_to: LogIdOf<TypeConfig>) -> io::Result<()> {
        self.durably(|log| log.purge(StoredLogId(up_to)).map(drop)).await
    }
}

/// Entries on their way to the disk, and who hears of it.
struct Append {
    callback: IOFlushed<TypeConfig>,
    since: Instant,
    entries: u32,
}

impl Debug for Append {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Append").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// Appends that share a sync. Each is told how it ended, even when it never began.
pub(crate) struct Together {
    appends: Vec<Append>,
    next: mpsc::Sender<Next>,
}

impl Together {
    fn end(&mut self, result: Result<(), io::Error>) {
        if self.appends.is_empty() {
            return;
        }
        metrics::histogram!(SYNC_ENTRIES)
            .record(self.appends.iter().map(|append| append.entries).sum::<u32>());
        // First the next sync: the disk is not to wait for those who are told. Nobody hears when the store is closed.
        drop(self.next.send(Next::Sync));
        for Append { callback, since, .. } in self.appends.drain(..) {
            metrics::histogram!(APPEND_SECONDS).record(since.elapsed());
            callback.io_completed(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        self.end(Err(io::Error::other("the log's writer is gone")));
    }
}

/// Who hears of a flush.
pub(crate) enum Flushed {
    Appends(Together),
    Waiting(oneshot::Sender<io::Result<()>>),
}

impl Callback for Flushed {
    fn send(self, result: Result<(), io::Error>) {
        match self {
            Self::Appends(mut together) => together.end(result),
            // Who waited may be gone: nobody to tell.
            Self::Waiting(sender) => drop(sender.send(result)),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogTypes;

impl Types for LogTypes {
    type LogId = StoredLogId;
    type LogPayload = StoredPayload;
    type Vote = StoredVote;
    type Callback = Flushed;
    type UserData = String;

    fn log_index(log_id: &StoredLogId) -> u64 {
        log_id.0.index
    }

    fn payload_size(payload: &StoredPayload) -> u64 {
        size_of(&payload.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoredLogId(LogIdOf<TypeConfig>);

impl Encode for StoredLogId {
    fn encode<W: io::Write>(&self, writer: W) -> io::Result<usize> {
        (*self.0.leader_id, self.0.index).encode(writer)
    }
}

impl Decode for StoredLogId {
    fn decode<R: io::Read>(reader: R) -> io::Result<Self> {
        let (term, index) = Decode::decode(reader)?;
        Ok(Self(LogId::new_term_index(term, index)))
    }
}

#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) struct StoredVote(VoteOf<TypeConfig>);

impl Eq for StoredVote {}

impl Encode for StoredVote {
    fn encode<W: io::Write>(&self, writer: W) -> io::Result<usize> {
        codec::encode(&self.0)?.encode(writer)
    }
}

impl Decode for StoredVote {
    fn decode<R: io::Read>(reader: R) -> io::Result<Self> {
        Ok(Self(codec::decode(&Vec::<u8>::decode(reader)?, codec::MAX_BYTES)?))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct StoredPayload(Payload);

impl Encode for StoredPayload {
    fn encode<W: io::Write>(&self, writer: W) -> io::Result<usize> {
        codec::encode(&self.0)?.encode(writer)
    }
}

impl Decode for StoredPayload {
    fn decode<R: io::Read>(reader: R) -> io::Result<Self> {
        Ok(Self(codec::decode(&Vec::<u8>::decode(reader)?, codec::MAX_BYTES)?))
    }
}
