//! Actions that the node does itself for a job, and steps that are a container of their own: one function each.
//!
//! Must not know: when a step runs, what becomes of what it answers.

mod artifacts;
mod cache;
mod checkout;
mod docker;
mod inputs;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Artifact, AttemptId, Event, Fence, Native, Repo, RepoId, Resources};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Parts;
use super::control::Directories;
use crate::executor::Lease;
use crate::logs::Stream;

pub(super) use checkout::OBJECTS;

/// Inputs of an action, computed, by name.
pub(super) type Inputs = BTreeMap<String, String>;

/// What an action is done for, and with.
#[derive(Clone)]
pub(super) struct NativeContext {
    /// What all attempts of this node share.
    pub(super) parts: Arc<Parts>,
    /// For whom.
    pub(super) attempt: AttemptId,
    /// Under which fence.
    pub(super) fence: Fence,
    /// Which slot it has.
    pub(super) slot: u16,
    /// Until when it may run here.
    pub(super) lease: Lease,
    /// What its own container has.
    pub(super) resources: Resources,
    /// The run's repository.
    pub(super) repo: Option<(RepoId, Repo)>,
    /// What the run is for.
    pub(super) event: Arc<Event>,
    /// Where the workspace is on this machine.
    pub(super) directories: Directories,
    /// Number of the order that it is, unique in the attempt.
    pub(super) order: u32,
    /// Nothing of the job has failed so far.
    pub(super) succeeding: bool,
    /// The step's environment, facts included.
    pub(super) env: Vec<(String, String)>,
    /// What earlier steps of this attempt uploaded.
    pub(super) uploaded: Vec<Artifact>,
    /// The step's log.
    pub(super) lines: Lines,
    /// Held as long as anything is written into the workspace, also after the future was dropped.
    pub(super) writing: TaskTrackerToken,
}

/// Output that an action makes.
pub(super) type Line = (Stream, Vec<u8>);

/// The log of the step.
#[derive(Debug, Clone)]
pub(super) struct Lines(pub(super) mpsc::Sender<Line>);

impl Lines {
    /// Adds a line.
    pub(super) async fn say(&self, line: &str) {
        self.output(Stream::Stdout, format!("{line}\n").into_bytes()).await;
    }

    /// Adds a warning, which is an annotation of the job.
    pub(super) async fn warn(&self, line: &str) {
        let escaped = line.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        self.say(&format!("::warning::{escaped}")).await;
    }

    /// Adds output; secrets are masked, and workflow commands in it are heard.
    pub(super) async fn output(&self, stream: Stream, bytes: Vec<u8>) {
        // Nobody listens any more when the attempt is over.
        let _unheard = self.0.send((stream, bytes)).await;
    }
}

/// What came of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NativeDone {
    /// Its outputs.
    pub(super) outputs: BTreeMap<String, String>,
    /// Something that is to be done when all steps are over.
    pub(super) post: Option<Post>,
    /// What it uploaded; reported with the end of the attempt.
    pub(super) artifacts: Vec<Artifact>,
}

/// What an action does at the end of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Post {
    /// Only when the job succeeded.
    pub(super) on_success: bool,
    /// What it is told then.
    pub(super) state: String,
}

/// How a container step ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DockerDone {
    /// Its exit code.
    pub(super) exit_code: i32,
    /// What it wrote into the files of [`init::wire::FILES`], in that order.
    pub(super) files: [Vec<u8>; 5],
    /// A bit for each of them that could not be read, or has too much.
    pub(super) bad_files: u8,
}

/// Does an action. An error is in words for the person who pushed.
pub(super) async fn run(ctx: &NativeContext, what: Native, with: &Inputs) -> Result<NativeDone, String> {
    match what {
        Native::Checkout => checkout::run(ctx, with).await,
        Native::Cache => cache::run(ctx, with).await,
        Native::CacheRestore => cache::restore(ctx, with).await,
        Native::CacheSave => cache::save(ctx, with).await,
        Native::UploadArtifact => artifacts::upload(ctx, with).await,
        Native::DownloadArtifact => artifacts::download(ctx, with).await,
    }
}

/// Does what an action left for the end of the job; `state` is that of its [`Post`].
pub(super) async fn post(
    ctx: &NativeContext,
    what: Native,
    with: &Inputs,
    state: &str,
) -> Result<NativeDone, String> {
    match what {
        Native::Cache => cache::post(ctx, with, state).await,
        _ => Ok(NativeDone::default()),
    }
}

/// Runs a container for a step. An error is in words.
pub(super) async fn container(ctx: &NativeContext, image: &str, with: &Inputs) -> Result<DockerDone, String> {
    docker::run(ctx, image, with).await
}
