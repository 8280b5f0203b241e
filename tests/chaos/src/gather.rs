//! After healing: waits until everything has come to its end, and gathers what is there then. What does not come in time is
//! recorded, not panicked about: the rest is still worth looking at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Client, change};
use crate::containers::Docker;
use crate::history::{Action, Answer, Attempt, Gauges, Operation, Output, View};
use crate::work::NOBODY;
use crate::world::{World, within};

/// The longest that the cluster may take to agree on a leader, and each fresh job to end.
const SOON: Duration = Duration::from_secs(60);
/// The longest that all that was asked for may take to end.
const ALL: Duration = Duration::from_secs(240);
/// The longest that anything may take after something else did not come.
const SHORT: Duration = Duration::from_secs(10);
/// The longest that what was removed may take to be gone, and nodes to catch up.
const TIDY: Duration = Duration::from_secs(30);

/// Waits, and then looks at everything.
pub async fn gather(world: &World) {
    if !settles(world).await && !world.history().deaths.is_empty() {
        // No majority lives: there is nobody to ask.
        return;
    }
    all_expanded(world).await;
    all_ends(world).await;
    // Not before: they would wait behind all that is queued.
    fresh_jobs(world).await;
    nothing_left(world).await;
    views(world).await;
    outputs(world).await;
    gauges(world).await;
}

/// How long is waited. Once something did not come there is no more to learn from waiting for all that hangs on it.
fn patience(world: &World, limit: Duration) -> Duration {
    let history = world.history();
    if history.unfinished.is_empty() && history.deaths.is_empty() { limit } else { limit.min(SHORT) }
}

fn kept(world: &World, promise: &str) {
    *world.history().waits.entry(promise.to_owned()).or_default() += 1;
}

/// Every node knows a leader, and all nodes as not lost; whether it came to that.
async fn settles(world: &World) -> bool {
    let mut all = true;
    for (number, client) in (1..).zip(&world.clients) {
        let settled = within(patience(world, SOON), async || {
            let led = client.found("/v1/cluster").await?["leader"].is_string();
            let nodes = client.found("/v1/nodes").await?;
            let live = nodes["items"].as_array()?.iter().filter(|node| node["lost"] == false).count();
            (led && live == world.clients.len()).then_some(())
        })
        .await;
        match settled {
            Some(()) => kept(world, "unfinished"),
            None => {
                let words = format!("node-{number} knows no leader or not all nodes {SOON:?} after healing");
                world.history().unfinished.push(words);
                all = false;
            }
        }
    }
    all
}

/// A new job succeeds on each node.
async fn fresh_jobs(world: &World) {
    let nodes = world.history().nodes.clone();
    for (number, node) in nodes.iter().enumerate() {
        // Through another node than the one that runs it.
        let client = &world.clients[(number + 1) % nodes.len()];
        let body = json!({ "name": "fresh", "script": "true", "labels": [node.name], "memory_mib": 64 });
        let made = within(patience(world, SOON), async || {
            let request = client.request(Method::POST, "/v1/runs").header("idempotency-key", &node.name);
            match change(request.json(&body)).await {
                Answer::Done(run) => Some(run),
                Answer::Refused(_) | Answer::Perhaps(_) => None,
            }
        })
        .await;
        let path = format!("/v1/runs/{}", made.unwrap_or_default());
        let ended = within(patience(world, SOON), async || {
            client.found(&path).await?["outcome"].as_str().map(str::to_owned)
        })
        .await;
        match ended.as_deref() {
            Some("succeeded") => kept(world, "unfinished"),
            other => {
                let words = format!("a fresh job for {} is {other:?} after {SOON:?}", node.name);
                world.history().unfinished.push(words);
            }
        }
    }
}

