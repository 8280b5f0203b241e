//! Runs: list, look, submit, cancel, rerun, watch.

use std::convert::Infallible;
use std::sync::Arc;

use domain::{
    Action, ClusterState, Command, Condition, JobSpec, NewJob, NewRun, Reply, RepoName, Resources, RunId,
    Shell, SpecBytes, StepSpec, limits,
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warp::Reply as _;
use warp::http::StatusCode;

use super::auth::Caller;
use super::dto::{RunMade, RunView, Submit};
use super::page::{Page, Wanted};
use super::problem::{Code, Problem};
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, id, json, now, unexpected};

/// Newest first; `repo` and `outcome` filter (`outcome=open` for those not finished).
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    request.check_query(&["limit", "cursor", "repo", "outcome"])?;
    let wanted = Wanted::<RunId>::of(request)?;
    let repo = request.param::<RepoName>("repo")?;
    let outcome = request.param::<String>("outcome")?;
    const OUTCOMES: [&str; 7] = ["open", "succeeded", "failed", "cancelled", "timed_out", "skipped", "lost"];
    if let Some(text) = outcome.as_deref().filter(|text| !OUTCOMES.contains(text)) {
        return Err(Problem::invalid("outcome", format!("{text:?} is not one of {}", OUTCOMES.join(", "))));
    }
    let state = api.store.state();
    let newest_first: Box<dyn Iterator<Item = _>> = match wanted.cursor {
        Some(cursor) => Box::new(state.runs.range(..cursor).rev()),
        None => Box::new(state.runs.iter().rev()),
    };
    let entries = newest_first
        .map(|(id, run)| (*id, RunView::brief(&state, *id, run)))
        .filter(|(_, view)| repo.is_none() || view.repo.as_deref() == repo.as_ref().map(RepoName::as_str))
        .filter(|(_, view)| {
            outcome.as_deref().is_none_or(|text| view.outcome.as_deref().unwrap_or("open") == text)
        });
    json(StatusCode::OK, &Page::take(wanted.limit, entries))
}

/// One, with its jobs.
pub(super) async fn get(api: &Api, text: &str) -> Answer {
    json(StatusCode::OK, &known(api, id("run", text)?).await?)
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

/// An ad hoc job.
pub(super) async fn submit(api: &Api, caller: Caller, request: &mut Request) -> Answer {
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let key = match request.headers.get("idempotency-key").map(|value| value.to_str()) {
        None => String::new(),
        Some(Ok(text)) if (1..=200).contains(&text.len()) => format!("{}:{text}", caller.token),
        Some(_) => {
            return Err(Problem::invalid("Idempotency-Key", "1 to 200 visible characters are expected"));
        }
    };
    let wanted: Submit = request::json(&body)?;
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

fn new_run(wanted: Submit) -> Result<NewRun, Problem> {
    check(&wanted)?;
    let name = if wanted.name.is_empty() { "ad hoc".to_owned() } else { wanted.name };
    let step = StepSpec {
        name: "script".to_owned(),
        action: Action::Run {
            script: wanted.script,
            shell: Shell::Default,
            working_directory: String::new(),
        },
        env: Default::default(),
        condition: Condition::Success,
        timeout_seconds: 0,
        continue_on_error: false,
    };
    let spec = JobSpec {
        name: name.clone(),
        image: wanted.image,
        env: wanted.env,
        timeout_seconds: wanted.timeout_seconds,
        steps: vec![step],
        artifacts: wanted.artifacts,
    };
    let bytes =
        raft_store::codec::encode(&spec).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    if bytes.len() > limits::MAX_SPEC_BYTES {
        let detail = format!("the job takes {} bytes, the limit is {}", bytes.len(), limits::MAX_SPEC_BYTES);
        return Err(Problem::new(Code::TooLarge, detail));
    }
    let job = NewJob {
        key: "job".to_owned(),
        needs: Vec::new(),
        condition: Condition::Success,
        labels: wanted.labels.into_iter().collect(),
        resources: Resources { cpu_millis: wanted.cpu_millis, memory_mib: wanted.memory_mib },
        priority: wanted.priority,
        max_attempts: limits::MAX_ATTEMPTS,
        spec: SpecBytes(bytes.into()),
    };
    let id = RunId::from_parts(now(), rand::random());
    Ok(NewRun { id, name, path: String::new(), jobs: vec![job], error: None })
}

fn check(wanted: &Submit) -> Result<(), Problem> {
    let fail = |field: &str, why: &str| Err(Problem::invalid(field, why));
    if wanted.script.trim().is_empty() {
        return fail("script", "is empty");
    }
    if !(-100..=100).contains(&wanted.priority) {
        return fail("priority", "-100 to 100 are allowed");
    }
    if !(1..=7 * 24 * 3600).contains(&wanted.timeout_seconds) {
        return fail("timeout_seconds", "1 to 604800 (7 days) are allowed");
    }
    if !(100..=256_000).contains(&wanted.cpu_millis) {
        return fail("cpu_millis", "100 to 256000 are allowed");
    }
    if !(16..=4 << 20).contains(&wanted.memory_mib) {
        return fail("memory_mib", "16 to 4194304 (4 TiB) are allowed");
    }
    let bad_label = |label: &String| {
        label.is_empty() || label.len() > 100 || label.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    if wanted.labels.iter().any(bad_label) {
        return fail("labels", "1 to 100 bytes without spaces and control characters are allowed for each");
    }
    if wanted.name.len() > 200 || wanted.name.contains(char::is_control) {
        return fail("name", "at most 200 bytes without control characters are allowed");
    }
    if wanted.image.len() > 512 || wanted.image.starts_with('-') || wanted.image.contains(char::is_whitespace)
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
    let bad_glob =
        |glob: &String| glob.is_empty() || glob.starts_with('/') || glob.split('/').any(|p| p == "..");
    if wanted.artifacts.iter().any(bad_glob) {
        return fail("artifacts", "globs relative to the workspace without .. are expected");
    }
    Ok(())
}

/// Ends a run.
pub(super) async fn cancel(api: &Api, text: &str) -> Answer {
    let run: RunId = id("run", text)?;
    match api.store.propose(Command::CancelRun { run }).await?.reply {
        Reply::Done => json(StatusCode::ACCEPTED, &serde_json::json!({ "cancelling": text })),
        other => Err(unexpected(other)),
    }
}

/// Repeats a run.
pub(super) async fn rerun(api: &Api, caller: Caller, text: &str) -> Answer {
    let of: RunId = id("run", text)?;
    let command =
        Command::Rerun { id: RunId::from_parts(now(), rand::random()), of, sender: caller.sender() };
    made(api.store.propose(command).await?.reply)
}

/// The run's state now, and again whenever it changes, until it is finished. Event ids are log indices; each event is
/// whole, so a client that comes back with `Last-Event-ID` has missed nothing once it has the first.
pub(super) async fn events(api: &Arc<Api>, text: &str) -> Answer {
    let key: RunId = id("run", text)?;
    let mut last = known(api, key).await?;
    let (sender, receiver) = mpsc::channel::<Result<warp::sse::Event, Infallible>>(16);
    let mut applied = api.store.applied();
    let (store, shutdown) = (api.store.clone(), api.shutdown.clone());
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
                match view(&store.state(), key) {
                    Some(next) if next != last => break next,
                    Some(_) => {}
                    None => return,
                }
            };
        }
    };
    api.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = feed => {}
        }
    });
    let events = warp::sse::keep_alive().stream(ReceiverStream::new(receiver));
    Ok(warp::sse::reply(events).into_response())
}
