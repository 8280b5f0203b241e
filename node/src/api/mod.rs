//! The HTTP API: webhooks, `/v1`, health. Any node answers everything; changes go through the store to the leader.
//!
//! Must not know how jobs are placed or run.

mod accept;
mod auth;
mod caches;
mod dispatches;
pub mod dto;
mod environments;
mod hooks;
mod jobs;
mod members;
mod nodes;
mod openapi;
pub mod output;
pub mod page;
mod problem;
mod registration;
mod repos;
mod request;
mod routes;
mod runs;
mod secrets;
mod tokens;
mod variables;

pub use accept::serve;
pub use hooks::room as hook_room;
pub use problem::{Code, Problem};
pub use routes::{Api, Routes};
pub(crate) use runs::new_run;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use serde::Serialize;
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

type Answer = Result<Response, Problem>;

/// This node's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(since.as_millis() as u64)
}

/// A JSON response.
fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(json_bytes(status, body))
}

/// A response of JSON that is written already.
fn json_bytes(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Resolves when a stream must end before its time: its token ended, or this node does.
fn cut(api: &Api, caller: auth::Caller) -> impl Future<Output = ()> + Send + 'static {
    let (shutdown, store) = (api.shutdown.clone(), api.store.clone());
    async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = auth::ended(store, caller.token) => {}
        }
    }
}

/// What a state machine's answer means when it is not the one that was asked for.
fn unexpected(reply: domain::Reply) -> Problem {
    match reply {
        domain::Reply::Refused(refusal) => refusal.into(),
        other => Problem::new(Code::Internal, format!("unexpected answer of the state machine: {other:?}")),
    }
}
