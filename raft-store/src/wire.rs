//! What is said over a `troupe-raft` link: a greeting, then requests and their answers, one at a time, each a frame
//! `[length u32 little endian][encoded value]`.

use std::io;
use std::sync::Arc;

use domain::{ClusterId, Command, LogIndex, Release, Reply};
use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec;
use crate::members::{Ask, Told};
use crate::types::{NodeAddress, TypeConfig};

/// Largest frame, in bytes.
pub(crate) const MAX_FRAME: usize = codec::MAX_BYTES;
/// Bytes of a frame's length.
const PREFIX: usize = size_of::<u32>();
/// Bytes of memory that one frame leaves to the next, at most.
const KEPT_FRAME: usize = 256 * 1024;
/// A snapshot's bytes travel in raw frames of this size.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// The first frame of the side that dials.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Its cluster; none before it has joined one.
    pub cluster: Option<ClusterId>,
    /// Its id.
    pub from: u64,
    /// Whom it means; none when it only asks who is there.
    pub target: Option<u64>,
}

/// The answer to [`Hello`]: why the link is closed, if it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub refused: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// Answered with [`Response::SnapshotFrom`]; the rest of its `bytes` bytes follows in raw frames.
    Snapshot {
        vote: VoteOf<TypeConfig>,
        meta: SnapshotMetaOf<TypeConfig>,
        bytes: u64,
    },
    /// Commands for the leader, in order.
    Propose(Vec<Arc<Command>>),
    /// The index up to which a linearizable read must wait.
    ReadIndex,
    /// Who is there?
    Probe,
    /// About members.
    Members(Ask),
    /// Who leads, and how far is this node?
    Standing,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    TransferLeader(openraft::raft::TransferLeaderResponse<TypeConfig>),
    Snapshot(SnapshotResponse<TypeConfig>),
    Proposed(Vec<Proposed>),
    ReadIndex(Result<LogIndex, String>),
    Probe(Probe),
    /// The request could not be served, in words.
    Failed(String),
    Members(Told),
    Standing(Standing),
    /// So many bytes of the announced snapshot are here already; the rest is to follow.
    SnapshotFrom(u64),
}

/// What became of one forwarded command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Proposed {
    Committed {
        index: LogIndex,
        reply: Reply,
    },
    /// Certainly not in the log.
    NotLeader,
    /// May or may not be committed.
    Unknown,
    /// Certainly not in the log: the leader's disk has no room for it.
    NoSpace,
    /// Certainly not in the log: a node of the cluster does not know such a command.
    NotYet {
        /// The release that does.
        needed: Release,
        /// The lowest of the cluster's nodes.
        release: Release,
    },
}

/// A node's answer to [`Request::Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub node: u64,
    pub name: String,
    pub cluster_addr: String,
    /// It belongs to a cluster, or is about to.
    pub initialized: bool,
    /// How many nodes it was told to wait for: all must have been told the same.
    pub expect: u64,
    /// The nodes of the new cluster that it sees, sorted: a cluster begins when all see the same.
    pub sees: Vec<u64>,
}

/// A node's answer to [`Request::Standing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub term: u64,
    pub leader: Option<(u64, NodeAddress)>,
    pub applied: LogIndex,
}

/// The memory of one frame after the other on a link. Who asks often keeps it: large blocks that come and go between the
/// small ones of the state would have to be had from the system, and cleared, again and again.
#[derive(Debug, Default)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    /// A value as it is sent, in one piece: two writes would be two TLS records, and two packets. Answers its bytes.
    pub(crate) fn put<T: Serialize>(&mut self, value: &T) -> io::Result<usize> {
        let bytes = self.empty();
        bytes.extend_from_slice(&[0; PREFIX]);
        codec::encode_into(value, bytes)?;
        let length = (bytes.len() - PREFIX) as u32;
        bytes[..PREFIX].copy_from_slice(&length.to_le_bytes());
        Ok(bytes.len())
    }

    /// Sends what was put.
    pub(crate) async fn send(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        stream.write_all(&self.0).await?;
        stream.flush().await
    }

    /// Receives a value in place of what was there.
    pub(crate) async fn receive<T: DeserializeOwned>(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<T> {
        read(stream, self.empty()).await?;
        Ok(codec::decode(&self.0, MAX_FRAME)?)
    }

    fn empty(&mut self) -> &mut Vec<u8> {
        self.0.clear();
        self.0.shrink_to(KEPT_FRAME);
        &mut self.0
    }
}

pub(crate) async fn send<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), value: &T) -> io::Result<()> {
    let mut frame = Frame::default();
    frame.put(value)?;
    frame.send(stream).await
}

pub(crate) async fn send_raw(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&(bytes.len() as u32).to_le_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    Frame::default().receive(stream).await
}

pub(crate) async fn receive_raw(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read(stream, &mut bytes).await?;
    Ok(bytes)
}

/// Reads one frame into an empty buffer.
async fn read(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u32_le().await? as usize;
    if length > MAX_FRAME {
        let why = format!("a frame of {length} bytes, the limit is {MAX_FRAME}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // Grows with what arrives: a length that lies costs nothing.
    bytes.reserve(length.min(64 * 1024));
    let got = (&mut *stream).take(length as u64).read_to_end(bytes).await?;
    if got < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lying_or_cut_frame_is_an_error() {
        let mut lying: &[u8] = &u32::MAX.to_le_bytes();
        assert_eq!(receive_raw(&mut lying).await.map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
        let mut cut: &[u8] = &[9, 0, 0, 0, 1, 2];
        assert_eq!(receive_raw(&mut cut).await.map_err(|e| e.kind()), Err(io::ErrorKind::UnexpectedEof));
        let mut garbage: &[u8] = &[2, 0, 0, 0, 1, 250];
        assert!(receive::<Request>(&mut garbage).await.is_err());
    }
}
