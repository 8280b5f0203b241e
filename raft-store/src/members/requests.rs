//! What nodes ask each other about members, and the answers: most of it only the leader can answer.

use domain::{Command, NodeId, NodeName, Reply};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::rules::why_not_remove;
use super::standing::Standing;
use super::{Member, Members, MembersError, Role};
use crate::network::Connection;
use crate::proposer;
use crate::space::Space;
use crate::wire::{Proposed, Request, Response};

/// A question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Who are the members?
    List,
    /// Remove one, for ever.
    Remove(NodeId),
    /// Let another lead: this one, or who has the most.
    TransferLeader(Option<NodeId>),
    /// Am I a member? I am reached here now.
    Standing { cluster_addr: String },
    /// Sign a certificate for a node that was let in, if you can.
    Sign { node: NodeId, csr_pem: String },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Members(Vec<Member>),
    Done,
    /// Who leads now.
    Leader(NodeId),
    Standing(Standing),
    Failed(MembersError),
    /// A certificate and those of the CA, PEM.
    Signed {
        certificate: String,
        ca: String,
    },
}

impl Members {
    /// Answers a question of another node.
    pub(crate) async fn answer(&self, ask: Ask, from: u64) -> Told {
        let is_member = self.metrics().membership_config.membership().get_node(&from).is_some();
        match ask {
            Ask::Standing { cluster_addr } => Told::Standing(self.standing_of(from, &cluster_addr)),
            _ if !is_member => {
                let what = "questions about members".to_owned();
                Told::Failed(MembersError::Refused { what, why: "members alone ask them".to_owned() })
            }
            Ask::Sign { node, csr_pem } => match self.sign(node, &csr_pem).await {
                Ok((certificate, ca)) => Told::Signed { certificate, ca },
                Err(error) => Told::Failed(error),
            },
            ask => self.lead(ask).await.unwrap_or_else(Told::Failed),
        }
    }

    /// Asks whoever leads.
    pub(crate) async fn ask_leader(&self, ask: Ask) -> Result<Told, MembersError> {
        let leadership = self.leadership.borrow().clone();
        let (leader, address) = match (leadership.leader, leadership.is_me) {
            (_, true) => return self.lead(ask).await,
            (Some(leader), false) => leader,
            (None, false) => return Err(MembersError::Unavailable),
        };
        let changes = !matches!(ask, Ask::List);
        let mut connection = Connection::new(self.caller.clone(), leader, address);
        match connection.call(&Request::Members(ask), self.timings.propose).await {
            Ok(Response::Members(Told::Failed(error))) => Err(error),
            Ok(Response::Members(told)) => Ok(told),
            Ok(other) => {
                tracing::warn!(?other, "the leader answered something else about members");
                Err(MembersError::Unavailable)
            }
            Err(crate::network::CallError::NoAnswer(_)) if changes => Err(MembersError::Unknown),
            Err(_) => Err(MembersError::Unavailable),
        }
    }

    async fn lead(&self, ask: Ask) -> Result<Told, MembersError> {
        match ask {
            Ask::List => Ok(Told::Members(self.list(true))),
            Ask::Remove(node) => self.remove(node).await.map(|()| Told::Done),
            Ask::TransferLeader(to) => self.hand_over(to).await.map(Told::Leader),
            Ask::Standing { .. } | Ask::Sign { .. } => Err(MembersError::Unavailable),
        }
    }

    /// All members as this node knows them; what only a leader knows, if it leads and `as_leader`.
    pub(crate) fn list(&self, as_leader: bool) -> Vec<Member> {
        let (metrics, state) = (self.metrics(), self.view.current().state.clone());
        let seen = if as_leader { self.look().map(|(seen, _)| seen) } else { None };
        let membership = &metrics.membership_config;
        let voters: Vec<u64> = membership.voter_ids().collect();
        let mut members: Vec<Member> = Vec::new();
        for (id, address) in membership.nodes() {
            let role = match (metrics.current_leader == Some(*id), voters.contains(id)) {
                (true, _) => Role::Leader,
                (false, true) => Role::Voter,
                (false, false) => Role::Learner,
            };
            let peer = seen.as_ref().and_then(|seen| seen.peers.get(id));
            members.push(Member {
                id: NodeId(*id),
                name: address.name.clone(),
                cluster_addr: self.caller.book.find(*id).unwrap_or_else(|| address.cluster_addr.clone()),
                role,
                leaving: state.removed.contains(&NodeId(*id)),
                behind: peer.map(|peer| peer.behind),
                silent: peer.map(|peer| peer.silent),
            });
        }
        let known = members.iter().map(|member| member.id.0).collect();
        members.extend(self.admitted(&known).into_iter().map(|(id, address)| Member {
            id: NodeId(id),
            name: address.name,
            cluster_addr: address.cluster_addr,
            role: Role::Admitted,
            leaving: false,
            behind: None,
            silent: None,
        }));
        members.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
        members
    }

    /// Removes a member if a safe majority is left without it: it is written down here, and carried out by the manager of
    /// whoever leads then.
    async fn remove(&self, node: NodeId) -> Result<(), MembersError> {
        let Some((seen, _)) = self.look() else { return Err(MembersError::Unavailable) };
        let state = self.view.current().state.clone();
        if state.removed.contains(&node) {
            return Ok(());
        }
        let refused = |why| MembersError::Refused { what: format!("node {node} is not removed"), why };
        let of_raft = || seen.peers.get(&node.0).and_then(|peer| peer.address.name.parse::<NodeName>().ok());
        let name =
            state.member_name(node).cloned().or_else(of_raft).ok_or(MembersError::NotFound { node })?;
        if let Some(why) = why_not_remove(&seen, &self.rules, node.0) {
            return Err(refused(why));
        }
        let command = Command::RemoveMember { node, name };
        let deadline = Instant::now() + self.timings.propose * 9 / 10;
        let (view, clock) = (&self.view, &*self.clock);
        let answers = proposer::write(
            &self.raft,
            view,
            clock,
            Space::Enough,
            vec![std::sync::Arc::new(command)],
            deadline,
        )
        .await;
        match answers.into_iter().next() {
            Some(Proposed::Committed { reply: Reply::Refused(refusal), .. }) => {
                Err(refused(refusal.to_string()))
            }
            Some(Proposed::Committed { .. }) => Ok(()),
            Some(Proposed::NotLeader | Proposed::NoSpace) => Err(MembersError::Unavailable),
            Some(Proposed::NotYet { needed, release }) => {
                Err(refused(format!("that needs release {needed} on every node, and one has {release}")))
            }
            Some(Proposed::Unknown) | None => Err(MembersError::Unknown),
        }
    }
}
