//! Brings commands into the log: batched, written by the leader, forwarded to it by everyone else.
//!
//! A command that may or may not be in the log is reported as unknown and never tried again here; one that certainly is
//! not is tried again until its deadline.

use std::sync::Arc;
use std::time::Duration;

use domain::{Command, Entry, LogIndex, Release, Reply, limits};
use futures::StreamExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::{ReadPolicy, ServerState};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SharedClock};
use crate::codec;
use crate::metrics::{PROPOSE_SECONDS, WRITE_SECONDS};
use crate::network::{CallError, Caller, Connection};
use crate::planted::{self, Bug};
use crate::server::Node;
use crate::space::Space;
use crate::state_machine::View;
use crate::store::{Committed, Leadership, ProposeError};
use crate::types::{NodeAddress, Proposal};
use crate::wire::{Proposed, Request, Response};

/// Commands of one batch, at most.
const MAX_BATCH: usize = 1024;
/// Bytes of one batch, about: far below a frame's limit, whatever the estimate misses.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// Batches under way at one time; more wait, and grow.
const MAX_IN_FLIGHT: usize = 8;
/// A batch follows another that is under way no sooner than this, unless it is full at once: near the leader, where answers come
/// sooner, large batches cost everybody less than many small ones; far from it none waits for another's answer.
const PACE: Duration = Duration::from_millis(1);

/// Commands that wait to be batched, at most; proposing waits past that.
const PENDING: usize = 8192;
/// A proposal that is certainly not in the log is given up so much before its caller is, so that the caller hears it.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// A command on its way, and who waits for it.
pub(crate) struct Pending {
    command: Arc<Command>,
    /// Bytes of the command as it is sent, measured once.
    size: u64,
    deadline: Instant,
    answer: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// Where commands are handed to a [`Proposer`]. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Proposals {
    pending: mpsc::Sender<Pending>,
    patience: Duration,
}

impl Proposals {
    /// Each proposal is answered within `patience`.
    pub(crate) fn channel(patience: Duration) -> (Self, mpsc::Receiver<Pending>) {
        let (pending, receiver) = mpsc::channel(PENDING);
        (Self { pending, patience }, receiver)
    }

    pub(crate) async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        let size = codec::size_of(&command);
        let limit = 2 * limits::MAX_SPEC_BYTES;
        if size > limit as u64 {
            return Err(ProposeError::TooLarge { size: size as usize, limit });
        }
        let (answer, committed) = oneshot::channel();
        let since = Instant::now();
        let deadline = since + self.patience;
        let command = Arc::new(command);
        let pending = Pending { command, size, deadline: deadline - ANSWER_TIME, answer };
        tokio::time::timeout_at(deadline, self.pending.send(pending))
            .await
            .map_err(|_| ProposeError::Unavailable)?
            .map_err(|_| ProposeError::Stopped)?;
        let result = match tokio::time::timeout_at(deadline, committed).await {
            Ok(Ok(result)) => result,
            // It may be under way: whoever gives up on it does not know.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        };
        metrics::histogram!(PROPOSE_SECONDS).record(since.elapsed());
        result
    }
}

/// Writes commands on this node if it leads and its disk has room for them. Each gets its own answer, in order.
pub(crate) async fn write(
    raft: &Node,
    view: &View,
    clock: &dyn Clock,
    space: Space,
    commands: Vec<Arc<Command>>,
    deadline: Instant,
) -> Vec<Proposed> {
    let release = view.current().state.release();
    let held: Vec<_> = commands.iter().map(|command| hold_back(release, space, command)).collect();
    if held.iter().all(Option::is_none) {
        return append(raft, clock, commands, deadline).await;
    }
    let kept =
        commands.into_iter().zip(&held).filter_map(|(command, held)| held.is_none().then_some(command));
    let mut answers = append(raft, clock, kept.collect(), deadline).await.into_iter();
    let answer = |held: Option<_>| held.unwrap_or_else(|| answers.next().unwrap_or(Proposed::Unknown));
    held.into_iter().map(answer).collect()
}

/// Why a command is not brought into the log: the disk has no room, or a node of the cluster could not apply it. Who
/// proposed it has looked at that, too; but its state may be older than ours.
fn hold_back(release: Option<Release>, space: Space, command: &Command) -> Option<Proposed> {
    let needed = command.since();
    match release {
        Some(release) if release < needed => Some(Proposed::NotYet { needed, release }),
        _ => (!space.allows(command)).then_some(Proposed::NoSpace),
    }
}

