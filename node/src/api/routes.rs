//! From a request to its handler, by the table of operations (openapi).
//!
//! Must not know what handlers do, nor any path or right by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::vault::Vault;
use domain::{Command, Refusal, Reply};
use raft_store::{Space, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::Filter;
use warp::http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;

use super::auth::{self, Caller};
use super::dto::Ready;
use super::openapi::{self, Access, Guarded, Missed, Open};
use super::output::Output;
use super::problem::{Code, Problem};
use super::request::{Request, boxed};
use super::{
    Answer, caches, dispatches, environments, hooks, jobs, json, json_bytes, members, nodes, now, repos,
    runs, secrets, tokens, variables,
};
use crate::config;

/// How long a change of settings may take from its commit until this node has applied it.
const SEEN_HERE: Duration = Duration::from_secs(2);

/// What handlers work with.
pub struct Api {
    /// The replicated state.
    pub store: Store,
    /// Limits of requests.
    pub http: config::Http,
    /// The bytes of webhooks that may still come into memory.
    pub hook_room: Arc<Semaphore>,
    /// Bounds of the queue.
    pub queue: config::Queue,
    /// Output and artifacts.
    pub output: Arc<dyn Output>,
    /// How this node's actors fare.
    pub actors: actors::health::Board,
    /// This node's certificates: what a join token says of the CA.
    pub identity: links::Identity,
    /// What secrets are sealed with.
    pub vault: Vault,
    /// Owns the tasks that feed streams.
    pub tasks: TaskTracker,
    /// Ends streams.
    pub shutdown: CancellationToken,
}

impl Api {
    /// Refuses what would make more jobs while the queue is full. For a submit, applying it decides; what a delivery or
    /// a rerun makes is not counted before it is there, so this bound is soft.
    pub(super) fn admit(&self) -> Result<(), Problem> {
        self.has_room()?;
        let (open, limit) = (self.store.state().open_jobs, self.queue.max_open_jobs);
        if open < limit { Ok(()) } else { Err(Refusal::QueueFull { open, limit }.into()) }
    }

    /// Refuses new work while this node's disk is nearly full: what the leader still has room for, this copy has not.
    pub(super) fn has_room(&self) -> Result<(), Problem> {
        if self.store.space() == Space::Enough {
            return Ok(());
        }
        let why =
            "the disk of this node has not enough room for new work (raft.min_free_mib); nothing was changed";
        Err(Problem::new(Code::NoSpace, why))
    }

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
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let class = format!("{}xx", response.status().as_u16() / 100);
    metrics::counter!(crate::telemetry::HTTP_REQUESTS, "class" => class).increment(1);
    metrics::histogram!(crate::telemetry::HTTP_SECONDS).record(begun.elapsed().as_secs_f64());
    response
}

async fn route(api: &Arc<Api>, mut request: Request) -> Answer {
    let operation = match openapi::find(&request.method, &request.segments) {
        Ok((operation, captured)) => {
            request.captured = captured;
            operation
        }
        Err(Missed::Path) => {
            let path: String = request.segments.join("/").chars().take(80).collect();
            let detail = format!("this API has no path /{path}; GET /v1/openapi.json has them all");
            return Err(Problem::new(Code::NoRoute, detail));
        }
        Err(Missed::Method(allowed)) => return Ok(no_method(&request.method, &allowed.join(", "))),
    };
    match operation.access {
        Access::Open(open) => {
            request.check_query(&operation.query_names())?;
            answer_open(api, open, &mut request).await
        }
        Access::Token(right, guarded) => {
            let caller = auth::check(&api.store.state(), &request, right, operation.id, now())?;
            request.check_query(&operation.query_names())?;
            answer_guarded(api, caller, guarded, &mut request).await
        }
    }
}

async fn answer_open(api: &Api, open: Open, request: &mut Request) -> Answer {
    match open {
        Open::Health => Ok(healthy()),
        Open::Ready => ready(api),
        Open::Description => Ok(json_bytes(StatusCode::OK, openapi::document())),
        Open::Hook => hooks::receive(api, request).await,
    }
}

async fn answer_guarded(api: &Arc<Api>, caller: Caller, guarded: Guarded, request: &mut Request) -> Answer {
    match guarded {
        Guarded::ListRepos => repos::list(api, request),
        Guarded::GetRepo => repos::get(api, request),
        Guarded::PutRepo => repos::put(api, request).await,
        Guarded::RemoveRepo => repos::remove(api, request).await,
        Guarded::ListSecrets => secrets::list(api, request),
        Guarded::PutSecret => secrets::put(api, request).await,
        Guarded::RemoveSecret => secrets::remove(api, request).await,
        Guarded::ListVariables => variables::list(api, request),
        Guarded::PutVariable => variables::put(api, request).await,
        Guarded::RemoveVariable => variables::remove(api, request).await,
        Guarded::ListEnvironments => environments::list(api, request),
        Guarded::PutEnvironment => environments::put(api, request).await,
        Guarded::RemoveEnvironment => environments::remove(api, request).await,
        Guarded::ListCaches => caches::list(api, request),
        Guarded::RemoveCaches => caches::remove(api, request).await,
        Guarded::Dispatch => dispatches::dispatch(api, caller, request).await,
        Guarded::RepositoryEvent => dispatches::repository_event(api, caller, request).await,
        Guarded::GetDelivery => repos::delivery(api, request),
        Guarded::ListRuns => runs::list(api, request),
        Guarded::Submit => runs::submit(api, caller, request).await,
        Guarded::GetRun => runs::get(api, request).await,
        Guarded::RunEvents => runs::events(api, caller, request).await,
        Guarded::CancelRun => runs::cancel(api, request).await,
        Guarded::PauseRun => runs::pause(api, caller, request).await,
        Guarded::ResumeRun => runs::resume(api, request).await,
        Guarded::ApproveRun => runs::approve(api, caller, request).await,
        Guarded::Rerun => runs::rerun(api, caller, request).await,
        Guarded::ListJobs => jobs::list(api, request),
        Guarded::GetJob => jobs::get(api, request),
        Guarded::ApproveJob => environments::review(api, caller, request, true).await,
        Guarded::RejectJob => environments::review(api, caller, request, false).await,
        Guarded::ListAttempts => jobs::attempts(api, request),
        Guarded::GetAttempt => jobs::attempt(api, request),
        Guarded::Log => jobs::log(api, caller, request).await,
        Guarded::ListArtifacts => jobs::artifacts(api, request),
        Guarded::Artifact => jobs::artifact(api, request).await,
        Guarded::ListNodes => nodes::list(api),
        Guarded::GetNode => nodes::get(api, request),
        Guarded::Drain => nodes::drain(api, request).await,
        Guarded::Cluster => nodes::cluster(api),
        Guarded::ListMembers => members::list(api).await,
        Guarded::RemoveMember => members::remove(api, request).await,
        Guarded::TransferLeader => members::transfer_leader(api, request).await,
        Guarded::ListTokens => tokens::list(api),
        Guarded::CreateToken => tokens::create(api, request).await,
        Guarded::RevokeToken => tokens::revoke(api, request).await,
    }
}

fn no_method(method: &Method, allowed: &str) -> Response {
    let detail = format!("{method} is not a method of this path, {allowed} are");
    let mut response = Problem::new(Code::MethodNotAllowed, detail).into_response();
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// This process answers.
fn healthy() -> Response {
    let mut response = Response::new("ok\n".into());
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Ready: this node knows a leader, belongs to a cluster, and its actors run.
fn ready(api: &Api) -> Answer {
    let leader = api.store.leadership().borrow().leader.is_some();
    if !leader || api.store.state().cluster.is_none() {
        return Err(Problem::new(Code::Unavailable, "this node knows no leader yet"));
    }
    if let Some(trouble) = api.actors.trouble() {
        return Err(Problem::new(Code::Unavailable, format!("an actor of this node is not well: {trouble}")));
    }
    json(StatusCode::OK, &Ready { ready: true })
}
