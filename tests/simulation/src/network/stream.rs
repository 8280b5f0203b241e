//! One end of a stream: what has arrived, who waits for it, and the bytes that may be under way.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{After, Parcel, SimNetwork};

/// Bytes that are sent before the other side has read any.
const WINDOW: usize = 256 * 1024;

/// One end, as the network has it.
#[derive(Debug, Default)]
pub(super) struct End {
    inbox: VecDeque<u8>,
    opened: bool,
    closed: bool,
    was_reset: bool,
    /// Nobody holds this end any more.
    pub dead: bool,
    /// Bytes sent to this end that it has not read.
    unread: usize,
    reader: Option<Waker>,
    /// Waits for room at the other end.
    pub writer: Option<Waker>,
}

impl End {
    pub(super) fn opened() -> Self {
        Self { opened: true, ..Self::default() }
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(super) fn open(&mut self, wake: &mut Vec<Waker>) {
        self.opened = true;
        wake.extend(self.reader.take());
    }

    pub(super) fn take(&mut self, bytes: Vec<u8>, wake: &mut Vec<Waker>) {
        self.inbox.extend(bytes);
        wake.extend(self.reader.take());
    }

    pub(super) fn close(&mut self, wake: &mut Vec<Waker>) {
        self.closed = true;
        wake.extend(self.reader.take());
    }

    pub(super) fn reset(&mut self, wake: &mut Vec<Waker>) {
        self.was_reset = true;
        wake.extend(self.reader.take());
        wake.extend(self.writer.take());
    }
}

/// One end, as a node has it. Dropping it closes the stream.
#[derive(Debug)]
pub struct SimStream {
    network: SimNetwork,
    conn: usize,
    end: usize,
}

impl SimStream {
    pub(super) fn new(network: SimNetwork, conn: usize, end: usize) -> Self {
        Self { network, conn, end }
    }

    /// Whether the other side has answered that it is there.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.lock();
        let Some(conn) = state.conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        };
        let end = &mut conn.ends[self.end];
        match (end.opened, end.was_reset) {
            (_, true) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            (true, _) => Poll::Ready(Ok(())),
            _ => {
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut after = After::default();
        let result = {
            let mut state = self.network.lock();
            let Some(conn) = state.conns.get_mut(&self.conn) else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            let (me, other) = (self.end, 1 - self.end);
            let end = &mut conn.ends[me];
            if end.was_reset {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            } else if end.inbox.is_empty() && !end.closed {
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            } else {
                let count = buf.remaining().min(end.inbox.len());
                buf.put_slice(&end.inbox.make_contiguous()[..count]);
                end.inbox.drain(..count);
                end.unread -= count;
                after.wake.extend(conn.ends[other].writer.take());
                Poll::Ready(Ok(()))
            }
        };
        after.run();
        result
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.network.lock();
        let (me, other) = (self.end, 1 - self.end);
        // Sometimes only a part goes at first, as the system likes.
        let whole = state.rng.random_bool(0.9);
        let part = if whole { bytes.len() } else { state.rng.random_range(1..=bytes.len().max(1)) };
        let Some(conn) = state.conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if conn.ends[me].was_reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW.saturating_sub(conn.ends[other].unread);
        if room == 0 {
            conn.ends[me].writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = part.min(room).min(bytes.len());
        conn.ends[other].unread += count;
        state.send(self.conn, other, Parcel::Data(bytes[..count].to_vec()));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.lock().send(self.conn, 1 - self.end, Parcel::Close);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.network.lock().die(self.conn, self.end, false);
    }
}
