//! Copies what a container's init wrote into its spool to the attempt's log, exactly once.
//!
//! Every frame of the log carries the spool position behind it, in the same write: whatever was copied before the node process died is
//! known by reading the log, and copying goes on from there. The job can write into its spool, so nothing there makes the log larger than
//! it may be: output is capped, and so are the frames that tell of steps.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use domain::Timestamp;
use init::wire;
use rustix::fs::{FallocateFlags, OFlags};
use tokio::sync::watch;
use workflow::steps::commands::Command;

use super::disk::{fill, open_spool};
use super::filter::{Filter, Group, Heard, Piece};
use super::frame::{Content, Frame, MAX_FRAME_BYTES, Stream};
use super::journal::{self, Event, Journal};
use super::{Error, Limits, Written};

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
/// Set in a frame's place in the spool when the next frame belongs to it: a secret runs through both.
const GOES_ON: u64 = 1 << 63;

/// What one call of [`SpoolCopier::pump`] found.
#[derive(Debug, Default)]
pub struct Pumped {
    /// What is more than output, in order.
    pub events: Vec<Event>,
    /// True when something was copied: call again at once.
    pub progressed: bool,
}

/// How far copying has come.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Spool bytes read; what the filter holds is beyond `spool`.
    read: u64,
    /// Spool bytes read and dealt with.
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
    /// Frames of init's that are no output.
    events: usize,
}

/// The one writer of an attempt's log.
#[derive(Debug)]
pub struct SpoolCopier {
    log: File,
    log_path: PathBuf,
    spool_path: PathBuf,
    limits: Limits,
    /// None for a job without secrets whose output says nothing.
    filter: Option<Filter>,
    journal: Journal,
    /// Frames in the log that are no output: what the node said of steps.
    notes: usize,
    written: watch::Sender<Written>,
    place: Place,
    /// Spool bytes whose disk was given back.
    punched: u64,
    /// Time and step of the last frame, for marks.
    last: (Timestamp, u16),
}

