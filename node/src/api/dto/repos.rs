//! Repositories and deliveries. No secret and no credential ever leaves by these.

use actors::workspace::CloneUrl;
use domain::{CloneAs, Delivery, DeliveryId, DeliveryState, Repo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{DELIVERY_STATES, MAX_LABEL_BYTES, MAX_LABELS, REPO_NAME, ULID};

/// Bytes of a secret.
pub const MAX_SECRET_BYTES: usize = 48 * 1024;
/// What names of secrets are made of.
pub const SECRET_NAME: &str = "^[A-Z_][A-Z0-9_]*$";
/// The forges that have commit statuses.
pub const STATUS_FORGES: [&str; 6] =
    ["github", "gitlab", "gitea", "forgejo", "bitbucket", "bitbucket-data-center"];

/// A repository as it is registered. Of one that is there, what is left out stays as it is.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRepo {
    /// Where it is cloned from: https, http, ssh or git; 1 to 2048 bytes. A user and a password in it are taken as `token`.
    #[schemars(length(min = 1, max = 2048))]
    pub clone_url: String,
    /// Key of its webhooks' HMAC, 8 to 256 bytes; needed for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub webhook_secret: Option<String>,
    /// Labels added to each of its jobs, at most 64 of 1 to 100 bytes without spaces.
    #[serde(default)]
    #[schemars(length(max = MAX_LABELS), inner(length(min = 1, max = MAX_LABEL_BYTES)))]
    pub labels: Vec<String>,
    /// Token with which it is fetched over HTTP, or `USER:TOKEN` where the forge asks for a user of its own; null for none.
    #[serde(default, with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub token: Option<Option<String>>,
    /// Private key with which it is fetched over SSH, as `ssh-keygen` writes it without a passphrase; null for none.
    #[serde(default, with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ssh_key: Option<Option<String>>,
    /// Where commit statuses go; null for nowhere.
    #[serde(default, with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PutStatuses>")]
    pub statuses: Option<Option<PutStatuses>>,
    /// Runs for commits of forks wait until somebody approves them. As long as nobody says otherwise, they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_forks: Option<bool>,
}

// By hand: the secrets of it are shown nowhere.
impl std::fmt::Debug for PutRepo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutRepo").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Where commit statuses go.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutStatuses {
    /// Which forge it is.
    #[schemars(extend("enum" = STATUS_FORGES))]
    pub forge: String,
    /// Where its API begins, as in `https://api.github.com`; 1 to 1024 bytes.
    #[schemars(length(min = 1, max = 1024))]
    pub api_url: String,
    /// A token that may set statuses, at most 4096 bytes; left out, the one of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub token: Option<String>,
}

/// Left out is none; null is some none.
mod given {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }
}

/// A repository as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepoView {
    /// Its name.
    #[schemars(extend("pattern" = REPO_NAME))]
    pub name: String,
    /// Where it is cloned from, without credentials.
    pub clone_url: String,
    /// With what it is cloned: `nothing`, `token` or `ssh_key`.
    #[schemars(extend("enum" = ["nothing", "token", "ssh_key"]))]
    pub cloned_with: String,
    /// Where commit statuses go; none for nowhere.
    pub statuses: Option<StatusesView>,
    /// Runs for commits of forks wait until somebody approves them.
    pub approve_forks: bool,
    /// Labels added to each of its jobs.
    pub labels: Vec<String>,
    /// When it was registered.
    pub created_at: u64,
}

/// Where commit statuses go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StatusesView {
    /// Which forge it is.
    #[schemars(extend("enum" = STATUS_FORGES))]
    pub forge: String,
    /// Where its API begins.
    pub api_url: String,
}

impl RepoView {
    /// A repository's view.
    #[must_use]
    pub fn of(repo: &Repo) -> Self {
        // What cannot be read cannot be redacted either, so nothing of it is shown.
        let clone_url = CloneUrl::parse(&repo.clone_url).map_or_else(|_| String::new(), |url| url.redacted());
        let cloned_with = match repo.access.clone {
            CloneAs::Nobody => "nothing",
            CloneAs::Token(_) => "token",
            CloneAs::Key(_) => "ssh_key",
        };
        let statuses = repo.access.status.as_ref();
        Self {
            name: repo.name.to_string(),
            clone_url,
            cloned_with: cloned_with.to_owned(),
            statuses: statuses
                .map(|to| StatusesView { forge: to.forge.clone(), api_url: to.api_url.clone() }),
            approve_forks: repo.approve_forks,
            labels: repo.labels.iter().map(str::to_owned).collect(),
            created_at: repo.created_at.0,
        }
    }
}

/// A secret as it is stored.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// Its value, 1 byte to 48 KiB of text. It is never shown again.
    #[schemars(length(min = 1, max = MAX_SECRET_BYTES))]
    pub value: String,
}

/// A secret was stored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SecretPut {
    /// Its name.
    #[schemars(extend("pattern" = SECRET_NAME))]
    pub name: String,
    /// It was there before.
    pub existed: bool,
}

/// A secret was removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SecretRemoved {
    /// Its name.
    #[schemars(extend("pattern" = SECRET_NAME))]
    pub removed: String,
}

/// The secrets of a repository.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SecretNames {
    /// Their names, in order; at most 100.
    #[schemars(inner(regex(pattern = SECRET_NAME)))]
    pub names: Vec<String>,
}

/// A repository was registered or changed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepoPut {
    /// Its name.
    #[schemars(extend("pattern" = REPO_NAME))]
    pub name: String,
    /// It was there before.
    pub existed: bool,
}

/// A repository was removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepoRemoved {
    /// Its name.
    #[schemars(extend("pattern" = REPO_NAME))]
    pub removed: String,
}

/// A delivery was accepted, or several that one webhook told of.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Its id, or the first one's; none when no run follows.
    #[schemars(extend("pattern" = ULID))]
    pub delivery: Option<String>,
    /// It was accepted before; of several, all of them.
    pub duplicate: bool,
    /// Why no run follows, or from what else of the webhook none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ids of the others: a push to several refs is a delivery for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = ULID)))]
    pub more: Vec<String>,
}

/// A delivery.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// Its id.
    #[schemars(extend("pattern" = ULID))]
    pub id: String,
    /// `pending`, `expanding` or `expanded`.
    #[schemars(extend("enum" = DELIVERY_STATES))]
    pub state: String,
    /// Why it waits, after a failure; or why no run follows.
    pub reason: String,
    /// Tries of expansion so far.
    pub tries: u16,
    /// The runs it became.
    #[schemars(inner(regex(pattern = ULID)))]
    pub runs: Vec<String>,
    /// When it was committed.
    pub accepted_at: u64,
}

impl DeliveryView {
    /// A delivery's view.
    #[must_use]
    pub fn of(id: DeliveryId, delivery: &Delivery) -> Self {
        let (reason, runs) = match &delivery.state {
            DeliveryState::Pending { reason, .. } => (reason.to_string(), Vec::new()),
            DeliveryState::Expanding { .. } => Default::default(),
            DeliveryState::Expanded { runs, reason } => {
                (reason.to_string(), runs.iter().map(ToString::to_string).collect())
            }
        };
        Self {
            id: id.to_string(),
            state: delivery.state.as_str().to_owned(),
            reason,
            tries: delivery.tries,
            runs,
            accepted_at: delivery.accepted_at.0,
        }
    }
}
