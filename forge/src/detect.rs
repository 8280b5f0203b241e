//! Tells forges apart by their headers. Forgejo also sends Gitea's and GitHub's, and Gitea also sends GitHub's, so the
//! order matters.

use crate::Headers;

/// Who sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forge {
    /// Forgejo.
    Forgejo,
    /// Gitea.
    Gitea,
    /// GitHub, and what speaks as it does.
    GitHub,
    /// Anything that signs as <https://www.standardwebhooks.com> says.
    Generic,
}

impl Forge {
    /// The name used in keys and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
            Self::GitHub => "github",
            Self::Generic => "generic",
        }
    }
}

/// The forge and its name of the event.
pub(crate) fn detect(headers: &dyn Headers) -> Option<(Forge, String)> {
    let by_event = [
        ("x-forgejo-event", Forge::Forgejo),
        ("x-gitea-event", Forge::Gitea),
        ("x-github-event", Forge::GitHub),
    ];
    for (header, forge) in by_event {
        if let Some(event) = headers.get(header) {
            return Some((forge, event.chars().take(100).collect()));
        }
    }
    headers.get("webhook-id").map(|_| (Forge::Generic, "push".to_owned()))
}

pub(crate) fn delivery_id(forge: Forge, headers: &dyn Headers) -> Option<String> {
    let header = match forge {
        Forge::Forgejo => "x-forgejo-delivery",
        Forge::Gitea => "x-gitea-delivery",
        Forge::GitHub => "x-github-delivery",
        Forge::Generic => "webhook-id",
    };
    let id = headers.get(header)?.trim();
    // An id that is not one is no key; the digest of the body still is.
    let usable = (1..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    usable.then(|| id.to_owned())
}
