//! Environments of repositories, and the reviews of jobs that wait for one.

use domain::{Command, JobId, Reply};
use warp::http::StatusCode;

use super::auth::Caller;
use super::dto::{EnvironmentPut, EnvironmentRemoved, EnvironmentView, PutEnvironment, Reviewed};
use super::page::Page;
use super::repos::repo_id;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json, unexpected};

/// All of a repository, by name.
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let state = api.store.state();
    let items = state.environments_of(repo).map(EnvironmentView::of).collect();
    json(StatusCode::OK, &Page { items, next: None })
}

/// Registers one, or changes it.
pub(super) async fn put(api: &Api, request: &mut Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let name: String = request.id("environment")?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let PutEnvironment { approval } = request::json(&body)?;
    let known = |one: &domain::Environment| one.name.to_lowercase() == name.to_lowercase();
    let existed = api.store.state().environments_of(repo).any(known);
    match api.change(Command::PutEnvironment { repo, name: name.clone(), approval }).await? {
        Reply::Done => {
            let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
            json(status, &EnvironmentPut { name, existed })
        }
        other => Err(unexpected(other)),
    }
}

/// Removes one; jobs that wait for it begin.
pub(super) async fn remove(api: &Api, request: &Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let name: String = request.id("environment")?;
    match api.change(Command::RemoveEnvironment { repo, name: name.clone() }).await? {
        Reply::Done => json(StatusCode::OK, &EnvironmentRemoved { removed: name }),
        other => Err(unexpected(other)),
    }
}

/// Lets a job begin that waits for that, or ends it as failed.
pub(super) async fn review(api: &Api, caller: Caller, request: &Request, approve: bool) -> Answer {
    let job: JobId = request.id("job")?;
    match api.store.propose(Command::ReviewJob { job, approve, sender: caller.sender() }).await?.reply {
        Reply::Done => json(StatusCode::ACCEPTED, &Reviewed { job: job.to_string(), approved: approve }),
        other => Err(unexpected(other)),
    }
}
