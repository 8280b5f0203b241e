//! `troupe bench submit`: stages of submits, each right after a base line of fdatasync and withdrawn right after.
//!
//! Must not know how a submit is sent or a histogram is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::super::table::{pretty, say, table};
use super::super::{Client, Failure};
use super::disk::{Disk, Line, RECORD_BYTES};
use super::door::{Door, Links};
use super::figures::{Summary, per_second, ratio, shown};
use super::load::{self, Done, Stage};
use super::options::{List, list};
use super::scrape;
use super::withdraw::{self, Withdrawn};
use super::work::Work;

/// Most clients of a stage.
const MOST_CLIENTS: usize = 4096;
/// How long the base line is measured before each stage, and again after it.
const BASE_LINE: Duration = Duration::from_secs(1);
/// Open files beside the clients' connections.
const OTHER_FILES: u64 = 128;

/// `troupe bench submit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    links: Option<Links>,
    /// Submits over the HTTP API instead, each client with a connection of its own, spread over the addresses of --addr.
    /// A node takes no more than http.max_connections_per_address of one machine.
    #[arg(long, conflicts_with = "Links", required_unless_present = "nodes")]
    http: bool,
    /// Clients of each stage, 1 to 4096 each.
    #[arg(long, default_value = "1,64,1024", value_parser = |text: &str| list(text, 1, MOST_CLIENTS))]
    clients: List,
    /// Seconds of each stage.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// Submits of each stage, at most. Over HTTP less than queue.max_open_jobs, or nodes refuse what is over it.
    #[arg(long, default_value_t = 90_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max: u64,
    /// Directory for the base line's file, on the disk that the nodes have their logs on.
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Where a node's metrics are, as in http://127.0.0.1:7072/metrics; may be given for each node.
    #[arg(long, value_delimiter = ',')]
    metrics: Vec<String>,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    /// `links` or `http`.
    through: &'static str,
    /// Where the base line's file was.
    disk: PathBuf,
    record_bytes: usize,
    stages: Vec<Row>,
}

/// One stage.
#[derive(Debug, Serialize)]
struct Row {
    clients: usize,
    /// Submits that were answered or given up.
    submits: usize,
    accepted: usize,
    errors: BTreeMap<String, usize>,
    seconds: f64,
    submits_per_second: f64,
    latency: Option<Summary>,
    /// Just before and just after, on this machine.
    fdatasync: Line,
    /// Submits for each sync that one writer alone gets done in the same time.
    submits_per_fdatasync: Option<f64>,
    /// The median latency over that of a sync.
    latency_over_fdatasync: Option<f64>,
    /// Processor time of this command, which shares the machine with the nodes, in seconds.
    client_cpu_seconds: f64,
    /// By node, as far as --metrics tells.
    nodes: Vec<Node>,
    withdrawn: Withdrawn,
}

/// What a node counted during a stage.
#[derive(Debug, Serialize)]
struct Node {
    metrics: String,
    changes: Vec<scrape::Change>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, args: Args, json: bool, stop: CancellationToken) -> Result<u8, Failure> {
    let most = args.clients.0.iter().max().copied().unwrap_or_default();
    allow_open_files(most as u64 + OTHER_FILES)?;
    let disk = args.disk.canonicalize().map_err(|source| Failure::Disk { dir: args.disk.clone(), source })?;
    let work = Work::new()?;
    let door = match &args.links {
        Some(links) => Door::Links(links.open()?),
        None => Door::Http(client.clone()),
    };
    let mut report = Report { through: door.name(), disk, record_bytes: RECORD_BYTES, stages: Vec::new() };
    for (number, clients) in args.clients.0.iter().copied().enumerate() {
        if stop.is_cancelled() {
            break;
        }
        let length = Duration::from_secs(args.seconds);
        let stage = Stage { number, clients, length, most: args.max as usize };
        report.stages.push(measure(&door, &work, stage, &args.metrics, &report.disk, &stop).await?);
    }
    if json {
        pretty(&report)?
    } else {
        show(&report)?
    }
    Ok(u8::from(stop.is_cancelled() || report.stages.iter().any(Row::went_wrong)))
}

async fn measure(
    door: &Door,
    work: &Work,
    stage: Stage,
    metrics: &[String],
    dir: &std::path::Path,
    stop: &CancellationToken,
) -> Result<Row, Failure> {
    let mut fdatasync = Disk::default();
    fdatasync.measure(dir, BASE_LINE).await?;
    let before = scrapes(metrics).await?;
    let cpu = cpu_time();
    let done = load::run(door, work, stage, stop).await?;
    let client_cpu = cpu_time().saturating_sub(cpu);
    // The runs are withdrawn whatever the metrics and the disk are.
    let after = scrapes(metrics).await;
    let measured = fdatasync.measure(dir, BASE_LINE).await;
    let Done { elapsed, latencies, accepted, unsure, errors } = done;
    let count = accepted.len();
    let withdrawn = withdraw::all(door, accepted, unsure).await?;
    measured?;
    let fdatasync = fdatasync.line();
    let nodes = metrics.iter().zip(after?).zip(before);
    let nodes = nodes
        .map(|((url, after), before)| Node { metrics: url.clone(), changes: after.since(&before) })
        .collect();
    let (rate, latency) = (per_second(count, elapsed), latencies.summary());
    let medians = latency.zip(fdatasync.latency);
    Ok(Row {
        clients: stage.clients,
        submits: count + errors.values().sum::<usize>(),
        accepted: count,
        errors,
        seconds: elapsed.as_secs_f64(),
        submits_per_second: rate,
        latency,
        submits_per_fdatasync: ratio(rate, fdatasync.per_second),
        latency_over_fdatasync: medians.and_then(|(submit, sync)| ratio(submit.p50_ms, sync.p50_ms)),
        fdatasync,
        client_cpu_seconds: client_cpu.as_secs_f64(),
        nodes,
        withdrawn,
    })
}

