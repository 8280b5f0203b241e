//! The one appender of frames, and the pumps that feed it. Whole frames, in the order of writing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use init::wire::{Frame, FrameKind, MAX_CHUNK};

/// The spool, open for appending.
#[derive(Debug)]
pub struct Spool(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// Rung for the node when there is more than output; nobody may hear it.
    bell: Option<File>,
    /// The order whose output is taken.
    open: Option<u32>,
    /// A write failed: a part of a frame may stand at the end, and nothing may stand behind that.
    failed: Option<i32>,
}

impl Spool {
    /// Takes a file opened for appending, and a FIFO that does not block.
    pub fn new(file: File, bell: Option<File>) -> Self {
        Self(Mutex::new(Inner { file, bell, open: None, failed: None }))
    }

    /// Appends one frame that is no output.
    pub fn append(&self, step: u16, kind: FrameKind) -> io::Result<()> {
        let mut inner = self.lock();
        match &kind {
            FrameKind::OrderStarted { order } => inner.open = Some(*order),
            // Later output of what it left running is dropped: an order's frames lie between its boundaries.
            FrameKind::OrderOver { .. } => inner.open = None,
            _ => {}
        }
        let rings = !matches!(kind, FrameKind::File { .. });
        inner.write(step, kind)?;
        if let Some(bell) = inner.bell.as_mut().filter(|_| rings) {
            // Full: the node has not come to it yet, and will hear it.
            let _unheard = bell.write(&[0]);
        }
        Ok(())
    }

    /// Output that arrives after its order's end is dropped.
    fn append_output(&self, order: u32, step: u16, kind: FrameKind) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.open == Some(order) { inner.write(step, kind) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies a pipe until its end. Goes on reading after the step's end, so that nobody blocks on a full pipe.
    pub fn pump(
        &self,
        (order, step): (u32, u16),
        mut pipe: impl Read,
        kind: fn(Vec<u8>) -> FrameKind,
    ) -> io::Result<()> {
        let mut chunk = vec![0; MAX_CHUNK];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => self.append_output(order, step, kind(chunk[..n].to_vec()))?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Inner {
    fn write(&mut self, step: u16, kind: FrameKind) -> io::Result<()> {
        if let Some(code) = self.failed {
            return Err(io::Error::from_raw_os_error(code));
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let written = self.file.write_all(&Frame { at_ms, step, kind }.encode());
        self.failed = written.as_ref().err().map(|error| error.raw_os_error().unwrap_or_default());
        written
    }
}
