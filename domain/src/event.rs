//! What happened in a repository, in one form for all forges.
//!
//! Must not know: how any forge spells it (forge/), how it is matched to workflows (workflow/).

use serde::{Deserialize, Serialize};

/// The normalised event of a delivery.
#[allow(clippy::derived_hash_with_manual_eq, reason = "the equality below is the derived one, only quicker")]
#[derive(Debug, Clone, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Full ref, as in `refs/heads/main`.
    pub git_ref: String,
    /// The commit to build: 40 or 64 lower-case hexadecimal digits. Empty for a dispatch by branch name: resolved at
    /// expansion.
    pub commit: String,
    /// The commit before; empty where there was none.
    pub before: String,
    /// The identity that the forge states, never the commit's author field.
    pub sender: String,
    /// First line of the head commit's message, at most 200 characters. Data, never shell text.
    pub title: String,
    /// A JSON object shaped as GitHub's `github.event`, at most [`crate::limits::MAX_PAYLOAD_BYTES`]; empty for none.
    pub payload: String,
    /// Its commits are of someone who may not push here: no secrets, and workflows of the base only.
    pub from_fork: bool,
    /// Of a pull request, the full ref that it is to go to; else empty.
    pub base_ref: String,
    /// The run that it follows.
    pub cause: Option<crate::RunId>,
}

// By hand, for each new run's is compared with another's: an empty text has no address, and glibc's comparison of two such
// reads there with a masked load, whose suppressed fault costs the processor about a hundred cycles. That was half of the
// time in which runs are read from a snapshot.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        let same =
            |mine: &str, others: &str| mine.len() == others.len() && (mine.is_empty() || mine == others);
        let Event { kind, git_ref, commit, before, sender, title, payload, from_fork, base_ref, cause } =
            other;
        self.kind == *kind
            && same(&self.git_ref, git_ref)
            && same(&self.commit, commit)
            && same(&self.before, before)
            && same(&self.sender, sender)
            && same(&self.title, title)
            && same(&self.payload, payload)
            && self.from_fork == *from_fork
            && same(&self.base_ref, base_ref)
            && self.cause == *cause
    }
}

/// Kinds of event. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// Commits pushed to a branch, or a tag pushed.
    Push,
    /// Someone asked for it by the API or the CLI.
    WorkflowDispatch,
    /// An ad hoc job; no repository behind it.
    AdHoc,
    /// Something was done with a pull request.
    PullRequest,
    /// A time that a workflow's `schedule` names.
    Schedule,
    /// Another system asked for it by the API, with a type and data of its own.
    RepositoryDispatch,
    /// A run of another workflow was made or ended.
    WorkflowRun,
}

impl Event {
    /// Something of this kind, of which nothing else is known.
    #[must_use]
    pub fn of(kind: EventKind) -> Self {
        Self {
            kind,
            git_ref: String::new(),
            commit: String::new(),
            before: String::new(),
            sender: String::new(),
            title: String::new(),
            payload: String::new(),
            from_fork: false,
            base_ref: String::new(),
            cause: None,
        }
    }
}

impl EventKind {
    /// The name used in workflow files, in the API and in `GITHUB_EVENT_NAME`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::WorkflowDispatch => "workflow_dispatch",
            Self::AdHoc => "ad_hoc",
            Self::PullRequest => "pull_request",
            Self::Schedule => "schedule",
            Self::RepositoryDispatch => "repository_dispatch",
            Self::WorkflowRun => "workflow_run",
        }
    }
}
