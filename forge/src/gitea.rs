//! Gitea, and Forgejo, which speaks as it does.
//!
//! Traps: both send GitHub's headers beside their own. A push lists the newest few commits (five, as installed) and says in
//! `total_commits` how many there are; versions before 1.16 do not. A deleted ref comes as `delete` alone, without a push.
//! `synchronized` is GitHub's `synchronize`, and labels have two words of their own. Reviews come under names that begin with
//! `pull_request_`. Old versions write the secret into the body; it is not read.

use crate::body::{Read, no_run, not_asked_for};
use crate::event::Action;
use crate::github::{Body, hub_status, pull_request};
use crate::status::{self, Request, Status};
use crate::{Rejected, hub, json};

pub(crate) fn read(event: &str, json: &[u8]) -> Result<Read, Rejected> {
    let what = match event {
        "push" => hub::push(json, |push| push.total_commits.0 == Some(push.commits.items.len() as u64))?,
        "create" => hub::created(json)?,
        "delete" => hub::deleted(json)?,
        // The second is what X-Gitea-Event-Type says of it, and what some versions wrote into X-Gitea-Event.
        "pull_request" | "pull_request_sync" => {
            let body: Body = json::read(json)?;
            let action = action(&body.action);
            pull_request(event, body, action)?
        }
        "ping" => no_run("a ping: the webhook works"),
        other => not_asked_for(other),
    };
    hub::read(json, vec![what])
}

/// The word of Gitea, Forgejo and Gogs.
pub(crate) fn action(name: &str) -> Action {
    match name {
        "synchronized" => Action::Synchronize,
        "label_updated" => Action::Labeled,
        "label_cleared" => Action::Unlabeled,
        other => Action::from_name(other),
    }
}

/// A commit status, as GitHub's. No limit of the description is documented; more than a line is no use.
pub(crate) fn status(status: &Status<'_>) -> Request {
    let path = format!("/repos/{}/statuses/{}", status::parts(status.repository), status.commit);
    status::post(status, &path, "token", "application/json", &hub_status(status, 255))
}
