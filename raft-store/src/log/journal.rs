//! The journal: all that the log holds, in files that are only ever written at their end. Synchronous; every function but
//! [`Journal::begin_sync`]'s work writes into the system's cache only.
//!
//! Must not know who waits for what.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::alias::{EntryOf, LogIdOf, VoteOf};

use super::cache::Cache;
use super::record::{Record, Standing, encode_entry};
use super::{frame, recover};
use crate::codec;
use crate::disk::{DiskFile, SharedDisk};
use crate::types::TypeConfig;

/// A file of the journal.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The position of its first byte; its name, too.
    pub start: u64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
}

/// Where an entry's frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub at: u64,
    pub bytes: u32,
}

/// What was read from the disk, or is in it by now.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub standing: Standing,
    /// The index of the first of `places`.
    pub first: u64,
    pub places: VecDeque<Place>,
}

impl Contents {
    /// An entry that follows the last.
    pub(super) fn push(&mut self, id: LogIdOf<TypeConfig>, place: Place) {
        if self.places.is_empty() {
            self.first = id.index;
        }
        self.places.push_back(place);
        self.standing.last = Some(id);
    }

    /// Whether an entry of this index may come next.
    pub(super) fn follows(&self, index: u64) -> bool {
        self.standing.last.is_none_or(|last| last.index + 1 == index)
    }

    /// The entries after `last` are gone.
    pub(super) fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) {
        let kept = last.map_or(0, |last| last.index + 1).saturating_sub(self.first);
        self.places.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.standing.last = last;
    }

    /// The entries up to `id` are gone; it may be beyond the last.
    pub(super) fn purge(&mut self, id: LogIdOf<TypeConfig>) {
        let gone = (id.index + 1).saturating_sub(self.first).min(self.places.len() as u64);
        self.places.drain(..usize::try_from(gone).unwrap_or(usize::MAX));
        self.first = self.first.max(id.index + 1);
        self.standing.purged = Some(id);
        if self.standing.last.is_none_or(|last| last.index < id.index) {
            self.standing.last = Some(id);
        }
    }

    /// The place of an entry.
    pub(super) fn place(&self, index: u64) -> Option<Place> {
        self.places.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }

    /// Indices of the entries that are here.
    pub(super) fn range(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.places.len() as u64
    }
}

/// The journal, open.
#[derive(Debug)]
pub(super) struct Journal {
    disk: SharedDisk,
    dir: PathBuf,
    segment_bytes: u64,
    contents: Contents,
    /// Oldest first; the last is written to.
    segments: VecDeque<Segment>,
    /// A file with its space reserved, to be the next.
    spare: Option<Arc<dyn DiskFile>>,
    /// Where the next frame goes.
    end: u64,
    /// Up to where all is known to be synced.
    synced: u64,
    /// Up to where it must be, before files go: entries were given up before that.
    shrunk: u64,
    /// Files that were written since the last sync was begun; the last of the segments is always synced.
    unsynced: Vec<Arc<dyn DiskFile>>,
    /// A name is new since the last sync was begun.
    new_name: bool,
    cache: Cache,
    /// For the next append.
    buffer: Vec<u8>,
    /// Why nothing may be written any more.
    failed: Option<String>,
}

/// What one sync has to do, away from the journal.
#[derive(Debug)]
pub(super) struct Sync {
    disk: SharedDisk,
    files: Vec<Arc<dyn DiskFile>>,
    dir: Option<PathBuf>,
    up_to: u64,
}

impl Sync {
    /// Blocks until all of it is on the disk, in the order in which it was written.
    pub(super) fn run(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync()?;
        }
        self.dir.as_deref().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}

/// Files of which nothing is needed.
#[derive(Debug)]
pub(super) struct Unneeded {
    disk: SharedDisk,
    dir: PathBuf,
    files: VecDeque<Segment>,
}

impl Unneeded {
    /// Removes them, oldest first and each before the next: what is left never has a hole. After an error those that are
    /// left are here still. Blocking.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        while let Some(oldest) = self.files.front() {
            match self.disk.remove(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.disk.sync_dir(&self.dir)?,
            }
            self.files.pop_front();
        }
        Ok(())
    }
}

pub(super) const SPARE: &str = "spare";
/// Bytes of memory that an append leaves to the next, at most.
const KEPT_BUFFER: usize = 1024 * 1024;