async fn append(
    raft: &Node,
    clock: &dyn Clock,
    commands: Vec<Arc<Command>>,
    deadline: Instant,
) -> Vec<Proposed> {
    let count = commands.len();
    // State never depends on it alone: replicated time does not go back.
    let at = clock.now();
    let proposals = commands
        .into_iter()
        .map(|command| Proposal::new(Entry { at, command: Arc::unwrap_or_clone(command) }));
    let (mut answers, since) = (Vec::with_capacity(count), Instant::now());
    if let Ok(mut results) = raft.client_write_many(proposals).await {
        if planted::is(Bug::AnswerBeforeQuorum)
            && raft.metrics().borrow_watched().state == ServerState::Leader
        {
            let last = raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
            let done = |n| Proposed::Committed { index: last + n, reply: Reply::Done };
            return (1..=count as u64).map(done).collect();
        }
        // A leader without a quorum answers nothing: what is not answered in time is unknown.
        while let Ok(Some(result)) = tokio::time::timeout_at(deadline, results.next()).await {
            answers.push(match result {
                Ok(Ok(written)) => {
                    Proposed::Committed { index: written.log_id.index, reply: written.response }
                }
                // Refused before it was appended. Of one that was cut off later nothing is certain.
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => Proposed::NotLeader,
                Ok(Err(_)) | Err(_) => Proposed::Unknown,
            });
        }
        metrics::histogram!(WRITE_SECONDS).record(since.elapsed());
    }
    answers.resize(count, Proposed::Unknown);
    answers
}

/// The index that a linearizable read must wait for; only the leader knows.
pub(crate) async fn read_index(raft: &Node) -> Result<LogIndex, String> {
    if planted::is(Bug::StaleRead) {
        return Ok(0);
    }
    let (read, _) = raft.get_read_log_id(ReadPolicy::ReadIndex).await.map_err(|e| e.to_string())?;
    Ok(read.log_id().index)
}

/// Takes pending commands and answers each exactly once.
pub(crate) struct Proposer {
    /// This node; none for who is no member, and forwards everything.
    pub raft: Option<Node>,
    pub clock: SharedClock,
    pub caller: Caller,
    pub leadership: watch::Receiver<Leadership>,
    /// How much room this node's disk has.
    pub space: watch::Receiver<Space>,
    /// How long the leader may take for a batch.
    pub forward_timeout: Duration,
}

impl Proposer {
    /// Runs until `shutdown` or until nobody can propose any more.
    pub(crate) async fn run(self, mut pending: mpsc::Receiver<Pending>, shutdown: CancellationToken) {
        let (mut in_flight, mut last) = (JoinSet::new(), Instant::now());
        let mut idle: Vec<(u64, Connection)> = Vec::new();
        loop {
            let mut batch = Vec::new();
            let paced = !in_flight.is_empty() && pending.len() < MAX_BATCH;
            let due = async {
                if paced {
                    tokio::time::sleep_until(last + PACE).await;
                }
                pending.recv_many(&mut batch, MAX_BATCH).await
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(done) = in_flight.join_next() => {
                    // A connection that worked is used again.
                    idle.extend(done.ok().flatten());
                    continue;
                }
                taken = due, if in_flight.len() < MAX_IN_FLIGHT => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            last = Instant::now();
            for part in split(batch) {
                let route = Route {
                    clock: self.clock.clone(),
                    caller: self.caller.clone(),
                    leadership: self.leadership.clone(),
                    space: self.space.clone(),
                    connection: idle.pop(),
                    timeout: self.forward_timeout,
                };
                in_flight.spawn(route.carry(self.raft.clone(), part));
            }
        }
    }
}

struct Route {
    clock: SharedClock,
    caller: Caller,
    space: watch::Receiver<Space>,
    leadership: watch::Receiver<Leadership>,
    connection: Option<(u64, Connection)>,
    timeout: Duration,
}

impl Route {
    /// Carries a batch to its end; answers the connection to the leader, if it is still good.
    async fn carry(mut self, raft: Option<Node>, mut batch: Vec<Pending>) -> Option<(u64, Connection)> {
        loop {
            // What waited here for longer than its caller did is certainly not in the log, and need not come there.
            batch = expire(batch);
            if batch.is_empty() {
                return self.connection;
            }
            let leadership = self.leadership.borrow_and_update().clone();
            let commands = batch.iter().map(|pending| Arc::clone(&pending.command)).collect();
            let answers = match (&leadership.leader, raft.as_ref().filter(|_| leadership.is_me)) {
                (_, Some(raft)) => {
                    let space = *self.space.borrow();
                    let (view, clock) = (&self.caller.view, &*self.clock);
                    write(raft, view, clock, space, commands, last_deadline(&batch)).await
                }
                (Some((leader, address)), None) => self.forward(*leader, address.clone(), commands).await,
                (None, None) => vec![Proposed::NotLeader; batch.len()],
            };
            batch = settle(batch, answers);
            if !batch.is_empty() {
                self.wait_for_change(&batch).await;
            }
        }
    }

