//! Copies what a container's init wrote into its spool to the attempt's log, exactly once.
//!
//! Every frame of the log carries the spool position behind it, in the same write: whatever was copied before the node
//! process died is known by reading the log, and copying goes on from there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use domain::{Outcome, Timestamp};
use init::wire;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use tokio::sync::watch;

use super::frame::{Content, Frame, MAX_FRAME_BYTES, Stream};
use super::{Error, Written};

/// Spool read at a time, in bytes.
const PUMP_BYTES: usize = 1024 * 1024;
/// Disk of the spool is given back in pieces of this size.
const PUNCH_BYTES: u64 = 4 * 1024 * 1024;

/// What one call of [`SpoolCopier::pump`] found.
#[derive(Debug, Default)]
pub struct Pumped {
    /// Frames other than output, in order.
    pub events: Vec<Frame>,
    /// True when something was copied: call again at once.
    pub progressed: bool,
}

/// The one writer of an attempt's log.
#[derive(Debug)]
pub struct SpoolCopier {
    log: File,
    log_path: PathBuf,
    spool_path: PathBuf,
    cap_bytes: u64,
    written: watch::Sender<Written>,
    /// Spool bytes copied.
    spool_position: u64,
    /// Spool bytes whose disk was given back.
    punched: u64,
    /// Output bytes in the log.
    offset: u64,
    /// Frames other than output that were in the log already.
    replayed: Vec<Frame>,
}

