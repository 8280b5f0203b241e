//! Snapshots on disk: a stream of records with a checksum each, and one over all.
//!
//! `[magic 8][header record][records ...][end record]`, a record is `[length u32][crc32 of body u32][body]`, little
//! endian; the end record holds the number of records and the crc32 of everything before it.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ClusterState;
use openraft::alias::SnapshotMetaOf;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::disk::whole::Cursor;
use crate::disk::{Disk, DiskFile};
use crate::types::TypeConfig;

const MAGIC: &[u8; 8] = b"TROUPES1";
const MAX_RECORD: usize = codec::MAX_BYTES;
/// More than the magic and the header record take.
const HEAD_BYTES: u64 = 1024 * 1024;

/// A snapshot on this node's disk, held open: a newer one that takes its place does not change it.
#[derive(Clone)]
pub struct SnapshotFile {
    /// Where it was opened.
    pub path: PathBuf,
    /// Its bytes.
    pub file: Arc<dyn DiskFile>,
    /// What is in it, once it was read whole.
    content: Option<Arc<Content>>,
}

/// What a snapshot holds, every byte of it checked.
pub(crate) struct Content {
    pub meta: SnapshotMetaOf<TypeConfig>,
    pub state: ClusterState,
}

// Without the content, which may hold secrets and is large.
impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("path", &self.path)
            .field("checked", &self.content.is_some())
            .finish_non_exhaustive()
    }
}

impl SnapshotFile {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, SnapshotError> {
        let file = disk.open(path).map_err(|source| SnapshotError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned(), file, content: None })
    }

    /// Reads it whole and checks every byte of it, the first time; what was read stays with it and its clones. Blocking
    /// the first time.
    pub(crate) fn content(&mut self) -> Result<Arc<Content>, SnapshotError> {
        if let Some(content) = &self.content {
            return Ok(Arc::clone(content));
        }
        let content = Arc::new(read(&self.file, &self.path)?);
        self.content = Some(Arc::clone(&content));
        Ok(content)
    }

    /// What it is a snapshot of, from its head only. Blocking.
    pub(crate) fn meta(&self) -> Result<SnapshotMetaOf<TypeConfig>, SnapshotError> {
        let mut head = Vec::new();
        let mut input = Cursor::new(Arc::clone(&self.file)).take(HEAD_BYTES);
        input.read_to_end(&mut head).map_err(|source| SnapshotError::Io {
            action: "read",
            path: self.path.clone(),
            source,
        })?;
        Ok(Reader::new(&head[..], &self.path).head()?.meta)
    }
}

/// What can go wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file could not be read or written.
    #[error("snapshot {}: {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "snapshot {} is damaged: {why}; it is not used. Remove this node, empty its data directory and let it join anew",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        io::Error::other(error)
    }
}

