//! Webhooks in: whose they are, whether they are genuine, and what they say in Troupe's terms. Commit statuses out.
//!
//! Pure: takes headers, bytes, a secret and the time; must not know HTTP servers and clients, the cluster or workflows. What is
//! peculiar to a forge is in the file of its name.

mod bitbucket;
mod body;
mod deliveries;
mod detect;
mod event;
mod generic;
mod gitea;
mod github;
mod gitlab;
mod gogs;
mod hub;
mod json;
mod payload;
mod refs;
mod signature;
mod stash;
pub mod status;

use sha2::{Digest, Sha256};

pub use deliveries::{Deliveries, Delivery};
pub use detect::Forge;
pub use event::{
    Action, ChangedPaths, Commit, Event, Person, PullRequest, Push, RefChange, RefKind, Repository, Side,
};
pub use signature::check_secret;

/// Header look-up by lower-case name.
pub trait Headers {
    /// The header's value, when it is there once or more (the first) and is text.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<S: AsRef<str>> Headers for std::collections::BTreeMap<&str, S> {
    fn get(&self, name: &str) -> Option<&str> {
        std::collections::BTreeMap::get(self, name).map(AsRef::as_ref)
    }
}

/// A webhook whose signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub forge: Forge,
    /// The forge's id of the delivery, scoped (`github:<id>`); empty when it gave none.
    pub key: String,
    /// The forge's name of the event, at most 100 characters.
    pub event_name: String,
    /// The repository as the body states it; its name is empty when it states none.
    pub repository: Repository,
    /// Who did it, as the forge states; never what a commit says of its author.
    pub sender: Person,
    /// SHA-256 over event name and body: the same body under a new delivery id is the same delivery. Where the id is signed with the
    /// body, over the id alone: whoever signs says by it what is the same.
    pub digest: [u8; 32],
    /// What follows from it, in the order of the body: one, or several where one push moved several refs. Never empty.
    pub what: Vec<What>,
}

/// What follows from a webhook, or from one of the things that it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Something that workflows may want.
    Event(Event),
    /// Nothing, and why: for the answer to the forge.
    NoRun(String),
}

/// Why a webhook is not accepted. Nothing of it was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// None of the headers by which a forge is known.
    #[error(
        "no webhook headers: expected X-Forgejo-Event, X-Gitea-Event, X-Gogs-Event, X-GitHub-Event, X-Gitlab-Event, \
         X-Event-Key or webhook-id"
    )]
    UnknownForge,
    /// The signature is missing or wrong.
    #[error("signature: {why}")]
    Unauthorized {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A genuine webhook that makes no sense.
    #[error("payload: {why}")]
    Malformed {
        /// What was found, what was expected.
        why: String,
    },
}

/// Checks and reads a webhook.
///
/// The signature is checked over the raw bytes, in constant time, before anything is parsed. `now` is in seconds since
/// 1970 and is used for signatures that carry a time.
///
/// # Errors
/// [`Rejected`].
pub fn receive(headers: &dyn Headers, body: &[u8], secret: &str, now: u64) -> Result<Received, Rejected> {
    let (forge, event_name) = detect::detect(headers).ok_or(Rejected::UnknownForge)?;
    signature::check(forge, headers, body, secret, now)?;
    let signed_id = signature::signed_id(forge, headers, secret);
    let digest = match &signed_id {
        Some(id) => digest("webhook-id", id.as_bytes()),
        None => digest(&event_name, body),
    };
    let id = match &signed_id {
        Some(id) => detect::usable(id),
        None => detect::delivery_id(forge, headers, &digest),
    };
    let json = json::repaired(body::json(headers.get("content-type").unwrap_or_default(), body)?);
    let read = match forge {
        Forge::GitHub => github::read(&event_name, &json),
        Forge::Gitea | Forge::Forgejo => gitea::read(&event_name, &json),
        Forge::Gogs => gogs::read(&event_name, &json),
        Forge::GitLab => gitlab::read(&json),
        Forge::Bitbucket => bitbucket::read(&event_name, &json),
        Forge::BitbucketDataCenter => stash::read(&event_name, &json),
        Forge::Generic => generic::read(&json),
    }?;
    Ok(Received {
        forge,
        key: id.map(|id| format!("{}:{id}", forge.as_str())).unwrap_or_default(),
        digest,
        event_name,
        repository: read.repository,
        sender: read.sender,
        what: read.what,
    })
}

fn digest(event_name: &str, body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // With its length, so that no other pair of name and body gives the same bytes.
    hasher.update((event_name.len() as u64).to_le_bytes());
    hasher.update(event_name);
    hasher.update(body);
    hasher.finalize().into()
}
