//! The protocols of the cluster port and their ALPN names.

use std::fmt;

/// The ALPN name of the only protocol for which a client needs no certificate; see [`crate::join`]. No link has it.
pub(crate) const JOIN: &str = "troupe-join";

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

    /// The ALPN name.
    #[must_use]
    pub fn alpn(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Raft => "troupe-raft",
            Self::Actors => "troupe-actors",
            Self::Bulk => "troupe-bulk",
        }
    }

    pub(crate) fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.alpn() == name)
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
