//! API tokens: made, listed, revoked. A secret is shown once, when it is made.

use domain::{Command, Reply, TokenId};
use warp::http::StatusCode;

use super::auth;
use super::dto::{NewToken, TokenMade, TokenRevoked, TokenView};
use super::page::Page;
use super::problem::Problem;
use super::request::{self, Request};
use super::routes::Api;
use super::{Answer, json, now, unexpected};

/// All, without secrets.
pub(super) fn list(api: &Api) -> Answer {
    let state = api.store.state();
    let items: Vec<_> = state.tokens.iter().map(|(id, token)| TokenView::of(*id, token)).collect();
    json(StatusCode::OK, &Page { items, next: None })
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
    let secret = format!("troupe_{}", hex::encode(rand::random::<[u8; 32]>()));
    let key = TokenId::from_parts(now(), rand::random());
    let command = Command::CreateToken {
        id: key,
        name: wanted.name,
        hash: auth::hash(&secret),
        right: wanted.right.into(),
        expires_at: wanted.expires_in_seconds.map(|seconds| now().plus_millis(seconds.saturating_mul(1000))),
    };
    match api.change(command).await? {
        Reply::Done => json(StatusCode::CREATED, &TokenMade { id: key.to_string(), token: secret }),
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
