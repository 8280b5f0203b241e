//! Members of the cluster.

use raft_store::{Member, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::NODE_ID;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Votes and leads.
    Leader,
    /// Votes.
    Voter,
    /// Has everything and does not vote.
    Learner,
    /// Let in with a join token; the leader has not added it yet.
    Admitted,
}

impl MemberRole {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::Admitted => "admitted",
        }
    }
}

/// A member of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MemberView {
    /// Its id.
    #[schemars(extend("pattern" = NODE_ID))]
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its cluster port.
    pub cluster_addr: String,
    /// What it is.
    pub role: MemberRole,
    /// It was removed, and goes as soon as a safe majority is left without it.
    pub leaving: bool,
    /// How many entries it lacks; none where no leader says so.
    pub behind: Option<u64>,
    /// Milliseconds since the leader heard it; none where no leader says so.
    pub silent_ms: Option<u64>,
}

impl MemberView {
    /// A member's view.
    #[must_use]
    pub fn of(member: &Member) -> Self {
        Self {
            id: member.id.to_string(),
            name: member.name.clone(),
            cluster_addr: member.cluster_addr.clone(),
            role: match member.role {
                Role::Leader => MemberRole::Leader,
                Role::Voter => MemberRole::Voter,
                Role::Learner => MemberRole::Learner,
                Role::Admitted => MemberRole::Admitted,
            },
            leaving: member.leaving,
            behind: member.behind,
            silent_ms: member.silent.map(|silent| silent.as_millis() as u64),
        }
    }
}

/// A member was removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MemberRemoved {
    /// Its id, which is never used again.
    #[schemars(extend("pattern" = NODE_ID))]
    pub removed: String,
    /// The name that it had, which is free.
    pub name: String,
}

/// Who is to lead.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferLeader {
    /// A voter's name or id; without one, the voter that has the most.
    #[serde(default)]
    pub to: Option<String>,
}

/// Who leads.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Leads {
    /// Its id.
    #[schemars(extend("pattern" = NODE_ID))]
    pub leader: String,
    /// Its name.
    pub name: String,
}
