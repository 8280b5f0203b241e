//! Repositories, deliveries.

use domain::{Command, DeliveryId, Reply, RepoId, RepoName};
use warp::http::StatusCode;

use super::dto::names::check_labels;
use super::dto::{DeliveryView, PutRepo, RepoPut, RepoRemoved, RepoView};
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json, now, registration, unexpected};

/// All, by name.
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let wanted = Wanted::<RepoName>::of(request)?;
    let state = api.store.state();
    let entries = state
        .repo_names
        .iter()
        .filter(|(name, _)| wanted.cursor.as_ref().is_none_or(|cursor| *name > cursor))
        .filter_map(|(name, id)| Some((name, RepoView::of(state.repos.get(id)?))));
    json(StatusCode::OK, &Page::take(wanted.limit, entries))
}

/// One.
pub(super) fn get(api: &Api, request: &Request) -> Answer {
    let name: RepoName = request.id("repo")?;
    let state = api.store.state();
    let (_, repo) = state.find_repo(&name).ok_or_else(|| Problem::not_found("repository", &name))?;
    json(StatusCode::OK, &RepoView::of(repo))
}

/// Registers or changes one.
pub(super) async fn put(api: &Api, request: &mut Request) -> Answer {
    let name: RepoName = request.id("repo")?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let wanted: PutRepo = request::json(&body)?;
    check_labels(&wanted.labels).map_err(|why| Problem::invalid("labels", why))?;
    // What is left out stays as it is by now, also when another node was told last; and is refused if it is changed meanwhile.
    api.store.linearizable().await?;
    let before = api.store.state().find_repo(&name).map(|(_, repo)| repo.clone());
    let labels = wanted.labels.iter().cloned().collect();
    let facts = registration::of(&api.vault, &name, wanted, before.as_ref())?;
    let command = Command::PutRepo {
        id: RepoId::from_parts(now(), rand::random()),
        name: name.clone(),
        clone_url: facts.clone_url,
        webhook_secret: facts.webhook_secret,
        labels,
        access: facts.access,
        approve_forks: facts.approve_forks,
        over: before.map(|repo| repo.version),
    };
    match api.change(command).await? {
        Reply::Repo { existed, .. } => {
            let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
            json(status, &RepoPut { name: name.to_string(), existed })
        }
        other => Err(unexpected(other)),
    }
}

/// Removes one; its runs stay.
pub(super) async fn remove(api: &Api, request: &Request) -> Answer {
    let name: RepoName = request.id("repo")?;
    let repo = repo_id(api, &name)?;
    match api.change(Command::RemoveRepo { id: repo }).await? {
        Reply::Done => json(StatusCode::OK, &RepoRemoved { removed: name.to_string() }),
        other => Err(unexpected(other)),
    }
}

/// A delivery.
pub(super) fn delivery(api: &Api, request: &Request) -> Answer {
    let key: DeliveryId = request.id("delivery")?;
    let state = api.store.state();
    let found = state.deliveries.get(&key).ok_or_else(|| Problem::not_found("delivery", &key))?;
    json(StatusCode::OK, &DeliveryView::of(key, found))
}

pub(super) fn repo_id(api: &Api, name: &RepoName) -> Result<RepoId, Problem> {
    let state = api.store.state();
    state.find_repo(name).map(|(id, _)| id).ok_or_else(|| Problem::not_found("repository", name))
}
