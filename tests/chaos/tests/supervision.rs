//! Actors that panic, and a process that dies at each stage of an attempt: faults that a binary of its own injects.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::path::Path;
use std::process::Command;

use chaos::cluster::{Cluster, Plan};

use chaos::faulty::{self, dies, inject};
use chaos::node::Node;
use chaos::until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Actors of every node, and those of the one that leads.
const ACTORS: [&str; 14] = [
    "queue",
    "heart",
    "runners",
    "reaper",
    "sessions",
    "bulk",
    "leases",
    "dispatcher",
    "scheduler",
    "expansions",
    "outbox",
    "decider",
    "timer",
    "retention",
];
/// Exit code of a node whose actors cannot be kept alive.
const GAVE_UP: i32 = 6;

async fn submit(node: &Node, script: &str) -> String {
    let answer =
        node.request(Method::POST, "/v1/runs").json(&json!({ "script": script })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

/// A cluster of nodes with faults, none of which is injected yet.
async fn cluster(plan: Plan, tools: &Path) -> Cluster {
    Cluster::planned(&Plan { binary: Some(faulty::binary(tools)), ..plan }).await
}

/// The status of `/readyz`, and its words.
async fn ready(node: &Node) -> (StatusCode, String) {
    let answer = node.request(Method::GET, "/readyz").send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    (status, body["detail"].as_str().unwrap_or_default().to_owned())
}

async fn restarts(node: &Node, actor: &str) -> Option<f64> {
    node.metric(&format!("troupe_actor_restarts_total{{actor=\"{actor}\"}}")).await
}

/// How many sockets a node's process listens on: what an actor that failed left behind would be one more.
fn listeners(node: &Node) -> usize {
    let process = Path::new("/proc").join(node.process().unwrap().to_string());
    let table = fs::read_to_string(process.join("net/tcp")).unwrap();
    let listening = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let inodes: Vec<_> = listening
        .filter(|fields| fields.get(3) == Some(&"0A"))
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let files = fs::read_dir(process.join("fd")).unwrap();
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str())).count()
}

/// Waits until a job of a run does something: one line of its log, or more.
async fn writes(node: &Node, run: &str) {
    until(format!("{run} writes"), async || {
        let path = format!("/v1/attempts/{run}.0/1/log");
        let answer = node.request(Method::GET, &path).send().await.ok()?;
        let text = if answer.status() == StatusCode::OK { answer.text().await.ok()? } else { return None };
        (!text.is_empty()).then_some(())
    })
    .await;
}

/// The container of a node that runs, once it is the only one.
async fn the_container(cluster: &Cluster) -> String {
    until("one container runs", async || {
        let [container] = <[String; 1]>::try_from(cluster.docker().running(&cluster.ids())).ok()?;
        Some(container)
    })
    .await
}

