//! From a request to its handler: one table of paths and rights.
//!
//! Must not know what handlers do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Command, Reply, Right};
use raft_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::Filter;
use warp::http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;

use super::auth::{self, Caller};
use super::output::Output;
use super::problem::{Code, Problem};
use super::request::{Request, boxed};
use super::{Answer, hooks, jobs, json, nodes, now, repos, runs, tokens};
use crate::config;

/// How long a change of settings may take from its commit until this node has applied it.
const SEEN_HERE: Duration = Duration::from_secs(2);

/// What handlers work with.
pub struct Api {
    /// The replicated state.
    pub store: Store,
    /// Limits of requests.
    pub http: config::Http,
    /// Bounds of the queue.
    pub queue: config::Queue,
    /// Output and artifacts.
    pub output: Arc<dyn Output>,
    /// Owns the tasks that feed streams.
    pub tasks: TaskTracker,
    /// Ends streams.
    pub shutdown: CancellationToken,
}

impl Api {
    /// Proposes a change of settings and waits until this node has applied it, so that whoever made it here also sees
    /// it here. It is committed by then, so that a node too far behind answers all the same.
    pub(super) async fn change(&self, command: Command) -> Result<Reply, Problem> {
        let committed = self.store.propose(command).await?;
        let mut applied = self.store.applied();
        let seen = applied.wait_for(|index| *index >= committed.index);
        if tokio::time::timeout(SEEN_HERE, seen).await.is_err() {
            tracing::warn!(index = committed.index, "a change is committed, but not applied here yet");
        }
        Ok(committed.reply)
    }
}

/// The API, shared by all connections.
#[derive(Clone)]
pub struct Routes(Arc<Api>);

impl Routes {
    /// Serves `api`.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(Arc::new(api))
    }

    /// A service for one connection.
    pub fn service(
        &self,
    ) -> impl tower_service::Service<
        HttpRequest<hyper::body::Incoming>,
        Response = Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        let api = self.0.clone();
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let filter = warp::any()
            .and(warp::method())
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(warp::body::stream())
            .then(move |method: Method, path: FullPath, query: String, headers: HeaderMap, body| {
                let request = Request::new(method, path.as_str(), &query, headers, boxed(body));
                answer(api.clone(), request)
            });
        warp::service(filter)
    }
}

async fn answer(api: Arc<Api>, request: Result<Request, Problem>) -> Response {
    let begun = Instant::now();
    let mut response = match request {
        Ok(request) => route(&api, request).await.unwrap_or_else(Problem::into_response),
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert("x-troupe-index", HeaderValue::from(*api.store.applied().borrow()));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let class = format!("{}xx", response.status().as_u16() / 100);
    metrics::counter!(crate::telemetry::HTTP_REQUESTS, "class" => class).increment(1);
    metrics::histogram!(crate::telemetry::HTTP_SECONDS).record(begun.elapsed().as_secs_f64());
    response
}

async fn route(api: &Arc<Api>, mut request: Request) -> Answer {
    let method = request.method.clone();
    let path = request.segments.clone();
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let allow = |request: &Request, right: Right| auth::check(&api.store.state(), request, right, now());
    let (get, post) = (method == Method::GET || method == Method::HEAD, method == Method::POST);
    let (put, delete) = (method == Method::PUT, method == Method::DELETE);
    match parts.as_slice() {
        ["healthz"] if get => Ok(healthy()),
        ["readyz"] if get => ready(api),
        ["v1", "hooks", name @ ..] if post => hooks::receive(api, &name.join("/"), &mut request).await,
        ["v1", rest @ ..] => {
            let needed = right(&method, rest);
            let caller = allow(&request, needed)?;
            if !(get || post || put || delete) {
                return Err(no_method(&method));
            }
            guarded(api, caller, &method, rest, request).await
        }
        _ => Err(Problem::not_found("path", &format!("/{}", path.join("/")))),
    }
}

/// The right that a path takes.
fn right(method: &Method, parts: &[&str]) -> Right {
    let reads = *method == Method::GET || *method == Method::HEAD;
    match parts {
        ["tokens", ..] => Right::Admin,
        _ if reads => Right::Read,
        ["runs", ..] => Right::Submit,
        ["repos", .., "dispatch"] if *method == Method::POST => Right::Submit,
        _ => Right::Admin,
    }
}

async fn guarded(
    api: &Arc<Api>,
    caller: Caller,
    method: &Method,
    parts: &[&str],
    mut request: Request,
) -> Answer {
    let request = &mut request;
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    // Lists and logs know their own parameters.
    if !matches!((method, parts), ("GET", ["repos" | "runs" | "jobs"] | ["attempts", _, _, "log"])) {
        request.check_query(&[])?;
    }
    match (method, parts) {
        ("GET", ["repos"]) => repos::list(api, request),
        ("POST", ["repos", name @ .., "dispatch"]) => {
            repos::dispatch(api, caller, &name.join("/"), request).await
        }
        ("GET", ["repos", name @ ..]) => repos::get(api, &name.join("/")),
        ("PUT" | "POST", ["repos", name @ ..]) => repos::put(api, &name.join("/"), request).await,
        ("DELETE", ["repos", name @ ..]) => repos::remove(api, &name.join("/")).await,
        ("GET", ["deliveries", id]) => repos::delivery(api, id),
        ("GET", ["runs"]) => runs::list(api, request),
        ("POST", ["runs"]) => runs::submit(api, caller, request).await,
        ("GET", ["runs", id]) => runs::get(api, id).await,
        ("GET", ["runs", id, "events"]) => runs::events(api, id).await,
        ("POST", ["runs", id, "cancel"]) => runs::cancel(api, id).await,
        ("POST", ["runs", id, "rerun"]) => runs::rerun(api, caller, id).await,
        ("GET", ["jobs"]) => jobs::list(api, request),
        ("GET", ["jobs", id]) => jobs::get(api, id),
        ("GET", ["jobs", id, "attempts"]) => jobs::attempts(api, id),
        ("GET", ["attempts", job, number]) => jobs::attempt(api, job, number),
        ("GET", ["attempts", job, number, "log"]) => jobs::log(api, job, number, request).await,
        ("GET", ["attempts", job, number, "artifacts"]) => jobs::artifacts(api, job, number),
        ("GET", ["attempts", job, number, "artifacts", path @ ..]) => {
            jobs::artifact(api, job, number, &path.join("/")).await
        }
        ("GET", ["nodes"]) => nodes::list(api),
        ("GET", ["nodes", id]) => nodes::get(api, id),
        ("POST", ["nodes", id, "drain"]) => nodes::drain(api, id, request).await,
        ("GET", ["cluster"]) => nodes::cluster(api),
        ("GET", ["tokens"]) => tokens::list(api),
        ("POST", ["tokens"]) => tokens::create(api, request).await,
        ("DELETE", ["tokens", id]) => tokens::revoke(api, id).await,
        _ => Err(Problem::not_found("route", &format!("{method} /v1/{}", parts.join("/")))),
    }
}

fn no_method(method: &Method) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not a method of this API"))
}

/// This process answers.
fn healthy() -> Response {
    let mut response = Response::new("ok\n".into());
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Ready: this node knows a leader and belongs to a cluster.
fn ready(api: &Api) -> Answer {
    let leader = api.store.leadership().borrow().leader.is_some();
    if !leader || api.store.state().cluster.is_none() {
        return Err(Problem::new(Code::Unavailable, "this node knows no leader yet"));
    }
    json(StatusCode::OK, &serde_json::json!({ "ready": true }))
}
