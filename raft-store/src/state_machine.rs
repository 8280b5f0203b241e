//! The adapter between openraft and domain's state: applies batches, publishes views, writes and installs snapshots.
//!
//! A view is an O(1) clone: the snapshot writer and all readers work on views while apply goes on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::{ClusterState, Effect, LogIndex, Reply};
use futures::{Stream, StreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder, Snapshot};
use tokio::sync::{broadcast, watch};

use crate::disk::{SharedDisk, blocking};
use crate::planted::{self, Bug};
use crate::snapshot::{Content, SnapshotFile};
use crate::snapshot_dir::SnapshotDir;
use crate::types::{Proposal, TypeConfig};

/// Between two tries to write a snapshot where there is no room for it.
const ROOM: Duration = Duration::from_secs(5);
/// Effects kept for a slow receiver; one that lags loses them, which only costs time: they are hints.
const EFFECTS_KEPT: usize = 4096;

/// The state at a log index.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The index of the last entry in it; 0 before the first.
    pub index: LogIndex,
    /// The state. Shared with everyone who looks at this index.
    pub state: Arc<ClusterState>,
}

/// What others see of the state machine. Clones share it.
#[derive(Debug, Clone)]
pub struct View {
    current: Arc<ArcSwap<Applied>>,
    index: watch::Sender<LogIndex>,
    effects: broadcast::Sender<(LogIndex, Effect)>,
}

impl View {
    /// Of nothing: for who belongs to no cluster.
    pub(crate) fn empty() -> Self {
        Self {
            current: Arc::default(),
            index: watch::Sender::new(0),
            effects: broadcast::Sender::new(EFFECTS_KEPT),
        }
    }

    /// The state as last published. Cheap.
    #[must_use]
    pub fn current(&self) -> Arc<Applied> {
        self.current.load_full()
    }

    /// The index of the last applied entry, as it grows.
    #[must_use]
    pub fn index(&self) -> watch::Receiver<LogIndex> {
        self.index.subscribe()
    }

    /// Effects from now on, with their entry's index.
    #[must_use]
    pub fn effects(&self) -> broadcast::Receiver<(LogIndex, Effect)> {
        self.effects.subscribe()
    }

    fn publish(&self, applied: Applied) {
        let index = applied.index;
        self.current.store(Arc::new(applied));
        self.index.send_replace(index);
    }
}

/// The state machine, owned by openraft.
#[derive(Debug)]
pub struct StateMachine {
    snapshots: Arc<SnapshotDir>,
    last_applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
    state: ClusterState,
    view: View,
}

impl StateMachine {
    /// Opens the state machine with its snapshots in `dir`: at the last snapshot; the log brings it forward. Blocking.
    ///
    /// # Errors
    /// The system's, or a snapshot that is damaged.
    pub fn open(disk: SharedDisk, dir: &Path) -> io::Result<Self> {
        let snapshots = Arc::new(SnapshotDir::open(disk, dir)?);
        let current = snapshots.current()?;
        let view = View::empty();
        let mut machine = Self {
            snapshots,
            last_applied: None,
            membership: StoredMembershipOf::<TypeConfig>::default(),
            state: ClusterState::default(),
            view,
        };
        if let Some(mut current) = current {
            machine.restore(&*current.content()?);
        }
        Ok(machine)
    }

    /// What others see.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Where snapshots are kept, and received.
    pub(crate) fn snapshots(&self) -> Arc<SnapshotDir> {
        Arc::clone(&self.snapshots)
    }

    fn restore(&mut self, content: &Content) {
        self.last_applied = content.meta.last_log_id;
        self.membership = content.meta.last_membership.clone();
        self.state = content.state.clone();
        if planted::is(Bug::ForgetKeys) {
            (self.state.keys, self.state.key_ages) = Default::default();
        }
        if planted::is(Bug::DoubleApply)
            && let Some(last) = &mut self.last_applied
        {
            last.index -= 1;
        }
        self.publish();
    }

    fn publish(&self) {
        let index = self.last_applied.map_or(0, |id| id.index);
        self.view.publish(Applied { index, state: Arc::new(self.state.clone()) });
    }
}

