//! Every typed id of Troupe, in one file. No bare integer or string crosses a module boundary as an id.
//!
//! Ids are minted by whoever proposes a command (time-ordered, 128 bits, shown as ULIDs), never by `apply`,
//! so that applying is deterministic and ids stay unique across groups.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An id or a name that could not be read: which kind, what was found, what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {found:?} (expected {expected})")]
pub struct ParseIdError {
    /// The kind of id, as the glossary names it.
    pub kind: &'static str,
    /// What was given, cut to 80 characters.
    pub found: String,
    /// The shape that is accepted.
    pub expected: &'static str,
}

impl ParseIdError {
    fn new(kind: &'static str, found: &str, expected: &'static str) -> Self {
        Self { kind, found: found.chars().take(80).collect(), expected }
    }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        // Millions of records are made of ids: aligned as its number is, half of a job's id would be nothing.
        #[repr(Rust, packed(2))]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl $name {
            /// Makes an id from a time (ms since 1970, 48 bits) and 80 random bits, so that ids sort by time.
            #[must_use]
            pub fn from_parts(at: Timestamp, random: u128) -> Self {
                Self(ulid::Ulid::from_parts(at.0, random).0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", ulid::Ulid(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                ulid::Ulid::from_string(s)
                    .map(|u| Self(u.0))
                    .map_err(|_| ParseIdError::new($kind, s, "26 characters of Crockford base 32"))
            }
        }
    };
}

ulid_id!(
    /// One execution of one workflow for one event, or an ad hoc job.
    RunId, "run id"
);
ulid_id!(
    /// An accepted delivery: the durable fact that something happened.
    DeliveryId, "delivery id"
);
ulid_id!(
    /// A registered repository.
    RepoId, "repository id"
);
ulid_id!(
    /// An API token's public id (the secret is never stored, only its hash).
    TokenId, "token id"
);
ulid_id!(
    /// The cluster itself; every message between nodes carries it.
    ClusterId, "cluster id"
);

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time moved on by `millis`.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis))
    }
}

/// A node's random 63-bit id, made once for an empty data directory and never reused. Shown as 16 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parsed = (s.len() == 16).then(|| u64::from_str_radix(s, 16).ok()).flatten();
        parsed.map(Self).ok_or_else(|| ParseIdError::new("node id", s, "16 hexadecimal digits"))
    }
}

/// A random number made at every start of a node process; tells two lives of one node apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub u64);

/// A job: its run and its index in the run's job list. Shown as `RUN.INDEX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The run it belongs to.
    pub run: RunId,
    /// Place among the jobs of its run, from 0 ([`crate::RunKind::jobs`]).
    pub index: u16,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.index)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseIdError::new("job id", s, "RUN.INDEX, as in 01J9ZC3V5W6X7Y8Z9A0B1C2D3E.0");
        let (run, index) = s.split_once('.').ok_or_else(bad)?;
        Ok(Self { run: run.parse().map_err(|_| bad())?, index: index.parse().map_err(|_| bad())? })
    }
}

/// The log index of the entry that placed an attempt (or gave a delivery to a node). Orders all attempts: a report
/// with a lower fence than the job's present one is stale and is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One try of a job on one node. `number` counts from 1 within the job. Shown as `RUN.INDEX/NUMBER`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job that is tried.
    pub job: JobId,
    /// From 1.
    pub number: u16,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.number)
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A node's name: 1 to 63 characters of `[a-z0-9-]`, no `-` at either end. The certificate carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = ParseIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let ok = (1..=63).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !s.starts_with('-')
            && !s.ends_with('-');
        if ok {
            Ok(Self(s.into()))
        } else {
            Err(ParseIdError::new("node name", s, "1 to 63 characters of a-z, 0-9 and -, no - at either end"))
        }
    }
}

/// A repository's name within the cluster: 1 to 200 characters of `[A-Za-z0-9._-]` in one to four parts divided by `/`;
/// no part is `.` or `..` or begins with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepoName(Arc<str>);

impl RepoName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoName {
    type Err = ParseIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let part_ok = |p: &str| {
            !p.is_empty()
                && p != "."
                && p != ".."
                && !p.starts_with('-')
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if s.len() <= 200 && s.split('/').count() <= 4 && s.split('/').all(part_ok) {
            Ok(Self(s.into()))
        } else {
            Err(ParseIdError::new(
                "repository name",
                s,
                "1 to 200 characters of A-Z a-z 0-9 . _ - in up to four parts divided by /",
            ))
        }
    }
}
