//! Repositories and deliveries. No secret and no credential ever leaves by these.

use actors::workspace::CloneUrl;
use domain::{Delivery, DeliveryId, DeliveryState, Repo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{DELIVERY_STATES, MAX_LABEL_BYTES, MAX_LABELS, REPO_NAME, ULID};

/// A repository as it is registered.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRepo {
    /// Where it is cloned from: https, http, ssh or git; 1 to 2048 bytes.
    #[schemars(length(min = 1, max = 2048))]
    pub clone_url: String,
    /// Key of its webhooks' HMAC, 8 to 256 bytes.
    #[schemars(length(max = 256))]
    pub webhook_secret: String,
    /// Labels added to each of its jobs, at most 64 of 1 to 100 bytes without spaces.
    #[serde(default)]
    #[schemars(length(max = MAX_LABELS), inner(length(min = 1, max = MAX_LABEL_BYTES)))]
    pub labels: Vec<String>,
}

/// A repository as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RepoView {
    /// Its name.
    #[schemars(extend("pattern" = REPO_NAME))]
    pub name: String,
    /// Where it is cloned from, without credentials.
    pub clone_url: String,
    /// Labels added to each of its jobs.
    pub labels: Vec<String>,
    /// When it was registered.
    pub created_at: u64,
}

impl RepoView {
    /// A repository's view.
    #[must_use]
    pub fn of(repo: &Repo) -> Self {
        // What cannot be read cannot be redacted either, so nothing of it is shown.
        let clone_url = CloneUrl::parse(&repo.clone_url).map_or_else(|_| String::new(), |url| url.redacted());
        Self {
            name: repo.name.to_string(),
            clone_url,
            labels: repo.labels.iter().map(str::to_owned).collect(),
            created_at: repo.created_at.0,
        }
    }
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
    /// Why it waits, after a failure.
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
            DeliveryState::Expanded { runs } => {
                (String::new(), runs.iter().map(ToString::to_string).collect())
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
