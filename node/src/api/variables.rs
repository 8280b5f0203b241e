//! Variables of repositories: what `vars` says in their workflows. They are no secrets.

use domain::{Command, Reply};
use warp::http::StatusCode;

use super::dto::{PutVariable, VariablePut, VariableRemoved, VariableView};
use super::page::Page;
use super::repos::repo_id;
use super::request::{self, Request};
use super::routes::Api;
use super::secrets::name_of;
use super::{Answer, json, unexpected};

/// All of a repository, by name.
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let state = api.store.state();
    let view = |(name, value): (&str, &str)| VariableView { name: name.to_owned(), value: value.to_owned() };
    json(StatusCode::OK, &Page { items: state.variables_of(repo).map(view).collect(), next: None })
}

/// Stores one, or another value of it.
pub(super) async fn put(api: &Api, request: &mut Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let name = name_of(request, "variable")?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let PutVariable { value } = request::json(&body)?;
    let existed = api.store.state().variables_of(repo).any(|(known, _)| known == name);
    match api.change(Command::PutVariable { repo, name: name.clone(), value }).await? {
        Reply::Done => {
            let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
            json(status, &VariablePut { name, existed })
        }
        other => Err(unexpected(other)),
    }
}

/// Removes one.
pub(super) async fn remove(api: &Api, request: &Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let name = name_of(request, "variable")?;
    match api.change(Command::RemoveVariable { repo, name: name.clone() }).await? {
        Reply::Done => json(StatusCode::OK, &VariableRemoved { removed: name }),
        other => Err(unexpected(other)),
    }
}
