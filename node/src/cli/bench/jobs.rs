//! `troupe bench jobs`: the time of a whole job beside `docker run --rm IMAGE true`, in alternating rounds.
//!
//! Must not know how either is run.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::super::table::{pretty, say, table};
use super::super::{Client, Failure};
use super::course::{Side, rounds};
use super::docker;
use super::figures::{Latencies, Summary, per_second, ratio, shown};
use super::options::{List, list};
use super::phases::{self, Ran};
use crate::api::dto::{NodeView, Submit};
use crate::api::page::Page;

/// Most jobs at one time.
const MOST_AT_ONCE: usize = 64;
/// Failures whose reasons are said; all are counted.
const REASONS: usize = 5;

/// `troupe bench jobs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image; it must have `true` and a shell.
    #[arg(long)]
    image: String,
    /// Jobs at one time, of each stage, 1 to 64 each.
    #[arg(long, default_value = "1,8", value_parser = |text: &str| list(text, 1, MOST_AT_ONCE))]
    at_once: List,
    /// Jobs of each kind in each stage; by default three for each at one time, and at least 10.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: Option<u32>,
    /// Rounds that they are divided into; the kind that begins changes with each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Thousandths of a cpu that a job asks for. It gets no more, so that little of it makes a job slow.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    cpu_millis: u32,
    /// MiB of memory that a job asks for.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    memory_mib: u32,
    /// The program that is compared with.
    #[arg(long, default_value = "docker")]
    docker: String,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    /// Jobs that the nodes have room for at one time, when nothing else runs.
    room: usize,
    stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug, Serialize)]
struct Stage {
    at_once: usize,
    rounds: usize,
    docker: Kind,
    troupe: Kind,
    /// Troupe's median latency over docker's.
    p50_ratio: Option<f64>,
    /// The same of the 95th percentile.
    p95_ratio: Option<f64>,
    /// Troupe's jobs per second over docker's.
    throughput_ratio: Option<f64>,
    /// Until a submit is answered.
    answered: Option<Summary>,
    /// Where the time of Troupe's jobs went, in order.
    phases: Vec<Phase>,
}

