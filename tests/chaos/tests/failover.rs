//! The leader is killed while a build runs: the build goes on in the same container, ends once, and its log is whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fmt::Write as _;

use chaos::cluster::{Cluster, IMAGE};
use chaos::containers::Watch;
use chaos::follower::Follower;
use chaos::push::{Webhook, register, run_of};
use chaos::until;
use fixtures::GitServer;
use serde_json::Value;

/// Lines that the build writes, 20 ms apart: it lasts for some elections.
const LINES: usize = 500;
/// The line at which the leader dies.
const DEATH: &str = "line 60";

/// A workflow whose one job runs on the node with this label.
fn workflow(label: &str) -> String {
    format!(
        "on: push
jobs:
  build:
    runs-on: {label}
    container: {IMAGE}
    steps:
      - uses: actions/checkout@v4
      - run: |
          i=0
          while [ $i -lt {LINES} ]; do echo \"line $i\"; i=$((i + 1)); sleep 0.02; done
"
    )
}

/// A build that is under way.
struct Build {
    cluster: Cluster,
    run: String,
    job: String,
    follower: Follower,
    watch: Watch,
    container: String,
    leader: usize,
    runner: usize,
    _git: GitServer,
}

impl Build {
    /// Pushes to a follower a commit whose job runs on the leader or on a follower, and follows its log from a node that
    /// does not run it.
    async fn start(on_leader: bool) -> Self {
        let cluster = Cluster::start(3).await;
        let leader = cluster.leader().await;
        let (first, second) = cluster.others(leader);
        let runner = if on_leader { leader } else { first };
        let git = GitServer::start(&workflow(&cluster.nodes[runner].name)).unwrap();
        register(&cluster, &git).await;
        let watch = Watch::start();
        let webhook = Webhook::push(&git.head().unwrap(), "push-1");
        let delivery = webhook.accepted(&cluster.nodes[second]).await;
        let run = run_of(&cluster.nodes[second], &delivery).await;
        let job = format!("{run}.0");
        let follower = Follower::start(&[&cluster.nodes[second], &cluster.nodes[first]], &job);
        follower.sees(DEATH).await;
        let ids = cluster.ids();
        let [container] = cluster.docker().running(&ids).try_into().expect("one container runs");
        Self { cluster, run, job, follower, watch, container, leader, runner, _git: git }
    }

    /// Kills the leader; the others have another one when this returns.
    async fn kill_leader(&mut self) {
        self.cluster.nodes[self.leader].kill();
        let next = self.cluster.leader().await;
        assert_ne!(next, self.leader);
        let run = self.cluster.nodes[next].get(&format!("/v1/runs/{}", self.run)).await;
        assert!(run["outcome"].is_null(), "the build was too short to see the next leader: {run}");
        assert_eq!(self.cluster.docker().running(&self.cluster.ids()), std::slice::from_ref(&self.container));
    }

    /// The build ends well: once, in its first container, with each line of its log once and in order, for whoever followed
    /// and for whoever reads it afterwards, from any node.
    async fn ends_well(self) {
        let (status, seen) = self.follower.ended().await;
        assert!(status.success(), "the follower ended with {status}");
        assert_eq!(numbered(&seen), (0..LINES).collect::<Vec<_>>());
        let mut views = Vec::new();
        for number in 0..self.cluster.nodes.len() {
            let node = &self.cluster.nodes[number];
            views.push(self.cluster.finished(number, &self.run).await);
            let attempts = node.get(&format!("/v1/jobs/{}/attempts", self.job)).await;
            let attempts = attempts["items"].as_array().unwrap().clone();
            let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt["outcome"].as_str()).collect();
            assert_eq!(outcomes, [Some("succeeded")], "{attempts:?}");
            let log = node.bytes(&format!("/v1/attempts/{}/1/log", self.job)).await;
            assert_eq!(String::from_utf8(log).unwrap(), expected(&seen), "as {} shows it", node.name);
        }
        assert_eq!(views[0]["outcome"], "succeeded");
        assert!(views.iter().all(|view| *view == views[0]), "{views:#?}");
        let runner = self.cluster.nodes[self.runner].id().unwrap();
        assert_eq!(views[0]["jobs"][0]["node"], Value::from(runner));
        assert_eq!(self.watch.created(&self.cluster.ids(), &self.container).await, [self.container]);
    }
}

/// The numbers of the script's lines; the checkout's words are passed over.
fn numbered(lines: &[String]) -> Vec<usize> {
    lines.iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
}

fn expected(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_on_a_follower_outlives_the_leader() {
    let mut build = Build::start(false).await;
    build.kill_leader().await;
    let dead = build.leader;
    // It comes back while the build runs, and finds what it missed.
    build.cluster.nodes[dead].start();
    build.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_on_the_leader_outlives_the_leader() {
    let mut build = Build::start(true).await;
    build.kill_leader().await;
    let dead = build.leader;
    build.cluster.nodes[dead].start();
    build.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_ends_while_its_node_is_down_is_told_when_the_node_is_back() {
    let mut build = Build::start(true).await;
    build.kill_leader().await;
    let ids = build.cluster.ids();
    until("the container has ended by itself", async || {
        build.cluster.docker().running(&ids).is_empty().then_some(())
    })
    .await;
    let dead = build.leader;
    build.cluster.nodes[dead].start();
    build.ends_well().await;
}
