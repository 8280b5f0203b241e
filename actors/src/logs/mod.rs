//! The logs of the attempts that ran on this node: one append-only file of frames each, with byte offsets.
//!
//! A frame also says how far the spool of the container's init had been read when it was written, so that a node
//! process that was killed goes on exactly where it stopped: no byte twice, none missing. Must not know HTTP, actors
//! or containers.

mod copier;
mod disk;
mod filter;
mod frame;
mod journal;
mod mask;
mod reader;
mod scan;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use domain::AttemptId;
use tokio::sync::watch;

pub use copier::{Pumped, SpoolCopier};
pub use frame::{Content, Frame, MAX_FRAME_BYTES, Stream};
pub use journal::Event;
pub use reader::{Page, follow, read};

/// What can go wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read or written.
    #[error("log {}: {action}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// What init wrote makes no sense.
    #[error("spool {}: {why}", path.display())]
    BadSpool {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Something secret could not be kept out of the log.
    #[error("{why}; nothing more is shown of it, for it could show what is secret")]
    Unmasked {
        /// What cannot be masked, by its name.
        why: String,
    },
    /// No log of this attempt is on this node.
    #[error("no log of attempt {attempt} is on this node")]
    NotHere {
        /// Which attempt.
        attempt: AttemptId,
    },
}

/// How far a log that is being written has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Written {
    /// Length of the file in bytes of whole frames.
    file_bytes: u64,
    /// Nothing more will come.
    ended: bool,
}

/// How much of what a job does is kept.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of output.
    output: u64,
    /// Frames of its init that are neither output nor pieces of files.
    events: usize,
}

/// A job whose output says something: commands are heard, and secrets are not shown.
#[derive(Debug, Clone, Default)]
pub struct Listening {
    /// What is not shown, with the names of it.
    pub secrets: Vec<(String, String)>,
    /// Lines for debugging are kept.
    pub debug: bool,
}

/// All logs of this node, below one directory with a sub-directory per attempt.
#[derive(Debug, Clone)]
pub struct LogStore {
    root: PathBuf,
    cap_bytes: u64,
    live: Arc<Mutex<HashMap<AttemptId, watch::Sender<Written>>>>,
}

impl LogStore {
    /// Logs below `root`. Of each attempt, `cap_bytes` of output are kept; then a marker says that the rest was dropped.
    /// The file of a log takes at most twice that and about a MiB: output in very small pieces is dropped earlier.
    #[must_use]
    pub fn new(root: PathBuf, cap_bytes: u64) -> Self {
        Self { root, cap_bytes, live: Arc::default() }
    }

    /// The directory of an attempt, which its runner makes: log, control directory, workspace.
    #[must_use]
    pub fn attempt_dir(&self, attempt: AttemptId) -> PathBuf {
        self.root.join(format!("{}-{}", attempt.job, attempt.number))
    }

    fn log_path(&self, attempt: AttemptId) -> PathBuf {
        self.attempt_dir(attempt).join("log")
    }

    /// Name of the file in an attempt's directory that tells its course; never shown, and gone with its workspace.
    pub(crate) const JOURNAL: &str = "journal";

    /// The copier for an attempt, at the place where the one before it stopped. What an earlier life of this node was told, output
    /// left out, is told to `seen`. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`] when the log or its journal cannot be opened or read, [`Error::Unmasked`] when there are too many secrets.
    pub fn copier(
        &self,
        attempt: AttemptId,
        spool: &Path,
        events: usize,
        listening: Option<&Listening>,
        seen: &mut dyn FnMut(Event),
    ) -> Result<SpoolCopier, Error> {
        let (sender, _) = watch::channel(Written::default());
        let paths = (self.log_path(attempt), self.attempt_dir(attempt).join(Self::JOURNAL), spool.to_owned());
        let filter = listening.map(|to| filter::Filter::new(&to.secrets, to.debug));
        let limits = Limits { output: self.cap_bytes, events };
        let copier = SpoolCopier::open(paths, (limits, filter), sender.clone(), seen)?;
        self.lock().insert(attempt, sender);
        Ok(copier)
    }

    /// Says that nothing more will come; followers end. To be called once per copier.
    pub fn end(&self, attempt: AttemptId) {
        if let Some(sender) = self.lock().remove(&attempt) {
            sender.send_modify(|written| written.ended = true);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, watch::Sender<Written>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Progress of a log that is being written here; none when it is over.
    fn progress(&self, attempt: AttemptId) -> Option<watch::Receiver<Written>> {
        self.lock().get(&attempt).map(watch::Sender::subscribe)
    }
}
