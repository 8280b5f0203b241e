//! The protocols of the cluster port, the versions of each that this build speaks, and their ALPN names.
//!
//! A name is `PROTOCOL/VERSION`. Who dials offers all versions that it speaks, the newest first, and behind them
//! [`NO_VERSION`]; who accepts takes the newest that both speak. When there is none, the two agree on `NO_VERSION`, over which
//! the accepting side says which it speaks, and closes: so both know, and both can say, what does not fit.

use std::fmt;

/// The protocol for machines that have no certificate yet; see [`crate::join`]. No link has it.
pub(crate) const JOIN: &str = "troupe-join";
/// The versions of [`JOIN`] that this build speaks.
pub(crate) const JOIN_VERSIONS: Versions = Versions { min: 1, max: 1 };
/// Agreed on when no version is spoken by both.
pub(crate) const NO_VERSION: &[u8] = b"troupe-no-version";

/// What is said over a link: between members only, each with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Raft's RPC.
    Raft,
    /// ractor_cluster sessions.
    Actors,
    /// HTTP/2: log tails, blobs.
    Bulk,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Self::Raft, Self::Actors, Self::Bulk];

    /// The versions that this build speaks. A release speaks the one of the release before it, too, so that the two work in
    /// one cluster while it is upgraded; a version whose encoding differs in any byte is another version.
    #[must_use]
    pub const fn versions(self) -> Versions {
        match self {
            Self::Raft | Self::Actors | Self::Bulk => Versions { min: 1, max: 1 },
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Raft => "troupe-raft",
            Self::Actors => "troupe-actors",
            Self::Bulk => "troupe-bulk",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Raft => 0,
            Self::Actors => 1,
            Self::Bulk => 2,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A range of versions of a protocol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// The versions of each protocol of links.
pub(crate) type Spoken = [Versions; 3];

/// Those of this build.
pub(crate) const SPOKEN: Spoken =
    [Protocol::Raft.versions(), Protocol::Actors.versions(), Protocol::Bulk.versions()];

/// The ALPN names of a protocol, the newest first.
pub(crate) fn names(protocol: &str, versions: Versions) -> Vec<Vec<u8>> {
    (versions.min..=versions.max).rev().map(|version| format!("{protocol}/{version}").into_bytes()).collect()
}

/// The same, with [`NO_VERSION`] behind them.
pub(crate) fn offer(protocol: &str, versions: Versions) -> Vec<Vec<u8>> {
    let mut offered = names(protocol, versions);
    offered.push(NO_VERSION.to_vec());
    offered
}

/// Protocol and version of an ALPN name.
pub(crate) fn parse(name: &[u8]) -> Option<(&str, u16)> {
    let (protocol, version) = std::str::from_utf8(name).ok()?.split_once('/')?;
    Some((protocol, version.parse().ok()?))
}

/// What somebody offered: one protocol's versions. None when it is of several protocols, or of none.
pub(crate) fn offered<'a>(names: impl Iterator<Item = &'a [u8]>) -> Option<(String, Versions)> {
    let mut found: Option<(String, Versions)> = None;
    for name in names.filter(|name| *name != NO_VERSION) {
        let (protocol, version) = parse(name)?;
        match &mut found {
            None => found = Some((protocol.to_owned(), Versions { min: version, max: version })),
            Some((known, versions)) if known == protocol => {
                *versions = Versions { min: versions.min.min(version), max: versions.max.max(version) };
            }
            Some(_) => return None,
        }
    }
    found
}

/// What the accepting side says when no version fits: the range that it speaks.
pub(crate) fn encode(versions: Versions) -> String {
    format!("{} {}\n", versions.min, versions.max)
}

/// Reads what [`encode`] has written.
pub(crate) fn decode(line: &str) -> Option<Versions> {
    let (min, max) = line.trim_end().split_once(' ')?;
    Some(Versions { min: min.parse().ok()?, max: max.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_versions_and_the_newest_comes_first() {
        let offer = offer("troupe-raft", Versions { min: 2, max: 3 });
        assert_eq!(offer, [b"troupe-raft/3".to_vec(), b"troupe-raft/2".to_vec(), NO_VERSION.to_vec()]);
        let names = || offer.iter().map(Vec::as_slice);
        assert_eq!(offered(names()), Some(("troupe-raft".to_owned(), Versions { min: 2, max: 3 })));
        assert_eq!(offered(names().chain([&b"troupe-bulk/3"[..]])), None);
        for bad in ["troupe-raft", "troupe-raft/", "troupe-raft/x", "troupe-raft/65536", "h2", ""] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
            assert_eq!(offered([bad.as_bytes()].into_iter()), None, "{bad:?}");
        }
        let range = Versions { min: 4, max: 70 };
        assert_eq!(decode(&encode(range)), Some(range));
        assert_eq!(decode("x"), None);
    }
}
