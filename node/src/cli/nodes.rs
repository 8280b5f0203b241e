//! `troupe nodes`, `drain`, `status`.

use std::collections::BTreeMap;

use domain::NodeId;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::escaped;
use super::{Client, Failure, table};
use crate::api::dto::NodeView;
use crate::api::page::Page;

/// All nodes.
///
/// # Errors
/// [`Failure`].
pub async fn list(client: &Client, json: bool) -> Result<u8, Failure> {
    let nodes: Value = client.get("/v1/nodes").await?;
    table::show(&nodes, &["id", "name", "http_addr", "labels", "busy", "slots", "drain", "lost"], json)?;
    Ok(0)
}

/// Stops placements on a node, or allows them again.
///
/// # Errors
/// [`Failure`].
pub async fn drain(client: &Client, node: &str, off: bool, json: bool) -> Result<u8, Failure> {
    let path = format!("/v1/nodes/{}/drain", escaped(node));
    let answer = client.call(Method::POST, &path, &json!({ "drain": !off })).await?;
    table::show(&answer, &["drain"], json)?;
    Ok(0)
}

/// The cluster as the node sees it.
///
/// # Errors
/// [`Failure`].
pub async fn status(client: &Client, json: bool) -> Result<u8, Failure> {
    let cluster: Value = client.get("/v1/cluster").await?;
    table::show(&cluster, &["id", "leader", "term", "applied", "last_log", "voters"], json)?;
    Ok(0)
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
        Ok(Self(nodes.items.into_iter().map(|node| (node.id, node.name)).collect()))
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
