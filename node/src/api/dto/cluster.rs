//! Nodes, the cluster, tokens.

use domain::{ClusterState, JoinToken, Node, NodeId, Right, Token, TokenId};
use raft_store::Status;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{NODE_ID, ULID};

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// Its id.
    #[schemars(extend("pattern" = NODE_ID))]
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its HTTP API.
    pub http_addr: String,
    /// Its cluster port.
    pub cluster_addr: String,
    /// Labels it offers.
    pub labels: Vec<String>,
    /// Thousandths of a cpu.
    pub cpu_millis: u32,
    /// MiB of memory.
    pub memory_mib: u32,
    /// Attempts at one time.
    pub slots: u16,
    /// Jobs that it holds now.
    pub busy: usize,
    /// No new placements, until somebody ends that.
    pub drain: bool,
    /// When it ends what it still runs while it drains; none lets it finish.
    pub drain_until: Option<u64>,
    /// Its process is about to stop: no new placements until it is started again.
    pub leaving: bool,
    /// Its lease ran out.
    pub lost: bool,
    /// The version of its binary.
    pub version: String,
}

impl NodeView {
    /// A node's view.
    #[must_use]
    pub fn of(id: NodeId, node: &Node, busy: usize) -> Self {
        Self {
            id: id.to_string(),
            name: node.name.to_string(),
            http_addr: node.http_addr.clone(),
            cluster_addr: node.cluster_addr.clone(),
            labels: node.labels.iter().map(str::to_owned).collect(),
            cpu_millis: node.capacity.resources.cpu_millis,
            memory_mib: node.capacity.resources.memory_mib,
            slots: node.capacity.slots,
            busy,
            drain: node.drain,
            drain_until: node.drain_until.map(|until| until.0),
            leaving: node.leave.is_some(),
            lost: node.lost,
            version: node.version.clone(),
        }
    }
}

/// Whether a node takes new placements.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// True: no new placements.
    pub drain: bool,
    /// Seconds after which the node ends what it still runs, whose jobs are queued again: 0 for at once, a week at most. Without
    /// it, they finish. Only with `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 604_800))]
    pub deadline_seconds: Option<u32>,
}

/// How far a member is behind.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Lag {
    /// Which node.
    #[schemars(extend("pattern" = NODE_ID))]
    pub node: String,
    /// Entries.
    pub entries: u64,
}

/// The cluster as this node sees it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClusterView {
    /// Its id; none before it began.
    #[schemars(extend("pattern" = ULID))]
    pub id: Option<String>,
    /// The leader's id; none during an election.
    #[schemars(extend("pattern" = NODE_ID))]
    pub leader: Option<String>,
    /// The node that answers leads.
    pub is_me: bool,
    /// Raft's term.
    pub term: u64,
    /// Last entry in the log of the node that answers.
    pub last_log: u64,
    /// Last applied entry.
    pub applied: u64,
    /// Hash of all that is replicated, after that entry: the same on every node that has applied as much.
    #[serde(default)]
    #[schemars(extend("pattern" = "^[0-9a-f]{16}$"))]
    pub state_hash: String,
    /// Entry of the last snapshot.
    pub snapshot: u64,
    /// Who votes.
    #[schemars(inner(regex(pattern = NODE_ID)))]
    pub voters: Vec<String>,
    /// Who only follows.
    #[schemars(inner(regex(pattern = NODE_ID)))]
    pub learners: Vec<String>,
    /// Known to the leader only.
    pub lag: Vec<Lag>,
}

impl ClusterView {
    /// From the store's status, and the state with its index.
    #[must_use]
    pub fn of((index, state): (u64, &ClusterState), status: &Status) -> Self {
        let names = |ids: &[NodeId]| ids.iter().map(ToString::to_string).collect();
        Self {
            id: state.cluster.map(|id| id.to_string()),
            leader: status.leadership.leader.as_ref().map(|(id, _)| NodeId(*id).to_string()),
            is_me: status.leadership.is_me,
            term: status.leadership.term,
            last_log: status.last_log,
            applied: index,
            state_hash: format!("{:016x}", state.hash()),
            snapshot: status.snapshot,
            voters: names(&status.voters),
            learners: names(&status.learners),
            lag: status
                .lag
                .iter()
                .map(|(id, entries)| Lag { node: id.to_string(), entries: *entries })
                .collect(),
        }
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TokenRight {
    /// Reads everything but secrets.
    Read,
    /// Also submits, cancels, reruns.
    Submit,
    /// Also repositories, nodes, tokens.
    Admin,
    /// Nothing in the API: lets one node join the cluster, once.
    Join,
}

impl TokenRight {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.of_api().map_or("join", Right::as_str)
    }

    /// What it may do in the API; none for a join token.
    #[must_use]
    pub fn of_api(self) -> Option<Right> {
        match self {
            Self::Read => Some(Right::Read),
            Self::Submit => Some(Right::Submit),
            Self::Admin => Some(Right::Admin),
            Self::Join => None,
        }
    }
}

impl From<Right> for TokenRight {
    fn from(right: Right) -> Self {
        match right {
            Right::Read => Self::Read,
            Right::Submit => Self::Submit,
            Right::Admin => Self::Admin,
        }
    }
}

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for, 1 to 100 bytes without control characters.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What it may do.
    pub right: TokenRight,
    /// Seconds until it stops working, at least 1; none is never. A join token lasts 604800 (7 days) at most, and 3600 unless
    /// given.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub expires_in_seconds: Option<u64>,
}

/// A token that was made: the only time that its secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenMade {
    /// Its id.
    #[schemars(extend("pattern" = ULID))]
    pub id: String,
    /// Its secret.
    pub token: String,
}

/// A token was ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenRevoked {
    /// Its id.
    #[schemars(extend("pattern" = ULID))]
    pub revoked: String,
}

/// A node that can serve.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Always true: a node that cannot serve answers with a problem.
    #[schemars(extend("const" = true))]
    pub ready: bool,
}

/// A token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Its id.
    #[schemars(extend("pattern" = ULID))]
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub right: TokenRight,
    /// When it was made.
    pub created_at: u64,
    /// When it stops working.
    pub expires_at: Option<u64>,
    /// The node that joined with it: for join tokens that were used.
    #[schemars(extend("pattern" = NODE_ID))]
    pub used_by: Option<String>,
}

impl TokenView {
    /// A token's view.
    #[must_use]
    pub fn of(id: TokenId, token: &Token) -> Self {
        Self {
            id: id.to_string(),
            name: token.name.clone(),
            right: token.right.into(),
            created_at: token.created_at.0,
            expires_at: token.expires_at.map(|at| at.0),
            used_by: None,
        }
    }

    /// A join token's view.
    #[must_use]
    pub fn of_join(id: TokenId, token: &JoinToken) -> Self {
        Self {
            id: id.to_string(),
            name: token.name.clone(),
            right: TokenRight::Join,
            created_at: token.created_at.0,
            expires_at: Some(token.expires_at.0),
            used_by: token.used.as_ref().map(|used| used.node.to_string()),
        }
    }
}
