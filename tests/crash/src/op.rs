//! Changes of the storage, as they are told to whoever keeps the model.

use domain::{ClusterId, Command, Entry, Right, Timestamp, TokenId};
use openraft::EntryPayload;
use openraft::LogId;
use openraft::alias::{EntryOf, LogIdOf};
use openraft::entry::RaftEntry;
use raft_store::{Proposal, TypeConfig};
use serde::{Deserialize, Serialize};

/// A log id: term and index.
pub type Id = (u64, u64);

/// One change, told before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Entries of one term.
    Append {
        /// Their term.
        term: u64,
        /// Index of the first.
        first: u64,
        /// How many.
        count: u64,
        /// What they are made from, beside their ids.
        salt: u64,
    },
    /// A vote.
    Vote {
        /// In this term.
        term: u64,
        /// For this node.
        node: u64,
    },
    /// What is known to be committed.
    Committed(Id),
    /// The entries after this one go; all, if it is none.
    Truncate(Option<Id>),
    /// The entries up to this one go.
    Purge(Id),
    /// A snapshot of what is applied up to this entry.
    Snapshot(Id),
}

/// What the one who makes changes says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// Is about to make the change; they are numbered from 0.
    Begins(Op),
    /// The change of this number was acknowledged.
    Acknowledged(u64),
}

/// Openraft's form of a log id.
#[must_use]
pub fn log_id((term, index): Id) -> LogIdOf<TypeConfig> {
    LogId::new_term_index(term, index)
}

/// The entry of an id: small ones, and now and then one that is larger than a file of the log.
#[must_use]
pub fn entry(term: u64, index: u64, salt: u64) -> EntryOf<TypeConfig> {
    let mixed = (term ^ index.rotate_left(20) ^ salt.rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let length = match mixed >> 58 {
        0 => 40_000,
        1..8 => 3_000,
        _ => mixed >> 57,
    };
    let command = match index {
        1 => Command::InitCluster { cluster: ClusterId(1), token: TokenId(1), token_hash: [7; 32] },
        _ => Command::CreateToken {
            id: TokenId(u128::from(mixed)),
            // Letters, so that no sector of a body is zeros.
            name: format!("{mixed:x}").chars().cycle().take(length as usize).collect(),
            hash: [mixed as u8; 32],
            right: Right::Read,
            expires_at: None,
        },
    };
    let proposal = Proposal::new(Entry { at: Timestamp(index), command });
    EntryOf::<TypeConfig>::new(log_id((term, index)), EntryPayload::Normal(proposal))
}
