//! Caches of repositories: what there is and where, and taking them away.

use domain::{CacheId, Command, Reply};
use warp::http::StatusCode;

use super::dto::{CacheCursor, CacheView, CachesRemoved};
use super::page::{Page, Wanted};
use super::problem::Problem;
use super::repos::repo_id;
use super::request::Request;
use super::routes::Api;
use super::{Answer, json, unexpected};

/// Those of one scope, or of all, whose keys begin in one way, or in any.
struct Chosen {
    scope: String,
    key: String,
}

impl Chosen {
    fn of(request: &Request) -> Result<Self, Problem> {
        let text = |name| request.param::<String>(name).map(Option::unwrap_or_default);
        Ok(Self { scope: text("scope")?, key: text("key")? })
    }

    /// As the command that removes them has it.
    fn has(&self, (_, scope, key, _): &CacheId) -> bool {
        (self.scope.is_empty() || **scope == *self.scope) && key.starts_with(&self.key)
    }
}

/// By scope, then by key.
pub(super) fn list(api: &Api, request: &Request) -> Answer {
    let (wanted, chosen) = (Wanted::<CacheCursor>::of(request)?, Chosen::of(request)?);
    let repo = repo_id(api, &request.id("repo")?)?;
    let after = wanted.cursor.map(|cursor| cursor.id(repo));
    let state = api.store.state();
    let entries = state
        .caches_of(repo)
        .filter(|(id, _)| chosen.has(id) && after.as_ref().is_none_or(|after| *id > after))
        .map(|(id, entry)| (CacheCursor::of(id), CacheView::of(&state, entry)));
    json(StatusCode::OK, &Page::take(wanted.limit, entries))
}

/// Takes them away; jobs that look for them find none. The bytes go when their nodes see that nobody needs them.
pub(super) async fn remove(api: &Api, request: &Request) -> Answer {
    let chosen = Chosen::of(request)?;
    // So that the count is of what there is, also for whoever kept a cache through another node a moment ago.
    api.store.linearizable().await?;
    let repo = repo_id(api, &request.id("repo")?)?;
    let removed = api.store.state().caches_of(repo).filter(|(id, _)| chosen.has(id)).count();
    let command = Command::RemoveCaches { repo, scope: chosen.scope, key_prefix: chosen.key };
    match api.change(command).await? {
        Reply::Done => json(StatusCode::OK, &CachesRemoved { removed }),
        other => Err(unexpected(other)),
    }
}
