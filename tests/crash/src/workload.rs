//! Changes of the storage in an order that only a seed decides, told before they are made and when they are acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use openraft::alias::VoteOf;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::TypeConfigExt as _;
use raft_store::TypeConfig;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::op::{Id, Op, Said, entry, log_id};
use crate::seen::{Result, Storage, id_of};

/// Told of everything.
pub type Tell = Arc<dyn Fn(Said) + Send + Sync>;

/// Makes changes until the storage fails or `changes` of them are made.
///
/// # Errors
/// The storage's.
pub async fn run(storage: &mut Storage, seed: u64, changes: u64, tell: Tell) -> Result {
    let mut course = Course::at(storage, seed, tell).await?;
    while course.next < changes {
        course.change(storage).await?;
    }
    course.settle().await
}

struct Course {
    rng: StdRng,
    tell: Tell,
    /// The number of the next change.
    next: u64,
    /// Appends that were not acknowledged yet.
    appends: JoinSet<Result>,
    term: u64,
    last: Option<Id>,
    purged: u64,
    committed: u64,
    applied: u64,
    snapshot: Option<Id>,
    /// Terms of the entries that are in the log.
    terms: VecDeque<(u64, u64)>,
}

impl Course {
    async fn at(storage: &mut Storage, seed: u64, tell: Tell) -> Result<Self> {
        let state = storage.log.get_log_state().await?;
        let last = state.last_log_id.map(id_of);
        let entries = storage.log.try_get_log_entries(0..).await?;
        let snapshot = storage.machine.applied_state().await?.0.map(id_of);
        let vote = storage.log.read_vote().await?.map_or(0, |vote| vote.leader_id.term);
        let applied = snapshot.map_or(0, |(_, index)| index);
        Ok(Self {
            rng: StdRng::seed_from_u64(seed),
            tell,
            next: 0,
            appends: JoinSet::new(),
            term: vote.max(last.map_or(1, |(term, _)| term)).max(1),
            last,
            purged: state.last_purged_log_id.map_or(0, |id| id.index),
            committed: storage.log.read_committed().await?.map_or(0, |id| id.index).max(applied),
            applied,
            snapshot,
            terms: entries.iter().map(|entry| (entry.log_id.index, *entry.log_id.leader_id)).collect(),
        })
    }

    fn begin(&mut self, op: Op) -> u64 {
        (self.tell)(Said::Begins(op));
        self.next += 1;
        self.next - 1
    }

    fn end(&self, number: u64) {
        (self.tell)(Said::Acknowledged(number));
    }

    fn last_index(&self) -> u64 {
        self.last.map_or(0, |(_, index)| index)
    }

    fn id(&self, index: u64) -> Option<Id> {
        let first = self.terms.front()?.0;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        self.terms.get(at).map(|(index, term)| (*term, *index))
    }

    async fn settle(&mut self) -> Result {
        while let Some(done) = self.appends.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn change(&mut self, storage: &mut Storage) -> Result {
        match self.rng.random_range(0..100) {
            0..55 => self.append(storage).await,
            55..65 => self.vote(storage).await,
            65..78 => self.commit(storage).await,
            78..84 => self.truncate(storage).await,
            84..93 => self.snapshot(storage).await,
            _ => self.purge(storage).await,
        }
    }

    /// Some are waited for at once, some are not, so that they share syncs with what follows.
    async fn append(&mut self, storage: &mut Storage) -> Result {
        let (first, count) = (self.last_index() + 1, self.rng.random_range(1..10));
        let (term, salt) = (self.term, self.rng.random::<u64>());
        let number = self.begin(Op::Append { term, first, count, salt });
        let (sender, synced) = TypeConfig::oneshot();
        let entries: Vec<_> = (first..first + count).map(|index| entry(term, index, salt)).collect();
        storage.log.append(entries, IOFlushed::signal(sender)).await?;
        self.last = Some((term, first + count - 1));
        self.terms.extend((first..first + count).map(|index| (index, term)));
        let tell = Arc::clone(&self.tell);
        self.appends.spawn(async move {
            synced.await??;
            tell(Said::Acknowledged(number));
            Ok(())
        });
        if self.rng.random_bool(0.4) { self.settle().await } else { Ok(()) }
    }

    async fn vote(&mut self, storage: &mut Storage) -> Result {
        self.term += 1;
        let (term, node) = (self.term, self.rng.random_range(1..4));
        let number = self.begin(Op::Vote { term, node });
        storage.log.save_vote(&VoteOf::<TypeConfig>::new(term, node)).await?;
        self.end(number);
        Ok(())
    }

    /// Told of, but never acknowledged: an older value may be found. Only what is synced is committed.
    async fn commit(&mut self, storage: &mut Storage) -> Result {
        self.settle().await?;
        let index = self.rng.random_range(self.committed..=self.last_index().max(self.committed));
        let Some(id) = self.id(index).filter(|_| index > self.committed) else { return Ok(()) };
        self.begin(Op::Committed(id));
        storage.log.save_committed(Some(log_id(id))).await?;
        self.committed = index;
        Ok(())
    }

    async fn truncate(&mut self, storage: &mut Storage) -> Result {
        self.settle().await?;
        if self.last_index() <= self.committed {
            return Ok(());
        }
        let kept = self.rng.random_range(self.committed..self.last_index());
        let last = if kept == self.purged { self.snapshot.filter(|id| id.1 == kept) } else { self.id(kept) };
        if kept > 0 && last.is_none() {
            return Ok(());
        }
        let number = self.begin(Op::Truncate(last));
        storage.log.truncate_after(last.map(log_id)).await?;
        self.end(number);
        self.terms.retain(|(index, _)| *index <= kept);
        self.last = last;
        // What comes instead is of another term.
        self.vote(storage).await
    }

    async fn snapshot(&mut self, storage: &mut Storage) -> Result {
        if self.committed <= self.applied {
            return Ok(());
        }
        let entries = storage.log.try_get_log_entries(self.applied + 1..=self.committed).await?;
        let stream = futures::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
        storage.machine.apply(Box::pin(stream)).await?;
        self.applied = self.committed;
        let Some(id) = self.id(self.applied) else { return Ok(()) };
        let number = self.begin(Op::Snapshot(id));
        storage.machine.get_snapshot_builder().await.build_snapshot().await?;
        self.end(number);
        self.snapshot = Some(id);
        Ok(())
    }

    async fn purge(&mut self, storage: &mut Storage) -> Result {
        let Some((_, snapshot)) = self.snapshot else { return Ok(()) };
        if snapshot <= self.purged {
            return Ok(());
        }
        let index = self.rng.random_range(self.purged + 1..=snapshot);
        let Some(id) = self.id(index) else { return Ok(()) };
        let number = self.begin(Op::Purge(id));
        storage.log.purge(log_id(id)).await?;
        self.end(number);
        self.purged = id.1;
        self.terms.retain(|(index, _)| *index > id.1);
        Ok(())
    }
}
