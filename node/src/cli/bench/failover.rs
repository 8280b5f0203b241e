//! `troupe bench failover`: for how long a cluster accepts no submits when another node has to lead it.
//!
//! Must not know how a leader is made to go: commands that are given as options do that.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use domain::{LogIndex, RunId};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::super::Failure;
use super::super::table::{pretty, say, table};
use super::disk::{Disk, Line};
use super::door::{Door, Links};
use super::figures::{Latencies, Summary, ratio, shown};
use super::withdraw::{self, Withdrawn};
use super::work::{Keyed, Work};

/// How long the cluster may take to be whole again between two trials, and another node to lead.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the disk is measured.
const BASE_LINE: Duration = Duration::from_secs(1);

/// `troupe bench failover`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    links: Links,
    /// Leaders that go, one after the other, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    trials: u64,
    /// A shell command that makes the leader go; TROUPE_LEADER is its name.
    #[arg(long, value_name = "COMMAND")]
    end: String,
    /// A shell command that brings it back, if it has to be; TROUPE_LEADER is its name.
    #[arg(long, value_name = "COMMAND")]
    back: Option<String>,
    /// Directory for the base line's file, on the disk that the nodes have their logs on.
    #[arg(long, default_value = ".")]
    disk: PathBuf,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    trials: Vec<Trial>,
    /// The longest time without an accepted submit, of each trial.
    without_submits: Option<Summary>,
    fdatasync: Line,
    /// The median of the times over that of a sync.
    over_fdatasync: Option<f64>,
    withdrawn: Withdrawn,
}

/// One leader that went.
#[derive(Debug, Serialize)]
struct Trial {
    leader: String,
    next: String,
    /// The longest time between two accepted submits around the change.
    without_submits_ms: f64,
    /// Submits that were accepted from then on, until one under the next leader was.
    accepted: usize,
    /// Submits whose outcome is unknown, as they were under way when the leader went.
    unknown: usize,
    /// Raft's terms that it took.
    terms: u64,
}

