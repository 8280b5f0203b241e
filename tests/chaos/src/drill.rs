//! What dies under load, and what that costs: leaders, nodes, nodes that stand still. Says figures; asserts no times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::evidence::Evidence;
use crate::history::{Container, MILLI, Nanos};
use crate::{now_nanos, until};

/// How long a killed leader's process is away.
const AWAY: Duration = Duration::from_secs(1);

/// What is done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The leader is killed, and is back after a second.
    Leaders,
    /// A node is killed, and is back when its jobs run elsewhere.
    Nodes,
    /// A node stands still (SIGSTOP) until its jobs run elsewhere.
    Stills,
}

impl What {
    /// Between two submits of jobs that take 2.5 s on average. For leaders a little more work than the slots of three nodes can
    /// take, so that something always waits; else no more than what the slots of two can.
    fn pause(self) -> Duration {
        Duration::from_millis(if self == Self::Leaders { 330 } else { 800 })
    }

    /// Builds that run when it is done, at least.
    fn busy(self) -> usize {
        if self == Self::Leaders { 4 } else { 3 }
    }
}

/// One time.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// Containers that ran.
    pub builds: usize,
    /// Attempts that were lost by it.
    pub hit: usize,
    /// Milliseconds until a container started that was placed afterwards.
    pub next_start_ms: Option<u64>,
    /// Milliseconds until all jobs whose attempts were lost by it ran again.
    pub all_again_ms: Option<u64>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Drill {
    /// What was done.
    pub what: What,
    /// Milliseconds of the leader's lease.
    pub lease_ms: u64,
    /// Each time.
    pub trials: Vec<Trial>,
    /// Jobs that ran.
    pub jobs: usize,
    /// Attempts beyond the first of each job.
    pub attempts_again: usize,
    /// Jobs that have not the attempts that they should: one, and one more for each that was lost by a hit.
    pub wrong_attempts: Vec<String>,
    /// Attempts that had begun and ran on beside the next one of their job, and for how many milliseconds.
    pub overlaps: Vec<(String, u64)>,
    /// Jobs that did not succeed.
    pub not_succeeded: Vec<String>,
    /// Reports that were refused, on all nodes since their last start.
    pub refused_reports: f64,
}

impl Drill {
    /// Whether nothing was lost, doubled or wrong.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.wrong_attempts.is_empty() && self.overlaps.is_empty() && self.not_succeeded.is_empty()
    }
}

struct Hit {
    at: Nanos,
    /// When the process went on, or the next one had begun.
    back: Nanos,
    /// The id of the node.
    node: String,
    builds: usize,
}

impl Hit {
    /// Whether a loss of this attempt is this hit's.
    fn cost(&self, attempt: &Attempt) -> bool {
        attempt.lost && attempt.node == self.node && attempt.placed < self.back && attempt.finished > self.at
    }
}

/// An attempt, as the API has it.
struct Attempt {
    id: String,
    node: String,
    lost: bool,
    placed: Nanos,
    finished: Nanos,
    reason: String,
}

/// Runs it.
///
/// # Panics
/// When something does not come about for 90 s.
pub async fn run(what: What, trials: usize, lease_ms: u64) -> Drill {
    let more = format!("leases = {{ leader_ms = {lease_ms}, node_ms = {} }}\n", lease_ms * 2 / 3);
    let mut cluster = Cluster::planned(&Plan { more, ..Plan::docker(3) }).await;
    let evidence = Evidence::start(cluster.docker());
    let load = Load::start(&cluster, what.pause());
    let mut hits = Vec::new();
    for number in 0..trials {
        let builds = busy(&evidence, what.busy()).await;
        let leader = cluster.leader().await;
        let hit = if what == What::Leaders { leader } else { number % cluster.nodes.len() };
        let (node, at) = (cluster.nodes[hit].id().unwrap(), now_nanos());
        match what {
            What::Stills => cluster.nodes[hit].signal(Signal::STOP),
            _ => cluster.nodes[hit].kill(),
        }
        match what {
            What::Leaders => tokio::time::sleep(AWAY).await,
            _ => lost(&cluster, (hit + 1) % cluster.nodes.len(), &node).await,
        }
        match what {
            What::Stills => cluster.nodes[hit].signal(Signal::CONT),
            _ => cluster.start_node(hit),
        }
        cluster.settled().await;
        hits.push(Hit { at, back: now_nanos(), node, builds });
        eprintln!("{what:?} {} of {trials}", number + 1);
    }
    load.end().await;
    let drill = conclude(what, lease_ms, &cluster, &evidence, hits).await;
    if !drill.is_well() {
        for node in &cluster.nodes {
            let kept = std::env::temp_dir().join(format!("drill-{}.log", node.name));
            std::fs::copy(node.log_file(), &kept).unwrap();
            eprintln!("the log of {} is in {}", node.name, kept.display());
        }
    }
    drill
}

/// How many containers run, once they are enough.
async fn busy(evidence: &Evidence, wanted: usize) -> usize {
    until(format!("{wanted} builds run"), async || {
        let running = |c: &&Container| c.started.is_some() && c.ended.is_none();
        let count = evidence.containers(&[]).iter().filter(running).count();
        (count >= wanted).then_some(count)
    })
    .await
}

/// Until the cluster has given a node up, as another one knows.
async fn lost(cluster: &Cluster, asked: usize, node: &str) {
    until("the node is lost", async || {
        let page = cluster.nodes[asked].try_get("/v1/nodes").await?;
        let lost = page["items"].as_array()?.iter().find(|seen| seen["id"] == *node)?["lost"].as_bool()?;
        lost.then_some(())
    })
    .await;
}