    async fn forward(
        &mut self,
        leader: u64,
        address: NodeAddress,
        commands: Vec<Arc<Command>>,
    ) -> Vec<Proposed> {
        let count = commands.len();
        let mut connection = match self.connection.take() {
            Some((node, connection)) if node == leader => connection,
            _ => Connection::new(self.caller.clone(), leader, address),
        };
        match connection.call(&Request::Propose(commands), self.timeout).await {
            Ok(Response::Proposed(answers)) if answers.len() == count => {
                self.connection = Some((leader, connection));
                answers
            }
            Ok(other) => {
                tracing::warn!(?other, "the leader answered a proposal with something else");
                vec![Proposed::Unknown; count]
            }
            Err(CallError::NotSent(error)) => {
                tracing::debug!(%error, "the leader cannot be reached");
                vec![Proposed::NotLeader; count]
            }
            Err(CallError::NoAnswer(_)) if planted::is(Bug::RetryUnknown) => vec![Proposed::NotLeader; count],
            Err(CallError::NoAnswer(error)) => {
                tracing::warn!(%error, count, "the leader did not answer: outcome unknown");
                vec![Proposed::Unknown; count]
            }
        }
    }

    /// Until the leader changes, or for a moment: the leader may be reachable again without any change.
    async fn wait_for_change(&mut self, batch: &[Pending]) {
        let moment = Instant::now() + Duration::from_millis(100);
        let until =
            batch.iter().map(|pending| pending.deadline).min().map_or(moment, |first| first.min(moment));
        // An error means that the store shuts down; the deadline ends the batch then.
        if let Ok(Err(_)) = tokio::time::timeout_at(until, self.leadership.changed()).await {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A batch in parts of about [`BATCH_BYTES`].
fn split(batch: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for pending in batch {
        bytes += pending.size;
        if bytes > BATCH_BYTES && parts.last().is_some_and(|part: &Vec<_>| !part.is_empty()) {
            bytes = pending.size;
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(pending);
        }
    }
    parts
}

fn last_deadline(batch: &[Pending]) -> Instant {
    batch.iter().map(|pending| pending.deadline).max().unwrap_or_else(Instant::now)
}

/// Answers what is decided; gives back what is to be tried again.
fn settle(batch: Vec<Pending>, answers: Vec<Proposed>) -> Vec<Pending> {
    let mut again = Vec::new();
    for (pending, answer) in batch.into_iter().zip(answers) {
        let result = match answer {
            Proposed::Committed { index, reply } => Ok(Committed { index, reply }),
            Proposed::Unknown => Err(ProposeError::Unknown),
            Proposed::NoSpace => Err(ProposeError::NoSpace),
            Proposed::NotYet { needed, release } => Err(ProposeError::NotYet { needed, release }),
            Proposed::NotLeader => {
                again.push(pending);
                continue;
            }
        };
        // Who asked may have gone: nobody to tell.
        drop(pending.answer.send(result));
    }
    again
}

fn expire(batch: Vec<Pending>) -> Vec<Pending> {
    let now = Instant::now();
    let (late, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|pending| pending.deadline <= now);
    for pending in late {
        drop(pending.answer.send(Err(ProposeError::Unavailable)));
    }
    rest
}

/// A reply that says that nothing was done, as an error would.
impl Committed {
    /// The reply, or the refusal.
    ///
    /// # Errors
    /// The refusal with which the state machine answered.
    pub fn accepted(self) -> Result<Reply, domain::Refusal> {
        match self.reply {
            Reply::Refused(refusal) => Err(refusal),
            reply => Ok(reply),
        }
    }
}
