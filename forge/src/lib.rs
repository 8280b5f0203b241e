//! Webhooks in: whose they are, whether they are genuine, and what they say in Troupe's terms.
//!
//! Pure: takes headers, bytes, a secret and the time; must not know HTTP servers, the cluster or workflows.

mod detect;
mod payload;
mod signature;

use domain::Event;
use sha2::{Digest, Sha256};

pub use detect::Forge;

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
    /// The forge's name of the event.
    pub event_name: String,
    /// The repository as the body states it (`owner/name`); empty when it states none.
    pub repository: String,
    /// SHA-256 over event name and body: the same body under a new delivery id is the same delivery.
    pub digest: [u8; 32],
    /// What follows from it.
    pub what: What,
}

/// What follows from a webhook.
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
    #[error("no webhook headers: expected X-GitHub-Event, X-Gitea-Event, X-Forgejo-Event or webhook-id")]
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
    let id = detect::delivery_id(forge, headers);
    let parsed = payload::read(forge, &event_name, headers.get("content-type").unwrap_or_default(), body)?;
    Ok(Received {
        forge,
        key: id.map(|id| format!("{}:{id}", forge.as_str())).unwrap_or_default(),
        digest: digest(&event_name, body),
        event_name,
        repository: parsed.repository,
        what: parsed.what,
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
