//! The accept loop of the HTTP address: caps in all and per address, deadlines for headers, an orderly end.
//!
//! warp has none of these (architecture.md, section 9). Must not know any route.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::routes::Routes;
use crate::config;

/// Connections that are open, by address.
#[derive(Debug, Default)]
struct Open {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among the open connections; given back when dropped.
struct Place {
    open: Arc<Open>,
    address: IpAddr,
}

impl Open {
    fn enter(self: &Arc<Self>, address: IpAddr, limits: &config::Http) -> Option<Place> {
        let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let mine = open.entry(address).or_default();
        if total >= limits.max_connections || *mine >= limits.max_connections_per_address {
            if *mine == 0 {
                open.remove(&address);
            }
            return None;
        }
        *mine += 1;
        Some(Place { open: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Serves until `shutdown`; then no new connections, and requests under way get `grace` to end.
pub async fn serve(
    listener: TcpListener,
    limits: config::Http,
    routes: Routes,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let (open, tasks, graceful) = (Arc::new(Open::default()), TaskTracker::new(), GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => match open.enter(remote.ip(), &limits) {
                Some(place) => connection(stream, remote, place, &limits, &routes, &tasks, &graceful),
                None => {
                    metrics::counter!(crate::telemetry::HTTP_REFUSED).increment(1);
                    drop(stream);
                }
            },
            Err(error) => {
                // Out of descriptors, mostly: let connections end before the next try.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    tasks.close();
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::info!("HTTP connections were still open at the end");
    }
}

fn connection(
    stream: TcpStream,
    remote: SocketAddr,
    place: Place,
    limits: &config::Http,
    routes: &Routes,
    tasks: &TaskTracker,
    graceful: &GracefulShutdown,
) {
    // Events and logs are small writes that nobody answers: without this each may wait for the one before to be
    // acknowledged. A connection that is gone already says so when it is served.
    drop(stream.set_nodelay(true));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        .max_buf_size(64 * 1024);
    let service = TowerToHyperService::new(routes.service());
    let served = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
    tasks.spawn(async move {
        if let Err(error) = served.await {
            tracing::debug!(%error, %remote, "an HTTP connection ended in error");
        }
        drop(place);
    });
}
