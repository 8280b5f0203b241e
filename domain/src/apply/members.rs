//! Who may join, who has, and who was removed.

use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::limits::{
    KEY_WINDOW_MILLIS, MAX_ADDRESS_BYTES, MAX_JOIN_TOKEN_MILLIS, MAX_JOIN_TOKENS, MAX_TOKEN_NAME_BYTES,
};
use crate::{
    Admission, ClusterId, ClusterState, Effect, Fence, JoinToken, JoinUse, LogIndex, NodeId, NodeName,
    Refusal, RemovedNode, Reply, Timestamp, TokenId,
};

/// A node that wants to join.
pub(super) struct Joining<'a> {
    pub node: NodeId,
    pub name: &'a NodeName,
    pub cluster_addr: &'a str,
    pub request: [u8; 32],
}

impl Applying<'_> {
    pub(super) fn create_join_token(
        &mut self,
        id: TokenId,
        name: &str,
        hash: [u8; 32],
        expires_at: Timestamp,
    ) -> Answer {
        if name.is_empty() || name.len() > MAX_TOKEN_NAME_BYTES {
            return Err(invalid("name", format!("1 to {MAX_TOKEN_NAME_BYTES} bytes are allowed")));
        }
        let now = self.state.now;
        let lasts = expires_at.millis_since(now);
        if lasts == 0 || lasts > MAX_JOIN_TOKEN_MILLIS {
            let days = MAX_JOIN_TOKEN_MILLIS / 86_400_000;
            return Err(invalid("expires_in_seconds", format!("a join token lasts 1 second to {days} days")));
        }
        let tokens = &self.state.join_tokens;
        if tokens.contains(&id) || tokens.iter().any(|(_, token)| token.hash == hash) {
            return Err(Refusal::AlreadyDone { what: format!("making the join token {id}") });
        }
        self.forget_old_join_tokens();
        if self.state.join_tokens.len() >= MAX_JOIN_TOKENS {
            let why = format!("{MAX_JOIN_TOKENS} join tokens are there already; revoke some");
            return Err(invalid("join tokens", why));
        }
        let token = JoinToken { name: name.to_owned(), hash, created_at: now, expires_at, used: None };
        self.state.join_tokens.insert(id, token);
        Ok(Reply::Done)
    }

    /// Those that ended a day ago say nothing to anybody any more.
    fn forget_old_join_tokens(&mut self) {
        let now = self.state.now;
        let old = |token: &JoinToken| token.expires_at.plus_millis(KEY_WINDOW_MILLIS) <= now;
        let gone: Vec<_> =
            self.state.join_tokens.iter().filter(|(_, token)| old(token)).map(|(id, _)| *id).collect();
        for id in gone {
            self.state.join_tokens.remove(&id);
        }
    }

    /// Uses a token for this node: both, or neither.
    pub(super) fn join(&mut self, token_hash: [u8; 32], joining: &Joining<'_>) -> Answer {
        if joining.cluster_addr.is_empty() || joining.cluster_addr.len() > MAX_ADDRESS_BYTES {
            return Err(invalid("cluster.advertise", format!("1 to {MAX_ADDRESS_BYTES} bytes are allowed")));
        }
        let found = self.state.join_tokens.iter().find(|(_, token)| token.hash == token_hash);
        let (id, token) = found.ok_or_else(|| not_found("join token", "of this secret"))?;
        let id = *id;
        match &token.used {
            Some(used) if used.node == joining.node && used.request == joining.request => {
                return match self.state.admitted.get(&joining.node) {
                    Some(admission) if admission.name == *joining.name => Ok(Reply::Done),
                    _ => Err(self.why_not(joining).unwrap_or_else(|| already_used(id))),
                };
            }
            Some(_) => return Err(already_used(id)),
            None if token.expires_at <= self.state.now => {
                return Err(wrong_state(format!("join token {id}"), "expired", "joining with it"));
            }
            None => {}
        }
        if let Some(refusal) = self.why_not(joining) {
            return Err(refusal);
        }
        let at = self.state.now;
        let used = JoinUse { node: joining.node, request: joining.request, at };
        self.state.join_tokens.update(&id, |token| token.used = Some(used));
        let admission = Admission {
            name: joining.name.clone(),
            cluster_addr: joining.cluster_addr.to_owned(),
            request: joining.request,
            at,
        };
        self.state.admitted.insert(joining.node, admission);
        Ok(Reply::Done)
    }

    /// Why this id and this name cannot come together: an id is never used again, and a name belongs to one id.
    fn why_not(&self, joining: &Joining<'_>) -> Option<Refusal> {
        let Joining { node, name, .. } = *joining;
        if self.state.removed.contains(&node) {
            return Some(was_removed(node, "joining; an emptied data directory makes a new id"));
        }
        if self.state.member_name(node).is_some() {
            return Some(wrong_state(format!("node {node}"), "a member", "joining again"));
        }
        let owner = self.state.member_of_name(name)?;
        let (name, owner) = (name.to_string(), format!("node {owner}, which must be removed first"));
        Some(Refusal::NameTaken { what: "node name".to_owned(), name, owner })
    }

    /// For ever. Refused while the node may run something.
    pub(super) fn remove_member(&mut self, id: NodeId, name: &NodeName) -> Answer {
        if self.state.removed.contains(&id) {
            return Ok(Reply::Done);
        }
        if let Some(known) = self.state.member_name(id).filter(|known| *known != name) {
            let (name, owner) = (name.to_string(), format!("another node than {id}, which is {known}"));
            return Err(Refusal::NameTaken { what: "node name".to_owned(), name, owner });
        }
        // What it holds may run there as long as its lease lasts, and is not to run elsewhere before that is over.
        let jobs = self.state.held_jobs(id).count();
        if jobs > 0 && self.state.nodes.get(&id).is_some_and(|node| !node.lost) {
            let state = format!(
                "not lost and has {jobs} of the cluster's jobs (drain it and wait, or wait until it is lost)"
            );
            return Err(wrong_state(format!("node {name}"), state, "removing it"));
        }
        self.forget_member(id, name);
        self.effects.push(Effect::WakeScheduler);
        Ok(Reply::Done)
    }

    fn forget_member(&mut self, id: NodeId, name: &NodeName) {
        if self.state.nodes.contains(&id) {
            self.lose_work(id, &format!("node {name} was removed"));
        }
        self.forget_caches_of(id);
        self.state.nodes.remove(&id);
        self.state.admitted.remove(&id);
        let removed = RemovedNode { name: name.clone(), at: self.state.now, index: self.fence.0 };
        self.state.removed.insert(id, removed);
    }
}

