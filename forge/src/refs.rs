//! Names of refs and commits as they come from outside: only what git takes for nothing else gets through.
//!
//! Must not know any forge.

use crate::body::{malformed, no_run, shown};
use crate::event::{Event, Push, RefChange, RefKind};
use crate::{Rejected, What};

/// A commit's id as it comes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitId {
    /// 40 or 64 lower-case hexadecimal digits.
    Id(String),
    /// As many zeros: none.
    Zero,
    /// Nothing, or what is no id.
    Unknown,
}

impl CommitId {
    pub(crate) fn read(text: &str) -> Self {
        if !matches!(text.len(), 40 | 64) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Self::Unknown;
        }
        if text.bytes().all(|b| b == b'0') { Self::Zero } else { Self::Id(text.to_ascii_lowercase()) }
    }

    /// The id; empty when there is none.
    pub(crate) fn or_empty(&self) -> String {
        match self {
            Self::Id(id) => id.clone(),
            Self::Zero | Self::Unknown => String::new(),
        }
    }
}

/// What a ref that moved from one commit to another comes to. `after` is needed, `before` is not.
pub(crate) fn moved(git_ref: &str, before: &str, after: &str) -> Result<Result<Push, What>, Rejected> {
    if let Some(elsewhere) = checked(git_ref)? {
        return Ok(Err(elsewhere));
    }
    let (from, to) = (CommitId::read(before), CommitId::read(after));
    match to {
        CommitId::Unknown => {
            Err(malformed(format!("after is {:?}, expected 40 or 64 hexadecimal digits", shown(after))))
        }
        CommitId::Zero => Ok(Err(What::Event(Event::Deleted(RefChange {
            git_ref: git_ref.to_owned(),
            commit: from.or_empty(),
        })))),
        CommitId::Id(_) => Ok(Ok(Push::new(git_ref.to_owned(), &from, &to))),
    }
}

/// The full name of a branch or tag that came or went, which forges write short.
pub(crate) fn change(kind: &str, name: &str, commit: &str) -> Result<Result<RefChange, What>, Rejected> {
    let kind = match kind {
        "branch" => RefKind::Branch,
        "tag" => RefKind::Tag,
        // GitHub tells so that a repository was made.
        other => return Ok(Err(no_run(format!("a {:?} is neither a branch nor a tag", shown(other))))),
    };
    let git_ref = full(kind, name)?;
    Ok(Ok(RefChange { git_ref, commit: CommitId::read(commit).or_empty() }))
}

/// The full name of a branch or tag.
pub(crate) fn full(kind: RefKind, name: &str) -> Result<String, Rejected> {
    let prefix = match kind {
        RefKind::Branch => "refs/heads/",
        RefKind::Tag => "refs/tags/",
    };
    let git_ref = format!("{prefix}{name}");
    checked(&git_ref)?;
    Ok(git_ref)
}

/// Refuses the name of a branch that git could take for anything else. None is none: a fork and its branch may be gone.
pub(crate) fn branch(name: &str) -> Result<(), Rejected> {
    if name.is_empty() { Ok(()) } else { full(RefKind::Branch, name).map(drop) }
}

/// At least seven digits of a commit's id; else empty.
pub(crate) fn beginning(commit: &str) -> String {
    let usable = (7..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    if usable { commit.to_ascii_lowercase() } else { String::new() }
}

/// Refuses what git could take for anything but a ref. Some: a good ref that is neither a branch nor a tag.
fn checked(git_ref: &str) -> Result<Option<What>, Rejected> {
    let bad = |why: &str| Err(malformed(format!("ref is {:?}, {why}", shown(git_ref))));
    if git_ref.len() > 255 {
        return bad("expected at most 255 bytes");
    }
    let Some(rest) = git_ref.strip_prefix("refs/") else {
        return bad("expected refs/heads/... or refs/tags/...");
    };
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if git_ref.contains(forbidden) || git_ref.contains("..") || git_ref.split('/').any(bad_part) {
        return bad("which git does not allow");
    }
    match rest.split_once('/') {
        Some((_, name)) if name.starts_with('-') => bad("expected a name that does not begin with -"),
        Some(("heads" | "tags", _)) => Ok(None),
        Some(_) => Ok(Some(no_run(format!("{git_ref} is neither a branch nor a tag")))),
        None => bad("expected refs/heads/... or refs/tags/..."),
    }
}