/// One kind of job.
#[derive(Debug, Serialize)]
struct Kind {
    succeeded: usize,
    failed: usize,
    /// Why, of the first few.
    reasons: Vec<String>,
    /// Of those that succeeded.
    latency: Option<Summary>,
    seconds: f64,
    /// Those that succeeded.
    jobs_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Phase {
    phase: &'static str,
    latency: Option<Summary>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(client: &Client, args: Args, json: bool, stop: CancellationToken) -> Result<u8, Failure> {
    let work = Submit {
        name: "troupe bench jobs".to_owned(),
        image: args.image.clone(),
        script: "true".to_owned(),
        env: std::collections::BTreeMap::new(),
        labels: Vec::new(),
        cpu_millis: args.cpu_millis,
        memory_mib: args.memory_mib,
        priority: 0,
        timeout_seconds: 600,
        artifacts: Vec::new(),
    };
    let mut report =
        Report { image: args.image.clone(), room: room(client, &args).await?, stages: Vec::new() };
    let most = args.at_once.0.iter().max().copied().unwrap_or_default();
    if most > report.room {
        say(&format!("{most} jobs at once, and the nodes have room for {}: the others wait", report.room));
    }
    // The first of each brings the image and fills caches: it is part of no figure.
    docker::run(&args.docker, &args.image)
        .await
        .map_err(|why| Failure::FirstJob { kind: "docker run", why })?;
    phases::run(client, &work).await.map_err(|why| Failure::FirstJob { kind: "job", why })?;
    for at_once in &args.at_once.0 {
        if stop.is_cancelled() {
            break;
        }
        report.stages.push(measure(client, &args, &work, *at_once, &stop).await?);
    }
    if json {
        pretty(&report)?
    } else {
        show(&report)?
    }
    let failed = report.stages.iter().any(|stage| stage.docker.failed + stage.troupe.failed > 0);
    Ok(u8::from(failed || stop.is_cancelled()))
}

/// Jobs of this size that fit on all nodes together.
async fn room(client: &Client, args: &Args) -> Result<usize, Failure> {
    let nodes: Page<NodeView> = client.get("/v1/nodes").await?;
    let fit = |node: &NodeView| {
        let cpu = node.cpu_millis / args.cpu_millis;
        u32::from(node.slots).min(cpu).min(node.memory_mib / args.memory_mib) as usize
    };
    Ok(nodes.items.iter().filter(|node| !node.drain && !node.lost).map(fit).sum())
}

async fn measure(
    client: &Client,
    args: &Args,
    work: &Submit,
    at_once: usize,
    stop: &CancellationToken,
) -> Result<Stage, Failure> {
    let jobs = args.jobs.map_or_else(|| (3 * at_once).max(10), |jobs| jobs as usize);
    let sizes = rounds(jobs, args.rounds as usize);
    let (mut of_docker, mut of_troupe) = (Side::default(), Side::default());
    let mut turn = 0;
    for (round, size) in sizes.iter().enumerate() {
        for second in [false, true] {
            if stop.is_cancelled() {
                break;
            }
            if second == (round % 2 == 0) {
                let one = || {
                    turn += 1;
                    let client = client.only(turn);
                    async move { phases::run(&client, work).await }
                };
                of_troupe.round(*size, at_once, one).await;
            } else {
                of_docker.round(*size, at_once, || docker::run(&args.docker, &args.image)).await;
            }
        }
    }
    let ran: Vec<&Ran> = of_troupe.results.iter().flatten().collect();
    let answered: Latencies = ran.iter().map(|ran| ran.answered).collect();
    let phases = time_of(client, &ran).await?;
    let docker = Kind::of(of_docker);
    let troupe = Kind::of(Side {
        elapsed: of_troupe.elapsed,
        results: of_troupe.results.into_iter().map(|one| one.map(|ran| ran.latency)).collect(),
    });
    let latency = |figure: fn(Summary) -> f64| {
        let (troupe, docker) = troupe.latency.zip(docker.latency)?;
        ratio(figure(troupe), figure(docker))
    };
    Ok(Stage {
        at_once,
        rounds: sizes.len(),
        p50_ratio: latency(|l| l.p50_ms),
        p95_ratio: latency(|l| l.p95_ms),
        throughput_ratio: ratio(troupe.jobs_per_second, docker.jobs_per_second),
        docker,
        troupe,
        answered: answered.summary(),
        phases,
    })
}

/// Where the time of jobs went; asked for when no time is taken any more.
async fn time_of(client: &Client, ran: &[&Ran]) -> Result<Vec<Phase>, Failure> {
    let mut all = phases::NAMES.map(|_| Latencies::default());
    for one in ran {
        for (phase, latency) in phases::of(client, one).await?.into_iter().enumerate() {
            all[phase].extend(latency.into_iter().collect());
        }
    }
    let phase = |(phase, latencies): (&'static str, Latencies)| Phase { phase, latency: latencies.summary() };
    Ok(phases::NAMES.into_iter().zip(all).map(phase).collect())
}

impl Kind {
    fn of(side: Side<Result<Duration, String>>) -> Self {
        let (mut latencies, mut reasons, mut failed) = (Latencies::default(), Vec::new(), 0);
        for result in side.results {
            match result {
                Ok(latency) => latencies.push(latency),
                Err(why) => {
                    failed += 1;
                    if reasons.len() < REASONS {
                        reasons.push(why);
                    }
                }
            }
        }
        Self {
            succeeded: latencies.count(),
            failed,
            reasons,
            seconds: side.elapsed.as_secs_f64(),
            jobs_per_second: per_second(latencies.count(), side.elapsed),
            latency: latencies.summary(),
        }
    }
}

fn show(report: &Report) -> Result<(), Failure> {
    let columns =
        ["at once", "kind", "succeeded", "failed", "p50 ms", "p95 ms", "p99 ms", "max ms", "jobs/s"];
    table(&columns, report.stages.iter().flat_map(kinds))?;
    let columns = ["at once", "phase of a job", "p50 ms", "p95 ms", "max ms"];
    table(&columns, report.stages.iter().flat_map(phases_of))?;
    for stage in &report.stages {
        for (kind, of) in [("docker run", &stage.docker), ("job", &stage.troupe)] {
            for why in &of.reasons {
                say(&format!("a {kind} failed: {why}"));
            }
        }
    }
    Ok(())
}

/// Three rows: each kind, and one over the other.
fn kinds(stage: &Stage) -> Vec<Vec<String>> {
    let row = |name: &str, kind: &Kind| {
        let of = |figure: fn(Summary) -> f64| shown(kind.latency.map(figure));
        let mut row = vec![stage.at_once.to_string(), name.to_owned()];
        row.extend([kind.succeeded.to_string(), kind.failed.to_string()]);
        row.extend([of(|l| l.p50_ms), of(|l| l.p95_ms), of(|l| l.p99_ms), of(|l| l.max_ms)]);
        row.push(shown(Some(kind.jobs_per_second)));
        row
    };
    let ratios = ["-", "-", &shown(stage.p50_ratio), &shown(stage.p95_ratio), "-", "-"].map(str::to_owned);
    let mut over = vec![stage.at_once.to_string(), "troupe / docker".to_owned()];
    over.extend(ratios);
    over.push(shown(stage.throughput_ratio));
    vec![row("docker run", &stage.docker), row("troupe", &stage.troupe), over]
}

fn phases_of(stage: &Stage) -> Vec<Vec<String>> {
    let row = |name: &str, latency: Option<Summary>| {
        let of = |figure: fn(Summary) -> f64| shown(latency.map(figure));
        vec![stage.at_once.to_string(), name.to_owned(), of(|l| l.p50_ms), of(|l| l.p95_ms), of(|l| l.max_ms)]
    };
    let mut rows = vec![row("sent to answered (within what follows)", stage.answered)];
    rows.extend(stage.phases.iter().map(|phase| row(phase.phase, phase.latency)));
    rows
}