/// Declares the records of a snapshot: one variant per table, so that the file is read and written record by record.
macro_rules! records {
    ($($variant:ident: $table:ident),* $(,)?) => {
        #[derive(Serialize, Deserialize)]
        enum Record {
            /// What is not a table.
            Scalars(Scalars),
            $($variant(records!(@key $variant), records!(@value $variant)),)*
        }

        /// The same as it is written, where it lies.
        #[derive(Serialize)]
        enum Lying<'a> {
            Scalars(Scalars),
            $($variant(&'a records!(@key $variant), &'a records!(@value $variant)),)*
        }

        impl Lying<'_> {
            /// Every record of a state, in an order that does not depend on its history.
            fn each(state: &ClusterState, mut take: impl FnMut(&Lying<'_>) -> Result<(), SnapshotError>) -> Result<(), SnapshotError> {
                // Whole, so that nothing of a state can be forgotten here: what is missing does not compile.
                let ClusterState { cluster: _, now: _, ad_hoc_number: _, open_jobs: _, $($table,)* } = state;
                take(&Lying::Scalars(Scalars::of(state)))?;
                $(for (key, value) in $table.iter() {
                    take(&Lying::$variant(key, value))?;
                })*
                Ok(())
            }
        }

        impl Record {
            fn put(self, state: &mut ClusterState) {
                match self {
                    Record::Scalars(scalars) => scalars.put(state),
                    $(Record::$variant(key, value) => records!(@put $variant state, $table, key, value),)*
                }
            }
        }
    };
    (@key Node) => { domain::NodeId }; (@value Node) => { domain::Node };
    (@key Repo) => { domain::RepoId }; (@value Repo) => { domain::Repo };
    (@key RepoName) => { domain::RepoName }; (@value RepoName) => { domain::RepoId };
    (@key Token) => { domain::TokenId }; (@value Token) => { domain::Token };
    (@key Delivery) => { domain::DeliveryId }; (@value Delivery) => { domain::Delivery };
    (@key PendingDelivery) => { domain::DeliveryId }; (@value PendingDelivery) => { () };
    (@key Run) => { domain::RunId }; (@value Run) => { domain::Run };
    (@key Job) => { domain::JobId }; (@value Job) => { domain::Job };
    (@key Spec) => { domain::JobId }; (@value Spec) => { domain::SpecBytes };
    (@key Attempt) => { domain::AttemptId }; (@value Attempt) => { domain::Attempt };
    (@key Queued) => { domain::QueueKey }; (@value Queued) => { () };
    (@key Held) => { (domain::NodeId, domain::JobId) }; (@value Held) => { () };
    (@key Key) => { Arc<str> }; (@value Key) => { domain::KeyRecord };
    (@put Run $state:ident, $table:ident, $key:ident, $value:ident) => { $state.put_run($key, $value) };
    (@put Job $state:ident, $table:ident, $key:ident, $value:ident) => { $state.put_job($key, $value) };
    (@put KeyAge $state:ident, $table:ident, $key:ident, $value:ident) => { $state.put_key_age($key, $value) };
    (@put $other:ident $state:ident, $table:ident, $key:ident, $value:ident) => { drop($state.$table.insert($key, $value)) };
    (@key KeyAge) => { (domain::Timestamp, Arc<str>) }; (@value KeyAge) => { () };
    (@key JoinToken) => { domain::TokenId }; (@value JoinToken) => { domain::JoinToken };
    (@key Admission) => { domain::NodeId }; (@value Admission) => { domain::Admission };
    (@key Pause) => { domain::RunId }; (@value Pause) => { domain::Pause };
    (@key Standstill) => { domain::AttemptId }; (@value Standstill) => { domain::Timestamp };
    (@key Removed) => { domain::NodeId }; (@value Removed) => { domain::RemovedNode };
    (@key Contexts) => { domain::JobId }; (@value Contexts) => { Arc<str> };
    (@key Output) => { domain::JobId }; (@value Output) => { domain::Outputs };
    (@key Reason) => { domain::JobId }; (@value Reason) => { Arc<str> };
    (@key Undecided) => { domain::JobId }; (@value Undecided) => { () };
    (@key OnceUndecided) => { domain::JobId }; (@value OnceUndecided) => { (domain::SpecBytes, Arc<str>) };
    (@key Unapproved) => { domain::RunId }; (@value Unapproved) => { () };
    (@key Approved) => { domain::RunId }; (@value Approved) => { Arc<str> };
    (@key Group) => { domain::GroupId }; (@value Group) => { domain::Group };
    (@key Trigger) => { domain::RepoId }; (@value Trigger) => { domain::Triggers };
    (@key Secret) => { (domain::RepoId, Arc<str>) }; (@value Secret) => { domain::Sealed };
    (@key Cache) => { domain::CacheId }; (@value Cache) => { domain::CacheEntry };
    (@key Variable) => { (domain::RepoId, Arc<str>) }; (@value Variable) => { Arc<str> };
    (@key Environment) => { (domain::RepoId, Arc<str>) }; (@value Environment) => { domain::Environment };
    (@key Review) => { domain::JobId }; (@value Review) => { domain::Review };
    (@key Backoff) => { domain::JobId }; (@value Backoff) => { domain::Timestamp };
    (@key Notice) => { domain::RunId }; (@value Notice) => { domain::Notice };
}

records! {
    Node: nodes, Repo: repos, RepoName: repo_names, Token: tokens, Delivery: deliveries,
    PendingDelivery: pending_deliveries, Run: runs, Job: jobs, Spec: specs, Attempt: attempts, Queued: queue,
    Held: held, Key: keys, KeyAge: key_ages, Notice: outbox,
    JoinToken: join_tokens, Admission: admitted, Removed: removed,
    Pause: paused_runs, Standstill: paused_attempts,
    Contexts: contexts, Output: outputs, Reason: reasons, Undecided: undecided, OnceUndecided: once_undecided,
    Unapproved: unapproved, Approved: approved, Group: groups, Trigger: triggers, Secret: secrets, Cache: caches,
    Variable: variables, Environment: environments, Review: reviews, Backoff: backoffs,
}

#[derive(Serialize, Deserialize)]
struct Scalars {
    cluster: Option<domain::ClusterId>,
    now: domain::Timestamp,
    ad_hoc_number: u64,
    open_jobs: u32,
}

impl Scalars {
    fn of(state: &ClusterState) -> Self {
        Self {
            cluster: state.cluster,
            now: state.now,
            ad_hoc_number: state.ad_hoc_number,
            open_jobs: state.open_jobs,
        }
    }

