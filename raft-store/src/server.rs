//! Serves the links of protocol `troupe-raft` that other nodes open to us.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use domain::{Command, NodeId};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, Snapshot};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::disk::blocking;
use crate::members::{Ask, Members};
use crate::metrics::REFUSED_PROPOSALS;
use crate::proposer;
use crate::snapshot::SnapshotFile;
use crate::snapshot_dir::SnapshotDir;
use crate::space::Space;
use crate::state_machine::{StateMachine, View};
use crate::transport::{Channel, Listener};
use crate::types::TypeConfig;
use crate::wire::{self, Frame, Hello, Probe, Request, Response, Standing, Welcome};

/// How long the other side may take for its greeting, and for each chunk of a snapshot.
const PATIENCE: Duration = Duration::from_secs(10);

/// A link on which nothing is asked for so long is closed. Who asks closes it sooner ([`crate::network::REST`]), so that no
/// request meets a link that is being closed here.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

pub(crate) type Node = Raft<TypeConfig, StateMachine>;

/// What serving needs to know.
pub(crate) struct Server {
    pub raft: Node,
    pub view: View,
    pub me: Probe,
    /// The nodes of a new cluster that this node sees.
    pub sees: watch::Receiver<Vec<u64>>,
    /// Those that may begin a cluster with this node.
    pub begins: watch::Receiver<Vec<u64>>,
    /// Where snapshots are kept.
    pub snapshots: Arc<SnapshotDir>,
    /// Where others' arrive.
    pub receiver: Receiver,
    /// The time that forwarded commands are given.
    pub clock: SharedClock,
    /// How much room this node's disk has.
    pub space: watch::Receiver<Space>,
    /// How long forwarded commands may take.
    pub propose_timeout: Duration,
    /// Answers what is asked about members.
    pub members: Arc<Members>,
    /// Told when a leader is heard.
    pub heard: watch::Sender<Instant>,
}

