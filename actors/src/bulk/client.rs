//! Fetches from other nodes' shelves, one link per fetch, so that a slow reader holds up nobody else.

use std::io;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use domain::NodeId;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use links::{Dialer, PeerName, Protocol};

use super::{ByteStream, Others, Wanted};
use crate::replica::SharedReplica;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not in the replicated state.
    #[error("node {0} is not known")]
    UnknownNode(NodeId),
    /// It is not there.
    #[error("node {0} does not have it")]
    NotThere(NodeId),
    /// No link.
    #[error("node {node} cannot be reached: {source}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// Why.
        source: links::Error,
    },
    /// The exchange failed.
    #[error("fetching from node {node} failed: {why}")]
    Broken {
        /// Which.
        node: NodeId,
        /// The library's words, or the status.
        why: String,
    },
    /// Too slow.
    #[error("node {node} did not begin to answer within {timeout:?}")]
    TimedOut {
        /// Which.
        node: NodeId,
        /// The limit.
        timeout: Duration,
    },
}

/// Fetches in this node's name.
#[derive(Clone)]
pub struct Client {
    dialer: Dialer,
    replica: SharedReplica,
    timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Others for Client {
    fn artifact(&self, node: NodeId, digest: [u8; 32]) -> BoxFuture<'_, Result<ByteStream, FetchError>> {
        self.fetch(node, Wanted::Artifact { digest }).boxed()
    }
}

impl Client {
    /// A client that waits `timeout` for a link, and again for the begin of an answer.
    #[must_use]
    pub fn new(dialer: Dialer, replica: SharedReplica, timeout: Duration) -> Self {
        Self { dialer, replica, timeout }
    }

    /// Fetches from a node. The stream ends with an error when the node is lost half-way; logs are then taken up again
    /// at the offset reached.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, node: NodeId, wanted: Wanted) -> Result<ByteStream, FetchError> {
        let broken = |why: String| FetchError::Broken { node, why };
        let state = self.replica.state();
        let record = state.nodes.get(&node).ok_or(FetchError::UnknownNode(node))?;
        let peer: PeerName = record.name.as_str().parse().map_err(|_| FetchError::UnknownNode(node))?;
        let link = self
            .dialer
            .dial(&record.cluster_addr, Protocol::Bulk, Some(&peer), self.timeout)
            .await
            .map_err(|source| FetchError::Unreachable { node, source })?;
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.timeout)
            .keep_alive_timeout(self.timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(link.stream))
            .await
            .map_err(|e| broken(e.to_string()))?;
        let mut connection = Box::pin(connection);
        let request = Request::get(format!("http://node{}", wanted.path()))
            .body(Empty::<Bytes>::new())
            .map_err(|e| broken(e.to_string()))?;
        let response = tokio::select! {
            response = tokio::time::timeout(self.timeout, sender.send_request(request)) => {
                response.map_err(|_| FetchError::TimedOut { node, timeout: self.timeout })?
            }
            ended = &mut connection => return Err(broken(format!("the connection ended: {ended:?}"))),
        };
        let response = response.map_err(|e| broken(e.to_string()))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(FetchError::NotThere(node)),
            status => return Err(broken(format!("status {status}"))),
        }
        let mut body = response.into_body();
        // The connection is driven by whoever reads, and goes when the reader does.
        let bytes = stream! {
            let _open = sender;
            let mut over = false;
            loop {
                let frame = tokio::select! {
                    biased;
                    frame = body.frame() => frame,
                    ended = &mut connection, if !over => {
                        over = true;
                        if let Err(error) = ended {
                            tracing::debug!(%error, "a bulk connection broke");
                        }
                        continue;
                    }
                };
                match frame {
                    None => break,
                    Some(Ok(frame)) => if let Ok(data) = frame.into_data() {
                        yield Ok(data);
                    },
                    Some(Err(error)) => {
                        yield Err(io::Error::other(error));
                        break;
                    }
                }
            }
        };
        Ok(bytes.boxed())
    }
}
