//! Serves this node's shelf to other members.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use links::Link;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{ByteStream, Shelf, Wanted};
use crate::faults::{self, Point};
use crate::supervisor::Child;

/// Bounds of the service.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Connections at one time; one past that is closed.
    pub connections: usize,
    /// A connection that is silent for so long is asked for a sign of life, and closed without one after as long again.
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 256, keep_alive: Duration::from_secs(20) }
    }
}

type Body = StreamBody<futures::stream::BoxStream<'static, io::Result<Frame<bytes::Bytes>>>>;

/// The child that serves links of protocol Bulk.
#[must_use]
pub fn child(shelf: Arc<dyn Shelf>, incoming: mpsc::Receiver<Link>, options: Options) -> Child {
    let incoming = Arc::new(tokio::sync::Mutex::new(incoming));
    Child::task("bulk", move |stop| {
        let (shelf, incoming) = (Arc::clone(&shelf), Arc::clone(&incoming));
        Box::pin(async move {
            // Held for this life of the task; the life before has ended.
            let mut incoming = incoming.lock().await;
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    never = faults::near(Point::Bulk) => match never {},
                    Some(_) = connections.join_next() => {}
                    link = incoming.recv() => match link {
                        Some(link) if connections.len() < options.connections => {
                            connections.spawn(serve(link, Arc::clone(&shelf), options));
                        }
                        Some(link) => tracing::warn!(peer = %link.peer, "too many bulk connections, closed"),
                        None => return Err("the cluster port is closed".into()),
                    },
                }
            }
        })
    })
}

async fn serve(link: Link, shelf: Arc<dyn Shelf>, options: Options) {
    let peer = link.peer.clone();
    let service = service_fn(move |request| {
        let shelf = Arc::clone(&shelf);
        async move { Ok::<_, Infallible>(answer(&*shelf, request).await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(options.keep_alive)
        .serve_connection(TokioIo::new(link.stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a bulk connection broke");
    }
}

async fn answer(shelf: &dyn Shelf, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, None);
    }
    let found = match Wanted::parse(request.uri().path()) {
        Some(Wanted::Log { attempt, from, follow }) => shelf.log(attempt, from, follow).await,
        Some(Wanted::Artifact { digest }) => shelf.artifact(digest).await,
        None => return reply(StatusCode::BAD_REQUEST, None),
    };
    match found {
        Some(bytes) => reply(StatusCode::OK, Some(bytes)),
        None => reply(StatusCode::NOT_FOUND, None),
    }
}

fn reply(status: StatusCode, bytes: Option<ByteStream>) -> Response<Body> {
    let bytes = bytes.unwrap_or_else(|| futures::stream::empty().boxed());
    let mut response = Response::new(StreamBody::new(bytes.map(|b| b.map(Frame::data)).boxed()));
    *response.status_mut() = status;
    response
}