impl SpoolCopier {
    pub(super) fn open(
        log_path: PathBuf,
        spool_path: PathBuf,
        cap_bytes: u64,
        written: watch::Sender<Written>,
    ) -> Result<Self, Error> {
        let io = |action| {
            let path = log_path.clone();
            move |source| Error::Io { path, action, source }
        };
        let mut log =
            OpenOptions::new().read(true).append(true).create(true).open(&log_path).map_err(io("open"))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).map_err(io("read"))?;
        let (mut used, mut offset, mut spool_position) = (0, 0, 0);
        let mut replayed = Vec::new();
        while let Some((frame, len)) = Frame::decode(&bytes[used..]) {
            used += len;
            offset += frame.output_len();
            spool_position = frame.spool_end;
            if !matches!(frame.content, Content::Output(..)) {
                replayed.push(frame);
            }
        }
        // A frame that was not written whole is written again from the spool.
        log.set_len(used as u64).map_err(io("truncate"))?;
        written.send_modify(|w| w.file_bytes = used as u64);
        Ok(Self {
            log,
            log_path,
            spool_path,
            cap_bytes,
            written,
            spool_position,
            punched: 0,
            offset,
            replayed,
        })
    }

    /// The frames other than output that an earlier life of this node had copied; once.
    pub fn take_replayed(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.replayed)
    }

    /// Bytes of output in the log.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.offset
    }

    /// Copies what is new in the spool, at most about a MiB. Blocking.
    ///
    /// # Errors
    /// [`Error::BadSpool`] when init's frames make no sense, [`Error::Io`] when a file fails.
    pub fn pump(&mut self) -> Result<Pumped, Error> {
        let bytes = self.read_spool()?;
        let (mut used, mut out, mut pumped, mut dropped) = (0, Vec::new(), Pumped::default(), 0);
        let mut last = None;
        loop {
            let next = wire::Frame::decode(&bytes[used..])
                .map_err(|e| Error::BadSpool { path: self.spool_path.clone(), why: e.to_string() })?;
            let Some((frame, len)) = next else { break };
            used += len;
            last = Some((frame.at_ms, frame.step));
            dropped += self.take(frame, self.spool_position + used as u64, &mut out, &mut pumped.events);
        }
        let Some((at_ms, step)) = last else { return Ok(pumped) };
        self.spool_position += used as u64;
        if dropped > 0 {
            let content = Content::Dropped(dropped);
            let at = Timestamp(at_ms);
            Frame { at, step, spool_end: self.spool_position, offset: self.offset, content }.encode(&mut out);
        }
        self.log.write_all(&out).map_err(|source| self.log_error("write", source))?;
        self.written.send_modify(|w| w.file_bytes += out.len() as u64);
        self.give_back_disk();
        pumped.progressed = true;
        Ok(pumped)
    }

    /// Adds words of the node itself to a step's standard error, within the cap as all output. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn say(&mut self, at: Timestamp, step: u16, words: &str) -> Result<(), Error> {
        let mut out = Vec::new();
        let mut left = words.as_bytes();
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(MAX_FRAME_BYTES));
            let room = self.cap_bytes.saturating_sub(self.offset) as usize;
            let bytes = now[..now.len().min(room)].to_vec();
            let content = Content::Output(Stream::Stderr, bytes);
            let frame = Frame { at, step, spool_end: self.spool_position, offset: self.offset, content };
            self.offset += frame.output_len();
            frame.encode(&mut out);
            left = later;
        }
        self.log.write_all(&out).map_err(|source| self.log_error("write", source))?;
        self.written.send_modify(|w| w.file_bytes += out.len() as u64);
        Ok(())
    }

    /// Puts everything copied so far on disk. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        self.log.sync_data().map_err(|source| self.log_error("sync", source))
    }

    fn read_spool(&self) -> Result<Vec<u8>, Error> {
        let failed = |action| {
            let path = self.spool_path.clone();
            move |source| Error::Io { path, action, source }
        };
        let spool = match open_spool(&self.spool_path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("open")(source)),
        };
        let mut bytes = vec![0; PUMP_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            let at = self.spool_position + filled as u64;
            match spool.read_at(&mut bytes[filled..], at).map_err(failed("read"))? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Encodes a frame for the log, cut at the cap. Answers the bytes of output that were dropped.
    fn take(
        &mut self,
        frame: wire::Frame,
        spool_end: u64,
        out: &mut Vec<u8>,
        events: &mut Vec<Frame>,
    ) -> u64 {
        let content = content_of(frame.kind);
        let mut copy =
            Frame { at: Timestamp(frame.at_ms), step: frame.step, spool_end, offset: self.offset, content };
        let mut dropped = 0;
        if let Content::Output(_, bytes) = &mut copy.content {
            let room = self.cap_bytes.saturating_sub(self.offset) as usize;
            dropped = bytes.len().saturating_sub(room) as u64;
            bytes.truncate(room);
            if bytes.is_empty() {
                return dropped;
            }
        }
        self.offset += copy.output_len();
        copy.encode(out);
        if !matches!(copy.content, Content::Output(..)) {
            events.push(copy);
        }
        dropped
    }

    /// The spool only grows, but what was copied need not stay on disk. Best effort: some file systems cannot.
    fn give_back_disk(&mut self) {
        let whole = self.spool_position / PUNCH_BYTES * PUNCH_BYTES;
        if whole <= self.punched {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punch = open_spool(&self.spool_path, OFlags::WRONLY)
            .and_then(|file| Ok(rustix::fs::fallocate(&file, flags, self.punched, whole - self.punched)?));
        match punch {
            Ok(()) => self.punched = whole,
            Err(error) => tracing::debug!(%error, "cannot give back the disk of the copied spool"),
        }
    }

    fn log_error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { path: self.log_path.clone(), action, source }
    }
}

/// The job may write into the directory of its spool: a link put in the spool's place must not lead us to other files,
/// and a FIFO must not hold us up.
fn open_spool(path: &Path, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// A frame of init's in the log's terms.
fn content_of(kind: wire::FrameKind) -> Content {
    match kind {
        wire::FrameKind::Stdout(bytes) => Content::Output(Stream::Stdout, bytes),
        wire::FrameKind::Stderr(bytes) => Content::Output(Stream::Stderr, bytes),
        wire::FrameKind::StepStarted => Content::StepStarted,
        wire::FrameKind::StepFinished { exit_code, signal, outcome } => {
            Content::StepFinished { exit_code, signal, outcome: outcome_of(outcome) }
        }
        wire::FrameKind::HostWanted => Content::HostWanted,
        wire::FrameKind::JobFinished { outcome, reason } => {
            Content::JobFinished { outcome: outcome_of(outcome), reason }
        }
    }
}

fn outcome_of(outcome: wire::Outcome) -> Outcome {
    match outcome {
        wire::Outcome::Succeeded => Outcome::Succeeded,
        wire::Outcome::Failed => Outcome::Failed,
        wire::Outcome::Cancelled => Outcome::Cancelled,
        wire::Outcome::TimedOut => Outcome::TimedOut,
        wire::Outcome::Skipped => Outcome::Skipped,
    }
}
