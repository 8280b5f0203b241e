//! Commit statuses out: what is to be said of a commit, as the one HTTP request that each forge documents for it, and what
//! its answer means.
//!
//! Pure: must not know HTTP clients, the outbox that they are sent from, or runs. How a forge wants it is in the file of its
//! name.

mod answer;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::refs::CommitId;
use crate::{Forge, bitbucket, gitea, github, gitlab, stash};

pub use answer::{Next, next};

/// How it stands with what a commit was built for. Not every forge tells all of these apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits.
    Pending,
    /// It runs.
    Running,
    /// It is as it should be.
    Success,
    /// It is not.
    Failure,
    /// It could not be found out.
    Error,
    /// Somebody ended it.
    Cancelled,
}

/// What is to be said, where, and by whose right.
#[derive(Clone, Copy)]
pub struct Status<'a> {
    /// Who is told.
    pub forge: Forge,
    /// Where its API begins, with http or https: `https://api.github.com`, `https://HOST/api/v1` (Gitea, Forgejo),
    /// `https://HOST/api/v4` (GitLab), `https://api.bitbucket.org/2.0`, `https://HOST/rest/api/latest` (Data Center).
    pub api_url: &'a str,
    /// As the forge names it ([`crate::Repository::name`]).
    pub repository: &'a str,
    /// 40 or 64 hexadecimal digits.
    pub commit: &'a str,
    /// How it stands.
    pub state: State,
    /// What is told apart from other statuses of the commit: the last one of a name holds. A longer one than the forge
    /// takes is cut and made unique.
    pub context: &'a str,
    /// A line for people, cut at what the forge takes.
    pub description: &'a str,
    /// The page with more, with http or https.
    pub target_url: &'a str,
    /// With the right to set statuses.
    pub token: &'a str,
}

/// One HTTP request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Always POST today.
    pub method: &'static str,
    /// All of it.
    pub url: String,
    /// The token is among them.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

// By hand: the headers hold the token.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        let Self { method, url, body, .. } = self;
        write!(f, "Request {{ {method} {url}, headers: {names:?}, body: {body} }}")
    }
}

/// Why there is nothing that could be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// There is no API for it.
    #[error("{} has no commit statuses", .forge.as_str())]
    NoStatuses {
        /// Which has none.
        forge: Forge,
    },
    /// A part of it is not what it must be.
    #[error("{field}: expected {expected}")]
    Field {
        /// Which part.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// The request that says it.
///
/// # Errors
/// [`Unsendable`].
pub fn request(status: &Status<'_>) -> Result<Request, Unsendable> {
    if CommitId::read(status.commit).or_empty().is_empty() {
        return Err(field("commit", "40 or 64 hexadecimal digits"));
    }
    let web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    if !web(status.api_url) {
        return Err(field("api_url", "http:// or https://"));
    }
    if !web(status.target_url) {
        return Err(field("target_url", "http:// or https://"));
    }
    if status.token.is_empty() || !status.token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(field("token", "letters, digits and signs without spaces"));
    }
    if status.context.trim().is_empty() {
        return Err(field("context", "a name"));
    }
    let parts: Vec<&str> = status.repository.split('/').collect();
    if parts.len() < 2 || parts.iter().any(|part| ["", ".", ".."].contains(part)) {
        return Err(field("repository", "owner/name"));
    }
    match status.forge {
        Forge::GitHub => Ok(github::status(status)),
        Forge::Gitea | Forge::Forgejo => Ok(gitea::status(status)),
        Forge::GitLab => Ok(gitlab::status(status)),
        Forge::Bitbucket => Ok(bitbucket::status(status)),
        Forge::BitbucketDataCenter => stash::status(status),
        forge @ (Forge::Gogs | Forge::Generic) => Err(Unsendable::NoStatuses { forge }),
    }
}

pub(crate) fn field(field: &'static str, expected: &'static str) -> Unsendable {
    Unsendable::Field { field, expected }
}

/// A POST of JSON. Every forge takes it; GitHub refuses whoever does not say a name.
pub(crate) fn post(
    status: &Status<'_>,
    path: &str,
    scheme: &str,
    accept: &'static str,
    body: &serde_json::Value,
) -> Request {
    Request {
        method: "POST",
        url: format!("{}{path}", status.api_url.trim_end_matches('/')),
        headers: vec![
            ("authorization", format!("{scheme} {}", status.token)),
            ("accept", accept.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("user-agent", "troupe".to_owned()),
        ],
        body: body.to_string(),
    }
}

/// What a path may hold as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A part of a path: nothing in it ends it.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, IN_PATH).to_string()
}

/// A repository's name as parts of a path.
pub(crate) fn parts(repository: &str) -> String {
    repository.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// At most so many characters, the last one a mark when there were more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['\u{2026}']).collect()
}

/// A name of at most so many characters (17 or more), that no other long name comes to.
pub(crate) fn name(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let digest = hex::encode(&Sha256::digest(text)[..8]);
    text.chars().take(most - 17).chain(['-']).chain(digest.chars()).collect()
}
