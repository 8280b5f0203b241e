//! What the log's files hold, in order: a journal of changes. Whoever replays it has the log, the vote and what is committed.

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use serde::{Deserialize, Serialize};

use crate::codec::{self, Error};
use crate::types::TypeConfig;

/// What is known besides the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub vote: Option<VoteOf<TypeConfig>>,
    pub committed: Option<LogIdOf<TypeConfig>>,
    /// The last entry that is in snapshots only.
    pub purged: Option<LogIdOf<TypeConfig>>,
    /// The last entry; that of `purged` when there is none.
    pub last: Option<LogIdOf<TypeConfig>>,
}

/// One change.
#[derive(Debug)]
pub(super) enum Record {
    /// The first of each file: all that the files before it came to.
    Standing(Standing),
    Entry(EntryOf<TypeConfig>),
    Vote(VoteOf<TypeConfig>),
    Committed(LogIdOf<TypeConfig>),
    /// Entries after this one are gone; all, if it is none.
    Truncate(Option<LogIdOf<TypeConfig>>),
    /// Entries up to this one are gone.
    Purge(LogIdOf<TypeConfig>),
}

const STANDING: u8 = 1;
const ENTRY: u8 = 2;
const VOTE: u8 = 3;
const COMMITTED: u8 = 4;
const TRUNCATE: u8 = 5;
const PURGE: u8 = 6;

/// Encodes an entry's record behind what is there.
pub(super) fn encode_entry(entry: &EntryOf<TypeConfig>, out: &mut Vec<u8>) -> Result<(), Error> {
    encode(ENTRY, entry, out)
}

fn encode<T: Serialize>(kind: u8, value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(kind);
    codec::encode_into(value, out)
}

impl Record {
    /// Encodes it behind what is there.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Standing(standing) => encode(STANDING, standing, out),
            Self::Entry(entry) => encode_entry(entry, out),
            Self::Vote(vote) => encode(VOTE, vote, out),
            Self::Committed(id) => encode(COMMITTED, id, out),
            Self::Truncate(last) => encode(TRUNCATE, last, out),
            Self::Purge(id) => encode(PURGE, id, out),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let what = "a record of the log";
        let (kind, value) = bytes.split_first().ok_or(Error::Empty { what })?;
        let limit = codec::MAX_BYTES;
        Ok(match *kind {
            STANDING => Self::Standing(codec::decode(value, limit)?),
            ENTRY => Self::Entry(codec::decode(value, limit)?),
            VOTE => Self::Vote(codec::decode(value, limit)?),
            COMMITTED => Self::Committed(codec::decode(value, limit)?),
            TRUNCATE => Self::Truncate(codec::decode(value, limit)?),
            PURGE => Self::Purge(codec::decode(value, limit)?),
            other => return Err(Error::Malformed { what, why: format!("no kind {other} is known") }),
        })
    }
}
