//! People who submit all the time, one at each node: what was acknowledged, and what was not.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::node::Node;
use crate::until;

/// Between two submits of one of them: enough are under way at any moment, and the cluster has time for other things.
const PAUSE: Duration = Duration::from_millis(10);

/// Submits that go on until they are ended.
pub struct Submits {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    clients: JoinSet<Seen>,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Seen {
    /// The runs that were acknowledged.
    pub accepted: Vec<String>,
    /// Of the others, the node and what it answered or did not.
    pub failed: Vec<String>,
}

impl Submits {
    /// One client at each of these nodes, for jobs that no node can run: they stay in the queue.
    #[must_use]
    pub fn start<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for node in nodes {
            let request = node.request(Method::POST, "/v1/runs");
            let request = request.json(&json!({ "script": "true", "labels": ["no-such-node"] }));
            let (name, stop, count) = (node.name.clone(), Arc::clone(&stop), Arc::clone(&accepted));
            clients.spawn(async move {
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    match submit(request.try_clone().expect("its body is in memory")).await {
                        Ok(run) => {
                            seen.accepted.push(run);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(why) => seen.failed.push(format!("{name}: {why}")),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                seen
            });
        }
        Self { stop, accepted, clients }
    }

    /// Waits until so many more were acknowledged.
    pub async fn more(&self, count: usize) {
        let goal = self.accepted.load(Ordering::Relaxed) + count;
        until(format!("{count} more submits are acknowledged"), async || {
            (self.accepted.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Ends them.
    ///
    /// # Panics
    /// When a client has.
    pub async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(seen) = self.clients.join_next().await {
            let seen = seen.unwrap();
            all.accepted.extend(seen.accepted);
            all.failed.extend(seen.failed);
        }
        all
    }
}

impl Seen {
    /// Every node has every run that was acknowledged, each once.
    ///
    /// # Panics
    /// When one is missing, or was given out twice.
    pub async fn all_are_in(&self, nodes: &[Node]) {
        let wanted: HashSet<&str> = self.accepted.iter().map(String::as_str).collect();
        assert_eq!(wanted.len(), self.accepted.len(), "one run was acknowledged twice");
        for node in nodes {
            until(format!("{} has applied all that was acknowledged", node.name), async || {
                let found = runs(node).await?;
                wanted.iter().all(|run| found.contains(*run)).then_some(())
            })
            .await;
        }
    }
}

async fn submit(request: reqwest::RequestBuilder) -> Result<String, String> {
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|error| format!("{status}, {error:?}"))?;
    match (status, body["id"].as_str()) {
        (StatusCode::CREATED, Some(run)) => Ok(run.to_owned()),
        _ => Err(format!("{status}, {body}")),
    }
}

/// The ids of all runs that a node knows.
async fn runs(node: &Node) -> Option<HashSet<String>> {
    let runs = Client::of(node).all("/v1/runs", "").await?;
    Some(runs.iter().filter_map(|run| Some(run["id"].as_str()?.to_owned())).collect())
}
