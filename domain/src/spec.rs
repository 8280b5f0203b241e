//! What a job is to do, as workflow/ or the API made it. The state machine keeps it as opaque bytes beside the hot
//! record; runners and the API decode it.
//!
//! Must not know: how it is encoded, where it runs.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Labels, Resources, Retry};

/// A run as it is proposed: made by expansion or by an ad hoc submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRun {
    /// The run's id, minted by the proposer.
    pub id: crate::RunId,
    /// The workflow's name as people see it, or the ad hoc job's name.
    pub name: String,
    /// What this run of it is called: `run-name`, else the event's title.
    pub title: String,
    /// Path of the workflow file within the repository; empty for an ad hoc job.
    pub path: String,
    /// Jobs in the order of the file; `needs` and groups are indices into this list. May be empty when `error` is set.
    pub jobs: Vec<NewJob>,
    /// Specifications of the jobs, which several may share.
    pub specs: Vec<SpecBytes>,
    /// What must not run at the same time as it.
    pub concurrency: Option<Concurrency>,
    /// Why the workflow cannot run (`file:line:column: reason`); the run is then born finished, as failed.
    pub error: Option<String>,
}

impl NewJob {
    /// One that needs nothing and asks for nothing, with the first specification of its run.
    #[must_use]
    pub fn named(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            name: key.to_owned(),
            needs: Vec::new(),
            group: None,
            form: Form::Job,
            condition: Condition::Success,
            lasting: false,
            may_fail: false,
            concurrency: None,
            labels: Labels::default(),
            resources: Resources::default(),
            priority: 0,
            retry: Retry::default(),
            spread: false,
            environment: None,
            contexts: String::new(),
            spec: 0,
        }
    }
}

impl NewRun {
    /// One of these jobs, without a file.
    #[must_use]
    pub fn of(id: crate::RunId, name: &str, jobs: Vec<NewJob>, specs: Vec<SpecBytes>) -> Self {
        Self {
            id,
            name: name.to_owned(),
            title: String::new(),
            path: String::new(),
            jobs,
            specs,
            concurrency: None,
            error: None,
        }
    }

    /// One that failed before it had jobs: its workflow cannot run.
    #[must_use]
    pub fn failed(id: crate::RunId, path: String, error: String) -> Self {
        Self {
            id,
            name: path.clone(),
            title: String::new(),
            path,
            jobs: Vec::new(),
            specs: Vec::new(),
            concurrency: None,
            error: Some(error),
        }
    }
}

/// One job of a [`NewRun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// Unique in the run: the job's id in the workflow file; of a member of a group, with what tells it apart behind it.
    pub key: String,
    /// The name as people see it.
    pub name: String,
    /// Indices of the jobs it needs, each lower or higher, without a cycle.
    pub needs: Vec<u16>,
    /// The group that it is a member of: it begins when that is open, and does not run when that does not.
    pub group: Option<u16>,
    /// What it is.
    pub form: Form,
    /// When it starts, given how those it needs ended.
    pub condition: Condition,
    /// It runs although its run is cancelled: its condition holds then, too (`always()`, `cancelled()`).
    pub lasting: bool,
    /// A failure of it does not fail what needs it, nor its run (`continue-on-error`).
    pub may_fail: bool,
    /// What must not run at the same time as it.
    pub concurrency: Option<Concurrency>,
    /// Labels that a node must have, all of them.
    pub labels: Labels,
    /// What it takes from the node's capacity.
    pub resources: Resources,
    /// Higher goes first; 0 is usual; -100 to 100.
    pub priority: i8,
    /// After what it is tried again, and when.
    pub retry: Retry,
    /// On another node than others of its run, if there is one with room.
    pub spread: bool,
    /// What it is done for: begins only once somebody approves it, where that is registered so.
    pub environment: Option<String>,
    /// What tells it apart from others with its specification: a JSON object of contexts (`matrix`, `strategy`, `inputs`);
    /// empty for none.
    pub contexts: String,
    /// Index of its specification: an encoded [`JobSpec`] of a job, [`GroupSpec`] of a group, [`Undecided`] of what is undecided.
    pub spec: u16,
}

/// What a job of a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// It runs on a node.
    #[default]
    Job,
    /// It stands for its members (the jobs of a matrix, or of a called workflow) and runs nowhere itself.
    Group {
        /// A member that failed ends the others.
        fail_fast: bool,
        /// So many members run at one time at most; 0 is no limit.
        max_parallel: u16,
    },
    /// What it is depends on how those it needs ended; the leader decides that when they have.
    Undecided,
}

/// A group of runs or jobs of a repository of which one runs at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Concurrency {
    /// The group's name; compared without case.
    pub group: String,
    /// What comes later cancels what runs.
    pub cancel_in_progress: bool,
    /// All wait; else only the last one does, and the one before it is cancelled.
    pub queue_all: bool,
}

/// What the leader decides of an undecided job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Its condition does not hold.
    Skip,
    /// It cannot be made a job.
    Fail {
        /// `file:line:column: reason`.
        reason: String,
    },
    /// It becomes the first of these, which takes its place (its key, needs and group stay); the others are its members or
    /// theirs. Indices in them are into this list.
    Become {
        /// At least one.
        jobs: Vec<NewJob>,
        /// Their specifications.
        specs: Vec<SpecBytes>,
    },
}

