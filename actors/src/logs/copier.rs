//! Copies what a container's init wrote into its spool to the attempt's log, exactly once.
//!
//! Every frame of the log carries the spool position behind it, in the same write: whatever was copied before the node
//! process died is known by reading the log, and copying goes on from there. The job can write into its spool, so nothing
//! there makes the log larger than it may be: output is capped, and so are the frames that tell of steps.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use domain::{Outcome, Timestamp};
use init::wire;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::watch;

use super::frame::{Content, Frame, MAX_FRAME_BYTES, Stream};
use super::{Error, Written};

/// Spool read at a time, in bytes.
const PUMP_BYTES: usize = 1024 * 1024;
/// Log read at a time when it is taken up again, in bytes; more than any frame has.
const REPLAY_BYTES: usize = 4 * MAX_FRAME_BYTES;
/// Disk of the spool is given back in pieces of this size.
const PUNCH_BYTES: u64 = 4 * 1024 * 1024;
/// Output past the cap is marked in the log once in so many bytes of spool, for the spool is kept up to the last mark.
const MARK_BYTES: u64 = 64 * 1024 * 1024;
/// A log file takes so many bytes beside twice the cap of output: small pieces of output cost more than themselves.
const FILE_BYTES: u64 = 1024 * 1024;
/// Frames that init writes of one step: it starts, it is the node's to do, it is over.
const EVENTS_OF_A_STEP: usize = 3;

/// What one call of [`SpoolCopier::pump`] found.
#[derive(Debug, Default)]
pub struct Pumped {
    /// Frames other than output, in order.
    pub events: Vec<Frame>,
    /// True when something was copied: call again at once.
    pub progressed: bool,
}

/// How far copying has come.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Spool bytes read.
    spool: u64,
    /// Spool bytes read as the log says.
    recorded: u64,
    /// Output bytes in the log.
    output: u64,
    /// Bytes of the log.
    file: u64,
    /// Output bytes dropped since the last mark.
    dropped: u64,
    /// There is a mark.
    marked: bool,
    /// Frames that tell of steps.
    events: usize,
    /// The last frame that init writes is here.
    finished: bool,
}

/// The one writer of an attempt's log.
#[derive(Debug)]
pub struct SpoolCopier {
    log: File,
    log_path: PathBuf,
    spool_path: PathBuf,
    cap_bytes: u64,
    /// Events that the attempt's steps can make.
    max_events: usize,
    written: watch::Sender<Written>,
    place: Place,
    /// Spool bytes whose disk was given back.
    punched: u64,
    /// Time and step of the last frame, for marks.
    last: (Timestamp, u16),
}