/// The proposal, unless a bug is planted that changes it.
fn tampered(state: &ClusterState, proposal: Proposal) -> Proposal {
    match &proposal.entry().command {
        domain::Command::Report(report) if planted::is(Bug::IgnoreFence) => {
            let fence = state.jobs.get(&report.attempt.job).map_or(report.fence, |job| job.fence);
            let number = state.jobs.get(&report.attempt.job).map_or(0, |job| job.attempts);
            let attempt = domain::AttemptId { number, ..report.attempt };
            let command = domain::Command::Report(domain::AttemptReport { attempt, fence, ..report.clone() });
            Proposal::new(domain::Entry { at: proposal.entry().at, command })
        }
        _ => proposal,
    }
}

/// The invariants of docs/invariants.md, in every process of a debug build: in tests/chaos, for one.
fn hold(before: &ClusterState, after: &ClusterState) -> Result<(), domain::invariants::Violation> {
    domain::invariants::check_step(before, after)?;
    domain::invariants::check_state(after)
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let (mut answers, mut effects) = (Vec::new(), Vec::new());
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let index = entry.log_id.index;
            let reply = match entry.payload {
                EntryPayload::Blank => Reply::Done,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembershipOf::<TypeConfig>::new(Some(entry.log_id), membership);
                    Reply::Done
                }
                EntryPayload::Normal(proposal) => {
                    let before = cfg!(debug_assertions).then(|| self.state.clone());
                    let proposal = tampered(&self.state, proposal);
                    if planted::is(Bug::TrustClock) {
                        self.state.now = domain::Timestamp(0);
                    }
                    let (reply, new) = self.state.apply(index, proposal.entry());
                    debug_assert_eq!(before.map_or(Ok(()), |before| hold(&before, &self.state)), Ok(()));
                    effects.extend(new.into_iter().map(|effect| (index, effect)));
                    reply
                }
            };
            self.last_applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, reply)));
        }
        // Published before anyone is answered: who got an answer sees its effect.
        self.publish();
        for (responder, reply) in answers {
            responder.send(reply);
        }
        for effect in effects {
            // Without a receiver they are dropped: only who leads listens.
            let _ = self.view.effects.send(effect);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            snapshots: Arc::clone(&self.snapshots),
            meta: SnapshotMetaOf::<TypeConfig> {
                last_log_id: self.last_applied,
                last_membership: self.membership.clone(),
            },
            state: self.state.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        mut received: SnapshotFile,
    ) -> io::Result<()> {
        let (snapshots, announced) = (Arc::clone(&self.snapshots), meta.clone());
        let install = move || -> io::Result<_> {
            // Known whole, and to be the one announced, before it replaces anything.
            let content = received.content()?;
            if content.meta != announced {
                let found = &content.meta;
                let why = format!("the snapshot received is of {found:?}, announced was {announced:?}");
                return Err(io::Error::other(why));
            }
            snapshots.adopt(&received)?;
            Ok(content)
        };
        let disk = Arc::clone(self.snapshots.disk());
        let content = blocking(&*disk, install).await?;
        let before = self.state.clone();
        self.restore(&content);
        // What nobody shares of a large state takes its time to go: not ours.
        disk.later(Box::new(move || drop((before, content))));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>> {
        // The builder works beside us: what is on disk is the truth. Who receives it checks every byte.
        let Some(snapshot) = self.snapshots.current()? else { return Ok(None) };
        Ok(Some(Snapshot { meta: snapshot.meta()?, snapshot }))
    }
}

/// Writes one snapshot of the view it was made with, in the background.
#[derive(Debug)]
pub struct Builder {
    snapshots: Arc<SnapshotDir>,
    meta: SnapshotMetaOf<TypeConfig>,
    state: ClusterState,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotFile>> {
        loop {
            let (snapshots, meta, state) =
                (Arc::clone(&self.snapshots), self.meta.clone(), self.state.clone());
            let write = move || -> io::Result<_> {
                let file = snapshots.write(&meta, &state)?;
                Ok(Snapshot { meta: file.meta()?, snapshot: file })
            };
            match blocking(&**self.snapshots.disk(), write).await {
                // Raft would stop for good. What was written is gone again, and the log stays as long as it takes.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    tracing::error!(%error, "no room for a snapshot; tried again in {} s", ROOM.as_secs());
                    tokio::time::sleep(ROOM).await;
                }
                done => return done,
            }
        }
    }
}
