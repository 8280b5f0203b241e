//! Secrets of repositories: stored sealed, listed by name, never shown.

use actors::vault::Purpose;
use domain::{Command, Reply, RepoName};
use warp::http::StatusCode;

use super::dto::{MAX_SECRET_BYTES, PutSecret, SecretNames, SecretPut, SecretRemoved};
use super::problem::Problem;
use super::repos::repo_id;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json, registration, unexpected};

/// Bytes of a name.
const MAX_NAME_BYTES: usize = 255;

/// Their names, in order.
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let state = api.store.state();
    let names = state.secrets_of(repo).map(|(name, _)| name.to_owned()).collect();
    json(StatusCode::OK, &SecretNames { names })
}

/// Stores one, or another value of it.
pub(super) async fn put(api: &Api, request: &mut Request) -> Answer {
    let repo: RepoName = request.id("repo")?;
    let name = name_of(request, "secret")?;
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let PutSecret { value } = request::json(&body)?;
    let bytes = value.len();
    if !(1..=MAX_SECRET_BYTES).contains(&bytes) {
        let why = format!("{bytes} bytes, 1 to {MAX_SECRET_BYTES} are allowed");
        return Err(Problem::invalid("value", why));
    }
    let id = repo_id(api, &repo)?;
    let existed = {
        let state = api.store.state();
        state.secrets_of(id).any(|(known, _)| known == name)
    };
    let value = registration::seal(&api.vault, repo.as_str(), Purpose::Jobs(&name), &value)?;
    match api.change(Command::PutSecret { repo: id, name: name.clone(), value }).await? {
        Reply::Done => {
            let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
            json(status, &SecretPut { name, existed })
        }
        other => Err(unexpected(other)),
    }
}

/// Removes one.
pub(super) async fn remove(api: &Api, request: &Request) -> Answer {
    let repo = repo_id(api, &request.id("repo")?)?;
    let name = name_of(request, "secret")?;
    match api.change(Command::RemoveSecret { repo, name: name.clone() }).await? {
        Reply::Done => json(StatusCode::OK, &SecretRemoved { removed: name }),
        other => Err(unexpected(other)),
    }
}

/// As GitHub has them: upper-case letters, digits and `_`; what begins with `GITHUB_` is not people's.
pub(super) fn name_of(request: &Request, what: &'static str) -> Result<String, Problem> {
    let name: String = request.id(what)?;
    let first = |c: char| c.is_ascii_uppercase() || c == '_';
    let fine = name.len() <= MAX_NAME_BYTES
        && name.starts_with(first)
        && name.chars().all(|c| first(c) || c.is_ascii_digit())
        && !name.starts_with("GITHUB_");
    if fine {
        return Ok(name);
    }
    let why = format!(
        "1 to {MAX_NAME_BYTES} upper-case letters, digits and _ are allowed, not first a digit, and not GITHUB_ at the \
         beginning"
    );
    Err(Problem::invalid(what, why))
}
