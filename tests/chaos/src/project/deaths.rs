//! What machines do to the project: the leader dies while others build, and while it builds itself.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Begun, CONTEXT, World, id, jobs, wait};
use crate::now_millis;

/// The builds of a run, once both run and their compilers have begun.
async fn building(world: &World, begun: &Begun) -> Vec<Value> {
    let path = format!("/v1/runs/{}", begun.run);
    wait("both builds run".to_owned(), async || {
        let run = world.get(&path).await;
        let builds: Vec<Value> = jobs(&run)
            .into_iter()
            .filter(|job| job["name"].as_str().is_some_and(|name| name.starts_with("build ")))
            .cloned()
            .collect();
        let running = builds.len() == 2 && builds.iter().all(|job| job["state"] == "running");
        if !running {
            assert!(run["outcome"].is_null(), "the run is over before both builds ran at one time: {run}");
            return None;
        }
        for job in &builds {
            if !world.log(job).await.contains("building ") {
                return None;
            }
        }
        Some(builds)
    })
    .await
}

/// Where jobs run: the numbers of their nodes.
fn places(world: &World, jobs: &[Value]) -> Vec<Option<usize>> {
    let mut all: Vec<_> = jobs.iter().map(|job| world.cluster.by_id(job["node"].as_str()?)).collect();
    all.sort_unstable();
    all
}

/// Kills the leader, and says how soon another one leads, and how soon a job that was submitted at once has begun.
async fn kill(world: &mut World, leader: usize) {
    let (at, begun) = (now_millis(), Instant::now());
    world.cluster.nodes[leader].kill();
    let next = json!({ "name": "next", "script": "true", "cpu_millis": 100, "memory_mib": 64 });
    let made = world.change(Method::POST, "/v1/runs", &next).await;
    let accepted = begun.elapsed().as_millis();
    let now = world.cluster.leader().await;
    world.table.check("another node leads", now == leader, false);
    let path = format!("/v1/runs/{}", made["id"].as_str().unwrap_or_default());
    let started = wait("what was submitted after the kill has begun".to_owned(), async || {
        world.get(&path).await["jobs"][0]["started_at"].as_u64()
    })
    .await;
    world.table.figure("from the kill until a submit was accepted", format!("{accepted} ms"));
    let took = started.saturating_sub(at);
    world.table.figure("from the kill until that job had begun", format!("{took} ms"));
}

/// How soon what was lost began again, once it counted as lost.
async fn again(world: &mut World, run: &Value) {
    for job in jobs(run) {
        let page = world.get(&format!("/v1/jobs/{}/attempts", id(job))).await;
        let (lost, next) = (&page["items"][0], &page["items"][1]);
        if let (Some(lost), Some(next)) = (lost["finished_at"].as_u64(), next["started_at"].as_u64()) {
            let took = next.saturating_sub(lost);
            let name = job["name"].as_str().unwrap_or_default();
            world
                .table
                .figure(format!("from the loss of {name} until it had begun again"), format!("{took} ms"));
        }
    }
}

/// The outcomes of each job's attempts, by the job's name.
async fn attempts(world: &World, run: &Value) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for job in jobs(run) {
        let page = world.get(&format!("/v1/jobs/{}/attempts", id(job))).await;
        let items = page["items"].as_array().into_iter().flatten();
        let outcomes = items.map(|attempt| attempt["outcome"].as_str().unwrap_or_default().to_owned());
        all.push((job["name"].as_str().unwrap_or_default().to_owned(), outcomes.collect()));
    }
    all.sort_unstable();
    all
}

async fn check_end(world: &mut World, begun: &Begun, run: &Value, hit: &[String]) {
    world.table.check("the run", run["outcome"].as_str(), Some("succeeded"));
    let wanted: Vec<(String, Vec<String>)> = ["build fast", "build small", "prepare", "test"]
        .into_iter()
        .map(|name| {
            let lost = hit.iter().filter(|one| *one == name).map(|_| "lost");
            (name.to_owned(), lost.chain(["succeeded"]).map(str::to_owned).collect())
        })
        .collect();
    let found = attempts(world, run).await;
    world.table.check("the attempts of its jobs", found, wanted);
    let told = world.told(begun, CONTEXT, "success").await;
    let last = told.last().map(|(state, _)| state.as_str());
    world.table.check("the last status", last, Some("success"));
    let endings = told.iter().filter(|(state, _)| state != "pending").count();
    world.table.check("statuses that say how it ended", endings, 1);
}

pub(super) async fn the_leader_that_runs_nothing(world: &mut World) {
    world.table.part("the leader is killed while others build");
    let leader = world.cluster.leader().await;
    world.drain(leader, true).await;
    let begun = world.push(leader, "ci/note", "the leader runs nothing\n").await;
    let builds = building(world, &begun).await;
    let (one, two) = world.cluster.others(leader);
    let wanted = [Some(one.min(two)), Some(one.max(two))];
    world.table.check("nodes that build", places(world, &builds), wanted);
    kill(world, leader).await;
    let run = world.end(&begun).await;
    again(world, &run).await;
    check_end(world, &begun, &run, &[]).await;
    back(world, leader).await;
}

pub(super) async fn the_leader_that_runs_a_build(world: &mut World) {
    world.table.part("the leader is killed while it builds");
    let leader = world.cluster.leader().await;
    let (builder, spare) = world.cluster.others(leader);
    world.drain(spare, true).await;
    let begun = world.push(spare, "ci/note", "the leader runs a build\n").await;
    let builds = building(world, &begun).await;
    let wanted = [Some(leader.min(builder)), Some(leader.max(builder))];
    world.table.check("nodes that build", places(world, &builds), wanted);
    world.drain(spare, false).await;
    let killed = world.cluster.nodes[leader].id();
    let hit: Vec<String> = builds
        .iter()
        .filter(|job| job["node"].as_str() == killed.as_deref())
        .filter_map(|job| Some(job["name"].as_str()?.to_owned()))
        .collect();
    world.table.check("builds of the leader", hit.len(), 1);
    kill(world, leader).await;
    let run = world.end(&begun).await;
    again(world, &run).await;
    check_end(world, &begun, &run, &hit).await;
    back(world, leader).await;
}

/// A killed node is started again, and given a job.
async fn back(world: &mut World, node: usize) {
    world.cluster.start_node(node);
    world.cluster.settled().await;
    world.drain(node, false).await;
    let name = world.cluster.nodes[node].name.clone();
    let job = json!({ "name": "again", "script": "echo again", "labels": [name], "memory_mib": 64 });
    let made = world.change(Method::POST, "/v1/runs", &job).await;
    let path = format!("/v1/runs/{}", made["id"].as_str().unwrap_or_default());
    let run = wait("the node that came back has run a job".to_owned(), async || {
        Some(world.get(&path).await).filter(|run| run["outcome"].is_string())
    })
    .await;
    world.table.check("a job on the node that came back", run["outcome"].as_str(), Some("succeeded"));
    let used = run["jobs"][0]["node"].as_str().and_then(|id| world.cluster.by_id(id));
    world.table.check("it ran there", used, Some(node));
}
