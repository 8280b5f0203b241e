//! The last entries of the log, kept in memory for replication and apply.

use std::collections::VecDeque;

use openraft::alias::{EntryOf, LogIdOf};

use crate::types::TypeConfig;

/// Entries without a gap, up to the last of the log.
#[derive(Debug)]
pub(super) struct Cache {
    entries: VecDeque<(EntryOf<TypeConfig>, u64)>,
    bytes: u64,
    limit: u64,
}

impl Cache {
    /// Keeps entries of about `limit` bytes together, as they are stored.
    pub(super) fn new(limit: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit }
    }

    fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index)
    }

    pub(super) fn get(&self, index: u64) -> Option<EntryOf<TypeConfig>> {
        let at = index.checked_sub(self.first()?)?;
        self.entries.get(usize::try_from(at).ok()?).map(|(entry, _)| entry.clone())
    }

    /// Takes an entry that follows the last.
    pub(super) fn push(&mut self, entry: EntryOf<TypeConfig>, bytes: u64) {
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.bytes > self.limit {
            self.pop_first();
        }
    }

    fn pop_first(&mut self) {
        match self.entries.pop_front() {
            Some((_, bytes)) => self.bytes -= bytes,
            None => self.bytes = 0,
        }
    }

    /// The entries after `last` are gone.
    pub(super) fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) {
        while self
            .entries
            .back()
            .is_some_and(|(entry, _)| last.is_none_or(|last| entry.log_id.index > last.index))
        {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The entries up to `index` are gone.
    pub(super) fn purge(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            self.pop_first();
        }
    }
}
