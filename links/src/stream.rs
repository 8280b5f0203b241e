//! The bytes of a link: TLS over TCP, and the link's place among all links of the port that accepted it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsStream;

/// A link's stream. Dropping it closes the link and, on the side that accepted, frees its place.
#[derive(Debug)]
pub struct LinkStream {
    tls: TlsStream<TcpStream>,
    _place: Option<OwnedSemaphorePermit>,
}

impl LinkStream {
    pub(crate) fn dialled(tls: TlsStream<TcpStream>) -> Self {
        Self { tls, _place: None }
    }

    pub(crate) fn accepted(tls: TlsStream<TcpStream>, place: OwnedSemaphorePermit) -> Self {
        Self { tls, _place: Some(place) }
    }

    /// The connection and the TLS session on it.
    #[must_use]
    pub fn get_ref(&self) -> (&TcpStream, &CommonState) {
        self.tls.get_ref()
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
