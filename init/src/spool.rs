//! The one appender of frames, and the pumps that feed it. Whole frames, in the order of writing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use init::wire::{Frame, FrameKind, MAX_CHUNK};

/// The spool, open for appending.
#[derive(Debug)]
pub struct Spool(Mutex<(File, u16)>);

impl Spool {
    /// Takes a file opened for appending.
    pub fn new(file: File) -> Self {
        Self(Mutex::new((file, 0)))
    }

    /// Appends one frame of a step.
    pub fn append(&self, step: u16, kind: FrameKind) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1 = step;
        write(&mut inner.0, step, kind)
    }

    /// Output that arrives after its step's end is dropped: a step's frames lie between its boundaries.
    fn append_output(&self, step: u16, kind: FrameKind) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.1 == step { write(&mut inner.0, step, kind) } else { Ok(()) }
    }

    /// Ends a step: later output of what it left running is dropped.
    pub fn finish(&self, step: u16, kind: FrameKind) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1 = u16::MAX;
        write(&mut inner.0, step, kind)
    }

    /// Copies a pipe until its end. Goes on reading after the step's end, so that nobody blocks on a full pipe.
    pub fn pump(&self, step: u16, mut pipe: impl Read, kind: fn(Vec<u8>) -> FrameKind) -> io::Result<()> {
        let mut chunk = vec![0; MAX_CHUNK];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => self.append_output(step, kind(chunk[..n].to_vec()))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn write(file: &mut File, step: u16, kind: FrameKind) -> io::Result<()> {
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    file.write_all(&Frame { at_ms, step, kind }.encode())
}
