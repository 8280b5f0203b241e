//! API tokens: made, listed, revoked. A secret is shown once, when it is made.

use domain::{Command, Reply, TokenId};
use raft_store::{Role, Ticket};
use warp::http::StatusCode;

use super::auth;
use super::dto::{NewToken, TokenMade, TokenRevoked, TokenView};
use super::page::Page;
use super::problem::Problem;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json, now, unexpected};

/// How long a join token lasts unless something else was asked for, in seconds.
const JOIN_SECONDS: u64 = 3600;

/// All, without secrets.
pub(super) fn list(api: &Api) -> Answer {
    let state = api.store.state();
    let join = state.join_tokens.iter().map(|(id, token)| TokenView::of_join(*id, token));
    let items = state.tokens.iter().map(|(id, token)| TokenView::of(*id, token)).chain(join).collect();
    json(StatusCode::OK, &Page::<TokenView> { items, next: None })
}

/// Makes one.
pub(super) async fn create(api: &Api, request: &mut Request) -> Answer {
    let body = request.bytes(api.http.max_body_bytes, api.http.body_timeout()).await?;
    let wanted: NewToken = request::json(&body)?;
    if wanted.expires_in_seconds == Some(0) {
        return Err(Problem::invalid("expires_in_seconds", "at least 1 is expected"));
    }
    // Names are shown in lists of tokens.
    if wanted.name.contains(char::is_control) {
        return Err(Problem::invalid("name", "control characters are not allowed"));
    }
    let Some(right) = wanted.right.of_api() else { return create_join(api, wanted).await };
    let secret = format!("troupe_{}", hex::encode(rand::random::<[u8; 32]>()));
    let key = TokenId::from_parts(now(), rand::random());
    let command = Command::CreateToken {
        id: key,
        name: wanted.name,
        hash: auth::hash(&secret),
        right,
        expires_at: wanted.expires_in_seconds.map(|seconds| now().plus_millis(seconds.saturating_mul(1000))),
    };
    match api.change(command).await? {
        Reply::Done => json(StatusCode::CREATED, &TokenMade { id: key.to_string(), token: secret }),
        other => Err(unexpected(other)),
    }
}

/// Makes one with which a node joins, once.
async fn create_join(api: &Api, wanted: NewToken) -> Answer {
    let seconds = wanted.expires_in_seconds.unwrap_or(JOIN_SECONDS);
    // Whoever joins asks one of these; the leader comes first.
    let members = api.store.members().await;
    let addrs =
        members.into_iter().filter(|m| !m.leaving && m.role != Role::Admitted).map(|m| m.cluster_addr);
    let ticket = Ticket::new(rand::random(), api.identity.ca_fingerprint(), addrs);
    let key = TokenId::from_parts(now(), rand::random());
    let expires_at = now().plus_millis(seconds.saturating_mul(1000));
    let (name, hash) = (wanted.name, ticket.hash());
    match api.change(Command::CreateJoinToken { id: key, name, hash, expires_at }).await? {
        Reply::Done => {
            json(StatusCode::CREATED, &TokenMade { id: key.to_string(), token: ticket.to_string() })
        }
        other => Err(unexpected(other)),
    }
}

/// Ends one.
pub(super) async fn revoke(api: &Api, request: &Request) -> Answer {
    let key: TokenId = request.id("token")?;
    match api.change(Command::RevokeToken { id: key }).await? {
        Reply::Done => json(StatusCode::OK, &TokenRevoked { revoked: key.to_string() }),
        other => Err(unexpected(other)),
    }
}
