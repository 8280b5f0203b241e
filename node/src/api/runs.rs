//! Runs: list, look, submit, cancel, rerun, watch.

use std::convert::Infallible;

use domain::{
    Action, ClusterState, Command, Container, JobSpec, NewJob, NewRun, Reply, RepoName, Resources, RunId,
    SpecBytes, StepSpec, limits,
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warp::Reply as _;
use warp::http::StatusCode;

use super::auth::Caller;
use super::dto::names::{RUN_OUTCOMES, check_labels};
use super::dto::{
    Approving, Cancelling, MAX_CPU_MILLIS, MAX_IMAGE_BYTES, MAX_MEMORY_MIB, MAX_NAME_BYTES, MAX_PRIORITY,
    MAX_TIMEOUT_SECONDS, MIN_CPU_MILLIS, MIN_MEMORY_MIB, Pausing, Resuming, RunMade, RunView, Submit,
};
use super::page::{Page, Wanted};
use super::problem::{Code, Problem};
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, cut, json, now, unexpected};

/// Newest first; `repo` and `outcome` filter (`outcome=open` for those not finished).
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let wanted = Wanted::<RunId>::of(request)?;
    let repo = request.param::<RepoName>("repo")?;
    let outcome = request.param::<String>("outcome")?;
    if let Some(text) = outcome.as_deref().filter(|text| !RUN_OUTCOMES.contains(text)) {
        return Err(Problem::invalid(
            "outcome",
            format!("{text:?} is not one of {}", RUN_OUTCOMES.join(", ")),
        ));
    }
    let state = api.store.state();
    let newest_first: Box<dyn Iterator<Item = _>> = match wanted.cursor {
        Some(cursor) => Box::new(state.runs.range(..cursor).rev()),
        None => Box::new(state.runs.iter().rev()),
    };
    // A view copies much: it is made of what passed.
    let of_repo = repo.as_ref().map(|name| state.find_repo(name).map(|(id, _)| id));
    let entries = newest_first
        .filter(|(_, run)| of_repo.is_none_or(|repo| repo.is_some() && run.repo == repo))
        .filter(|(_, run)| {
            outcome.as_deref().is_none_or(|text| run.outcome.map_or("open", domain::Outcome::as_str) == text)
        })
        .map(|(id, run)| (*id, RunView::brief(&state, *id, run)));
    json(StatusCode::OK, &Page::take(wanted.limit, entries))
}

/// One, with its jobs.
pub(super) async fn get(api: &Api, request: &Request) -> Answer {
    json(StatusCode::OK, &known(api, request.id("run")?).await?)
}

/// A run. One that is not known here may have been made through another node a moment ago: before it is said that there
/// is none, this node has applied all that was committed when it was asked.
async fn known(api: &Api, key: RunId) -> Result<RunView, Problem> {
    if let Some(view) = view(&api.store.state(), key) {
        return Ok(view);
    }
    api.store.linearizable().await?;
    view(&api.store.state(), key).ok_or_else(|| Problem::not_found("run", &key))
}

fn view(state: &ClusterState, id: RunId) -> Option<RunView> {
    state.runs.get(&id).map(|run| RunView::full(state, id, run))
}

/// For events, which are many: without what the jobs said.
fn view_of_event(state: &ClusterState, id: RunId) -> Option<RunView> {
    state.runs.get(&id).map(|run| RunView::with_jobs(state, id, run))
}

/// An ad hoc job.
pub(super) async fn submit(api: &Api, caller: Caller, request: &mut Request) -> Answer {
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let key = request.idempotency_key(caller.token)?;
    let wanted: Submit = request::json(&body)?;
    api.has_room()?;
    let command = Command::SubmitRun {
        key,
        digest: Sha256::digest(&body).into(),
        sender: caller.sender(),
        run: new_run(wanted)?,
        max_open_jobs: api.queue.max_open_jobs,
    };
    made(api.store.propose(command).await?.reply)
}

fn made(reply: Reply) -> Answer {
    match reply {
        Reply::Run { id, number, duplicate } => {
            let status = if duplicate { StatusCode::OK } else { StatusCode::CREATED };
            json(status, &RunMade { id: id.to_string(), number, duplicate })
        }
        other => Err(unexpected(other)),
    }
}

/// The run that a submit asks for, checked, with an id of its own.
pub(crate) fn new_run(wanted: Submit) -> Result<NewRun, Problem> {
    check(&wanted)?;
    let name = if wanted.name.is_empty() { "ad hoc".to_owned() } else { wanted.name };
    let step = StepSpec {
        name: "script".to_owned(),
        action: Action::Run { script: wanted.script, shell: String::new(), working_directory: String::new() },
        ..StepSpec::default()
    };
    let spec = JobSpec {
        container: Container { image: wanted.image, ..Container::default() },
        env: wanted.env.into_iter().collect(),
        timeout_seconds: wanted.timeout_seconds,
        steps: vec![step],
        artifacts: wanted.artifacts,
        ..JobSpec::default()
    };
    let bytes =
        raft_store::codec::encode(&spec).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    if bytes.len() > limits::MAX_SPEC_BYTES {
        let detail = format!("the job takes {} bytes, the limit is {}", bytes.len(), limits::MAX_SPEC_BYTES);
        return Err(Problem::new(Code::TooLarge, detail));
    }
    let job = NewJob {
        name: name.clone(),
        labels: wanted.labels.into_iter().collect(),
        resources: Resources { cpu_millis: wanted.cpu_millis, memory_mib: wanted.memory_mib },
        priority: wanted.priority,
        ..NewJob::named("job")
    };
    let id = RunId::from_parts(now(), rand::random());
    Ok(NewRun {
        id,
        name,
        title: String::new(),
        path: String::new(),
        jobs: vec![job],
        specs: vec![SpecBytes(bytes.into())],
        concurrency: None,
        error: None,
    })
}