impl SpoolCopier {
    /// Takes the log up where it stands; `seen` is given the course so far.
    pub(super) fn open(
        (log_path, journal_path, spool_path): (PathBuf, PathBuf, PathBuf),
        (limits, filter): (Limits, Option<Filter>),
        written: watch::Sender<Written>,
        seen: &mut dyn FnMut(Event),
    ) -> Result<Self, Error> {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&log_path);
        let log = opened.map_err(|source| Error::Io { path: log_path.clone(), action: "open", source })?;
        let failed = |source| Error::Io { path: journal_path.clone(), action: "open", source };
        let (mut place, mut within, mut notes) = (Place::default(), [false; 2], 0);
        let last = replay(&log, &log_path, &mut place, &mut |frame| match &frame.content {
            Content::Output(stream, bytes) => {
                within[usize::from(*stream == Stream::Stderr)] = bytes.last().is_some_and(|b| *b != b'\n');
            }
            Content::Dropped(_) => {}
            _ => (within, notes) = ([false; 2], notes + 1),
        })?;
        written.send_modify(|written| written.file_bytes = place.file);
        let (journal, events, told) = Journal::open(&journal_path, place.spool).map_err(failed)?;
        (place.read, place.spool, place.recorded) = (told, told, told);
        let mut copier = Self {
            log,
            log_path,
            spool_path,
            limits,
            filter,
            journal,
            notes,
            written,
            place,
            punched: 0,
            last,
        };
        if let Some(filter) = &mut copier.filter {
            for (stream, _) in [Stream::Stdout, Stream::Stderr].into_iter().zip(within).filter(|(_, is)| *is)
            {
                filter.within_line(stream);
            }
        }
        for event in events {
            match &event {
                Event::Told(frame) => {
                    copier.place.events += usize::from(!is_piece(&frame.kind));
                    copier.filter.iter_mut().filter(|_| is_end(&frame.kind)).for_each(Filter::order_is_over);
                }
                Event::Heard(command) => {
                    copier.filter.iter_mut().for_each(|filter| filter.remember(command));
                }
                Event::Noted(_) => {}
            }
            seen(event);
        }
        copier.all_is_masked()?;
        Ok(copier)
    }

    fn all_is_masked(&self) -> Result<(), Error> {
        match self.filter.as_ref().and_then(Filter::unmasked) {
            Some(why) => Err(Error::Unmasked { why: why.to_owned() }),
            None => Ok(()),
        }
    }

    /// How many frames that are no output an earlier life of this node, or this one, put into the log.
    #[must_use]
    pub fn notes(&self) -> usize {
        self.notes
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
    /// [`Error::BadSpool`] when what the spool holds is not what init writes, [`Error::Io`] when a file fails, [`Error::Unmasked`] from then
    /// on when the job asks for more to be masked than can be.
    pub fn pump(&mut self) -> Result<Pumped, Error> {
        self.all_is_masked()?;
        let bytes = self.read_spool()?;
        let (mut used, mut out, mut pumped, mut place) = (0, Vec::new(), Pumped::default(), self.place);
        let mut heard = Vec::new();
        loop {
            let (frame, len) = match self.next(&bytes[used..], &place) {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(why) if used == 0 => return Err(self.bad_spool(why)),
                Err(_) => break,
            };
            used += len;
            place.read += len as u64;
            let (at, step) = (Timestamp(frame.at_ms), frame.step);
            match output_of(frame) {
                Ok((stream, bytes)) => {
                    let piece = Piece { at, step, stream, spool_end: place.read, bytes };
                    let groups = self.filtered(piece, &mut heard)?;
                    groups.into_iter().for_each(|group| self.take(group, &mut place, &mut out));
                }
                Err(frame) => {
                    let rest = self.filter.as_mut().and_then(|f| f.flush(place.read, &mut heard));
                    self.all_is_masked()?;
                    self.filter.iter_mut().filter(|_| is_end(&frame.kind)).for_each(Filter::order_is_over);
                    rest.into_iter().for_each(|group| self.take(group, &mut place, &mut out));
                    self.last = (at, step);
                    self.mark(&mut place, &mut out);
                    self.hear(&mut heard, &mut pumped.events)?;
                    self.commit(&out, place)?;
                    out.clear();
                    place.spool = place.read;
                    place.events += usize::from(!is_piece(&frame.kind));
                    self.write_down(vec![(place.spool, Event::Told(frame))], &mut pumped.events)?;
                    (place.recorded, self.place) = (place.spool, place);
                }
            }
        }
        if used > 0 {
            self.hear(&mut heard, &mut pumped.events)?;
            self.commit(&out, place)?;
            self.give_back_disk();
            pumped.progressed = true;
        }
        Ok(pumped)
    }

    /// What can go on now that this piece is there.
    fn filtered(&mut self, piece: Piece, heard: &mut Vec<Heard>) -> Result<Vec<Group>, Error> {
        let Some(filter) = &mut self.filter else { return Ok(vec![vec![piece]]) };
        filter.push(piece, heard);
        let groups = filter.ready();
        self.all_is_masked()?;
        Ok(groups)
    }

    /// Writes down commands, before the output that they stood in.
    fn hear(&mut self, heard: &mut Vec<Heard>, events: &mut Vec<Event>) -> Result<(), Error> {
        let heard: Vec<_> =
            heard.drain(..).map(|(place, command)| (place, Event::Heard(self.shown(command)))).collect();
        if heard.is_empty() { Ok(()) } else { self.write_down(heard, events) }
    }

    /// What is kept of a command is shown to people.
    fn shown(&self, mut command: Command) -> Command {
        if let Command::Annotate(said) = &mut command {
            for text in [&mut said.message, &mut said.title, &mut said.file] {
                *text = self.masked(text);
            }
        }
        command
    }

    fn write_down(&mut self, entries: Vec<(u64, Event)>, events: &mut Vec<Event>) -> Result<(), Error> {
        let added =
            self.journal.add(&entries).map_err(|source| self.log_error("write the journal of", source))?;
        if !added {
            let limit = journal::MAX_BYTES;
            return Err(self.bad_spool(format!("what its steps tell is more than {limit} bytes in all")));
        }
        events.extend(entries.into_iter().map(|(_, event)| event));
        Ok(())
    }

    /// Writes something down for a later life of this node; it is part of the course. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::BadSpool`] when there is too much of it.
    pub fn keep(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.write_down(vec![(self.place.spool, Event::Noted(bytes))], &mut Vec::new())
    }

    /// The next whole frame; an error, in words, when it is none that init would write now.
    fn next(&self, bytes: &[u8], place: &Place) -> Result<Option<(wire::Frame, usize)>, String> {
        let Some((frame, len)) = wire::Frame::decode(bytes).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let output = matches!(frame.kind, wire::FrameKind::Stdout(_) | wire::FrameKind::Stderr(_));
        let most = self.limits.events;
        if !output && !is_piece(&frame.kind) && place.events >= most {
            return Err(format!("it tells of more than {most} events, all that there can be"));
        }
        Ok(Some((frame, len)))
    }

    /// Words without secrets.
    #[must_use]
    pub fn masked(&self, words: &str) -> String {
        self.filter.as_ref().map_or_else(|| words.to_owned(), |filter| filter.words(words))
    }

    /// Adds words of the node itself to a step's standard error, within the cap as all output, and then what is to be noted
    /// there. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn say(&mut self, at: Timestamp, step: u16, words: &str, note: Option<Content>) -> Result<(), Error> {
        let (mut out, mut place) = (Vec::new(), self.place);
        self.last = (at, step);
        self.mark(&mut place, &mut out);
        for piece in self.masked(words).as_bytes().chunks(MAX_FRAME_BYTES) {
            let bytes = piece[..piece.len().min(self.room(&place))].to_vec();
            if !bytes.is_empty() {
                self.put(Content::Output(Stream::Stderr, bytes), &mut place, &mut out);
            }
        }
        let noted = usize::from(note.is_some());
        if let Some(note) = note {
            self.put(note, &mut place, &mut out);
        }
        self.commit(&out, place)?;
        self.notes += noted;
        Ok(())
    }

    /// Adds output of what the node does itself for a step; what it says is heard. Blocking.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::BadSpool`] when it says too much, and [`Error::Unmasked`] as [`SpoolCopier::pump`].
    pub fn output(
        &mut self,
        at: Timestamp,
        step: u16,
        stream: Stream,
        bytes: Vec<u8>,
    ) -> Result<Vec<Event>, Error> {
        let (mut out, mut place, mut heard) = (Vec::new(), self.place, Vec::new());
        for bytes in bytes.chunks(MAX_FRAME_BYTES / 2).map(<[u8]>::to_vec) {
            let piece = Piece { at, step, stream, spool_end: place.read, bytes };
            let groups = self.filtered(piece, &mut heard)?;
            groups.into_iter().for_each(|group| self.take(group, &mut place, &mut out));
        }
        let mut events = Vec::new();
        self.hear(&mut heard, &mut events)?;
        self.commit(&out, place)?;
        Ok(events)
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
        let filled = fill(&spool, &mut bytes, self.place.read);
        bytes.truncate(filled.map_err(|source| Error::Io { path: path(), action: "read", source })?);
        Ok(bytes)
    }

    /// Encodes output for the log, cut at the cap. Pieces of a group say that it goes on: without its last one it does not count.
    fn take(&mut self, group: Group, place: &mut Place, out: &mut Vec<u8>) {
        let end = group.last().map_or(place.spool, |piece| piece.spool_end);
        let shown = group.iter().rposition(|piece| !piece.bytes.is_empty());
        for (at, piece) in group.into_iter().enumerate() {
            self.last = (piece.at, piece.step);
            place.spool = if shown.is_some_and(|last| at < last) { end | GOES_ON } else { end };
            let mut bytes = piece.bytes;
            let kept = bytes.len().min(self.room(place));
            place.dropped += (bytes.len() - kept) as u64;
            bytes.truncate(kept);
            if !bytes.is_empty() {
                self.put(Content::Output(piece.stream, bytes), place, out);
            }
        }
        place.spool = end;
        place.recorded &= !GOES_ON;
        if !place.marked || place.spool - place.recorded >= MARK_BYTES {
            self.mark(place, out);
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

    fn put(&self, content: Content, place: &mut Place, out: &mut Vec<u8>) {
        let ((at, step), before) = (self.last, out.len());
        let frame = Frame { at, step, spool_end: place.spool, offset: place.output, content };
        frame.encode(out);
        place.output += frame.output_len();
        place.file += (out.len() - before) as u64;
        place.recorded = place.spool;
    }

    /// Bytes of output that may be added.
    fn room(&self, place: &Place) -> usize {
        if place.file >= self.limits.output.saturating_mul(2).saturating_add(FILE_BYTES) {
            return 0;
        }
        self.limits.output.saturating_sub(place.output) as usize
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

    fn bad_spool(&self, why: String) -> Error {
        Error::BadSpool { path: self.spool_path.clone(), why }
    }

    fn log_error(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { path: self.log_path.clone(), action, source }
    }
}

/// Reads a log through a buffer that its length does not enlarge, and cuts off a frame or a group that was not written whole: it is
/// written again from the spool. Time and step of the last frame.
fn replay(
    log: &File,
    path: &Path,
    place: &mut Place,
    seen: &mut dyn FnMut(&Frame),
) -> Result<(Timestamp, u16), Error> {
    let failed = |action| move |source| Error::Io { path: path.to_owned(), action, source };
    let (mut bytes, mut last) = (vec![0; REPLAY_BYTES], (Timestamp(0), 0));
    // Frames of a group are only seen when it is whole.
    let (mut group, mut whole) = (Vec::new(), 0);
    loop {
        let filled = fill(log, &mut bytes, place.file).map_err(failed("read"))?;
        let mut used = 0;
        while let Some((frame, len)) = Frame::decode(&bytes[used..filled]) {
            used += len;
            let goes_on = frame.spool_end & GOES_ON != 0;
            group.push(frame);
            if goes_on {
                continue;
            }
            whole = place.file + used as u64;
            for frame in group.drain(..) {
                last = (frame.at, frame.step);
                place.output += frame.output_len();
                place.spool = frame.spool_end & !GOES_ON;
                place.marked |= matches!(frame.content, Content::Dropped(_));
                seen(&frame);
            }
        }
        if used == 0 {
            break;
        }
        place.file += used as u64;
    }
    place.file = whole;
    log.set_len(whole).map_err(failed("truncate"))?;
    Ok(last)
}

/// A piece of a file is no event of its own.
fn is_piece(kind: &wire::FrameKind) -> bool {
    matches!(kind, wire::FrameKind::File { .. })
}

fn is_end(kind: &wire::FrameKind) -> bool {
    matches!(kind, wire::FrameKind::OrderOver { .. })
}

/// The output in a frame of init's; else the frame.
fn output_of(frame: wire::Frame) -> Result<(Stream, Vec<u8>), wire::Frame> {
    match frame.kind {
        wire::FrameKind::Stdout(bytes) => Ok((Stream::Stdout, bytes)),
        wire::FrameKind::Stderr(bytes) => Ok((Stream::Stderr, bytes)),
        _ => Err(frame),
    }
}
