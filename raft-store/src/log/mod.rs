//! Raft's log and vote on disk: openraft's log storage over a journal of our own. Nobody is told before it is synced.
//!
//! Writes that come while a sync is under way share the next one, the vote among them: all is one journal, in one order. An
//! error of a write or a sync is handed to openraft, which stops; it is never tried again. See docs/adr/0008.

mod cache;
mod frame;
mod journal;
mod record;
mod recover;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::{oneshot, watch};

use crate::disk::SharedDisk;
use crate::metrics::{APPEND_SECONDS, SYNC_ENTRIES};
use crate::planted::{self, Bug};
use crate::types::TypeConfig;
use journal::Journal;

/// Sizes of a log, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSizes {
    /// A file of the log is closed, and the next begun, at about this size; its space is reserved before it is needed.
    pub segment: u64,
    /// Entries that are kept in memory, as they are stored.
    pub cache: u64,
}

impl Default for LogSizes {
    fn default() -> Self {
        Self { segment: 64 << 20, cache: 16 << 20 }
    }
}

/// A sync that takes longer is said: elections and leases are about as short.
const SLOW_SYNC: Duration = Duration::from_secs(1);
/// Bytes of entries that replication reads at a time, and sends in one append, at most; one entry may have more.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// The log store. Clones share the log.
#[derive(Debug, Clone)]
pub struct LogStore {
    shared: Arc<Mutex<Shared>>,
    open: Open,
}

/// Held by all that may touch the files: without senders the log is closed.
type Open = watch::Sender<()>;

