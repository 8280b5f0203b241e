//! Jobs, attempts, their output and artifacts.

use std::convert::Infallible;

use base64::Engine as _;
use domain::{Attempt, AttemptId, JobId, Waits};
use futures::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use warp::Reply as _;
use warp::http::{HeaderValue, StatusCode, header};

use super::auth::Caller;
use super::dto::names::JOB_STATES;
use super::dto::{AttemptView, JobView};
use super::output::{Chunks, Error};
use super::page::{Page, Wanted};
use super::problem::{Code, Problem};
use super::request::Request;
use super::routes::Api;
use super::{Answer, cut, json};

/// All jobs, by id; `state` filters.
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let wanted = Wanted::<JobId>::of(request)?;
    let filter = request.param::<String>("state")?;
    if let Some(text) = filter.as_deref().filter(|text| !JOB_STATES.contains(text)) {
        return Err(Problem::invalid("state", format!("{text:?} is not one of {}", JOB_STATES.join(", "))));
    }
    let state = api.store.state();
    let waits = Waits::new(&state);
    let newest_first: Box<dyn Iterator<Item = _>> = match wanted.cursor {
        Some(cursor) => Box::new(state.jobs.range(..cursor).rev()),
        None => Box::new(state.jobs.iter().rev()),
    };
    let entries = newest_first
        .filter(|(_, job)| filter.as_deref().is_none_or(|text| job.state.as_str() == text))
        .map(|(id, job)| (*id, JobView::of(&state, &waits, *id, job)));
    json(StatusCode::OK, &Page::take(wanted.limit, entries))
}

/// One.
pub(super) fn get(api: &Api, request: &Request) -> Answer {
    let key: JobId = request.id("job")?;
    let state = api.store.state();
    let job = state.jobs.get(&key).ok_or_else(|| Problem::not_found("job", &key))?;
    json(StatusCode::OK, &JobView::of(&state, &Waits::new(&state), key, job))
}

/// All attempts of a job.
pub(super) fn attempts(api: &Api, request: &Request) -> Answer {
    let job: JobId = request.id("job")?;
    let state = api.store.state();
    if !state.jobs.contains(&job) {
        return Err(Problem::not_found("job", &job));
    }
    let all = AttemptId { job, number: 0 }..=AttemptId { job, number: u16::MAX };
    let views: Vec<_> =
        state.attempts.range(all).map(|(id, attempt)| AttemptView::of(&state, *id, attempt)).collect();
    json(StatusCode::OK, &Page { items: views, next: None })
}

fn find(api: &Api, request: &Request) -> Result<(AttemptId, Attempt), Problem> {
    let key = AttemptId { job: request.id("job")?, number: request.id("number")? };
    let state = api.store.state();
    let attempt = state.attempts.get(&key).ok_or_else(|| Problem::not_found("attempt", &key))?;
    Ok((key, attempt.clone()))
}

/// One attempt.
pub(super) fn attempt(api: &Api, request: &Request) -> Answer {
    let (key, attempt) = find(api, request)?;
    json(StatusCode::OK, &AttemptView::of(&api.store.state(), key, &attempt))
}

/// Output from `from` on, as it is; with `follow=true` as server-sent events whose ids are offsets of what comes next
/// and whose data is base64, so that NUL and broken UTF-8 arrive as written.
pub(super) async fn log(api: &Api, caller: Caller, request: &Request) -> Answer {
    let follow = request.param::<bool>("follow")?.unwrap_or(false);
    let resumed = match request.header("last-event-id") {
        Some(text) => Some(text.parse::<u64>().map_err(|error| Problem::invalid("Last-Event-ID", error))?),
        None => None,
    };
    let from = resumed.or(request.param::<u64>("from")?).unwrap_or(0);
    let (key, attempt) = find(api, request)?;
    let chunks = api.output.log(attempt.node, key, from, follow).await.map_err(unavailable)?;
    if follow {
        return Ok(followed(api, caller, chunks));
    }
    let mut response = raw(chunks);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    Ok(response)
}

/// Events, until the log ends; or until the token does, or the node: then without the event `end`.
fn followed(api: &Api, caller: Caller, chunks: Chunks) -> warp::reply::Response {
    let cut = cut(api, caller);
    let events = ReceiverStream::new(chunks).map(|chunk| {
        Ok::<_, Infallible>(match chunk {
            Ok(chunk) => warp::sse::Event::default()
                .id((chunk.offset + chunk.bytes.len() as u64).to_string())
                .event("output")
                .data(base64::engine::general_purpose::STANDARD.encode(&chunk.bytes)),
            Err(error) => warp::sse::Event::default().event("error").data(error.to_string()),
        })
    });
    let ended = futures::stream::once(async { Ok(warp::sse::Event::default().event("end").data("")) });
    warp::sse::reply(warp::sse::keep_alive().stream(events.chain(ended).take_until(cut))).into_response()
}

fn raw(chunks: Chunks) -> warp::reply::Response {
    warp::reply::stream(ReceiverStream::new(chunks).map(|chunk| chunk.map(|chunk| chunk.bytes)))
        .into_response()
}

/// An attempt's artifacts.
pub(super) fn artifacts(api: &Api, request: &Request) -> Answer {
    let (key, attempt) = find(api, request)?;
    json(
        StatusCode::OK,
        &Page { items: AttemptView::of(&api.store.state(), key, &attempt).artifacts, next: None },
    )
}

/// An artifact's bytes, always as an attachment: a browser never renders what a job wrote.
pub(super) async fn artifact(api: &Api, request: &Request) -> Answer {
    let (key, attempt) = find(api, request)?;
    let (path, name) = (request.captured.get("path"), request.param::<String>("name")?.unwrap_or_default());
    let found = attempt.artifacts.iter().find(|artifact| artifact.path == path && artifact.name == name);
    let artifact = found.ok_or_else(|| Problem::not_found("artifact", &path))?;
    let chunks = api.output.artifact(attempt.node, key, artifact.digest, artifact.size).await;
    let chunks = chunks.map_err(unavailable)?;
    let mut response = raw(chunks);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(artifact.size));
    Ok(response)
}

fn unavailable(error: Error) -> Problem {
    let code = match error {
        Error::NotThere { .. } => Code::NotFound,
        Error::Unreachable { .. } => Code::OutputUnavailable,
    };
    Problem::new(code, error.to_string())
}
