//! Nodes and the cluster.

use domain::{Command, JobId, NodeId, NodeName, Reply, RunId, Timestamp};
use warp::http::StatusCode;

use super::dto::{ClusterView, Drain, NodeView};
use super::page::Page;
use super::problem::Problem;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json, now, unexpected};

/// Seconds that a node may have to drain, at most: a week.
const MAX_DEADLINE: u32 = 604_800;

fn view(api: &Api, id: NodeId) -> Option<NodeView> {
    let state = api.store.state();
    let node = state.nodes.get(&id)?;
    let low = JobId { run: RunId::from_parts(Timestamp(0), 0), index: 0 };
    let busy = state.held.range((id, low)..).take_while(|((node, _), ())| *node == id).count();
    Some(NodeView::of(id, node, busy))
}

/// All nodes.
pub(super) fn list(api: &Api) -> Answer {
    let state = api.store.state();
    let items: Vec<_> = state.nodes.iter().filter_map(|(id, _)| view(api, *id)).collect();
    json(StatusCode::OK, &Page { items, next: None })
}

/// A node by id or by name.
fn find(api: &Api, request: &Request) -> Result<NodeId, Problem> {
    let text = request.captured.get("node");
    let state = api.store.state();
    if let Some((id, _)) = state.nodes.iter().find(|(_, node)| node.name.as_str() == text) {
        return Ok(*id);
    }
    let missing = || Problem::not_found("node", &text);
    match text.parse::<NodeId>() {
        Ok(key) => state.nodes.get(&key).map(|_| key).ok_or_else(missing),
        Err(_) if text.parse::<NodeName>().is_ok() => Err(missing()),
        Err(error) => Err(Problem::invalid("node", format!("not a node's name, and {error}"))),
    }
}

/// One.
pub(super) fn get(api: &Api, request: &Request) -> Answer {
    let key = find(api, request)?;
    json(StatusCode::OK, &view(api, key).ok_or_else(|| Problem::not_found("node", &key))?)
}

/// Stops or allows placements.
pub(super) async fn drain(api: &Api, request: &mut Request) -> Answer {
    let node = find(api, request)?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let asked: Drain = request::json(&body)?;
    let until = match asked.deadline_seconds {
        // By the cluster's time: it is over wherever that is known.
        Some(0) => Some(api.store.state().now),
        Some(seconds) if seconds > MAX_DEADLINE => {
            return Err(Problem::invalid(
                "deadline_seconds",
                format!("{seconds}, 0 to {MAX_DEADLINE} are allowed"),
            ));
        }
        Some(seconds) => Some(now().plus_millis(u64::from(seconds) * 1000)),
        None => None,
    };
    match api.change(Command::SetDrain { node, drain: asked.drain, until, life: None }).await? {
        Reply::Done => json(StatusCode::OK, &asked),
        Reply::Refused(refusal) => Err(refusal.into()),
        other => Err(unexpected(other)),
    }
}

/// The cluster.
pub(super) fn cluster(api: &Api) -> Answer {
    let now = api.store.view().current();
    json(StatusCode::OK, &ClusterView::of((now.index, &now.state), &api.store.status()))
}