#[derive(Debug)]
struct Shared {
    disk: SharedDisk,
    journal: Journal,
    /// A sync is under way; what is written meanwhile waits for the next.
    syncing: bool,
    waiting: Vec<Waiter>,
    /// A file for what comes next is being made.
    preparing: bool,
    /// Files that are not needed any more are being removed.
    removing: bool,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore {
    /// Opens the log in `dir`, which is made when needed. Blocking; needs a tokio runtime for its work in the background.
    ///
    /// # Errors
    /// The disk's, or what is damaged before the end of the log: such a node must be seeded anew from its peers.
    pub fn open(disk: SharedDisk, dir: &Path, sizes: LogSizes) -> io::Result<Self> {
        let journal = Journal::open(Arc::clone(&disk), dir, sizes.segment, sizes.cache)?;
        let shared =
            Shared { disk, journal, syncing: false, waiting: Vec::new(), preparing: false, removing: false };
        let store = Self { shared: Arc::new(Mutex::new(shared)), open: watch::channel(()).0 };
        store.prepare(&mut store.lock());
        Ok(store)
    }

    /// Loses its sender when every clone is gone and its work is done: the log is closed then, and may be opened again.
    /// Openraft ends some of its tasks without waiting for them.
    #[must_use]
    pub fn watch_open(&self) -> watch::Receiver<()> {
        self.open.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Makes a change and waits until it is synced.
    async fn durably(&self, change: impl FnOnce(&mut Journal) -> io::Result<()>) -> io::Result<()> {
        let (sender, synced) = oneshot::channel();
        {
            let mut shared = self.lock();
            change(&mut shared.journal)?;
            shared.waiting.push(Waiter::Change(sender));
            self.sync(&mut shared);
        }
        synced.await.map_err(|_| io::Error::other("the log was closed before it was synced"))?
    }

    /// Begins the sync that others wait for, unless one is under way: its end begins the next.
    fn sync(&self, shared: &mut Shared) {
        if shared.syncing || shared.waiting.is_empty() {
            return;
        }
        shared.syncing = true;
        let (waiting, sync) = (std::mem::take(&mut shared.waiting), shared.journal.begin_sync());
        let store = self.clone();
        shared.disk.later(Box::new(move || {
            let since = Instant::now();
            let result = if planted::is(Bug::SkipFsync) { Ok(()) } else { sync.run() };
            if since.elapsed() >= SLOW_SYNC {
                tracing::warn!(took = ?since.elapsed(), "the disk is slow: a sync of the log took long");
            }
            {
                let mut shared = store.lock();
                shared.journal.end_sync(&sync, &result);
                shared.syncing = false;
                // First the next: the disk is not to wait for those who are told.
                store.sync(&mut shared);
            }
            tell(waiting, &result);
        }));
    }

    /// Makes the file that comes after the present one, so that its space is there when it is needed.
    fn prepare(&self, shared: &mut Shared) {
        if shared.preparing || !shared.journal.wants_spare() {
            return;
        }
        shared.preparing = true;
        let (make, store) = (shared.journal.make_spare(), self.clone());
        shared.disk.later(Box::new(move || {
            let made = make();
            let mut shared = store.lock();
            shared.preparing = false;
            match made {
                Ok(file) => shared.journal.put_spare(file),
                Err(error) => tracing::warn!(%error, "no space can be reserved for the log"),
            }
        }));
    }

    /// Tries again to reserve space, where there was none.
    pub(crate) fn reserve(&self) {
        self.prepare(&mut self.lock());
    }

    /// Removes the files that are not needed any more, unless others are being removed: their end begins these. Were two
    /// removals under way, newer files might go before older ones, and a log with a hole is not opened.
    fn remove_unneeded(&self, shared: &mut Shared) {
        if shared.removing {
            return;
        }
        let Some(mut unneeded) = shared.journal.take_unneeded() else { return };
        shared.removing = true;
        let store = self.clone();
        shared.disk.later(Box::new(move || {
            let removed = unneeded.remove();
            let mut shared = store.lock();
            shared.removing = false;
            match removed {
                Ok(()) => store.remove_unneeded(&mut shared),
                // The next purge tries again.
                Err(error) => {
                    tracing::warn!(%error, "a file of the log that is not needed any more cannot be removed");
                    shared.journal.take_back(unneeded);
                }
            }
        }));
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
        self.lock().journal.read(from..to)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        self.lock().journal.read_within(start..end, READ_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        Ok(self.lock().journal.standing().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let shared = self.lock();
        let standing = shared.journal.standing();
        Ok(LogState { last_purged_log_id: standing.purged, last_log_id: standing.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> io::Result<()> {
        if planted::is(Bug::LoseVote) {
            return Ok(());
        }
        self.durably(|journal| journal.save_vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        // Synced with what comes next: an older value after a crash is allowed, and only means more to apply again.
        let mut shared = self.lock();
        match committed {
            Some(committed) if shared.journal.standing().last.is_some_and(|last| committed <= last) => {
                shared.journal.save_committed(committed)
            }
            _ => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<TypeConfig>>> {
        Ok(self.lock().journal.standing().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let since = Instant::now();
        let mut shared = self.lock();
        let entries = shared.journal.append(entries)?;
        let waiter = Waiter::Append { callback, since, entries };
        if planted::is(Bug::AnswerBeforeSync) {
            tell(vec![waiter], &Ok(()));
        } else {
            shared.waiting.push(waiter);
        }
        self.sync(&mut shared);
        self.prepare(&mut shared);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        if self.lock().journal.range().end <= from {
            return Ok(());
        }
        self.durably(|journal| journal.truncate_after(last)).await
    }

    async fn purge(&mut self, up_to: LogIdOf<TypeConfig>) -> io::Result<()> {
        self.durably(|journal| journal.purge(up_to)).await?;
        self.remove_unneeded(&mut self.lock());
        Ok(())
    }
}

/// Who hears of the end of a sync.
enum Waiter {
    /// Entries, and who waits for them in Raft.
    Append {
        callback: IOFlushed<TypeConfig>,
        since: Instant,
        entries: u32,
    },
    Change(oneshot::Sender<io::Result<()>>),
}

impl Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Append { entries, .. } => {
                f.debug_struct("Append").field("entries", entries).finish_non_exhaustive()
            }
            Self::Change(_) => f.write_str("Change"),
        }
    }
}

/// Tells them, in the order in which they came.
fn tell(waiting: Vec<Waiter>, result: &io::Result<()>) {
    let copy = || match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    let mut synced = 0;
    for waiter in waiting {
        match waiter {
            Waiter::Append { callback, since, entries } => {
                synced += entries;
                metrics::histogram!(APPEND_SECONDS).record(since.elapsed());
                callback.io_completed(copy());
            }
            // Who waited may be gone: nobody to tell.
            Waiter::Change(sender) => drop(sender.send(copy())),
        }
    }
    if synced > 0 {
        metrics::histogram!(SYNC_ENTRIES).record(synced);
    }
}
