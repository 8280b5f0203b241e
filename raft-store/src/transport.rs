//! How stores reach each other: a seam, so that a simulated network can carry what is said.
//!
//! A transport says who is at the other end and must have checked it; what is said is none of its business.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use links::{Dialer, Link, PeerName, Protocol};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Stream for T {}

/// A stream to another node.
#[derive(Debug)]
pub struct Channel {
    /// Bytes both ways; dropping it closes the channel.
    pub stream: Box<dyn Stream>,
    /// The other's name, checked by the transport.
    pub peer: String,
    /// The other's address, for people.
    pub remote: String,
}

/// Opens channels to other nodes.
pub trait Transport: Debug + Send + Sync {
    /// Opens a channel to `addr` within `timeout`. With `expect`, only to the node of that name.
    ///
    /// # Errors
    /// The transport's, in words.
    fn dial<'a>(
        &'a self,
        addr: &'a str,
        expect: Option<&'a str>,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Channel>>;
}

/// Takes channels that other nodes open.
pub trait Listener: Debug + Send {
    /// The next one; none when there will be no more.
    fn accept(&mut self) -> BoxFuture<'_, Option<Channel>>;
}

impl Transport for Dialer {
    fn dial<'a>(
        &'a self,
        addr: &'a str,
        expect: Option<&'a str>,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<Channel>> {
        Box::pin(async move {
            let name: Option<PeerName> = expect.map(str::parse).transpose().map_err(io::Error::other)?;
            let dialled = Dialer::dial(self, addr, Protocol::Raft, name.as_ref(), timeout).await;
            dialled.map(Channel::from).map_err(io::Error::other)
        })
    }
}

impl Listener for mpsc::Receiver<Link> {
    fn accept(&mut self) -> BoxFuture<'_, Option<Channel>> {
        Box::pin(async { self.recv().await.map(Channel::from) })
    }
}

impl From<Link> for Channel {
    fn from(link: Link) -> Self {
        let (peer, remote) = (link.peer.to_string(), link.remote.to_string());
        Self { stream: Box::new(link.stream), peer, remote }
    }
}