/// What was submitted in all trials.
#[derive(Debug, Default)]
struct Made {
    number: usize,
    accepted: Vec<RunId>,
    unsure: Vec<Keyed>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: Args, json: bool, stop: CancellationToken) -> Result<u8, Failure> {
    let client = args.links.open()?;
    let (door, work) = (Door::Links(client.clone()), Work::new()?);
    door.greet().await?;
    let mut fdatasync = Disk::default();
    fdatasync.measure(&args.disk, BASE_LINE).await?;
    let (mut trials, mut made) = (Vec::new(), Made::default());
    let mut failed = None;
    while (trials.len() as u64) < args.trials && !stop.is_cancelled() {
        let bench = Bench { client: &client, door: &door, work: &work, args: &args };
        match bench.trial(&mut made).await {
            Ok(trial) => trials.push(trial),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    let withdrawn = withdraw::all(&door, made.accepted, made.unsure).await?;
    client.shutdown().await;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let fdatasync = fdatasync.line();
    let times: Latencies =
        trials.iter().map(|trial| Duration::from_secs_f64(trial.without_submits_ms / 1000.0)).collect();
    let without_submits = times.summary();
    let medians = without_submits.zip(fdatasync.latency);
    let over_fdatasync = medians.and_then(|(times, sync)| ratio(times.p50_ms, sync.p50_ms));
    let left = withdrawn.left;
    let report = Report { trials, without_submits, fdatasync, over_fdatasync, withdrawn };
    if json {
        pretty(&report)?
    } else {
        show(&report)?
    }
    Ok(u8::from(stop.is_cancelled() || left > 0))
}

/// What a trial works with.
struct Bench<'a> {
    client: &'a raft_store::Client,
    door: &'a Door,
    work: &'a Work,
    args: &'a Args,
}

impl Bench<'_> {
    /// A leader goes while one client submits without a pause; the trial is over with the first submit under the next.
    async fn trial(&self, made: &mut Made) -> Result<Trial, Failure> {
        let index = self.warm_up(made).await?;
        let (leader, term) = self.whole(index).await?;
        let ended = shell(&self.args.end, &leader);
        let ((), trial) = tokio::try_join!(ended, self.submits(&leader, term, made))?;
        if let Some(back) = &self.args.back {
            shell(back, &leader).await?;
        }
        Ok(trial)
    }

    /// One submit, so that links are open; answers how far every node must be.
    async fn warm_up(&self, made: &mut Made) -> Result<LogIndex, Failure> {
        self.submit(made).await.map_err(|refused| self.door.failure(refused))?;
        let standings = self.client.standings();
        let furthest = standings.borrow().iter().map(|node| node.applied).max();
        Ok(furthest.unwrap_or_default())
    }

    /// Waits until all nodes have the same leader and are as far as `index`; answers its name and the term.
    async fn whole(&self, index: LogIndex) -> Result<(String, u64), Failure> {
        let mut standings = self.client.standings();
        let whole = standings.wait_for(|nodes| {
            let first = nodes.first().and_then(|node| node.leader.clone());
            first.is_some() && nodes.iter().all(|node| node.leader == first && node.applied >= index)
        });
        let leader = match tokio::time::timeout(PATIENCE, whole).await {
            Ok(Ok(nodes)) => nodes.first().and_then(|node| node.leader.clone()),
            Ok(Err(_)) | Err(_) => None,
        };
        leader
            .map(|(term, name)| (name, term))
            .ok_or(Failure::Failover { what: "all nodes to have one leader" })
    }

    async fn submits(&self, leader: &str, term: u64, made: &mut Made) -> Result<Trial, Failure> {
        let (leaders, begun) = (self.client.leadership(), Instant::now());
        let (mut last, mut longest) = (begun, Duration::ZERO);
        let (mut accepted, unsure) = (0, made.unsure.len());
        while begun.elapsed() < PATIENCE {
            if self.submit(made).await.is_err() {
                continue;
            }
            let now = Instant::now();
            longest = longest.max(now - last);
            (last, accepted) = (now, accepted + 1);
            let present = leaders.borrow().clone();
            if let Some((_, next)) = present.leader.filter(|_| present.term > term) {
                return Ok(Trial {
                    leader: leader.to_owned(),
                    next: next.name,
                    without_submits_ms: longest.as_secs_f64() * 1000.0,
                    accepted,
                    unknown: made.unsure.len() - unsure,
                    terms: present.term - term,
                });
            }
        }
        Err(Failure::Failover { what: "another node to lead" })
    }

    async fn submit(&self, made: &mut Made) -> Result<(), super::door::Refused> {
        let keyed = self.work.keyed(0, made.number);
        made.number += 1;
        // Unsure until it is answered, also when this is given up meanwhile.
        made.unsure.push(keyed.clone());
        let done = self.door.submit(&keyed).await;
        if !matches!(&done, Err(refused) if refused.unsure) {
            made.unsure.pop();
        }
        made.accepted.push(done?);
        Ok(())
    }
}

/// Runs a command of the options.
async fn shell(command: &str, leader: &str) -> Result<(), Failure> {
    let status = tokio::process::Command::new("sh")
        .args(["-c", command])
        .env("TROUPE_LEADER", leader)
        .status()
        .await?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Hook { command: command.to_owned(), status: status.to_string() })
}

fn show(report: &Report) -> Result<(), Failure> {
    let columns =
        ["trials", "p50 ms", "p95 ms", "p99 ms", "max ms", "p50 over fdatasync", "unknown", "terms"];
    let of = |figure: fn(Summary) -> f64| shown(report.without_submits.map(figure));
    let unknown: usize = report.trials.iter().map(|trial| trial.unknown).sum();
    let terms: u64 = report.trials.iter().map(|trial| trial.terms).sum();
    let row = vec![
        report.trials.len().to_string(),
        of(|l| l.p50_ms),
        of(|l| l.p95_ms),
        of(|l| l.p99_ms),
        of(|l| l.max_ms),
        shown(report.over_fdatasync),
        unknown.to_string(),
        terms.to_string(),
    ];
    say("the longest time between two accepted submits, around each change of the leader");
    table(&columns, [row].into_iter())?;
    let Withdrawn { cancelled, left, seconds } = report.withdrawn;
    say(&format!("{cancelled} runs cancelled after it in {seconds:.1} s"));
    if left > 0 {
        say(&format!("{left} runs could not be cancelled; `troupe runs --outcome open` has them"));
    }
    Ok(())
}
