//! `troupe nodes`, `status`.

use std::collections::BTreeMap;

use domain::NodeId;
use serde_json::Value;

use super::pages::Show;
use super::{Client, Failure, table};
use crate::api::dto::{ClusterView, NodeView};
use crate::api::page::Page;

/// All nodes.
///
/// # Errors
/// [`Failure`].
pub async fn list(client: &Client, json: bool) -> Result<u8, Failure> {
    let nodes: Value = client.get("/v1/nodes").await?;
    let columns = ["name", "id", "state", "jobs", "cpus", "memory", "labels", "address", "version"];
    Show { noun: "nodes", columns: &columns, row: &row }.list(client, nodes, json)?;
    Ok(0)
}

fn row(node: NodeView) -> Vec<String> {
    vec![
        node.name.clone(),
        node.id.clone(),
        state(&node).to_owned(),
        format!("{}/{}", node.busy, node.slots),
        (f64::from(node.cpu_millis) / 1000.0).to_string(),
        format!("{}Mi", node.memory_mib),
        table::or_dash(Some(&node.labels.join(","))),
        node.http_addr.clone(),
        node.version.clone(),
    ]
}

fn state(node: &NodeView) -> &'static str {
    match (node.lost, node.drain || node.leaving, node.busy) {
        (true, ..) => "lost",
        (false, true, 0) => "drained",
        (false, true, _) => "draining",
        (false, false, _) => "ready",
    }
}

/// The cluster as the node sees it.
///
/// # Errors
/// [`Failure`].
pub async fn status(client: &Client, json: bool) -> Result<u8, Failure> {
    let answer: Value = client.get("/v1/cluster").await?;
    if json {
        table::pretty(&answer)?;
        return Ok(0);
    }
    let cluster: ClusterView = client.take(answer)?;
    let nodes: Page<NodeView> = client.get("/v1/nodes").await?;
    let names = Names::of_nodes(&nodes.items);
    let leader = cluster.leader.as_deref().map(|id| names.of(Some(id)).to_owned());
    table::fields(&[
        ("cluster", cluster.id.clone().unwrap_or_else(|| "not begun yet".to_owned())),
        ("leader", leader.unwrap_or_else(|| "none: an election goes on, or there is no quorum".to_owned())),
        ("term", cluster.term.to_string()),
        ("log", format!("{} entries, {} applied by {}", cluster.last_log, cluster.applied, client.addr())),
    ])?;
    table::table(
        &["node", "id", "role", "state", "behind"],
        members(&cluster, &nodes.items, &names).into_iter(),
    )?;
    Ok(0)
}

/// One row per member of the cluster, voters first.
fn members(cluster: &ClusterView, nodes: &[NodeView], names: &Names) -> Vec<Vec<String>> {
    let voters = cluster.voters.iter().map(|id| (id, "voter"));
    let all = voters.chain(cluster.learners.iter().map(|id| (id, "learner")));
    let row = |(id, role): (&String, &str)| {
        let role = if cluster.leader.as_ref() == Some(id) { "leader" } else { role };
        let node = nodes.iter().find(|node| node.id == *id);
        // Only the leader knows how far others are.
        let lag = cluster.lag.iter().find(|lag| lag.node == *id).map(|lag| lag.entries.to_string());
        vec![
            names.of(Some(id)).to_owned(),
            id.clone(),
            role.to_owned(),
            node.map_or("unknown", state).to_owned(),
            table::or_dash(lag.as_deref()),
        ]
    };
    all.map(row).collect()
}

/// Names of nodes, by id as the API writes it: what people know them by.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Of all nodes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn fetch(client: &Client) -> Result<Self, Failure> {
        let nodes: Page<NodeView> = client.get("/v1/nodes").await?;
        Ok(Self::of_nodes(&nodes.items))
    }

    fn of_nodes(nodes: &[NodeView]) -> Self {
        Self(nodes.iter().map(|node| (node.id.clone(), node.name.clone())).collect())
    }

    /// A node's name, or its id when it joined later; `-` for no node.
    #[must_use]
    pub fn of<'a>(&'a self, id: Option<&'a str>) -> &'a str {
        id.map_or("-", |id| self.0.get(id).map_or(id, String::as_str))
    }

    /// True when every node of these ids has a name here.
    #[must_use]
    pub fn know<'a>(&self, mut ids: impl Iterator<Item = &'a str>) -> bool {
        // What is not an id of a node is never asked for again.
        ids.all(|id| self.0.contains_key(id) || id.parse::<NodeId>().is_err())
    }
}
