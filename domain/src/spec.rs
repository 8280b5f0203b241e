//! What a job is to do, as workflow/ or the API made it. The state machine keeps it as opaque bytes beside the hot
//! record; runners and the API decode it.
//!
//! Must not know: how it is encoded, where it runs.

use std::collections::BTreeMap;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Labels, Resources};

/// A run as it is proposed: made by expansion or by an ad hoc submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRun {
    /// The run's id, minted by the proposer.
    pub id: crate::RunId,
    /// The workflow's name as people see it, or the ad hoc job's name.
    pub name: String,
    /// Path of the workflow file within the repository; empty for an ad hoc job.
    pub path: String,
    /// Jobs in the order of the file; `needs` are indices into this list. May be empty when `error` is set.
    pub jobs: Vec<NewJob>,
    /// Why the workflow cannot run (`file:line:column: reason`); the run is then born finished, as failed.
    pub error: Option<String>,
}

/// One job of a [`NewRun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// The job's key in the workflow file, unique in the run.
    pub key: String,
    /// Indices of the jobs it needs, each lower or higher, without a cycle.
    pub needs: Vec<u16>,
    /// When it starts, given how those it needs ended.
    pub condition: Condition,
    /// Labels that a node must have, all of them.
    pub labels: Labels,
    /// What it takes from the node's capacity.
    pub resources: Resources,
    /// Higher goes first; 0 is usual; -100 to 100.
    pub priority: i8,
    /// Attempts allowed when nodes are lost under it; 1 to [`crate::limits::MAX_ATTEMPTS`].
    pub max_attempts: u16,
    /// The rest, an encoded [`JobSpec`]; opaque to the state machine.
    pub spec: SpecBytes,
}

/// An encoded [`JobSpec`]. Shared, so that clones of the state cost nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpecBytes(pub std::sync::Arc<[u8]>);

/// As bytes in one piece: a sequence would be written and read one by one, which is most of the cost of a submit.
impl Serialize for SpecBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SpecBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = SpecBytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<SpecBytes, E> {
        Ok(SpecBytes(bytes.into()))
    }

    /// Formats for people have no bytes.
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<SpecBytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(SpecBytes(bytes.into()))
    }
}

impl std::fmt::Debug for SpecBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpecBytes({} bytes)", self.0.len())
    }
}

/// The `if` of a job or a step, as far as it is decided without expressions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// `success()`: everything before succeeded. The default.
    #[default]
    Success,
    /// `failure()`: something before failed or timed out.
    Failure,
    /// `always()`: in every case, cancellation included.
    Always,
}

/// Everything a runner needs to run one job, decided before it is queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job's name as people see it.
    pub name: String,
    /// Container image; empty means the default of the node's configuration for the job's labels.
    pub image: String,
    /// Environment of every step; later maps win: workflow, job, step.
    pub env: BTreeMap<String, String>,
    /// Limit for the whole job in seconds.
    pub timeout_seconds: u32,
    /// In order.
    pub steps: Vec<StepSpec>,
    /// Globs, relative to the workspace, of files kept as artifacts when the job ends.
    pub artifacts: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The step's name as people see it.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Added to the job's environment.
    pub env: BTreeMap<String, String>,
    /// When it runs, given the steps before it.
    pub condition: Condition,
    /// Limit in seconds; 0 means only the job's limit.
    pub timeout_seconds: u32,
    /// A failure of this step does not fail the job.
    pub continue_on_error: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A script given to a shell in the container.
    Run {
        /// The script's text.
        script: String,
        /// Which shell.
        shell: Shell,
        /// Relative to the workspace; empty means the workspace itself. Never absolute, never with `..`.
        working_directory: String,
    },
    /// Puts the repository at the run's commit into the workspace; done by the node, outside the container.
    Checkout {
        /// Relative to the workspace; empty means the workspace itself.
        path: String,
        /// Branch, tag or commit; empty means the commit of the run's event.
        git_ref: String,
        /// Commits of history; 0 means all.
        depth: u32,
    },
}

/// The shell of a `run` step, with GitHub's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shell {
    /// `bash -e {0}` when the image has bash, else `sh -e {0}`.
    #[default]
    Default,
    /// `bash --noprofile --norc -eo pipefail {0}`.
    Bash,
    /// `sh -e {0}`.
    Sh,
}