/// An encoded specification. Shared, so that clones of the state cost nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// When a job starts, given how those before it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// `success()`: everything before succeeded. The default.
    #[default]
    Success,
    /// `failure()`: something before failed or timed out.
    Failure,
    /// `always()`: in every case.
    Always,
    /// In no case: what it asks for was known not to be so.
    Never,
}

/// Variables, name and value in order; later ones win. One without a name is an expression whose value is a map of them.
pub type Variables = Vec<(String, String)>;

/// Everything a runner needs to run one job.
///
/// Where `expressions` is set, values of every [`Variables`] and every field that says "text" may hold `${{ }}`, which the node
/// computes when it comes to them; otherwise texts are what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Texts may hold expressions.
    pub expressions: bool,
    /// Its id in the workflow file; what `github.job` says.
    pub id: String,
    /// Its container; one without an image has the default of the node's configuration for the job's labels.
    pub container: Container,
    /// Containers beside it.
    pub services: Vec<Service>,
    /// Environment of every step: of the workflow, then of the job.
    pub env: Variables,
    /// Limit for the whole job in seconds.
    pub timeout_seconds: u32,
    /// In order.
    pub steps: Vec<StepSpec>,
    /// What later jobs are told, text.
    pub outputs: Variables,
    /// Where what it did can be looked at, text; empty for nowhere.
    pub environment_url: String,
    /// Globs, relative to the workspace, of files kept as artifacts when the job ends.
    pub artifacts: Vec<String>,
}

/// A container as a workflow file describes it. All of it is text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its image; empty for the default one, and of a service for none: it is then left out.
    pub image: String,
    /// Its variables.
    pub env: Variables,
    /// `80`, `8080:80`, with `/udp` behind it or not.
    pub ports: Vec<String>,
    /// `name:/path`.
    pub volumes: Vec<String>,
    /// Words for `docker create`, of which some are allowed.
    pub options: String,
    /// Who pulls the image: user name and password; empty for nobody.
    pub credentials: (String, String),
    /// Of a service: what runs instead of the image's entrypoint; empty for that.
    pub entrypoint: String,
    /// Of a service: what that is given.
    pub command: String,
}

/// A container beside a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The name under which the job finds it.
    pub name: String,
    /// What runs.
    pub container: Container,
}

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// What `steps.ID` calls it; empty for none.
    pub id: String,
    /// The step's name as people see it, text.
    pub name: String,
    /// Where it begins in its file, line and column from 1; 0 for none.
    pub at: (u32, u32),
    /// What it does.
    pub action: Action,
    /// Added to the job's environment.
    pub env: Variables,
    /// When it runs: an expression without `${{ }}`, whether or not the job has expressions; empty means `success()`.
    pub condition: String,
    /// Limit in minutes, text; empty means only the job's limit.
    pub timeout_minutes: String,
    /// A failure of this step does not fail the job: `true`, `false` or text; empty is false.
    pub continue_on_error: String,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A script given to a shell in the container.
    Run {
        /// The script, text.
        script: String,
        /// `bash`, `sh`, `python`, or a command with `{0}` for the script's file, text; empty means bash where there is one, else sh.
        shell: String,
        /// Relative to the workspace, text; empty means the workspace itself. Never absolute, never with `..`.
        working_directory: String,
    },
    /// Something that Troupe does itself, with what the file gives it.
    Native {
        /// What.
        what: Native,
        /// Inputs, text.
        with: Variables,
    },
    /// A container of its own for this step (`uses: docker://IMAGE`).
    Docker {
        /// Its image.
        image: String,
        /// `args`, `entrypoint` and further inputs, text.
        with: Variables,
    },
    /// An action of the repository that is made of steps.
    Composite {
        /// Its directory in the repository.
        path: String,
        /// Its inputs, defaults included, text.
        inputs: Variables,
        /// Its steps.
        steps: Vec<StepSpec>,
        /// Its outputs, text.
        outputs: Variables,
    },
}

impl Default for Action {
    fn default() -> Self {
        Self::Run { script: String::new(), shell: String::new(), working_directory: String::new() }
    }
}

/// Actions that Troupe does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Native {
    /// `actions/checkout`.
    Checkout,
    /// `actions/cache`.
    Cache,
    /// `actions/cache/restore`.
    CacheRestore,
    /// `actions/cache/save`.
    CacheSave,
    /// `actions/upload-artifact`.
    UploadArtifact,
    /// `actions/download-artifact`.
    DownloadArtifact,
}

impl Native {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Checkout,
        Self::Cache,
        Self::CacheRestore,
        Self::CacheSave,
        Self::UploadArtifact,
        Self::DownloadArtifact,
    ];

    /// The name of the action that it stands for, without a version.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "actions/checkout",
            Self::Cache => "actions/cache",
            Self::CacheRestore => "actions/cache/restore",
            Self::CacheSave => "actions/cache/save",
            Self::UploadArtifact => "actions/upload-artifact",
            Self::DownloadArtifact => "actions/download-artifact",
        }
    }
}

/// What a group tells those that need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Of a called workflow, its outputs, as text over the context `jobs`. Empty for a matrix: its members' outputs are its own.
    pub outputs: Variables,
    /// It stands for a called workflow, not for a matrix.
    pub is_call: bool,
}

/// A job whose needs decide what it is: what is needed to read it again then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// The workflow file that it stands in.
    pub path: String,
    /// That file and those that it calls or uses, path and text.
    pub files: Vec<(String, String)>,
}
