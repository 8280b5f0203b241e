//! Logs and metrics of the process: set up once, served on a listener of its own.
//!
//! Names of the metrics that this crate counts are described here. Must not know what the other crates count.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use warp::Filter;

use crate::config;

/// Requests by class of status.
pub const HTTP_REQUESTS: &str = "troupe_http_requests_total";
/// Seconds until the head of an answer.
pub const HTTP_SECONDS: &str = "troupe_http_request_duration_seconds";
/// Connections refused at the caps.
pub const HTTP_REFUSED: &str = "troupe_http_connections_refused_total";
/// Webhooks by forge and outcome.
pub const WEBHOOKS: &str = "troupe_webhooks_total";
/// Connections to the cluster port by outcome.
pub const LINKS: &str = "troupe_links_total";
/// When this node's certificate expires, in Unix time.
pub const CERTIFICATE_EXPIRY: &str = "troupe_certificate_expiry_timestamp_seconds";

/// Seconds, from a sync of a fast disk to a job.
const BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
    600.0,
];
/// Of what is counted and not timed: such a metric's name ends so.
const COUNTED: &str = "_entries";
const COUNT_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Levels that cannot be read.
    #[error("log.level {level:?}: {why}")]
    Level {
        /// As configured.
        level: String,
        /// The parser's words.
        why: String,
    },
    /// Set up before, in this process.
    #[error("telemetry is set up already: {why}")]
    Twice {
        /// The library's words.
        why: String,
    },
}

/// Starts logging to stderr.
///
/// # Errors
/// [`Error`].
pub fn log(log: &config::Log) -> Result<(), Error> {
    let level = |why: tracing_subscriber::filter::ParseError| Error::Level {
        level: log.level.clone(),
        why: why.to_string(),
    };
    // At info, openraft tells of each step of an election and dumps its state, and ractor names an actor by a number: whoever
    // wants that names them. Below info, ractor_cluster logs whole payloads, which nobody may want.
    // Of a member that is away it warns several times a second; raft-store says so once.
    let filter = format!(
        "openraft=warn,openraft::core::heartbeat=error,openraft::replication=error,openraft::engine::handler=error,\
         ractor=warn,{},ractor_cluster=warn",
        log.level
    );
    let filter = EnvFilter::try_new(filter).map_err(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        config::LogFormat::Text => builder.try_init(),
        config::LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|why| Error::Twice { why: why.to_string() })
}

/// Starts counting.
///
/// # Errors
/// [`Error::Twice`].
pub fn metrics() -> Result<PrometheusHandle, Error> {
    let twice = |why: metrics_exporter_prometheus::BuildError| Error::Twice { why: why.to_string() };
    let handle = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix(COUNTED.to_owned()), &COUNT_BUCKETS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(twice)?;
    describe_counter!(HTTP_REQUESTS, "HTTP requests by class of status.");
    describe_histogram!(HTTP_SECONDS, "Seconds until the head of an HTTP answer.");
    describe_counter!(HTTP_REFUSED, "HTTP connections refused at the caps.");
    describe_counter!(WEBHOOKS, "Webhooks by forge and outcome.");
    describe_counter!(LINKS, "Connections from other nodes by outcome.");
    describe_gauge!(CERTIFICATE_EXPIRY, "When this node's certificate expires, in seconds since 1970.");
    counter!(HTTP_REFUSED).increment(0);
    raft_store::describe_metrics();
    actors::metrics::describe();
    metrics_process::Collector::default().describe();
    Ok(handle)
}

/// Everything counted so far, in Prometheus' text format.
#[must_use]
pub fn render(handle: &PrometheusHandle) -> String {
    metrics_process::Collector::default().collect();
    handle.render()
}

/// What became of connections to the cluster port, and when this node's certificate for it expires; links counts by itself
/// and knows no metrics.
pub fn record_links(links: &links::Counters, expires: SystemTime) {
    let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    gauge!(CERTIFICATE_EXPIRY).set(expires.as_secs_f64());
    let outcomes = [
        ("accepted", links.accepted),
        ("refused", links.refused),
        ("timed_out", links.timed_out),
        ("over_limit", links.over_limit),
        ("too_many_links", links.too_many_links),
        ("strangers", links.strangers),
        ("strangers_over_limit", links.strangers_over_limit),
    ];
    for (outcome, count) in outcomes {
        counter!(LINKS, "outcome" => outcome).absolute(count);
    }
}

/// Serves `/metrics` until `shutdown`; `collect` is called before each answer.
pub async fn serve(
    listener: TcpListener,
    handle: PrometheusHandle,
    collect: impl Fn() + Clone + Send + Sync + 'static,
    shutdown: CancellationToken,
) {
    let upkeep = {
        let (handle, shutdown) = (handle.clone(), shutdown.clone());
        async move {
            while tokio::time::timeout(Duration::from_secs(5), shutdown.cancelled()).await.is_err() {
                handle.run_upkeep();
            }
        }
    };
    let route = warp::path!("metrics").and(warp::get()).map(move || {
        collect();
        let text = render(&handle);
        warp::reply::with_header(text, "content-type", "text/plain; version=0.0.4; charset=utf-8")
    });
    let served = warp::serve(route).incoming(listener).graceful(shutdown.cancelled_owned()).run();
    tokio::join!(upkeep, served);
}
