//! The cluster's birth and its API tokens.

use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::limits::{MAX_TOKEN_NAME_BYTES, MAX_TOKENS, SHOWN_EXPIRED_MILLIS};
use crate::{ClusterId, Refusal, Reply, Right, Token, TokenId};

impl Applying<'_> {
    pub(super) fn init_cluster(&mut self, cluster: ClusterId, token: TokenId, hash: [u8; 32]) -> Answer {
        if self.state.cluster.is_some() {
            return Err(Refusal::AlreadyDone { what: "initialising the cluster".to_owned() });
        }
        self.state.cluster = Some(cluster);
        let name = "bootstrap".to_owned();
        let created_at = self.state.now;
        let bootstrap = Token { name, hash, right: Right::Admin, created_at, expires_at: None };
        self.state.tokens.insert(token, bootstrap);
        Ok(Reply::Done)
    }

    pub(super) fn create_token(&mut self, id: TokenId, token: Token) -> Answer {
        if token.name.is_empty() || token.name.len() > MAX_TOKEN_NAME_BYTES {
            return Err(invalid("name", format!("1 to {MAX_TOKEN_NAME_BYTES} bytes are allowed")));
        }
        if self.state.tokens.contains(&id) {
            return Err(Refusal::AlreadyDone { what: format!("making the token {id}") });
        }
        self.forget_expired_tokens();
        let count = self.state.tokens.len();
        if count >= MAX_TOKENS {
            return Err(invalid(
                "tokens",
                format!("there are {count}, which is the limit; revoke some first"),
            ));
        }
        self.state.tokens.insert(id, token);
        Ok(Reply::Done)
    }

    /// One that expired is shown for a day more, so that people find out why it is refused.
    fn forget_expired_tokens(&mut self) {
        let now = self.state.now;
        let is_old =
            |token: &Token| token.expires_at.is_some_and(|at| now.millis_since(at) > SHOWN_EXPIRED_MILLIS);
        let old: Vec<_> =
            self.state.tokens.iter().filter(|(_, token)| is_old(token)).map(|(id, _)| *id).collect();
        for id in old {
            self.state.tokens.remove(&id);
        }
    }

    pub(super) fn revoke_token(&mut self, id: TokenId) -> Answer {
        // One that was used is kept: it says who joined with it, and the join may have to be repeated.
        if let Some(token) = self.state.join_tokens.get(&id) {
            if token.used.is_some() {
                return Err(wrong_state(format!("join token {id}"), "used already", "revoking it"));
            }
            self.state.join_tokens.remove(&id);
            return Ok(Reply::Done);
        }
        let lasting = |token: &Token| token.right == Right::Admin && token.expires_at.is_none();
        let token = self.state.tokens.get(&id).ok_or_else(|| not_found("token", id))?;
        if lasting(token) && self.state.tokens.iter().filter(|(_, token)| lasting(token)).count() == 1 {
            return Err(wrong_state(format!("token {id}"), "the last admin token", "revoking it"));
        }
        self.state.tokens.remove(&id);
        Ok(Reply::Done)
    }
}
