//! Reads logs by offset, and follows those that are being written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use domain::AttemptId;
use futures::Stream as FutureStream;

use super::frame::{Content, Frame, MAX_FRAME_BYTES};
use super::{Error, LogStore};

/// Frames read at a time, in bytes of file.
const READ_BYTES: usize = 256 * 1024;

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Frames from the wanted offset on; the first is cut where the offset falls within it.
    pub frames: Vec<Frame>,
    /// Where the next page begins, in bytes of output.
    pub next: u64,
    /// Nothing comes after this page, now or later.
    pub end: bool,
}

/// Reads a log from an output offset: at least one frame if there is one, then up to about `max_bytes` of output.
///
/// # Errors
/// [`Error::NotHere`] or [`Error::Io`].
pub async fn read(store: &LogStore, attempt: AttemptId, from: u64, max_bytes: u64) -> Result<Page, Error> {
    // Taken before the file is read: what is written later belongs to a later page.
    let live = store.progress(attempt).is_some();
    let mut cursor = Cursor::open(store, attempt, from)?;
    let (cursor, frames) = blocking(move || {
        let mut frames = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes {
            let Some(batch) = cursor.next_batch(u64::MAX)? else { return Ok((cursor, frames)) };
            bytes += batch.iter().map(Frame::output_len).sum::<u64>();
            frames.extend(batch);
        }
        Ok((cursor, frames))
    })
    .await?;
    let at_end = cursor.at_end()?;
    Ok(Page { frames, next: cursor.offset, end: at_end && !live })
}

/// Follows a log from an output offset until it ends.
pub fn follow(
    store: LogStore,
    attempt: AttemptId,
    from: u64,
) -> impl FutureStream<Item = Result<Frame, Error>> {
    async_stream::try_stream! {
        let mut progress = store.progress(attempt);
        let mut cursor = Cursor::open(&store, attempt, from)?;
        loop {
            let limit = progress.as_mut().map(|receiver| *receiver.borrow_and_update());
            let up_to = limit.map_or(u64::MAX, |written| written.file_bytes);
            loop {
                let (back, batch) = blocking(move || { let batch = cursor.next_batch(up_to)?; Ok((cursor, batch)) }).await?;
                cursor = back;
                let Some(batch) = batch else { break };
                for frame in batch {
                    yield frame;
                }
            }
            match (limit, progress.as_mut()) {
                (Some(written), Some(receiver)) if !written.ended => {
                    // An error means that the writer is gone: then what is on disk is all.
                    if receiver.changed().await.is_err() {
                        progress = None;
                    }
                }
                _ => break,
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|join| {
        Err(Error::Io { path: PathBuf::new(), action: "read", source: io::Error::other(join) })
    })
}

struct Cursor {
    file: File,
    path: PathBuf,
    /// Start of the next frame in the file.
    position: u64,
    /// The next wanted byte of output.
    offset: u64,
}

impl Cursor {
    fn open(store: &LogStore, attempt: AttemptId, from: u64) -> Result<Self, Error> {
        let path = store.log_path(attempt);
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path, position: 0, offset: from }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::NotHere { attempt }),
            Err(source) => Err(Error::Io { path, action: "open", source }),
        }
    }

    fn at_end(&self) -> Result<bool, Error> {
        let len = self.file.metadata().map_err(|s| self.io("stat", s))?.len();
        Ok(self.position >= len)
    }

    /// The next whole frames at or after the wanted offset, none of them past file position `up_to`.
    fn next_batch(&mut self, up_to: u64) -> Result<Option<Vec<Frame>>, Error> {
        loop {
            let want = READ_BYTES.max(MAX_FRAME_BYTES + 64).min(up_to.saturating_sub(self.position) as usize);
            let mut bytes = Vec::with_capacity(want);
            self.file.seek(SeekFrom::Start(self.position)).map_err(|s| self.io("seek", s))?;
            (&self.file).take(want as u64).read_to_end(&mut bytes).map_err(|s| self.io("read", s))?;
            let (mut used, mut frames) = (0, Vec::new());
            while let Some((frame, len)) = Frame::decode(&bytes[used..]) {
                used += len;
                frames.extend(self.wanted(frame));
            }
            self.position += used as u64;
            if !frames.is_empty() {
                return Ok(Some(frames));
            }
            if used == 0 {
                return Ok(None);
            }
        }
    }

    /// The frame, cut to what is wanted; none when it lies before the offset.
    fn wanted(&mut self, mut frame: Frame) -> Option<Frame> {
        let end = frame.offset + frame.output_len();
        if let Content::Output(_, bytes) = &mut frame.content {
            if end <= self.offset {
                return None;
            }
            let skip = self.offset.saturating_sub(frame.offset);
            bytes.drain(..skip as usize);
            frame.offset += skip;
        } else if frame.offset < self.offset {
            return None;
        }
        self.offset = end.max(self.offset);
        Some(frame)
    }

    fn io(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), action, source }
    }
}
