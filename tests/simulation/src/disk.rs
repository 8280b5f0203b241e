//! A disk in memory that knows what is durable: a crash keeps what was synced, and of the rest whatever chance leaves of it.
//!
//! Data is lost by the sector, names (made, renamed, removed) one by one; a sync covers what was written before it began.
//! Must not know what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raft_store::disk::{Disk, DiskFile, Job};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;

use crate::counts::Counts;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Space that is left while the disk is said to be full.
const NOTHING: u64 = 0;
const PLENTY: u64 = 1 << 40;

/// A change of a file's data that is not on the disk yet.
#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct Data {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// With the number of each.
    unsynced: Vec<(u64, Change)>,
}

/// A change of the names in a directory that is not on the disk yet.
#[derive(Debug)]
enum Naming {
    Make(PathBuf, Entry),
    Rename(PathBuf, PathBuf, Entry),
    Remove(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Dir,
    File(usize),
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    counts: Counts,
    files: BTreeMap<usize, Data>,
    next_file: usize,
    /// Number of the next change.
    next_change: u64,
    /// While a job runs: its syncs cover changes before the first number, and those of its own from the second on.
    covers: Option<(u64, u64)>,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    unsynced_names: Vec<Naming>,
    latency: (u64, u64),
    full: bool,
    failing_syncs: u32,
    /// An injected error was seen by somebody since the last start.
    hurt: bool,
}

/// One node's disk. Clones share it; it outlives the node.
#[derive(Debug, Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct File {
    disk: MemoryDisk,
    id: usize,
}

