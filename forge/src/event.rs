//! What happened in a repository, in one form for all forges and richer than what the cluster keeps of it.
//!
//! Must not know how any forge spells it. All texts are data of others, whatever they hold: never shell text.

use crate::json::Text;
use crate::refs::CommitId;

/// Characters kept of a title or a name.
const MAX_TITLE: usize = 200;
/// Paths kept of one push.
const MAX_PATHS: usize = 3000;
/// Labels kept of one pull request.
const MAX_LABELS: usize = 100;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Commits came to a branch, or a tag came into being or was moved.
    Push(Push),
    /// A branch or tag came into being, told beside the push that says more.
    Created(RefChange),
    /// A branch or tag is gone.
    Deleted(RefChange),
    /// Something was done with a pull request (GitLab: merge request).
    PullRequest(Box<PullRequest>),
}

/// Commits came to a branch, or a tag came into being or was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Full name, as in `refs/heads/main`.
    pub git_ref: String,
    /// What it pointed to; empty where it is new, or where the forge does not say.
    pub before: String,
    /// What it points to: 40 or 64 lower-case hexadecimal digits; of an annotated tag that is the tag's own id. Empty where
    /// the forge does not say (Gogs, of a tag).
    pub after: String,
    /// The commit to build: `after`, or the one behind the tag where the forge names it. Empty where `after` is: it is
    /// to be looked up.
    pub commit: String,
    /// It was not there before.
    pub created: bool,
    /// Commits were taken away from it; none where the forge does not say.
    pub forced: Option<bool>,
    /// What is known of `commit`.
    pub head: Option<Commit>,
    /// What the commits changed.
    pub changed: ChangedPaths,
}

/// A commit as its author wrote it: that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// All of the message, or its first 4096 bytes.
    pub message: String,
    /// The author as the commit states.
    pub author: Person,
}

/// Paths that a push changed, each once, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangedPaths {
    /// At most 3000.
    pub paths: Vec<String>,
    /// Every commit that the push brought is listed with its paths. (Of a forced push that says nothing about the commits
    /// that it took away.) Otherwise only git knows.
    pub whole: bool,
}

/// A branch or tag that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    /// Full name, as in `refs/tags/v1`.
    pub git_ref: String,
    /// What it points to, or pointed to; empty where the forge does not say.
    pub commit: String,
}

/// Whether a name is that of a branch or of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefKind {
    /// `refs/heads/`
    Branch,
    /// `refs/tags/`
    Tag,
}

/// A pull request (GitLab: merge request) and what was done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// What was done.
    pub action: Action,
    /// Its number in the repository.
    pub number: u64,
    /// At most 200 characters.
    pub title: String,
    /// What was written below the title, or its first 4096 bytes; empty where the forge does not say.
    pub body: String,
    /// The names of its labels, at most 100 of 200 characters; none where the forge does not say, or has none.
    pub labels: Vec<String>,
    /// Of [`Action::Labeled`] and [`Action::Unlabeled`] the name of the label; empty where the forge does not say.
    pub label: String,
    /// Who opened it, as the forge states; empty where it does not say (GitLab, when somebody else acts).
    pub author: Person,
    /// Where the commits come from.
    pub head: Side,
    /// Where they are to go.
    pub base: Side,
    /// It comes from another repository than it goes to, or from one that is not known (any more): such commits are of
    /// people who may not push.
    pub from_fork: bool,
    /// It is not meant to be merged yet.
    pub draft: bool,
    /// It was merged.
    pub merged: bool,
    /// The head before `synchronize`; empty where the forge does not say.
    pub before: String,
    /// The ref of the base repository under which git finds the head, forks' too; empty where the forge has none.
    pub fetch_ref: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The commit; empty where the forge does not say (Gogs), its first 12 digits on Bitbucket Cloud.
    pub commit: String,
    /// The repository as the forge names it; empty when it is gone.
    pub repository: String,
}

impl Side {
    /// Whether commits of this side are of another repository than `base`, or of one that is not known: whoever wrote them may
    /// have no right to push there. For forges that tell repositories by their names.
    pub(crate) fn is_fork_of(&self, base: &Self) -> bool {
        self.repository.is_empty() || self.repository != base.repository
    }
}

