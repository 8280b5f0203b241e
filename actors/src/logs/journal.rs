//! What an attempt's course was, beside its log and never shown: what its init told, which commands its output gave, and what the
//! node has to remember of it. A node that starts again reads it, and comes to the same course.
//!
//! `[length u32][crc32 u32][place in the spool u64][kind u8][content]`, little-endian. An entry is written when everything before
//! its place is in the log; a command before the output that it stood in, and without that it does not count.
//! Must not know what a course is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use init::wire;
use raft_store::codec;
use serde::{Deserialize, Serialize};
use workflow::steps::commands::Command;

const HEAD: usize = 8;
const FIXED: usize = 9;
/// Bytes of all entries, at most: the job can make as many as it likes.
pub(super) const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Something that belongs to the course of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Init told it; no output.
    Told(wire::Frame),
    /// The step's output said it.
    Heard(Command),
    /// The node wrote it down for itself.
    Noted(Vec<u8>),
}

/// A command as it is kept.
#[derive(Serialize, Deserialize)]
enum Kept {
    Annotate(domain::Annotation),
    Mask(String),
    Stop(String),
    Output(String, String),
    State(String, String),
    Refused(bool),
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    bytes: u64,
}

impl Journal {
    /// Reads what is there, and cuts off what does not count when the log tells of so much spool: events, and how much of the spool
    /// log and journal tell of.
    pub(super) fn open(path: &Path, mut place: u64) -> io::Result<(Self, Vec<Event>, u64)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(MAX_BYTES * 2).read_to_end(&mut bytes)?;
        let (mut found, mut used) = (Vec::new(), 0);
        while let Some((at, event, len)) = decode(&bytes[used..]) {
            used += len;
            if !matches!(event, Event::Heard(_)) {
                place = place.max(at);
            }
            found.push((at, event, used));
        }
        let counts = found.iter().rposition(|(at, ..)| *at <= place).map_or(0, |last| last + 1);
        found.truncate(counts);
        let bytes = found.last().map_or(0, |(_, _, end)| *end) as u64;
        file.set_len(bytes)?;
        Ok((Self { file, bytes }, found.into_iter().map(|(_, event, _)| event).collect(), place))
    }

    /// Adds events, each with its place. True when there is room for them; else nothing is written.
    pub(super) fn add(&mut self, events: &[(u64, Event)]) -> io::Result<bool> {
        let mut out = Vec::new();
        for (place, event) in events {
            encode(*place, event, &mut out);
        }
        if self.bytes + out.len() as u64 > MAX_BYTES {
            return Ok(false);
        }
        if let Err(error) = self.file.write_all(&out) {
            // A part of an entry would hide what is written later; if it stays, so does the error.
            let _stays = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += out.len() as u64;
        Ok(true)
    }
}

fn encode(place: u64, event: &Event, out: &mut Vec<u8>) {
    let (kind, content) = match event {
        Event::Told(frame) => (0, frame.encode()),
        // It cannot fail: there is nothing in it that has no form.
        Event::Heard(command) => (1, codec::encode(&kept(command)).unwrap_or_default()),
        Event::Noted(bytes) => (2, bytes.clone()),
    };
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.extend_from_slice(&place.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&content);
    let payload = &out[start + HEAD..];
    let (len, crc) = (payload.len() as u32, crc32fast::hash(payload));
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + HEAD].copy_from_slice(&crc.to_le_bytes());
}

/// The first entry and its length; none when it is not whole.
fn decode(bytes: &[u8]) -> Option<(u64, Event, usize)> {
    let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(bytes.get(4..HEAD)?.try_into().ok()?);
    let payload = bytes.get(HEAD..HEAD.checked_add(len)?)?;
    if len < FIXED || crc32fast::hash(payload) != crc {
        return None;
    }
    let place = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
    let content = &payload[FIXED..];
    let event = match payload[8] {
        0 => Event::Told(wire::Frame::decode(content).ok()??.0),
        1 => Event::Heard(heard(codec::decode(content, content.len()).ok()?)),
        2 => Event::Noted(content.to_vec()),
        _ => return None,
    };
    Some((place, event, HEAD + len))
}

fn kept(command: &Command) -> Kept {
    match command.clone() {
        Command::Annotate(annotation) => Kept::Annotate(annotation),
        Command::Mask(secret) => Kept::Mask(secret),
        Command::Stop(token) => Kept::Stop(token),
        Command::Output(name, value) => Kept::Output(name, value),
        Command::State(name, value) => Kept::State(name, value),
        Command::Refused(name) => Kept::Refused(name == "set-env"),
        // Not for the course; they never come here.
        Command::Debug | Command::Shown => Kept::Stop(String::new()),
    }
}

fn heard(kept: Kept) -> Command {
    match kept {
        Kept::Annotate(annotation) => Command::Annotate(annotation),
        Kept::Mask(secret) => Command::Mask(secret),
        Kept::Stop(token) => Command::Stop(token),
        Kept::Output(name, value) => Command::Output(name, value),
        Kept::State(name, value) => Command::State(name, value),
        Kept::Refused(set_env) => Command::Refused(if set_env { "set-env" } else { "add-path" }),
    }
}