impl Server {
    /// Serves until `shutdown`; every link has a task of its own in `tasks`.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut incoming: Box<dyn Listener>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) {
        loop {
            let link = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                link = incoming.accept() => link,
            };
            let Some(link) = link else { return };
            let (server, shutdown) = (Arc::clone(&self), shutdown.clone());
            tasks.spawn(async move {
                let (peer, remote) = (link.peer.clone(), link.remote.clone());
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    ended = server.serve(link) => if let Err(error) = ended {
                        tracing::debug!(%peer, %remote, %error, "raft link ended");
                    },
                }
            });
        }
    }

    async fn serve(&self, mut link: Channel) -> io::Result<()> {
        let hello: Hello = tokio::time::timeout(PATIENCE, wire::receive(&mut link.stream))
            .await
            .map_err(|_| too_slow("its greeting"))??;
        let refused = self.check(&hello, &link);
        let refuse = refused.is_some();
        if let Some(why) = &refused {
            tracing::warn!(peer = %link.peer, remote = %link.remote, %why, "raft link refused");
        }
        wire::send(&mut link.stream, &Welcome { refused }).await?;
        if refuse {
            return link.stream.shutdown().await;
        }
        let mut frame = Frame::default();
        loop {
            // A peer that is silent, or stops in the middle of a frame, has its place for so long and no longer.
            let next = tokio::time::timeout(IDLE, frame.receive(&mut link.stream)).await;
            let request = match next {
                Err(_) => return Ok(()),
                Ok(Ok(request)) => request,
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Ok(Err(error)) => return Err(error),
            };
            // Who only asks may not also change anything.
            let only_asks = matches!(
                request,
                Request::Probe | Request::Standing | Request::Members(Ask::Standing { .. })
            );
            let response = if hello.target.is_none() && !only_asks {
                Response::Failed("this link is for probes only".to_owned())
            } else {
                self.answer(request, hello.from, &mut link).await?
            };
            frame.put(&response)?;
            let sent = frame.send(&mut link.stream);
            tokio::time::timeout(PATIENCE, sent).await.map_err(|_| too_slow("taking an answer"))??;
        }
    }

    /// Why a greeting is refused: another cluster, another target, or a certificate that belongs to another member.
    fn check(&self, hello: &Hello, link: &Channel) -> Option<String> {
        if let (Some(theirs), Some(ours)) = (hello.cluster, self.members.caller.cluster())
            && theirs != ours
        {
            return Some(format!("you belong to cluster {theirs}, this node to {ours}"));
        }
        if let Some(target) = hello.target.filter(|target| *target != self.me.node) {
            return Some(format!("you mean node {target:016x}, this is {:016x}", self.me.node));
        }
        let membership = self.raft.metrics();
        let metrics = membership.borrow_watched();
        // A node without a log is new, and belongs to a cluster that it began with others, or that let it in. A cluster that
        // calls it for another reason means one that had a log under this id.
        let is_new = metrics.last_log_index.is_none() && metrics.current_term == 0;
        let expected = self.members.caller.joined.0.is_some() || self.begins.borrow().contains(&hello.from);
        if is_new && hello.cluster.is_some() && hello.target.is_some() && !expected {
            return Some(format!(
                "this node, {:016x}, is new and has no log; if it had one it may not come back under its id: \
                 `troupe cluster remove {}`, then there `troupe node --join TOKEN` with an empty data directory",
                self.me.node, self.me.name
            ));
        }
        let membership = metrics.membership_config.membership();
        // Who was removed may still ask, and is told.
        let state = &self.view.current().state;
        let removed =
            state.removed.contains(&NodeId(hello.from)) && membership.get_node(&hello.from).is_none();
        if removed && hello.target.is_some() {
            return Some(format!("node {:016x} was removed from this cluster", hello.from));
        }
        let peer = &link.peer;
        // Both ways: an id belongs to one name, and a name to one id.
        let of_raft = membership.nodes().map(|(id, node)| (*id, node.name.as_str()));
        let let_in = state.admitted.iter().map(|(id, admission)| (id.0, admission.name.as_str()));
        let other = of_raft.chain(let_in).find(|(id, name)| (*id == hello.from) != (name == peer));
        other.map(|(id, name)| another_member(hello.from, peer, id, name))
    }

    async fn answer(&self, request: Request, from: u64, link: &mut Channel) -> io::Result<Response> {
        let failed = |error: &dyn std::fmt::Display| Response::Failed(error.to_string());
        Ok(match request {
            // Its leader takes it for one that cannot be reached, and sends them again.
            Request::Append(rpc) if *self.space.borrow() == Space::Full && !rpc.entries.is_empty() => {
                Response::Failed("the disk of this node is full".to_owned())
            }
            Request::Append(rpc) => {
                self.heard.send_replace(Instant::now());
                self.raft.append_entries(rpc).await.map_or_else(|e| failed(&e), Response::Append)
            }
            Request::Vote(rpc) => self.raft.vote(rpc).await.map_or_else(|e| failed(&e), Response::Vote),
            Request::PreVote(rpc) => {
                self.raft.pre_vote(rpc).await.map_or_else(|e| failed(&e), Response::Vote)
            }
            Request::TransferLeader(rpc) => self
                .raft
                .handle_transfer_leader(rpc)
                .await
                .map_or_else(|e| failed(&e), Response::TransferLeader),
            Request::Snapshot { vote, meta, bytes } => {
                let received = self.receiver.receive(&meta, bytes, link).await?;
                // Checked before Raft sees it: an error while it installs would stop this node for good.
                let mut file = SnapshotFile::open(&**self.snapshots.disk(), &received.path)?;
                let check = move || Ok(file.content().map(|content| (file, content)));
                let file = match blocking(&**self.snapshots.disk(), check).await? {
                    Ok((file, content)) if content.meta == meta => file,
                    Ok((_, content)) => {
                        let found = &content.meta;
                        return Ok(failed(&format!("the snapshot is of {found:?}, not {meta:?}")));
                    }
                    Err(error) => return Ok(failed(&error)),
                };
                let snapshot = Snapshot { meta, snapshot: file };
                let installed = self.raft.install_full_snapshot(vote, snapshot).await;
                installed.map_or_else(|e| failed(&e), Response::Snapshot)
            }
            Request::Propose(commands) if !speaks_for(from, &commands) => {
                metrics::counter!(REFUSED_PROPOSALS).increment(commands.len() as u64);
                tracing::warn!(peer = %link.peer, remote = %link.remote, "a node proposes in another's name; refused");
                Response::Failed("a node reports and registers in its own name alone".to_owned())
            }
            Request::Propose(commands) => {
                // Shorter than the other side waits, so that it hears what is known.
                let deadline = tokio::time::Instant::now() + self.propose_timeout * 9 / 10;
                let space = *self.space.borrow();
                let (raft, view, clock) = (&self.raft, &self.view, &*self.clock);
                Response::Proposed(proposer::write(raft, view, clock, space, commands, deadline).await)
            }
            Request::Standing => Response::Standing(self.standing()),
            Request::ReadIndex => Response::ReadIndex(proposer::read_index(&self.raft).await),
            Request::Members(ask) => Response::Members(self.members.answer(ask, from).await),
            Request::Probe => {
                let initialized = self.raft.is_initialized().await.map_err(io::Error::other)?;
                let sees = self.sees.borrow().clone();
                Response::Probe(Probe { initialized, sees, ..self.me.clone() })
            }
        })
    }

    fn standing(&self) -> Standing {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let leader = metrics.current_leader;
        Standing {
            term: metrics.current_term,
            leader: leader.and_then(|id| Some((id, membership.get_node(&id)?.clone()))),
            applied: metrics.last_applied.map_or(0, |id| id.index),
        }
    }
}

/// What somebody is told whose id and certificate do not go together, as when a known node lost its data.
fn another_member(from: u64, peer: &str, id: u64, name: &str) -> String {
    format!(
        "you are node {from:016x} with the certificate of {peer}, but {name} is node {id:016x}; when {peer} lost its \
         data: `troupe cluster remove {peer}`, `troupe token create {peer} --right join`, then there `troupe node --join TOKEN` \
         with the old certificate and key moved away"
    )
}

fn too_slow(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the other side took too long for {what}"))
}

/// Whether a node may say these: of itself alone it says who it is and what became of its attempts. Whom the link's greeting
/// names was compared with its certificate.
fn speaks_for(node: u64, commands: &[Arc<Command>]) -> bool {
    commands.iter().all(|command| match &**command {
        Command::Report(report) => report.node.0 == node,
        Command::RegisterNode(facts) => facts.node.0 == node,
        _ => true,
    })
}

mod receive;
pub(crate) use receive::Receiver;

#[cfg(test)]
pub(crate) mod alone;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod releases;
#[cfg(test)]
mod tests;