async fn scrapes(urls: &[String]) -> Result<Vec<scrape::Samples>, Failure> {
    futures::future::try_join_all(urls.iter().map(|url| scrape::fetch(url))).await
}

/// Each client has a connection, which is an open file.
fn allow_open_files(wanted: u64) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(limit.current) {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    if enough(limit.maximum) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    Err(Failure::OpenFiles { wanted, allowed: limit.maximum.unwrap_or(u64::MAX) })
}

/// Processor time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Row {
    /// A submit was not accepted, or something is still in the queue.
    fn went_wrong(&self) -> bool {
        !self.errors.is_empty() || self.withdrawn.left > 0
    }
}

fn show(report: &Report) -> Result<(), Failure> {
    let (bytes, dir) = (report.record_bytes, report.disk.display());
    say(&format!("base line: {bytes} bytes appended to a file in {dir} and synced (fdatasync), one by one"));
    let columns = ["clients", "submits", "errors", "submits/s", "p50 ms", "p95 ms", "p99 ms", "max ms"];
    table(&columns, report.stages.iter().map(latencies))?;
    let columns =
        ["clients", "fdatasyncs/s", "fdatasync p50 ms", "submits per fdatasync", "p50 over fdatasync"];
    table(&columns, report.stages.iter().map(ratios))?;
    for stage in report.stages.iter().filter(|stage| !stage.nodes.is_empty()) {
        say(&format!(
            "{} clients: counted by each node, as count x mean; this command took {:.1} s of processor time",
            stage.clients, stage.client_cpu_seconds
        ));
        let nodes = stage.nodes.iter().map(|node| place(&node.metrics));
        let columns: Vec<&str> = ["counted"].into_iter().chain(nodes).collect();
        table(&columns, counted(&stage.nodes))?;
    }
    for stage in &report.stages {
        let Withdrawn { cancelled, left, seconds } = stage.withdrawn;
        say(&format!("{} clients: {cancelled} runs cancelled after it in {seconds:.1} s", stage.clients));
        if left > 0 {
            say(&format!("{left} runs could not be cancelled; `troupe runs --outcome open` has them"));
        }
    }
    Ok(())
}

/// Host and port of an address.
fn place(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(place, _)| place)
}

fn latencies(stage: &Row) -> Vec<String> {
    let errors: Vec<_> = stage.errors.iter().map(|(error, count)| format!("{count} x {error}")).collect();
    let mut row = vec![
        stage.clients.to_string(),
        stage.submits.to_string(),
        if errors.is_empty() { "0".to_owned() } else { errors.join(", ") },
        shown(Some(stage.submits_per_second)),
    ];
    let of = |figure: fn(Summary) -> f64| shown(stage.latency.map(figure));
    row.extend([of(|l| l.p50_ms), of(|l| l.p95_ms), of(|l| l.p99_ms), of(|l| l.max_ms)]);
    row
}

fn ratios(stage: &Row) -> Vec<String> {
    vec![
        stage.clients.to_string(),
        shown(Some(stage.fdatasync.per_second)),
        shown(stage.fdatasync.latency.map(|latency| latency.p50_ms)),
        shown(stage.submits_per_fdatasync),
        shown(stage.latency_over_fdatasync),
    ]
}

/// One row for each series that changed, one column for each node; times in milliseconds.
fn counted(nodes: &[Node]) -> impl Iterator<Item = Vec<String>> {
    let all = nodes.iter().flat_map(|node| node.changes.iter().map(|change| change.series.as_str()));
    let series: BTreeSet<&str> = all.collect();
    series.into_iter().map(|series| {
        let of = |node: &Node| {
            node.changes.iter().find(|change| change.series == series).map_or("-".to_owned(), cell)
        };
        [series.to_owned()].into_iter().chain(nodes.iter().map(of)).collect()
    })
}

fn cell(change: &scrape::Change) -> String {
    // Counters of seconds are sums, histograms of seconds are times.
    let (unit, scale) = if change.series.contains("_seconds") { (" ms", 1000.0) } else { ("", 1.0) };
    match change.mean {
        Some(mean) => format!("{} x {}{unit}", change.count, shown(Some(mean * scale))),
        None => shown(Some(change.count)),
    }
}