fn check(wanted: &Submit) -> Result<(), Problem> {
    let fail = |field: &str, why: &str| Err(Problem::invalid(field, why));
    if wanted.script.trim().is_empty() {
        return fail("script", "is empty");
    }
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&wanted.priority) {
        return fail("priority", "-100 to 100 are allowed");
    }
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&wanted.timeout_seconds) {
        return fail("timeout_seconds", "1 to 604800 (7 days) are allowed");
    }
    if !(MIN_CPU_MILLIS..=MAX_CPU_MILLIS).contains(&wanted.cpu_millis) {
        return fail("cpu_millis", "100 to 256000 are allowed");
    }
    if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&wanted.memory_mib) {
        return fail("memory_mib", "16 to 4194304 (4 TiB) are allowed");
    }
    if wanted.name.len() > MAX_NAME_BYTES || wanted.name.contains(char::is_control) {
        return fail("name", "at most 200 bytes without control characters are allowed");
    }
    if wanted.image.len() > MAX_IMAGE_BYTES
        || wanted.image.starts_with('-')
        || wanted.image.contains(char::is_whitespace)
    {
        return fail("image", "at most 512 bytes, no spaces, no leading - are allowed");
    }
    if wanted
        .env
        .iter()
        .any(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0'))
    {
        return fail("env", "names must not be empty nor contain =, and nothing may contain NUL");
    }
    workflow::check_artifacts(&wanted.artifacts).map_err(|why| Problem::invalid("artifacts", why))?;
    actors::artifacts::check(&wanted.artifacts).map_err(|error| Problem::invalid("artifacts", error))?;
    check_labels(&wanted.labels).map_err(|why| Problem::invalid("labels", why))
}

/// Ends a run.
pub(super) async fn cancel(api: &Api, request: &Request) -> Answer {
    let run: RunId = request.id("run")?;
    let force = request.param("force")?.unwrap_or(false);
    match api.store.propose(Command::CancelRun { run, force }).await?.reply {
        Reply::Done => json(StatusCode::ACCEPTED, &Cancelling { cancelling: run.to_string() }),
        other => Err(unexpected(other)),
    }
}

/// Lets a run stand still.
pub(super) async fn pause(api: &Api, caller: Caller, request: &Request) -> Answer {
    let run: RunId = request.id("run")?;
    match api.store.propose(Command::PauseRun { run, sender: caller.sender() }).await?.reply {
        Reply::Done => json(StatusCode::ACCEPTED, &Pausing { pausing: run.to_string() }),
        other => Err(unexpected(other)),
    }
}

/// Lets a paused run go on.
pub(super) async fn resume(api: &Api, request: &Request) -> Answer {
    let run: RunId = request.id("run")?;
    match api.store.propose(Command::ResumeRun { run }).await?.reply {
        Reply::Done => json(StatusCode::ACCEPTED, &Resuming { resuming: run.to_string() }),
        other => Err(unexpected(other)),
    }
}

/// Lets a run begin that comes from a fork.
pub(super) async fn approve(api: &Api, caller: Caller, request: &Request) -> Answer {
    let run: RunId = request.id("run")?;
    match api.store.propose(Command::ApproveRun { run, sender: caller.sender() }).await?.reply {
        Reply::Done => json(StatusCode::ACCEPTED, &Approving { approving: run.to_string() }),
        other => Err(unexpected(other)),
    }
}

/// Repeats a run.
pub(super) async fn rerun(api: &Api, caller: Caller, request: &Request) -> Answer {
    let of: RunId = request.id("run")?;
    let key = request.idempotency_key(caller.token)?;
    api.admit()?;
    let id = RunId::from_parts(now(), rand::random());
    let command = Command::Rerun { id, of, sender: caller.sender(), key };
    made(api.store.propose(command).await?.reply)
}

/// The run's state now, and again whenever it changes, until it is finished, or the token ends. Event ids are log indices; each event is
/// whole, so a client that comes back with `Last-Event-ID` has missed nothing once it has the first.
pub(super) async fn events(api: &Api, caller: Caller, request: &Request) -> Answer {
    let key: RunId = request.id("run")?;
    let mut last = RunView { annotations: Vec::new(), ..known(api, key).await? };
    let (sender, receiver) = mpsc::channel::<Result<warp::sse::Event, Infallible>>(16);
    let mut applied = api.store.applied();
    let (store, cut) = (api.store.clone(), cut(api, caller));
    let feed = async move {
        let mut index = *applied.borrow_and_update();
        loop {
            let Ok(event) = warp::sse::Event::default().id(index.to_string()).event("run").json_data(&last)
            else {
                return;
            };
            if sender.send(Ok(event)).await.is_err() || last.outcome.is_some() {
                return;
            }
            last = loop {
                tokio::select! {
                    () = sender.closed() => return,
                    changed = applied.changed() => if changed.is_err() { return },
                }
                index = *applied.borrow_and_update();
                match view_of_event(&store.state(), key) {
                    Some(next) if next != last => break next,
                    Some(_) => {}
                    None => return,
                }
            };
        }
    };
    api.tasks.spawn(async move {
        tokio::select! {
            () = cut => {}
            () = feed => {}
        }
    });
    let events = warp::sse::keep_alive().stream(ReceiverStream::new(receiver));
    Ok(warp::sse::reply(events).into_response())
}