    fn put(self, state: &mut ClusterState) {
        state.cluster = self.cluster;
        state.now = self.now;
        state.ad_hoc_number = self.ad_hoc_number;
        state.open_jobs = self.open_jobs;
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    meta: SnapshotMetaOf<TypeConfig>,
    /// The state's hash, checked after reading.
    state_hash: u64,
}

#[derive(Serialize, Deserialize)]
struct End {
    records: u64,
    crc: u32,
}

/// Writes a snapshot into a new file, which is to have the name `path`. Blocking; nothing is synced.
pub(crate) fn write(
    into: &Arc<dyn DiskFile>,
    path: &Path,
    meta: &SnapshotMetaOf<TypeConfig>,
    state: &ClusterState,
) -> Result<(), SnapshotError> {
    let mut writer = Writer {
        out: BufWriter::with_capacity(1024 * 1024, Cursor::new(Arc::clone(into))),
        crc: crc32fast::Hasher::new(),
        records: 0,
        path,
    };
    writer.bytes(MAGIC)?;
    writer.record(&Header { meta: meta.clone(), state_hash: state.hash() })?;
    Lying::each(state, |record| writer.record(record))?;
    let end = End { records: writer.records, crc: writer.crc.clone().finalize() };
    writer.record(&end)?;
    let failed = |source| SnapshotError::Io { action: "write", path: path.to_owned(), source };
    writer.out.flush().map_err(failed)
}

/// Reads a whole snapshot and checks every byte of it. Blocking.
fn read(file: &Arc<dyn DiskFile>, path: &Path) -> Result<Content, SnapshotError> {
    let input = BufReader::with_capacity(1024 * 1024, Cursor::new(Arc::clone(file)));
    let mut reader = Reader::new(input, path);
    let header = reader.head()?;
    let mut state = ClusterState::default();
    let mut records = 1;
    loop {
        let crc = reader.crc.clone().finalize();
        reader.next_body()?;
        // The end record is the one whose body says so and whose sums are right.
        if let Ok(end) = codec::decode::<End>(&reader.body, MAX_RECORD)
            && end.records == records
            && end.crc == crc
        {
            break;
        }
        let record: Record = codec::decode(&reader.body, MAX_RECORD).map_err(|e| reader.damaged(e))?;
        record.put(&mut state);
        records += 1;
    }
    if state.hash() != header.state_hash {
        return Err(reader.damaged("the state read from it has another hash than the one written"));
    }
    reader.nothing_more()?;
    Ok(Content { meta: header.meta, state })
}

struct Writer<'a, W> {
    out: W,
    crc: crc32fast::Hasher,
    records: u64,
    path: &'a Path,
}

impl<W: Write> Writer<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.crc.update(bytes);
        let failed = |source| SnapshotError::Io { action: "write", path: self.path.to_owned(), source };
        self.out.write_all(bytes).map_err(failed)
    }

    fn record(&mut self, record: &impl Serialize) -> Result<(), SnapshotError> {
        let failed = |e: codec::Error| SnapshotError::Io {
            action: "encode",
            path: self.path.to_owned(),
            source: e.into(),
        };
        let body = codec::encode(record).map_err(failed)?;
        self.bytes(&(body.len() as u32).to_le_bytes())?;
        self.bytes(&crc32fast::hash(&body).to_le_bytes())?;
        self.bytes(&body)?;
        self.records += 1;
        Ok(())
    }
}

struct Reader<'a, R> {
    input: R,
    crc: crc32fast::Hasher,
    path: &'a Path,
    /// Of the record read last; one for all, for there are millions.
    body: Vec<u8>,
}

impl<'a, R: Read> Reader<'a, R> {
    fn new(input: R, path: &'a Path) -> Self {
        Self { input, crc: crc32fast::Hasher::new(), path, body: Vec::new() }
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.input.read_exact(bytes).map_err(|source| self.unread(source))?;
        self.crc.update(bytes);
        Ok(())
    }

    fn head(&mut self) -> Result<Header, SnapshotError> {
        let mut magic = [0; 8];
        self.exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(self.damaged("it does not begin as a snapshot of this version does"));
        }
        self.decode()
    }

    fn next_body(&mut self) -> Result<(), SnapshotError> {
        let (mut length, mut crc) = ([0; 4], [0; 4]);
        self.exact(&mut length)?;
        self.exact(&mut crc)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_RECORD {
            return Err(self.damaged(format!("a record of {length} bytes, the limit is {MAX_RECORD}")));
        }
        self.body.resize(length, 0);
        self.input.read_exact(&mut self.body).map_err(|source| self.unread(source))?;
        self.crc.update(&self.body);
        if crc32fast::hash(&self.body) != u32::from_le_bytes(crc) {
            return Err(self.damaged("a record has another checksum than the one written"));
        }
        Ok(())
    }

    fn decode<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, SnapshotError> {
        self.next_body()?;
        codec::decode(&self.body, MAX_RECORD).map_err(|e| self.damaged(e))
    }

    fn nothing_more(&mut self) -> Result<(), SnapshotError> {
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something follows its end")),
            Err(source) => Err(SnapshotError::Io { action: "read", path: self.path.to_owned(), source }),
        }
    }

    fn unread(&self, source: io::Error) -> SnapshotError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => SnapshotError::Io { action: "read", path: self.path.to_owned(), source },
        }
    }

    fn damaged(&self, why: impl ToString) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.to_owned(), why: why.to_string() }
    }
}