impl Journal {
    /// Opens the journal in `dir`. Blocking.
    pub(super) fn open(
        disk: SharedDisk,
        dir: &Path,
        segment_bytes: u64,
        cache_bytes: u64,
    ) -> io::Result<Self> {
        let recovered = recover::recover(&disk, dir)?;
        let mut journal = Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            contents: recovered.contents,
            segments: recovered.segments,
            spare: None,
            end: recovered.end,
            synced: recovered.end,
            shrunk: recovered.end,
            unsynced: Vec::new(),
            new_name: false,
            cache: Cache::new(cache_bytes),
            buffer: Vec::new(),
            failed: None,
        };
        if journal.segments.is_empty() {
            journal.begin_segment()?;
        }
        // A process that was killed, or failed at a sync, left in the system's cache what nobody was told of, and what is
        // taken for the log's from now on. Found by tests/simulation.
        journal.unsynced = journal.segments.iter().map(|segment| Arc::clone(&segment.file)).collect();
        journal.new_name = true;
        journal.begin_sync().run()?;
        journal.synced = journal.end;
        Ok(journal)
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.contents.standing
    }

    /// Indices of the entries that are here.
    pub(super) fn range(&self) -> std::ops::Range<u64> {
        self.contents.range()
    }

    /// Entries from the first of a range on, as far as they are here: as many as take `limit` bytes together, but at least
    /// one.
    pub(super) fn read_within(
        &self,
        range: std::ops::Range<u64>,
        limit: u64,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        let mut bytes = 0;
        let mut fits = |index: &u64| {
            bytes += self.contents.place(*index).map_or(0, |place| u64::from(place.bytes));
            *index == range.start || bytes <= limit
        };
        let count = range.clone().take_while(|index| fits(index)).count() as u64;
        self.read(range.start..range.start + count)
    }

    /// Entries of a range, as far as they are here.
    pub(super) fn read(&self, range: std::ops::Range<u64>) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        let here = self.contents.range();
        let range = range.start.max(here.start)..range.end.min(here.end);
        range.map(|index| self.cache.get(index).map_or_else(|| self.read_one(index), Ok)).collect()
    }

    fn read_one(&self, index: u64) -> io::Result<EntryOf<TypeConfig>> {
        let damaged = |why: &str| {
            let why = format!("entry {index} of the log in {} is damaged: {why}", self.dir.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        let place = self.contents.place(index).ok_or_else(|| damaged("it has no place"))?;
        let segment = self
            .segments
            .iter()
            .rfind(|segment| segment.start <= place.at)
            .ok_or_else(|| damaged("its file is gone"))?;
        let mut bytes = vec![0; place.bytes as usize];
        let offset = place.at - segment.start;
        segment.file.read_exact_at(&mut bytes, offset)?;
        match frame::look(&bytes, segment.start, offset) {
            frame::Found::Frame { body, .. } => match Record::decode(body)? {
                Record::Entry(entry) if entry.log_id.index == index => Ok(entry),
                _ => Err(damaged("something else is in its place")),
            },
            _ => Err(damaged("its bytes are not those that were written")),
        }
    }

    /// Writes entries that follow the last, in one write.
    pub(super) fn append(
        &mut self,
        entries: impl IntoIterator<Item = EntryOf<TypeConfig>>,
    ) -> io::Result<u32> {
        self.check()?;
        let (mut buffer, mut added, mut count) = (std::mem::take(&mut self.buffer), Vec::new(), 0);
        buffer.clear();
        let mut next = self.contents.standing.last.map(|last| last.index + 1);
        for entry in entries {
            let index = entry.log_id.index;
            if next.is_some_and(|next| next != index) {
                let why = format!("entry {index} does not follow the last of the log, {next:?} would");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            (next, count) = (Some(index + 1), count + 1);
            let before = buffer.len();
            let mut place = self.frame(&mut buffer, |out| encode_entry(&entry, out))?;
            if self.is_full(buffer.len()) {
                // It belongs into the next file, behind other things.
                self.write(&buffer[..before])?;
                self.take_up(std::mem::take(&mut added));
                buffer.clear();
                self.begin_segment()?;
                place = self.frame(&mut buffer, |out| encode_entry(&entry, out))?;
            }
            added.push((entry, place));
        }
        self.write(&buffer)?;
        self.take_up(added);
        // Its memory is used again; that of a batch of uncommon size is not kept.
        if buffer.capacity() <= KEPT_BUFFER {
            self.buffer = buffer;
        }
        Ok(count)
    }

    /// Entries that were written are part of the log.
    fn take_up(&mut self, added: Vec<(EntryOf<TypeConfig>, Place)>) {
        for (entry, place) in added {
            self.contents.push(entry.log_id, place);
            self.cache.push(entry, u64::from(place.bytes));
        }
    }

    pub(super) fn save_vote(&mut self, vote: VoteOf<TypeConfig>) -> io::Result<()> {
        self.record(&Record::Vote(vote))?;
        self.contents.standing.vote = Some(vote);
        Ok(())
    }

    pub(super) fn save_committed(&mut self, committed: LogIdOf<TypeConfig>) -> io::Result<()> {
        self.record(&Record::Committed(committed))?;
        self.contents.standing.committed = Some(committed);
        Ok(())
    }

    /// Removes the entries after `last`, which stays.
    pub(super) fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        self.record(&Record::Truncate(last))?;
        self.shrunk = self.end;
        self.contents.truncate_after(last);
        self.cache.truncate_after(last);
        Ok(())
    }

    /// Removes the entries up to `id`. Their files go with [`Journal::take_unneeded`], once this is synced.
    pub(super) fn purge(&mut self, id: LogIdOf<TypeConfig>) -> io::Result<()> {
        self.record(&Record::Purge(id))?;
        self.shrunk = self.end;
        self.contents.purge(id);
        self.cache.purge(id.index);
        Ok(())
    }

    /// Gives up the files of which nothing is needed, if it is known to be on the disk that nothing is.
    pub(super) fn take_unneeded(&mut self) -> Option<Unneeded> {
        if self.synced < self.shrunk {
            return None;
        }
        let needed = self.contents.places.front().map_or(self.synced, |place| place.at.min(self.synced));
        let mut files = VecDeque::new();
        while self.segments.get(1).is_some_and(|next| next.start < needed) {
            files.extend(self.segments.pop_front());
        }
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        (!files.is_empty()).then_some(Unneeded { disk, dir, files })
    }

    /// Takes back those that could not be removed.
    pub(super) fn take_back(&mut self, mut unneeded: Unneeded) {
        unneeded.files.append(&mut self.segments);
        self.segments = unneeded.files;
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.check()?;
        let mut buffer = Vec::new();
        self.frame(&mut buffer, |out| record.encode(out))?;
        if self.is_full(buffer.len()) {
            buffer.clear();
            self.begin_segment()?;
            self.frame(&mut buffer, |out| record.encode(out))?;
        }
        self.write(&buffer)
    }

    /// Puts a frame behind what is in `buffer` and will be written at the end.
    fn frame(
        &self,
        buffer: &mut Vec<u8>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), codec::Error>,
    ) -> io::Result<Place> {
        let at = self.end + buffer.len() as u64;
        let bytes = frame::put(buffer, at, self.synced, encode)?;
        Ok(Place { at, bytes })
    }

    /// Whether so many more bytes belong into a new file. One with its space reserved is waited for a while: meanwhile the
    /// last grows.
    fn is_full(&self, more: usize) -> bool {
        let length = self.segments.back().map_or(0, |last| self.end - last.start) + more as u64;
        length > self.segment_bytes && (self.spare.is_some() || length > 2 * self.segment_bytes)
    }

    /// Writes at the end. What may have been written by a write that failed is unknown: nothing follows it.
    fn write(&mut self, buffer: &[u8]) -> io::Result<()> {
        let Some(segment) = self.segments.back() else {
            return Err(io::Error::other("the journal has no file"));
        };
        if let Err(error) = segment.file.write_all_at(buffer, self.end - segment.start) {
            self.fail(&error);
            return Err(error);
        }
        self.end += buffer.len() as u64;
        Ok(())
    }

    /// Begins the next file with all that the journal came to.
    fn begin_segment(&mut self) -> io::Result<()> {
        let path = self.dir.join(file_name(self.end));
        let made = match self.spare.take() {
            Some(file) => self.disk.rename(&self.dir.join(SPARE), &path).map(|()| file),
            None => self.disk.create(&path),
        };
        let file = made.inspect_err(|error| self.fail(error))?;
        self.unsynced.extend(self.segments.back().map(|last| Arc::clone(&last.file)));
        self.new_name = true;
        self.segments.push_back(Segment { start: self.end, path, file });
        let standing = Record::Standing(self.contents.standing.clone());
        let mut buffer = Vec::new();
        self.frame(&mut buffer, |out| standing.encode(out))?;
        self.write(&buffer)
    }

    /// What is to be synced now, so that all that was written before this is durable.
    pub(super) fn begin_sync(&mut self) -> Sync {
        let mut files = std::mem::take(&mut self.unsynced);
        files.extend(self.segments.back().map(|last| Arc::clone(&last.file)));
        let dir = std::mem::take(&mut self.new_name).then(|| self.dir.clone());
        Sync { disk: Arc::clone(&self.disk), files, dir, up_to: self.end }
    }

    /// A sync has ended. One that failed is the last: what is on the disk is unknown.
    pub(super) fn end_sync(&mut self, sync: &Sync, result: &io::Result<()>) {
        match result {
            Ok(()) => self.synced = self.synced.max(sync.up_to),
            Err(error) => self.fail(error),
        }
    }

    /// Whether a file for what comes next is to be made.
    pub(super) fn wants_spare(&self) -> bool {
        self.spare.is_none() && self.failed.is_none()
    }

    /// What makes it; blocking, away from the journal.
    pub(super) fn make_spare(&self) -> impl FnOnce() -> io::Result<Arc<dyn DiskFile>> + Send + 'static {
        let (disk, path, bytes) = (Arc::clone(&self.disk), self.dir.join(SPARE), self.segment_bytes);
        move || {
            let file = disk.create(&path)?;
            let made = file.reserve(bytes).and_then(|()| file.sync());
            match made {
                Ok(()) => Ok(file),
                Err(error) => {
                    disk.remove(&path)?;
                    Err(error)
                }
            }
        }
    }

    pub(super) fn put_spare(&mut self, file: Arc<dyn DiskFile>) {
        self.spare = Some(file);
    }

    fn fail(&mut self, error: &io::Error) {
        self.failed.get_or_insert_with(|| error.to_string());
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(why) => {
                Err(io::Error::other(format!("the log failed before and is not written any more: {why}")))
            }
        }
    }
}

/// The name of the file that begins at a position; names sort as positions do.
pub(super) fn file_name(start: u64) -> String {
    format!("{start:016x}.log")
}