/// What was done with a pull request, in the words of GitHub's workflow files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Opened,
    /// Its head moved. (Bitbucket Cloud says the same when only its text was changed.)
    Synchronize,
    /// It was closed before.
    Reopened,
    /// Merged or given up: [`PullRequest::merged`].
    Closed,
    /// Its title, text or base was changed.
    Edited,
    /// It got a label.
    Labeled,
    /// It lost a label.
    Unlabeled,
    /// It is a draft no more.
    ReadyForReview,
    /// It became a draft.
    ConvertedToDraft,
    /// Something else, in the forge's word, at most 100 characters.
    Unlisted(String),
}

impl Action {
    /// From GitHub's word for it.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "opened" => Self::Opened,
            "synchronize" => Self::Synchronize,
            "reopened" => Self::Reopened,
            "closed" => Self::Closed,
            "edited" => Self::Edited,
            "labeled" => Self::Labeled,
            "unlabeled" => Self::Unlabeled,
            "ready_for_review" => Self::ReadyForReview,
            "converted_to_draft" => Self::ConvertedToDraft,
            other => Self::Unlisted(other.chars().take(100).collect()),
        }
    }

    /// The word of workflow files.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Opened => "opened",
            Self::Synchronize => "synchronize",
            Self::Reopened => "reopened",
            Self::Closed => "closed",
            Self::Edited => "edited",
            Self::Labeled => "labeled",
            Self::Unlabeled => "unlabeled",
            Self::ReadyForReview => "ready_for_review",
            Self::ConvertedToDraft => "converted_to_draft",
            Self::Unlisted(name) => name,
        }
    }
}

/// Someone, as a forge or a commit names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// The name that is theirs alone on the forge; empty where it is not known. At most 200 characters.
    pub login: String,
    /// The name that they gave themselves, at most 200 characters.
    pub name: String,
}

impl Person {
    /// The login, or where there is none the name.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.login.is_empty() { &self.name } else { &self.login }
    }

    pub(crate) fn new(login: &str, name: &str) -> Self {
        Self { login: line(login), name: line(name) }
    }
}

/// A repository as a forge names it. What it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repository {
    /// With its owner, group or project: `owner/name`, `group/subgroup/name`, `PROJECT/name`.
    pub name: String,
    /// To clone over HTTP.
    pub http_url: String,
    /// To clone over SSH.
    pub ssh_url: String,
    /// For people.
    pub web_url: String,
    /// Without `refs/heads/`.
    pub default_branch: String,
}

impl Repository {
    /// True when the path of a clone URL ends in the name. In lower case and upper case, for a Data Center writes
    /// `PROJECT/name` in webhooks and `project/name` in URLs, and no forge has two names that differ only so.
    #[must_use]
    pub fn is_cloned_from(&self, url: &str) -> bool {
        let path = url.trim_end_matches('/').trim_end_matches(".git").as_bytes();
        let Some(at) = path.len().checked_sub(self.name.len()) else { return false };
        let (before, end) = path.split_at(at);
        end.eq_ignore_ascii_case(self.name.as_bytes()) && before.ends_with(b"/") | before.ends_with(b":")
    }
}

impl Commit {
    pub(crate) fn new(message: &Text, author: Person) -> Self {
        Self { message: message.to_string(), author }
    }

    /// First line of the message, at most 200 characters.
    #[must_use]
    pub fn title(&self) -> String {
        line(&self.message)
    }
}

impl ChangedPaths {
    /// From the paths of all listed commits.
    pub(crate) fn new(mut paths: Vec<String>, listed_whole: bool) -> Self {
        paths.sort_unstable();
        paths.dedup();
        let whole = listed_whole && paths.len() <= MAX_PATHS;
        paths.truncate(MAX_PATHS);
        Self { paths, whole }
    }
}

impl Push {
    /// A push of which nothing but the ref and its two ends is known. A `before` that is no commit id is as none.
    pub(crate) fn new(git_ref: String, before: &CommitId, after: &CommitId) -> Self {
        Self {
            git_ref,
            before: before.or_empty(),
            after: after.or_empty(),
            commit: after.or_empty(),
            created: *before == CommitId::Zero,
            forced: None,
            head: None,
            changed: ChangedPaths::default(),
        }
    }
}

/// Names of labels, cut.
pub(crate) fn labels(names: impl Iterator<Item = Text>) -> Vec<String> {
    names.map(|name| line(&name)).filter(|name| !name.is_empty()).take(MAX_LABELS).collect()
}

/// The first line, cut.
pub(crate) fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(MAX_TITLE).collect()
}
