//! Members of the cluster: who they are, removal, and who leads.

use domain::NodeId;
use raft_store::{Member, MembersError};
use warp::http::StatusCode;

use super::dto::{Leads, MemberRemoved, MemberView, TransferLeader};
use super::page::Page;
use super::problem::{Code, Problem};
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json};

/// All, as the leader knows them; as this node does, without a leader.
pub(super) async fn list(api: &Api) -> Answer {
    let items = api.store.members().await.iter().map(MemberView::of).collect();
    json(StatusCode::OK, &Page::<MemberView> { items, next: None })
}

/// Removes one for ever.
pub(super) async fn remove(api: &Api, request: &Request) -> Answer {
    let member = find(api, request.captured.get("member")).await?;
    api.store.remove_member(member.id).await?;
    json(StatusCode::ACCEPTED, &MemberRemoved { removed: member.id.to_string(), name: member.name })
}

/// Makes a voter lead.
pub(super) async fn transfer_leader(api: &Api, request: &mut Request) -> Answer {
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let TransferLeader { to } = request::json(&body)?;
    let to = match to {
        Some(name) => Some(find(api, &name).await?.id),
        None => None,
    };
    let leader = api.store.transfer_leader(to).await?;
    let members = api.store.members().await;
    let name = members.into_iter().find(|member| member.id == leader).map(|member| member.name);
    json(StatusCode::OK, &Leads { leader: leader.to_string(), name: name.unwrap_or_default() })
}

/// A member by name or id.
async fn find(api: &Api, text: &str) -> Result<Member, Problem> {
    let members = api.store.members().await;
    // A name is never 16 hexadecimal digits of some other member's id and meant to be: names come first.
    let by_name = members.iter().find(|member| member.name == text);
    let by_id = || text.parse::<NodeId>().ok().and_then(|id| members.iter().find(|member| member.id == id));
    by_name.or_else(by_id).cloned().ok_or_else(|| Problem::not_found("member", &text))
}

impl From<MembersError> for Problem {
    fn from(error: MembersError) -> Self {
        let code = match error {
            MembersError::Unavailable => Code::Unavailable,
            MembersError::Unknown => Code::OutcomeUnknown,
            MembersError::NotFound { .. } => Code::NotFound,
            MembersError::Refused { .. } => Code::Conflict,
        };
        Self::new(code, error.to_string())
    }
}