/// What is left of attempts on a node: containers, networks in use, workspaces.
fn left(node: &Node) -> Vec<String> {
    let label = format!("label=troupe.node={}", node.id().unwrap());
    let docker = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut left = docker(&["ps", "-aq", "--filter", &label]);
    for network in docker(&["network", "ls", "-q", "--filter", &label]) {
        let users =
            docker(&["network", "inspect", "--format", "{{range .Containers}}{{.Name}}{{end}}", &network]);
        left.extend(users.into_iter().filter(|name| !name.is_empty()));
    }
    for attempt in fs::read_dir(node.data().join("attempts")).into_iter().flatten() {
        let attempt = attempt.unwrap().path();
        let of_it = ["control", "workspace", "staging", "fence", "result"].map(|name| attempt.join(name));
        left.extend(of_it.iter().filter(|path| path.exists()).map(|path| path.display().to_string()));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_any_actor_costs_nothing_that_anybody_sees() {
    let tools = tempfile::tempdir().unwrap();
    // Two nodes: each has a session with the other, and the one that leads runs the job. Leases so short that one which nobody
    // renews any more, beside the others, is seen before the end.
    let more = "leases = { leader_ms = 5000, node_ms = 4000 }".to_owned();
    let cluster = cluster(Plan { more, ..Plan::docker(2) }, tools.path()).await;
    let leader = &cluster.nodes[cluster.leader().await];
    let label = &leader.name;
    let job = json!({ "script": "echo begun; until test -e /tmp/over; do sleep 0.1; done; echo done", "labels": [label] });
    let answer = leader.request(Method::POST, "/v1/runs").json(&job).send().await.unwrap();
    let run = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    writes(leader, &run).await;
    let container = the_container(&cluster).await;
    let listens = listeners(leader);
    assert!(listens >= 3, "HTTP, cluster, metrics: {listens}");
    for actor in ACTORS {
        let before = restarts(leader, actor).await.unwrap_or_default();
        inject(leader, &format!("panic:{actor}:1"));
        until(format!("{actor} was restarted"), async || {
            (restarts(leader, actor).await? > before).then_some(())
        })
        .await;
        // Work is taken, done and told of as before.
        let small = submit(leader, "true").await;
        let seen = cluster.finished(0, &small).await;
        assert_eq!(
            (&seen["outcome"], &seen["jobs"][0]["attempts"]),
            (&json!("succeeded"), &json!(1)),
            "{actor}"
        );
        until(format!("all are well after a panic of {actor}, and nothing is left behind"), async || {
            let well =
                ready(leader).await.0 == StatusCode::OK && leader.metric("troupe_actors_down").await? < 0.5;
            (well && listeners(leader) == listens).then_some(())
        })
        .await;
        assert!(cluster.docker().running(&cluster.ids()).contains(&container), "{actor}");
    }
    let ended = Command::new("docker").args(["exec", &container, "touch", "/tmp/over"]).status().unwrap();
    assert!(ended.success());
    let seen = cluster.finished(0, &run).await;
    assert_eq!((&seen["outcome"], &seen["jobs"][0]["attempts"]), (&json!("succeeded"), &json!(1)), "{seen}");
    let log = leader.bytes(&format!("/v1/attempts/{run}.0/1/log")).await;
    assert_eq!(String::from_utf8(log).unwrap(), "begun\ndone\n");
    let lost = leader.metric("troupe_nodes_lost_total").await;
    assert_eq!(lost, Some(0.0), "no node was taken for lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_without_end_is_a_storm_that_everybody_sees_and_then_the_end_of_the_process() {
    let tools = tempfile::tempdir().unwrap();
    // Under the root, under the runner supervisor, under the queue; and one that ends before the process does.
    let stories = ["sessions", "heart", "scheduler"].map(|actor| storm(actor, tools.path()));
    let (over, [sessions, heart, scheduler]) = (calm(tools.path()), stories);
    tokio::join!(over, sessions, heart, scheduler);
}

/// A node alone, one of whose actors panics always.
async fn storm(actor: &str, tools: &Path) {
    let mut cluster = cluster(Plan::fake(1), tools).await;
    let node = &mut cluster.nodes[0];
    assert_eq!(ready(node).await.0, StatusCode::OK);
    inject(node, &format!("panic:{actor}"));
    let last = format!("the task of {actor} panicked: the test wants it: panic:{actor}");
    until(format!("/readyz tells of {actor}"), async || {
        let (status, words) = ready(node).await;
        (status == StatusCode::SERVICE_UNAVAILABLE && words.contains(actor) && words.contains(&last))
            .then_some(())
    })
    .await;
    // Half of what it may.
    until(format!("{actor} was restarted five times"), async || {
        (restarts(node, actor).await? >= 5.0 && ready(node).await.0 == StatusCode::SERVICE_UNAVAILABLE)
            .then_some(())
    })
    .await;
    assert_eq!(node.ended().await, GAVE_UP);
    let words = node.last_words();
    let reason = format!("{actor} was restarted 10 times within 60s and failed again; last failure: {last}");
    assert!(words.lines().last().is_some_and(|line| line.contains(&reason)), "{words}");
}

/// A node alone, one of whose actors panics often, and then no more: it is well when the window has passed.
async fn calm(tools: &Path) {
    let cluster = cluster(Plan::fake(1), tools).await;
    let node = &cluster.nodes[0];
    inject(node, "panic:retention:6");
    until("retention was restarted six times", async || {
        (restarts(node, "retention").await? >= 6.0).then_some(())
    })
    .await;
    let (status, words) = ready(node).await;
    assert!(
        status == StatusCode::SERVICE_UNAVAILABLE && words.contains("retention was restarted 6 times"),
        "{words}"
    );
    until("it is well again", async || (ready(node).await.0 == StatusCode::OK).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_an_attempts_life_costs_that_attempt_and_leaves_nothing_behind() {
    let tools = tempfile::tempdir().unwrap();
    let cluster = cluster(Plan::docker(1), tools.path()).await;
    let node = &cluster.nodes[0];
    for stage in ["life", "prepared", "pulled", "accepted", "created", "started", "exited"] {
        inject(node, &format!("panic:{stage}:1"));
        let run = submit(node, "echo begun").await;
        let seen = cluster.finished(0, &run).await;
        assert_eq!(seen["outcome"], "failed", "{stage}: {seen}");
        let attempts = node.get(&format!("/v1/jobs/{run}.0/attempts")).await;
        let reason = attempts["items"][0]["reason"].as_str().unwrap();
        assert_eq!(reason, format!("the runner panicked: the test wants it: panic:{stage}:1"));
        free(node, stage).await;
    }
    // Its result is safe by then: it costs not even the attempt.
    for stage in ["kept", "reported", "cleaned"] {
        inject(node, &format!("panic:{stage}:1"));
        let run = submit(node, "echo begun").await;
        assert_eq!(cluster.finished(0, &run).await["outcome"], "succeeded", "{stage}");
        free(node, stage).await;
    }
}

/// Until nothing of any attempt is left on a node.
async fn free(node: &Node, stage: &str) {
    until(format!("nothing is left after a panic at {stage}: {:?}", left(node)), async || {
        let idle = node.metric("troupe_runner_slots{state=\"idle\"}").await?;
        (left(node).is_empty() && (idle - 2.0).abs() < 0.1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_stage_of_an_attempt_goes_on_with_it() {
    let tools = tempfile::tempdir().unwrap();
    let mut cluster = cluster(Plan::docker(1), tools.path()).await;
    for stage in
        ["prepared", "pulled", "accepted", "created", "started", "exited", "kept", "reported", "cleaned"]
    {
        let events = Events::start();
        inject(&cluster.nodes[0], &format!("abort:{stage}"));
        let run = submit(&cluster.nodes[0], "echo begun; sleep 1; echo done").await;
        dies(&mut cluster.nodes[0]).await;
        cluster.nodes[0].start();
        let seen = cluster.finished(0, &run).await;
        assert_eq!(
            (&seen["outcome"], &seen["jobs"][0]["attempts"]),
            (&json!("succeeded"), &json!(1)),
            "{stage}: {seen}"
        );
        let node = &cluster.nodes[0];
        let log = node.bytes(&format!("/v1/attempts/{run}.0/1/log")).await;
        assert_eq!(String::from_utf8(log).unwrap(), "begun\ndone\n", "{stage}");
        free(node, stage).await;
        assert_eq!(events.starts(&node.id().unwrap()).await, 1, "its container ran once ({stage})");
    }
}

/// Docker's account of containers that are started.
struct Events {
    process: std::process::Child,
    seen: tempfile::NamedTempFile,
}

impl Events {
    fn start() -> Self {
        let seen = tempfile::NamedTempFile::new().unwrap();
        let process = Command::new("docker")
            .args(["events", "--filter", "type=container"])
            .args(["--format", r#"{{.Action}} {{index .Actor.Attributes "troupe.node"}} end"#])
            .stdout(seen.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { process, seen }
    }

    /// How many containers of a node were started until the last one was removed.
    async fn starts(&self, node: &str) -> usize {
        let of = |action: &str| {
            let text = fs::read_to_string(self.seen.path()).unwrap();
            text.lines().filter(|line| **line == format!("{action} {node} end")).count()
        };
        until("docker tells of the end of each container", async || {
            (of("create") > 0 && of("destroy") == of("create")).then_some(())
        })
        .await;
        of("start")
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
