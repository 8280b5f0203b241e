//! Who asks: bearer tokens, looked up by the hash of their secret, compared in constant time.
//!
//! Must not know what is asked for beyond the right that it takes.

use std::time::Duration;

use domain::{ClusterState, Right, Timestamp, TokenId};
use raft_store::Store;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::now;
use super::problem::{Code, Problem};
use super::request::Request;

/// A token that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Which token.
    pub token: TokenId,
    /// What it may do.
    pub right: Right,
}

impl Caller {
    /// How runs name who asked for them.
    #[must_use]
    pub fn sender(&self) -> String {
        format!("token:{}", self.token)
    }
}

/// SHA-256 of a secret, as it is stored.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Checks the request's token for a right; `what` names what is asked for, in the log: nothing that a stranger wrote
/// goes there.
///
/// # Errors
/// 401 without a good token, 403 when it may not do this.
pub fn check(
    state: &ClusterState,
    request: &Request,
    needed: Right,
    what: &'static str,
    now: Timestamp,
) -> Result<Caller, Problem> {
    let denied = |why: &str| {
        tracing::info!(what, why, "a request without a good token was refused");
        Problem::new(Code::Unauthorized, why)
    };
    let header = request
        .header("authorization")
        .ok_or_else(|| denied("no token: send Authorization: Bearer TOKEN"))?;
    // The scheme's name is the same in any case (RFC 9110, section 11.1).
    let bearer = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, secret) = bearer.ok_or_else(|| denied("Authorization is not Bearer TOKEN"))?;
    let given = hash(secret.trim());
    let mut found = None;
    // Every token is compared, so that time says nothing about which one came near.
    for (id, token) in state.tokens.iter() {
        if bool::from(token.hash.ct_eq(&given)) {
            found = Some((*id, token));
        }
    }
    let (token, record) = found.ok_or_else(|| denied("unknown token"))?;
    if record.expires_at.is_some_and(|end| end <= now) {
        return Err(denied("the token has expired"));
    }
    if record.right < needed {
        tracing::warn!(what, %token, ?needed, "a token was used beyond its right");
        let (has, takes) = (record.right.as_str(), needed.as_str());
        let detail = format!("the token has the right {has}, this takes {takes}");
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(Caller { token, right: record.right })
}

/// Resolves when a token that was checked opens nothing any more: it was revoked, or it expired.
pub async fn ended(store: Store, token: TokenId) {
    let mut applied = store.applied();
    loop {
        applied.mark_unchanged();
        let left = match store.state().tokens.get(&token) {
            None => return,
            Some(record) => record.expires_at.map(|end| end.millis_since(now())),
        };
        let expired = async {
            match left {
                Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expired => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}