fn already_used(id: TokenId) -> Refusal {
    wrong_state(format!("join token {id}"), "used already", "joining with it again")
}

pub(super) fn was_removed(id: NodeId, wanted: &str) -> Refusal {
    wrong_state(format!("node {id}"), "removed from the cluster", wanted)
}

impl ClusterState {
    /// The name under which an id is known; none for ids that are not, or not any more.
    #[must_use]
    pub fn member_name(&self, id: NodeId) -> Option<&NodeName> {
        let registered = self.nodes.get(&id).map(|node| &node.name);
        registered.or_else(|| self.admitted.get(&id).map(|admission| &admission.name))
    }

    /// The id that has a name.
    #[must_use]
    pub fn member_of_name(&self, name: &NodeName) -> Option<NodeId> {
        let registered = self.nodes.iter().find(|(_, node)| node.name == *name).map(|(id, _)| *id);
        let admitted = || self.admitted.iter().find(|(_, node)| node.name == *name).map(|(id, _)| *id);
        registered.or_else(admitted)
    }

    /// Makes a cluster of its own out of what one node has, after the others were lost for good: under a new id, with
    /// everyone but `survivor` removed. `others` are members that may never have registered. As if it were the entry at
    /// `index`, and as deterministic.
    pub fn recover(
        &mut self,
        (index, at): (LogIndex, Timestamp),
        cluster: ClusterId,
        survivor: NodeId,
        others: &[(NodeId, NodeName)],
    ) {
        self.now = self.now.max(at);
        self.cluster = Some(cluster);
        let registered = self.nodes.iter().map(|(id, node)| (*id, node.name.clone()));
        let admitted = self.admitted.iter().map(|(id, node)| (*id, node.name.clone()));
        let mut gone: Vec<_> = registered.chain(admitted).collect();
        gone.extend(others.iter().cloned());
        let mut applying =
            Applying { state: self, fence: Fence(index), effects: Vec::new(), touched: Vec::new() };
        for (id, name) in gone.iter().filter(|(id, _)| *id != survivor) {
            if !applying.state.removed.contains(id) {
                applying.forget_member(*id, name);
            }
        }
    }
}