/// What was pushed and accepted is a run.
async fn all_expanded(world: &World) {
    let accepted = |operation: &Operation| match (&operation.action, &operation.answer) {
        (Action::Push { .. }, Answer::Done(delivery)) => Some(delivery.clone()),
        _ => None,
    };
    let mut pending: BTreeSet<String> = world.history().operations.iter().filter_map(accepted).collect();
    let (client, mut last) = (&world.clients[0], BTreeMap::new());
    within(patience(world, SOON), async || {
        for delivery in pending.clone() {
            let seen = client.found(&format!("/v1/deliveries/{delivery}")).await?;
            if seen["state"] == "expanded" {
                pending.remove(&delivery);
            }
            last.insert(delivery, seen);
        }
        pending.is_empty().then_some(())
    })
    .await;
    if pending.is_empty() {
        return kept(world, "unfinished");
    }
    let words = |delivery| format!("not a run {SOON:?} after healing: {:?}", last.get(delivery));
    let mut history = world.history();
    history.unfinished.extend(pending.iter().map(words));
    history.pending = pending;
}

/// Runs of which a job is open that somebody could run.
async fn open_runs(client: &Client) -> Option<Vec<Value>> {
    let mut open = Vec::new();
    for run in ids(client, "&outcome=open").await? {
        let run = client.found(&format!("/v1/runs/{run}")).await?;
        let jobs = run["jobs"].as_array()?;
        let nobodys = |job: &Value| {
            job["labels"].as_array().is_some_and(|labels| labels.iter().any(|label| label == NOBODY))
                && job["cancel_requested"] == false
        };
        if run["outcome"].is_null() && !jobs.iter().all(nobodys) {
            open.push(run);
        }
    }
    Some(open)
}

async fn all_ends(world: &World) {
    let client = &world.clients[0];
    let ended = within(patience(world, ALL), async || open_runs(client).await.filter(Vec::is_empty)).await;
    if ended.is_some() {
        return kept(world, "unfinished");
    }
    let open = open_runs(client).await.unwrap_or_default();
    let words = open.iter().map(|run| format!("not ended {ALL:?} after healing: {run}"));
    world.history().unfinished.extend(words);
}

/// No container, no network beyond the slots', no workspace.
async fn nothing_left(world: &World) {
    let (docker, places) = {
        let cluster = world.cluster.lock().await;
        let places: Vec<_> = cluster.nodes.iter().map(|node| (node.name.clone(), node.data())).collect();
        (cluster.docker().clone(), places)
    };
    let nodes = world.history().nodes.clone();
    for (node, (name, data)) in nodes.iter().zip(places) {
        let look = || left_on(&docker, node, &name, &data.join("attempts"));
        match within(patience(world, TIDY), async || look().is_empty().then_some(())).await {
            Some(()) => kept(world, "left"),
            None => world.history().left.extend(look()),
        }
    }
}

fn left_on(
    docker: &Docker,
    node: &crate::history::Node,
    name: &str,
    attempts: &std::path::Path,
) -> Vec<String> {
    let mut left: Vec<String> = docker
        .containers(&node.id)
        .into_iter()
        .map(|container| format!("{name} has a container left: {container}"))
        .collect();
    let networks = docker.networks(&node.id).len();
    if networks > node.slots {
        left.push(format!("{name} has {networks} networks and {} slots", node.slots));
    }
    for attempt in fs::read_dir(attempts).into_iter().flatten().flatten() {
        if attempt.path().join("workspace").exists() {
            left.push(format!("{name} has the workspace of {} left", attempt.file_name().display()));
        }
    }
    left
}

/// All ids of runs, newest first.
async fn ids(client: &Client, filter: &str) -> Option<Vec<String>> {
    let runs = client.all("/v1/runs", filter).await?;
    Some(runs.iter().filter_map(|run| Some(run["id"].as_str()?.to_owned())).collect())
}

async fn view(client: &Client) -> Option<View> {
    let cluster = client.found("/v1/cluster").await?;
    let state = (cluster["applied"].as_u64()?, cluster["state_hash"].as_str()?.to_owned());
    let mut view = View { state, ..View::default() };
    for id in ids(client, "").await? {
        let run = client.found(&format!("/v1/runs/{id}")).await?;
        for job in run["jobs"].as_array().into_iter().flatten() {
            let job = job["id"].as_str()?;
            let attempts = client.found(&format!("/v1/jobs/{job}/attempts")).await?;
            view.attempts.insert(job.to_owned(), attempts);
        }
        view.runs.insert(id, run);
    }
    Some(view)
}

