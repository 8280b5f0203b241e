//! `permissions`: what the run's token may do.

use std::collections::BTreeMap;

use super::fields::{entries, plain};
use crate::template::Template;

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// All reads.
    ReadAll,
    /// All writes.
    WriteAll,
    /// What is named; all else is [`Level::None`].
    Each(BTreeMap<String, Level>),
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    None,
    /// Reads.
    Read,
    /// Reads and writes.
    Write,
}

impl Permissions {
    /// How much of one thing, as `contents`, is allowed.
    #[must_use]
    pub fn level(&self, of: &str) -> Level {
        match self {
            // Nobody can read an identity token; `models` and such can only be read, which is as much as there is.
            Self::ReadAll if of == "id-token" => Level::None,
            Self::ReadAll => Level::Read,
            Self::WriteAll => Level::Write,
            Self::Each(levels) => levels.get(of).copied().unwrap_or(Level::None),
        }
    }
}

/// What can be named, in the order in which GitHub lists it; what came later is only looked at where it is named.
const NAMES: [&str; 13] = [
    "actions",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "issues",
    "packages",
    "pages",
    "pull-requests",
    "repository-projects",
    "statuses",
    "security-events",
    "id-token",
];

impl Permissions {
    /// What GitHub gives where neither the file nor the repository says more: reading sources and packages.
    #[must_use]
    pub fn limited() -> Self {
        Self::Each([("contents".to_owned(), Level::Read), ("packages".to_owned(), Level::Read)].into())
    }

    /// What is asked for beyond what is allowed: the name, the level asked for, and the level allowed.
    pub(super) fn beyond<'a>(&'a self, allowed: &Self) -> Vec<(&'a str, Level, Level)> {
        let named = match self {
            Self::Each(levels) => levels.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        let later = named.into_iter().filter(|name| !NAMES.contains(name));
        let compared = NAMES.into_iter().chain(later);
        let compared = compared.map(|name| (name, self.level(name), allowed.level(name)));
        compared.filter(|(_, asked, allowed)| asked > allowed).collect()
    }
}

impl Level {
    /// As the file says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

pub(super) fn permissions(template: &Template) -> Option<Permissions> {
    match template.text().as_deref() {
        Some("read-all") => return Some(Permissions::ReadAll),
        Some("write-all") => return Some(Permissions::WriteAll),
        Some(_) => return None,
        None => {}
    }
    let level = |text: &str| match text {
        "read" => Some(Level::Read),
        "write" => Some(Level::Write),
        "none" => Some(Level::None),
        _ => None,
    };
    let levels = entries(template).filter_map(|entry| {
        let value = plain(entry.value)?;
        Some((entry.key.to_owned(), level(&value.value)?))
    });
    Some(Permissions::Each(levels.collect()))
}
