//! What the store offers about members.

use domain::NodeId;

use super::{Ask, Member, MembersError, Removed, Told};
use crate::store::Store;

impl Store {
    /// All members as the leader knows them; as this node does, without a leader.
    pub async fn members(&self) -> Vec<Member> {
        match self.membership().ask_leader(Ask::List).await {
            Ok(Told::Members(members)) => members,
            _ => self.membership().list(false),
        }
    }

    /// Removes a member for ever, when a safe majority is left without it. Committed when this returns; a voter stops
    /// voting, and the node leaves the membership, soon after.
    ///
    /// # Errors
    /// [`MembersError`]; `Refused` says what to do first.
    pub async fn remove_member(&self, node: NodeId) -> Result<(), MembersError> {
        self.membership().ask_leader(Ask::Remove(node)).await.map(drop)
    }

    /// Makes a voter lead, this one or the one that has the most; answers who leads.
    ///
    /// # Errors
    /// [`MembersError`].
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<NodeId, MembersError> {
        match self.membership().ask_leader(Ask::TransferLeader(to)).await? {
            Told::Leader(leader) => Ok(leader),
            _ => Err(MembersError::Unknown),
        }
    }

    /// Before a planned stop: if this node leads and another voter can be reached, that one leads when this returns.
    /// Bounded; when it does not go well the others elect a leader by themselves.
    pub async fn hand_over(&self) {
        if !self.leadership().borrow().is_me {
            return;
        }
        if let Err(error) = self.membership().hand_over(None).await {
            tracing::info!(%error, "stopping without a hand-over");
        }
    }

    /// Resolves when this node knows that it was removed from its cluster: the process must end, and starting it again
    /// does not help.
    pub async fn removed(&self) -> Removed {
        let mut removed = self.membership().removed.subscribe();
        match removed.wait_for(Option::is_some).await.map(|removed| removed.clone()) {
            Ok(Some(removed)) => removed,
            // Nobody says so any more: the store was shut down.
            _ => std::future::pending().await,
        }
    }
}