impl MemoryDisk {
    /// An empty disk. Its chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64, counts: Counts) -> Self {
        let names = BTreeMap::from([(PathBuf::from("/"), Entry::Dir)]);
        Self(Arc::new(Mutex::new(State {
            rng: SmallRng::seed_from_u64(seed),
            counts,
            files: BTreeMap::new(),
            next_file: 0,
            next_change: 0,
            covers: None,
            durable_names: names.clone(),
            names,
            unsynced_names: Vec::new(),
            latency: (0, 2),
            full: false,
            failing_syncs: 0,
            hurt: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails: what was not synced is lost, in part or whole.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// Everything is lost: an empty disk takes its place.
    pub fn wipe(&self) {
        let mut state = self.lock();
        let names = BTreeMap::from([(PathBuf::from("/"), Entry::Dir)]);
        state.files.clear();
        state.unsynced_names.clear();
        (state.names, state.durable_names) = (names.clone(), names);
    }

    /// Milliseconds that work on the disk takes, from and to.
    pub fn set_latency(&self, from: u64, to: u64) {
        self.lock().latency = (from, to);
    }

    /// Whether there is no space left.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// So many of the next syncs fail.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().failing_syncs = count;
    }

    /// The disk works again. Answers whether somebody was given an error since this was last asked.
    pub fn repair(&self) -> bool {
        let mut state = self.lock();
        (state.full, state.failing_syncs) = (false, 0);
        std::mem::take(&mut state.hurt)
    }

    /// Whether somebody was given an error since the disk was last repaired.
    #[must_use]
    pub fn is_hurt(&self) -> bool {
        self.lock().hurt
    }
}

impl State {
    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(id)) => Ok(*id),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn parent_is_there(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Entry::Dir) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn no_space(&mut self) -> io::Result<()> {
        if self.full {
            self.hurt = true;
            self.counts.add("disk full");
            return Err(io::Error::new(io::ErrorKind::StorageFull, "injected: no space left"));
        }
        Ok(())
    }

    fn data(&mut self, id: usize) -> io::Result<&mut Data> {
        self.files.get_mut(&id).ok_or_else(|| io::Error::other("the file was lost with its disk"))
    }

    fn change(&mut self, id: usize, change: Change) -> io::Result<()> {
        let number = self.next_change;
        self.next_change += 1;
        let data = self.data(id)?;
        apply(&mut data.current, &change, |_| true);
        data.unsynced.push((number, change));
        Ok(())
    }

    fn sync(&mut self, id: usize) -> io::Result<()> {
        if self.failing_syncs > 0 {
            self.failing_syncs -= 1;
            self.hurt = true;
            self.counts.add("sync error");
            return Err(io::Error::other("injected: the disk failed while it synced"));
        }
        let (before, from) = self.covers.unwrap_or((u64::MAX, 0));
        let data = self.data(id)?;
        for (number, change) in std::mem::take(&mut data.unsynced) {
            if number < before || number >= from {
                apply(&mut data.durable, &change, |_| true);
            } else {
                data.unsynced.push((number, change));
            }
        }
        Ok(())
    }

    fn sync_names(&mut self, dir: &Path) {
        let here = |path: &Path| path.parent() == Some(dir);
        let (now, later) = std::mem::take(&mut self.unsynced_names).into_iter().partition(|naming| {
            let (Naming::Make(path, _) | Naming::Rename(path, _, _) | Naming::Remove(path)) = naming;
            here(path)
        });
        self.unsynced_names = later;
        let now: Vec<Naming> = now;
        now.into_iter().for_each(|naming| rename(&mut self.durable_names, naming));
    }

    fn crash(&mut self) {
        let State { rng, counts, files, .. } = self;
        for data in files.values_mut() {
            // Up to some point all of it, or some of all of it.
            let (in_order, mut alive) = (rng.random_bool(0.5), true);
            let odds = rng.random_range(0.0..1.0);
            for (_, change) in std::mem::take(&mut data.unsynced) {
                let whole = alive && rng.random_bool(odds);
                if !whole {
                    alive = !in_order;
                    counts.add("unsynced write lost");
                }
                let torn = !whole && matches!(&change, Change::Write { bytes, .. } if bytes.len() > SECTOR);
                if torn && rng.random_bool(0.5) {
                    counts.add("torn write");
                    apply(&mut data.durable, &change, |_| rng.random_bool(0.5));
                } else {
                    apply(&mut data.durable, &change, |_| whole);
                }
            }
            data.current.clone_from(&data.durable);
        }
        let odds = self.rng.random_range(0.0..1.0);
        for naming in std::mem::take(&mut self.unsynced_names) {
            if self.rng.random_bool(odds) {
                rename(&mut self.durable_names, naming);
            } else {
                self.counts.add("unsynced name lost");
            }
        }
        // What is in a directory that is lost is lost.
        let dirs: BTreeSet<PathBuf> =
            self.durable_names.iter().filter(|(_, e)| **e == Entry::Dir).map(|(p, _)| p.clone()).collect();
        let reachable = |path: &Path| path.ancestors().skip(1).all(|dir| dirs.contains(dir));
        self.durable_names.retain(|path, _| reachable(path));
        self.names.clone_from(&self.durable_names);
        let named: BTreeSet<usize> = self.names.values().filter_map(|e| e.id()).collect();
        self.files.retain(|id, _| named.contains(id));
        self.covers = None;
    }
}

impl Entry {
    fn id(self) -> Option<usize> {
        match self {
            Self::File(id) => Some(id),
            Self::Dir => None,
        }
    }
}

/// Applies a change, of a write only those sectors that arrive.
fn apply(bytes: &mut Vec<u8>, change: &Change, mut arrives: impl FnMut(usize) -> bool) {
    match change {
        Change::Length(length) => {
            if arrives(0) {
                bytes.resize(*length, 0);
            }
        }
        Change::Write { at, bytes: new } => {
            let (mut from, end) = (*at, at + new.len());
            while from < end {
                let to = ((from / SECTOR + 1) * SECTOR).min(end);
                if arrives(from / SECTOR) {
                    if bytes.len() < to {
                        bytes.resize(to, 0);
                    }
                    bytes[from..to].copy_from_slice(&new[from - at..to - at]);
                }
                from = to;
            }
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, Entry>, naming: Naming) {
    match naming {
        Naming::Make(path, entry) => {
            names.insert(path, entry);
        }
        Naming::Rename(from, to, entry) => {
            names.remove(&from);
            names.insert(to, entry);
        }
        Naming::Remove(path) => {
            names.remove(&path);
        }
    }
}

impl Disk for MemoryDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let above: Vec<_> = dir.ancestors().collect();
        for dir in above.into_iter().rev() {
            if !state.names.contains_key(dir) {
                state.names.insert(dir.to_owned(), Entry::Dir);
                state.unsynced_names.push(Naming::Make(dir.to_owned(), Entry::Dir));
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.lock();
        if state.names.get(dir) != Some(&Entry::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let files =
            state.names.iter().filter(|(path, entry)| path.parent() == Some(dir) && **entry != Entry::Dir);
        Ok(files.map(|(path, _)| path.clone()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.lock().file(path)?;
        Ok(Arc::new(File { disk: self.clone(), id }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.parent_is_there(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.no_space()?;
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, Data::default());
        state.names.insert(path.to_owned(), Entry::File(id));
        state.unsynced_names.push(Naming::Make(path.to_owned(), Entry::File(id)));
        Ok(Arc::new(File { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let entry = Entry::File(state.file(from)?);
        state.names.remove(from);
        state.names.insert(to.to_owned(), entry);
        state.unsynced_names.push(Naming::Rename(from.to_owned(), to.to_owned(), entry));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.file(path)?;
        state.names.remove(path);
        state.unsynced_names.push(Naming::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().sync_names(dir);
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(if self.lock().full { NOTHING } else { PLENTY })
    }

    fn later(&self, job: Job) {
        let disk = self.clone();
        let (begun, latency) = {
            let mut state = self.lock();
            let (from, to) = state.latency;
            (state.next_change, Duration::from_millis(state.rng.random_range(from..=to)))
        };
        // Ends with the node's runtime, as the node's threads would.
        drop(Handle::current().spawn(async move {
            tokio::time::sleep(latency).await;
            {
                let mut state = disk.lock();
                state.covers = Some((begun, state.next_change));
            }
            job();
            disk.lock().covers = None;
        }));
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().data(self.id)?.current.len() as u64)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let offset = offset as usize;
        let found = state.data(self.id)?.current.get(offset..offset + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        // Into space that was reserved there is always room.
        if state.data(self.id)?.current.len() < offset as usize + bytes.len() {
            state.no_space()?;
        }
        state.change(self.id, Change::Write { at: offset as usize, bytes: bytes.to_vec() })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.lock().change(self.id, Change::Length(bytes as usize))
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.no_space()?;
        let length = state.data(self.id)?.current.len().max(bytes as usize);
        state.change(self.id, Change::Length(length))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().sync(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_outlives_a_crash_and_nothing_else_has_to() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = MemoryDisk::new(seed, Counts::default());
            let id = raft_store::identity::load_or_create(&disk, Path::new("/data")).expect("made");
            let loose = disk.create(Path::new("/data/loose")).expect("made");
            loose.write_all_at(&[1; 2000], 0).expect("written");
            disk.crash();
            assert_eq!(
                raft_store::identity::load_or_create(&disk, Path::new("/data")).expect("read"),
                id,
                "seed {seed}"
            );
            lost += u32::from(disk.open(Path::new("/data/loose")).is_err());
        }
        assert!((1..50).contains(&lost), "{lost} of 50 names were lost");
    }
}
