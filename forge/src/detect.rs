//! Tells forges apart by their headers. Forgejo also sends Gitea's, Gogs's and GitHub's, Gitea also sends Gogs's and GitHub's,
//! and Gogs also sends GitHub's, so the order matters.

use crate::Headers;

/// Who sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forge {
    /// Forgejo.
    Forgejo,
    /// Gitea.
    Gitea,
    /// Gogs.
    Gogs,
    /// GitHub, and what speaks as it does.
    GitHub,
    /// GitLab.
    GitLab,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Data Center, which was Bitbucket Server, which was Stash.
    BitbucketDataCenter,
    /// Anything that signs as <https://www.standardwebhooks.com> says.
    Generic,
}

impl Forge {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Forgejo,
        Self::Gitea,
        Self::Gogs,
        Self::GitHub,
        Self::GitLab,
        Self::Bitbucket,
        Self::BitbucketDataCenter,
        Self::Generic,
    ];

    /// The name used in keys and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
            Self::Gogs => "gogs",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::BitbucketDataCenter => "bitbucket-data-center",
            Self::Generic => "generic",
        }
    }
}

/// The forge and its name of the event.
pub(crate) fn detect(headers: &dyn Headers) -> Option<(Forge, String)> {
    let by_event = [
        ("x-forgejo-event", Forge::Forgejo),
        ("x-gitea-event", Forge::Gitea),
        ("x-gogs-event", Forge::Gogs),
        ("x-github-event", Forge::GitHub),
        ("x-gitlab-event", Forge::GitLab),
        ("x-event-key", bitbucket(headers)),
    ];
    for (header, forge) in by_event {
        if let Some(event) = headers.get(header) {
            return Some((forge, event.chars().take(100).collect()));
        }
    }
    headers.get("webhook-id").map(|_| (Forge::Generic, "push".to_owned()))
}

/// Which Bitbucket. A Data Center sends X-Request-Id, which a proxy before it may add to Cloud's headers, too; so Cloud's
/// own are looked for first. Where something on the way took those off, the events that are read have other names.
fn bitbucket(headers: &dyn Headers) -> Forge {
    let header = ["x-hook-uuid", "x-request-uuid"].iter().any(|name| headers.get(name).is_some());
    let event = headers.get("x-event-key").unwrap_or_default();
    let cloud = header || event == "repo:push" || event.starts_with("pullrequest:");
    if cloud { Forge::Bitbucket } else { Forge::BitbucketDataCenter }
}

/// What makes two posts of the same thing one delivery, where the forge says it.
pub(crate) fn delivery_id(forge: Forge, headers: &dyn Headers, digest: &[u8; 32]) -> Option<String> {
    let header = match forge {
        Forge::Forgejo => "x-forgejo-delivery",
        Forge::Gitea => "x-gitea-delivery",
        Forge::Gogs => "x-gogs-delivery",
        Forge::GitHub => "x-github-delivery",
        Forge::GitLab => return gitlab_id(headers, digest),
        Forge::Bitbucket => "x-request-uuid",
        Forge::BitbucketDataCenter => "x-request-id",
        Forge::Generic => "webhook-id",
    };
    usable(headers.get(header)?)
}

/// GitLab's Idempotency-Key (since 17.4) is the same for all tries of one delivery. X-Gitlab-Event-UUID is not enough: all
/// events that follow from one another through GitLab's API share it, so it is one delivery only together with the body.
fn gitlab_id(headers: &dyn Headers, digest: &[u8; 32]) -> Option<String> {
    if let Some(id) = headers.get("idempotency-key").and_then(usable) {
        return Some(id);
    }
    let event = usable(headers.get("x-gitlab-event-uuid")?)?;
    usable(&format!("{event}/{}", hex::encode(&digest[..16])))
}

/// An id that is not one is no key; the digest of the body still is.
pub(crate) fn usable(id: &str) -> Option<String> {
    let id = id.trim();
    let usable = (1..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    usable.then(|| id.to_owned())
}