async fn conclude(
    what: What,
    lease_ms: u64,
    cluster: &Cluster,
    evidence: &Evidence,
    hits: Vec<Hit>,
) -> Drill {
    let client = Client::of(&cluster.nodes[0]);
    let mut open = usize::MAX;
    while open > 0 {
        open = until("one more run has ended", async || {
            let still = client.all("/v1/runs", "&outcome=open").await?.len();
            (still < open).then_some(still)
        })
        .await;
    }
    let jobs = until("there are jobs", async || client.all("/v1/jobs", "").await).await;
    let mut attempts = BTreeMap::new();
    for job in &jobs {
        let id = job["id"].as_str().unwrap().to_owned();
        let page = cluster.nodes[0].get(&format!("/v1/jobs/{id}/attempts")).await;
        attempts.insert(id, page["items"].as_array().unwrap().iter().map(attempt).collect::<Vec<_>>());
    }
    let containers = evidence.containers(&[]);
    let started: BTreeMap<&str, Nanos> =
        containers.iter().filter_map(|c| Some((c.attempt.as_str(), c.started?))).collect();
    let of_hit = |hit: &Hit| {
        let all = attempts.values().flatten();
        let next =
            all.filter(|a| a.placed > hit.at).filter_map(|a| started.get(a.id.as_str()).copied()).min();
        let cost = attempts.values().flat_map(|of_job| of_job.windows(2)).filter(|two| hit.cost(&two[0]));
        let again: Vec<_> = cost.map(|two| started.get(two[1].id.as_str()).copied()).collect();
        Trial {
            builds: hit.builds,
            hit: again.len(),
            next_start_ms: next.map(|next| next.saturating_sub(hit.at) / MILLI),
            all_again_ms: again.into_iter().flatten().max().map(|last| last.saturating_sub(hit.at) / MILLI),
        }
    };
    // Only a hit may cost an attempt, and after it there is one more.
    let wrong = |(job, of_job): (&String, &Vec<Attempt>)| {
        let cost = of_job.iter().filter(|a| hits.iter().any(|hit| hit.cost(a))).count();
        let ends: Vec<_> = of_job.iter().map(|a| format!("{} on {}: {:?}", a.id, a.node, a.reason)).collect();
        (of_job.len() != 1 + cost).then(|| format!("{job}: {cost} were hit; {}", ends.join("; ")))
    };
    let mut refused_reports = 0.0;
    for node in &cluster.nodes {
        refused_reports += node.metric("troupe_reports_refused_total").await.unwrap_or_default();
    }
    let not_succeeded = jobs.iter().filter(|job| job["outcome"] != "succeeded");
    Drill {
        what,
        lease_ms,
        trials: hits.iter().map(of_hit).collect(),
        jobs: jobs.len(),
        attempts_again: attempts.values().map(|of_job| of_job.len() - 1).sum(),
        wrong_attempts: attempts.iter().filter_map(wrong).collect(),
        overlaps: overlaps(&containers),
        not_succeeded: not_succeeded.map(|job| format!("{}: {}", job["id"], job["reason"])).collect(),
        refused_reports,
    }
}

fn attempt(seen: &Value) -> Attempt {
    let text = |field: &str| seen[field].as_str().unwrap_or_default().to_owned();
    let time = |field: &str| seen[field].as_u64().unwrap_or_default() * MILLI;
    Attempt {
        id: text("id"),
        node: text("node"),
        lost: seen["outcome"] == "lost",
        placed: time("placed_at"),
        finished: time("finished_at"),
        reason: text("reason"),
    }
}

fn overlaps(containers: &[Container]) -> Vec<(String, u64)> {
    let mut by_job = BTreeMap::<_, Vec<(Nanos, Nanos, String)>>::new();
    for container in containers {
        let job = container.attempt.split('/').next().unwrap_or_default();
        let lives =
            container.ran(Nanos::MAX).into_iter().map(|(from, to)| (from, to, container.attempt.clone()));
        by_job.entry(job).or_default().extend(lives);
    }
    let mut found = Vec::new();
    for mut lives in by_job.into_values() {
        lives.sort_unstable();
        let over = lives.windows(2).filter(|two| two[1].0 < two[0].1);
        found.extend(over.map(|two| (two[0].2.clone(), two[0].1.saturating_sub(two[1].0) / MILLI)));
    }
    found
}

/// Submits that go on until they are ended; each is made once, at whichever node answers.
struct Load {
    stop: Arc<AtomicBool>,
    submits: JoinSet<()>,
}

impl Load {
    fn start(cluster: &Cluster, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (clients, over) = (cluster.nodes.iter().map(Client::of).collect::<Vec<_>>(), Arc::clone(&stop));
        let mut submits = JoinSet::new();
        submits.spawn(async move {
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let seconds = 1 + number % 3;
                let job = json!({ "name": format!("drill {number}"), "script": format!("echo begin; sleep {seconds}.5; echo done") });
                for client in clients.iter().cycle().skip(number % clients.len()) {
                    let request = client.request(Method::POST, "/v1/runs").header("idempotency-key", number.to_string());
                    let answer = request.json(&job).send().await;
                    if answer.is_ok_and(|answer| matches!(answer.status(), StatusCode::CREATED | StatusCode::OK)) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                tokio::time::sleep(pause).await;
            }
        });
        Self { stop, submits }
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.submits.join_next().await.is_some() {}
    }
}