/// What every node shows, once all show the same; else what they showed last.
async fn views(world: &World) {
    let mut last = Vec::new();
    let same = within(patience(world, TIDY), async || {
        let mut views = Vec::new();
        for client in &world.clients {
            views.push(view(client).await?);
        }
        last = views;
        last.windows(2).all(|two| two[0] == two[1]).then_some(())
    })
    .await;
    let mut history = world.history();
    if last.is_empty() && same.is_none() {
        history.unfinished.push("not every node shows its runs after healing".to_owned());
    }
    history.views = last;
}

/// Output and artifacts of every attempt, each through some node.
async fn outputs(world: &World) {
    let attempts: Vec<Attempt> = {
        let history = world.history();
        let all = history.views.first().into_iter().flat_map(|view| view.attempts.values());
        let of_job = |value: &Value| serde_json::from_value::<Vec<Attempt>>(value["items"].clone()).ok();
        all.filter_map(of_job).flatten().collect()
    };
    let mut outputs = BTreeMap::new();
    for (attempt, client) in attempts.iter().zip(world.clients.iter().cycle()) {
        let path = format!("/v1/attempts/{}", attempt.id);
        let log = client.bytes(&format!("{path}/log")).await;
        let mut output = Output {
            log: log.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            ..Output::default()
        };
        for artifact in &attempt.artifacts {
            if let Some(bytes) = client.bytes(&format!("{path}/artifacts/{}", artifact.path)).await {
                let (digest, bytes) =
                    (hex::encode(Sha256::digest(&bytes)), String::from_utf8_lossy(&bytes).into_owned());
                output.artifacts.insert(artifact.path.clone(), (digest, bytes));
            }
        }
        outputs.insert(attempt.id.clone(), output);
    }
    world.history().outputs = outputs;
}

/// What the nodes count, once they count what is there; else what they counted last.
async fn gauges(world: &World) {
    let (slots, queue) = {
        let history = world.history();
        let slots: Vec<u64> = history.nodes.iter().map(|node| node.slots as u64).collect();
        (slots, history.views.first().map(counted).unwrap_or_default())
    };
    let mut last = Vec::new();
    within(patience(world, TIDY), async || {
        let mut all = Vec::new();
        for client in &world.clients {
            all.push(parse(&client.metrics().await?));
        }
        last = all;
        let is_right = |(gauges, slots): (&Gauges, &u64)| {
            let counts = |(state, count): (&String, &u64)| queue.get(state).unwrap_or(&0) == count;
            gauges.slots.get("idle") == Some(slots) && (!gauges.leads || gauges.queue.iter().all(counts))
        };
        last.iter().zip(&slots).all(is_right).then_some(())
    })
    .await;
    world.history().gauges = last;
}

/// Pure: how many jobs a node shows in each state.
fn counted(view: &View) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for job in view.runs.values().filter_map(|run| run["jobs"].as_array()).flatten() {
        *counts.entry(job["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

/// Pure: of metrics in Prometheus' format.
fn parse(text: &str) -> Gauges {
    let mut gauges = Gauges::default();
    for line in text.lines() {
        let labelled = |name: &str| {
            let (state, value) = line.strip_prefix(name)?.strip_prefix("{state=\"")?.split_once("\"} ")?;
            Some((state.to_owned(), value.parse::<f64>().ok()? as u64))
        };
        gauges.queue.extend(labelled("troupe_queue_jobs"));
        gauges.slots.extend(labelled("troupe_runner_slots"));
        gauges.leads |= line == "troupe_raft_leader 1";
    }
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_read() {
        let text = "# HELP troupe_raft_leader 1\ntroupe_raft_leader 1\ntroupe_queue_jobs{state=\"queued\"} 3\n\
                    troupe_runner_slots{state=\"idle\"} 2\ntroupe_runner_slots{state=\"busy\"} 0\n";
        let expected = Gauges {
            leads: true,
            queue: [("queued".to_owned(), 3)].into(),
            slots: [("idle".to_owned(), 2), ("busy".to_owned(), 0)].into(),
        };
        assert_eq!(parse(text), expected);
        assert!(!parse("troupe_raft_leader 0\n").leads);
    }
}