impl SpoolCopier {
    /// Takes the log up where it stands; `seen` is given the frames other than output that are there.
    pub(super) fn open(
        log_path: PathBuf,
        spool_path: PathBuf,
        (cap_bytes, steps): (u64, usize),
        written: watch::Sender<Written>,
        seen: &mut dyn FnMut(&Frame),
    ) -> Result<Self, Error> {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&log_path);
        let log = opened.map_err(|source| Error::Io { path: log_path.clone(), action: "open", source })?;
        let mut copier = Self {
            log,
            log_path,
            spool_path,
            cap_bytes,
            max_events: steps * EVENTS_OF_A_STEP + 1,
            written,
            place: Place::default(),
            punched: 0,
            last: (Timestamp(0), 0),
        };
        copier.replay(seen)?;
        Ok(copier)
    }

    /// Reads the log through a buffer that its length does not enlarge.
    fn replay(&mut self, seen: &mut dyn FnMut(&Frame)) -> Result<(), Error> {
        let mut bytes = vec![0; REPLAY_BYTES];
        loop {
            let from = self.place.file;
            let filled =
                fill(&self.log, &mut bytes, from).map_err(|source| self.log_error("read", source))?;
            let mut used = 0;
            while let Some((frame, len)) = Frame::decode(&bytes[used..filled]) {
                used += len;
                self.remember(&frame);
                if !matches!(frame.content, Content::Output(..)) {
                    seen(&frame);
                }
            }
            if used == 0 {
                break;
            }
            self.place.file += used as u64;
        }
        // A frame that was not written whole is written again from the spool.
        let whole = self.place.file;
        self.log.set_len(whole).map_err(|source| self.log_error("truncate", source))?;
        self.written.send_modify(|written| written.file_bytes = whole);
        Ok(())
    }

    fn remember(&mut self, frame: &Frame) {
        let place = &mut self.place;
        self.last = (frame.at, frame.step);
        place.output += frame.output_len();
        (place.spool, place.recorded) = (frame.spool_end, frame.spool_end);
        match &frame.content {
            Content::Output(..) => {}
            Content::Dropped(_) => place.marked = true,
            content => {
                place.events += 1;
                place.finished |= matches!(content, Content::JobFinished { .. });
            }
        }
    }

    /// Bytes of output in the log.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.place.output
    }

    /// Copies what is new in the spool, at most about a MiB. What is right before something that is not is copied first.
    /// Blocking.
    ///
    /// # Errors
    /// [`Error::BadSpool`] when what the spool holds is not what init writes, [`Error::Io`] when a file fails.
    pub fn pump(&mut self) -> Result<Pumped, Error> {
        let bytes = self.read_spool()?;
        let (mut used, mut out, mut pumped, mut place) = (0, Vec::new(), Pumped::default(), self.place);
        loop {
            let (frame, len) = match self.next(&bytes[used..], &place) {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(why) if used == 0 => {
                    return Err(Error::BadSpool { path: self.spool_path.clone(), why });
                }
                Err(_) => break,
            };
            used += len;
            self.take(frame, len, &mut place, &mut out, &mut pumped.events);
        }
        if used > 0 {
            self.commit(&out, place)?;
            self.give_back_disk();
            pumped.progressed = true;
        }
        Ok(pumped)
    }

    /// The next whole frame; an error, in words, when it is none that init would write now.
    fn next(&self, bytes: &[u8], place: &Place) -> Result<Option<(wire::Frame, usize)>, String> {
        let Some((frame, len)) = wire::Frame::decode(bytes).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        if place.finished {
            return Err("something was written after the end of the job".to_owned());
        }
        let output = matches!(frame.kind, wire::FrameKind::Stdout(_) | wire::FrameKind::Stderr(_));
        if !output && place.events >= self.max_events {
            return Err(format!("it tells of more than {} events, all that there can be", self.max_events));
        }
        Ok(Some((frame, len)))
    }

    /// Adds words of the node itself to a step's standard error, within the cap as all output. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn say(&mut self, at: Timestamp, step: u16, words: &str) -> Result<(), Error> {
        let (mut out, mut place) = (Vec::new(), self.place);
        self.last = (at, step);
        self.mark(&mut place, &mut out);
        for piece in words.as_bytes().chunks(MAX_FRAME_BYTES) {
            let bytes = piece[..piece.len().min(self.room(&place))].to_vec();
            if !bytes.is_empty() {
                self.put(Content::Output(Stream::Stderr, bytes), &mut place, &mut out);
            }
        }
        self.commit(&out, place)
    }

    /// Puts everything copied so far on disk. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<(), Error> {
        let (mut out, mut place) = (Vec::new(), self.place);
        self.mark(&mut place, &mut out);
        self.commit(&out, place)?;
        self.log.sync_data().map_err(|source| self.log_error("sync", source))
    }

    fn read_spool(&self) -> Result<Vec<u8>, Error> {
        let path = || self.spool_path.clone();
        let spool = match open_spool(&self.spool_path, OFlags::RDONLY) {
            Ok(Some(file)) => file,
            Ok(None) => {
                return Err(Error::BadSpool { path: path(), why: "it is not a regular file".to_owned() });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::Io { path: path(), action: "open", source }),
        };
        let mut bytes = vec![0; PUMP_BYTES];
        let filled = fill(&spool, &mut bytes, self.place.spool);
        bytes.truncate(filled.map_err(|source| Error::Io { path: path(), action: "read", source })?);
        Ok(bytes)
    }

    /// Encodes a frame of `len` bytes of spool for the log, cut at the cap.
    fn take(
        &mut self,
        frame: wire::Frame,
        len: usize,
        place: &mut Place,
        out: &mut Vec<u8>,
        events: &mut Vec<Frame>,
    ) {
        self.last = (Timestamp(frame.at_ms), frame.step);
        match content_of(frame.kind) {
            Content::Output(stream, mut bytes) => {
                place.spool += len as u64;
                let kept = bytes.len().min(self.room(place));
                place.dropped += (bytes.len() - kept) as u64;
                bytes.truncate(kept);
                if !bytes.is_empty() {
                    self.put(Content::Output(stream, bytes), place, out);
                }
                if !place.marked || place.spool - place.recorded >= MARK_BYTES {
                    self.mark(place, out);
                }
            }
            content => {
                self.mark(place, out);
                place.spool += len as u64;
                place.events += 1;
                place.finished = matches!(content, Content::JobFinished { .. });
                events.push(self.put(content, place, out));
            }
        }
    }

    /// Says in the log what was dropped since the last mark.
    fn mark(&self, place: &mut Place, out: &mut Vec<u8>) {
        if place.dropped > 0 {
            place.marked = true;
            let dropped = std::mem::take(&mut place.dropped);
            self.put(Content::Dropped(dropped), place, out);
        }
    }

    fn put(&self, content: Content, place: &mut Place, out: &mut Vec<u8>) -> Frame {
        let ((at, step), before) = (self.last, out.len());
        let frame = Frame { at, step, spool_end: place.spool, offset: place.output, content };
        frame.encode(out);
        place.output += frame.output_len();
        place.file += (out.len() - before) as u64;
        place.recorded = place.spool;
        frame
    }

    /// Bytes of output that may be added.
    fn room(&self, place: &Place) -> usize {
        if place.file >= self.cap_bytes.saturating_mul(2).saturating_add(FILE_BYTES) {
            return 0;
        }
        self.cap_bytes.saturating_sub(place.output) as usize
    }

    /// Writes frames, after which copying has come so far.
    fn commit(&mut self, out: &[u8], place: Place) -> Result<(), Error> {
        if !out.is_empty() {
            if let Err(source) = self.log.write_all(out) {
                // A part of a frame would hide what is written later.
                if let Err(error) = self.log.set_len(self.place.file) {
                    tracing::warn!(path = %self.log_path.display(), %error, "half a frame stays in a log");
                }
                return Err(self.log_error("write", source));
            }
            self.written.send_modify(|written| written.file_bytes = place.file);
        }
        self.place = place;
        Ok(())
    }

    /// The spool only grows, but what was copied need not stay on disk. Best effort: some file systems cannot.
    fn give_back_disk(&mut self) {
        let whole = self.place.recorded / PUNCH_BYTES * PUNCH_BYTES;
        if whole <= self.punched {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punch = open_spool(&self.spool_path, OFlags::WRONLY).and_then(|file| {
            let file = file.ok_or_else(|| io::Error::other("it is not a regular file"))?;
            Ok(rustix::fs::fallocate(&file, flags, self.punched, whole - self.punched)?)
        });
        match punch {
            Ok(()) => self.punched = whole,
            Err(error) => tracing::debug!(%error, "cannot give back the disk of the copied spool"),
        }
    }

    fn log_error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { path: self.log_path.clone(), action, source }
    }
}

/// Reads from an offset until the buffer is full or the file is at its end; how many bytes.
fn fill(file: &File, bytes: &mut [u8], from: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// None when there is something else than a file: the job may write into the directory of its spool. A link put in the
/// spool's place must not lead us to other files, and a FIFO must not hold us up.
fn open_spool(path: &Path, access: OFlags) -> io::Result<Option<File>> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(file.metadata()?.is_file().then_some(file))
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
