//! Raft's network over links: each client has a connection of its own, opened when it is first needed and dropped on
//! any error, so that neither a snapshot nor a batch of entries delays a heartbeat.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ClusterId;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::disk::{SharedDisk, blocking};
use crate::members::{Book, Joined};
use crate::metrics::{HEARTBEAT_SECONDS, REPLICATE_SECONDS};
use crate::snapshot::SnapshotFile;
use crate::state_machine::View;
use crate::transport::{Channel, Transport};
use crate::types::{NodeAddress, TypeConfig};
use crate::wire::{self, CHUNK, Frame, Hello, Request, Response, Welcome};

/// A disk may take this long for entries before they are sent again.
const SLOW_DISK: Duration = Duration::from_secs(2);
/// A link that was not used for so long is not used again: the other side is about to close it ([`crate::server::IDLE`]).
const REST: Duration = Duration::from_secs(30);
/// Bytes of a snapshot that a member checks and installs in a second at least.
const SLOW_INSTALL: u64 = 8 * 1024 * 1024;
/// Bytes per second that a network between nodes has at least.
const SLOW_NETWORK: u64 = 1024 * 1024;

/// Opens connections in this node's name.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub transport: Arc<dyn Transport>,
    pub disk: SharedDisk,
    pub from: u64,
    pub view: View,
    /// Where members are reached.
    pub book: Book,
    /// The cluster that this node joined with a token: its own before it has any state.
    pub joined: Joined,
    pub connect_timeout: Duration,
}

impl Caller {
    /// The cluster that this node belongs to.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.view.current().state.cluster.or(self.joined.0)
    }

    /// Opens a connection and greets. With a target, only to that node.
    pub(crate) async fn open(&self, addr: &str, target: Option<(u64, &str)>) -> io::Result<Channel> {
        let name = target.map(|(_, name)| name);
        let found = target.and_then(|(id, _)| self.book.find(id));
        let addr = found.as_deref().unwrap_or(addr);
        let mut link = self.transport.dial(addr, name, self.connect_timeout).await?;
        let hello = Hello { cluster: self.cluster(), from: self.from, target: target.map(|(id, _)| id) };
        let greet = async {
            wire::send(&mut link.stream, &hello).await?;
            wire::receive::<Welcome>(&mut link.stream).await
        };
        let welcome = tokio::time::timeout(self.connect_timeout, greet).await.map_err(|_| timed_out())??;
        match welcome.refused {
            None => Ok(link),
            Some(why) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{addr} refused the link: {why}"),
            )),
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// A connection to one node that is opened again after an error.
#[derive(Debug)]
pub(crate) struct Connection {
    caller: Caller,
    /// Only to this node; none for whoever is at the address.
    target: Option<u64>,
    address: NodeAddress,
    /// With the moment of its last use.
    link: Option<(Channel, Instant)>,
    opening: Opening,
    frame: Frame,
}

/// A link that is being opened. It outlives the call that wanted it: a heartbeat is given up after its interval, and a link
/// over a long way takes several of them, so that each would begin anew and none would be opened.
#[derive(Default)]
struct Opening(Mutex<Option<BoxFuture<'static, io::Result<Channel>>>>);

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening")
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nothing was sent.
    NotSent(io::Error),
    /// Something was sent: it may have been done.
    NoAnswer(io::Error),
}

impl CallError {
    fn into_io(self) -> io::Error {
        match self {
            Self::NotSent(error) | Self::NoAnswer(error) => error,
        }
    }
}

impl Connection {
    pub(crate) fn new(caller: Caller, target: u64, address: NodeAddress) -> Self {
        let (opening, frame) = Default::default();
        Self { caller, target: Some(target), address, link: None, opening, frame }
    }

    /// To whoever is at an address, for questions only.
    pub(crate) fn to_any(caller: Caller, cluster_addr: String) -> Self {
        let address = NodeAddress { name: String::new(), cluster_addr };
        let (opening, frame) = Default::default();
        Self { caller, target: None, address, link: None, opening, frame }
    }

    /// Goes on with what a call before this one has begun.
    async fn open(&mut self) -> io::Result<Channel> {
        let opening = self.opening.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let future = opening.get_or_insert_with(|| {
            let (caller, target, address) = (self.caller.clone(), self.target, self.address.clone());
            let open = async move {
                let target = target.map(|id| (id, address.name.as_str()));
                caller.open(&address.cluster_addr, target).await
            };
            open.boxed()
        });
        let opened = future.await;
        *opening = None;
        opened
    }

    /// One request and its answer within `limit`.
    pub(crate) async fn call(&mut self, request: &Request, limit: Duration) -> Result<Response, CallError> {
        self.frame.put(request).map_err(CallError::NotSent)?;
        self.exchange(limit).await
    }

