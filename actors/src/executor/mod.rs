//! What runs an attempt's container. Must not know plans, logs, or why an attempt runs.

pub mod beside;
mod docker;
mod fake;
pub mod options;
pub mod shares;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{AttemptId, Fence, NodeId, Resources};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use beside::{Beside, BesideSpec, Extras, Part};
pub use docker::{DockerExecutor, DockerOptions};
pub use fake::FakeExecutor;

/// A container, as its executor names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(pub String);

/// All that a container may be given: no privileges, devices or host namespaces can be asked for.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Whose.
    pub attempt: AttemptId,
    /// Under which fence.
    pub fence: Fence,
    /// On which node.
    pub node: NodeId,
    /// Image name.
    pub image: String,
    /// Becomes `/troupe`.
    pub control_dir: PathBuf,
    /// Becomes `/workspace`.
    pub workspace: PathBuf,
    /// What else appears in it.
    pub mounts: Vec<Mount>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Cpus and memory; 0 is no limit.
    pub resources: Resources,
    /// Processes and threads at one time.
    pub pids: u32,
    /// Slot, which decides the network.
    pub slot: u16,
    /// What a workflow file asks for beyond that.
    pub extras: Extras,
    /// Without it, it is not started.
    pub lease: Lease,
}

/// Something of this machine that a container is given; named by the node, never by a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// A directory or a file. The engine follows links on the way to it, so nothing that a job can write is on that way.
    pub from: PathBuf,
    /// Where it appears. It cannot be moved or replaced from inside.
    pub to: String,
    /// It can only be read.
    pub read_only: bool,
}

impl Mount {
    /// To be written, too.
    pub fn writable(from: PathBuf, to: impl Into<String>) -> Self {
        Self { from, to: to.into(), read_only: false }
    }

    /// To be read.
    pub fn readable(from: PathBuf, to: impl Into<String>) -> Self {
        Self { from, to: to.into(), read_only: true }
    }
}

/// That an attempt may still begin here: asked at the last moment, for its node may have stood still since it decided so.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The node's lease, as it is renewed.
    pub until: watch::Receiver<Option<Instant>>,
    /// Someone has given the attempt up.
    pub kill: CancellationToken,
}

impl Lease {
    /// Until when the attempt may run, as far as is known now; none when it may not.
    #[must_use]
    pub fn end(&self) -> Option<Instant> {
        // The lease first: whoever takes a new one has said before that this attempt is to end.
        let until = *self.until.borrow();
        until.filter(|_| !self.kill.is_cancelled())
    }

    /// Whether it may begin now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.end().is_some_and(|until| until > Instant::now())
    }
}

/// A container of this node, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: ContainerId,
    /// Whose.
    pub attempt: AttemptId,
    /// Under which fence.
    pub fence: Fence,
    /// What it is to its attempt.
    pub part: Part,
    /// Its slot, by which it has its network; none where slots mean nothing.
    pub slot: Option<u16>,
    /// Where it stands.
    pub state: FoundState,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundState {
    /// Made, but never started: nothing of the attempt has run.
    Created,
    /// Running.
    Running,
    /// Standing still, as it was asked to.
    Paused,
    /// It ran and ended.
    Ended,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + n after signal n.
    pub code: i64,
    /// The kernel killed something in it for want of memory.
    pub oom_killed: bool,
    /// The daemon's words.
    pub error: Option<String>,
}

/// Why an executor could not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is not here and could not be pulled.
    #[error("cannot get the image {image}: {why}; check its name and that its registry answers")]
    ImageMissing {
        /// Which.
        image: String,
        /// The daemon's words.
        why: String,
    },
    /// The daemon does not answer, or with an error of its own. Worth another try.
    #[error("the Docker daemon does not serve this node: {0}; check that it runs and is well")]
    Unreachable(String),
    /// It was not started, for its node may not run it at this moment.
    #[error("its node has no lease for it at this moment")]
    NoLease,
    /// This machine lacks something, through no fault of the job: another may have it.
    #[error(
        "the Docker daemon of this node cannot {action}: {why}; see docs/operations.md for what a node needs"
    )]
    Machine {
        /// What was tried.
        action: &'static str,
        /// Its words.
        why: String,
    },
    /// There is no such container any more.
    #[error("the container {0} is gone")]
    Gone(String),
    /// The daemon refused what the job or its image asks for.
    #[error("the Docker daemon refused to {action}: {why}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Its words.
        why: String,
    },
}

/// Runs containers.
pub trait Executor: Send + Sync + 'static {
    /// How a job sees a directory of this machine that is given to it as `inside`.
    fn seen(&self, directory: &Path, inside: &str) -> PathBuf;
    /// Sees that the image is here; pulls it when it is not.
    fn ensure_image(&self, image: &str) -> BoxFuture<'_, Result<(), Error>>;
    /// Creates and starts; adopts the container that the same attempt and fence have already.
    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<ContainerId, Error>>;
    /// Waits for its end.
    fn wait(&self, id: &ContainerId) -> BoxFuture<'_, Result<Exit, Error>>;
    /// Lets it stand still, whole; no error when it does, or has ended.
    fn pause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>>;
    /// Lets it go on; no error when it does, or has ended.
    fn unpause(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>>;
    /// TERM, grace, KILL; no error when it is gone.
    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<(), Error>>;
    /// Removes by force; no error when it is gone.
    fn remove(&self, id: &ContainerId) -> BoxFuture<'_, Result<(), Error>>;
    /// All containers of this node.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, Error>>;
    /// Removes what slots from this number on had, where nothing uses it any more.
    fn forget_slots(&self, from: u16) -> BoxFuture<'_, Result<(), Error>>;
    /// What runs containers beside those of jobs; none where jobs are no containers.
    fn beside(&self) -> Option<&dyn Beside> {
        None
    }
}
