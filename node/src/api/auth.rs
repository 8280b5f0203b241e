//! Who asks: bearer tokens, looked up by the hash of their secret, compared in constant time.
//!
//! Must not know what is asked for beyond the right that it takes.

use domain::{ClusterState, Right, Timestamp, TokenId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

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

/// Checks the request's token for a right.
///
/// # Errors
/// 401 without a good token, 403 when it may not do this.
pub fn check(
    state: &ClusterState,
    request: &Request,
    needed: Right,
    now: Timestamp,
) -> Result<Caller, Problem> {
    let denied = |why: &str| Problem::new(Code::Unauthorized, why);
    let header = request
        .header("authorization")
        .ok_or_else(|| denied("no token: send Authorization: Bearer TOKEN"))?;
    let secret = header.strip_prefix("Bearer ").ok_or_else(|| denied("Authorization is not Bearer TOKEN"))?;
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
        tracing::warn!(%token, ?needed, path = request.segments.join("/"), "a token was used beyond its right");
        let (has, takes) = (record.right.as_str(), needed.as_str());
        let detail = format!("the token has the right {has}, this takes {takes}");
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(Caller { token, right: record.right })
}