    /// Sends what is in the frame.
    async fn exchange(&mut self, limit: Duration) -> Result<Response, CallError> {
        // Taken out, so that a call that is given up leaves no half-read connection behind.
        let mut link = match self.link.take().and_then(idle) {
            Some(link) => link,
            None => self.open().await.map_err(CallError::NotSent)?,
        };
        let exchange = async {
            self.frame.send(&mut link.stream).await?;
            self.frame.receive::<Response>(&mut link.stream).await
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(response)) => {
                self.link = Some((link, Instant::now()));
                Ok(response)
            }
            Ok(Err(error)) => Err(CallError::NoAnswer(error)),
            Err(_) => Err(CallError::NoAnswer(timed_out())),
        }
    }

    async fn send_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        limit: Duration,
    ) -> io::Result<Response> {
        let file = snapshot.snapshot.file;
        let bytes = file.size()?;
        let mut link = self.open().await?;
        wire::send(&mut link.stream, &Request::Snapshot { vote, meta: snapshot.meta, bytes }).await?;
        let held = tokio::time::timeout(limit, wire::receive(&mut link.stream)).await;
        let mut at = match held.map_err(|_| timed_out())?? {
            Response::SnapshotFrom(at) if at <= bytes => at,
            other => return Err(unexpected(other)),
        };
        while at < bytes {
            let file = Arc::clone(&file);
            let mut chunk = vec![0; CHUNK.min((bytes - at) as usize)];
            let read = move || file.read_exact_at(&mut chunk, at).map(|()| chunk);
            let chunk = blocking(&*self.caller.disk, read).await?;
            // Progress is what counts, not the time of the whole.
            let sent = wire::send_raw(&mut link.stream, &chunk);
            tokio::time::timeout(limit, sent).await.map_err(|_| timed_out())??;
            at += chunk.len() as u64;
        }
        // It answers when it has read all of it again, checked it and put it in the place of its state.
        let limit = limit + Duration::from_secs(bytes / SLOW_INSTALL);
        tokio::time::timeout(limit, wire::receive(&mut link.stream)).await.map_err(|_| timed_out())?
    }
}

/// The link, if it is idle: nothing is owed on it then, so anything that can be read from it is its end.
fn idle((mut link, used): (Channel, Instant)) -> Option<Channel> {
    if used.elapsed() >= REST {
        return None;
    }
    let mut byte = [0];
    let read = link.stream.read(&mut byte).now_or_never();
    read.is_none().then_some(link)
}

fn unreachable(error: &io::Error) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

fn unexpected(response: Response) -> io::Error {
    match response {
        Response::Failed(why) => io::Error::other(why),
        other => {
            io::Error::new(io::ErrorKind::InvalidData, format!("an answer to another question: {other:?}"))
        }
    }
}

/// Takes the one kind of answer that belongs to a request.
macro_rules! expect {
    ($answered:expr, $answer:path) => {
        match $answered {
            Ok($answer(response)) => Ok(response),
            Ok(other) => Err(unreachable(&unexpected(other))),
            Err(error) => Err(unreachable(&error.into_io())),
        }
    };
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (since, idle) = (Instant::now(), rpc.entries.is_empty());
        let bytes = self.frame.put(&Request::Append(rpc)).map_err(|e| unreachable(&e))?;
        let bytes = if idle { 0 } else { bytes as u64 };
        let answered = self.exchange(append_limit(bytes, option.hard_ttl())).await;
        let answer = expect!(answered, Response::Append)?;
        // Heartbeats carry none, and say nothing about disks, but all about the network and how busy both nodes are.
        let name = if idle { HEARTBEAT_SECONDS } else { REPLICATE_SECONDS };
        metrics::histogram!(name).record(since.elapsed());
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        expect!(self.call(&Request::Vote(rpc), option.hard_ttl()).await, Response::Vote)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        expect!(self.call(&Request::PreVote(rpc), option.hard_ttl()).await, Response::Vote)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answered = self.call(&Request::TransferLeader(request), option.hard_ttl()).await;
        expect!(answered, Response::TransferLeader)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let network = |error: io::Error| StreamingError::Network(NetworkError::new(&error));
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot, option.hard_ttl()) => match sent.map_err(network)? {
                Response::Snapshot(response) => Ok(response),
                other => Err(network(unexpected(other))),
            },
        }
    }
}

/// How long an append may take. Openraft gives each the interval of heartbeats, which go over a connection of their own:
/// entries would be cut off on every try where the network or the disk takes longer for them.
fn append_limit(bytes: u64, interval: Duration) -> Duration {
    if bytes == 0 {
        return interval;
    }
    interval.max(SLOW_DISK) + Duration::from_micros(bytes * 1_000_000 / SLOW_NETWORK)
}

/// Makes connections for openraft.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub caller: Caller,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &NodeAddress) -> Connection {
        Connection::new(self.caller.clone(), target, node.clone())
    }
}

#[cfg(test)]
mod tests;
