//! What happened in a run, as clients, Docker and the nodes' API told: plain data that the oracle judges and the report
//! shows. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::Class;
use crate::work::Kind;

/// Nanoseconds since 1970, by the machine's clock, which no fault touches.
pub type Nanos = u64;

/// Exit code of a container whose init found that it came too late, and ran nothing (`init::permit::TOO_LATE`).
pub const TOO_LATE: i64 = 76;
/// Nanoseconds of a millisecond.
pub const MILLI: Nanos = 1_000_000;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A run under this key; again and again under the same, until the answer is known.
    Submit {
        /// In the name of the run, too.
        key: String,
        /// What it is.
        kind: Kind,
    },
    /// A push under this delivery id of the forge.
    Push {
        /// In the title of the run, too.
        key: String,
        /// What it is.
        kind: Kind,
    },
    /// The end of a run.
    Cancel {
        /// Which.
        run: String,
    },
    /// A run once more.
    Rerun {
        /// Which.
        run: String,
    },
    /// That a run starts nothing new.
    Pause {
        /// Which.
        run: String,
    },
    /// That it goes on.
    Resume {
        /// Which.
        run: String,
    },
}

impl Action {
    /// A name for counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submit { .. } => "submit",
            Self::Push { .. } => "push",
            Self::Cancel { .. } => "cancel",
            Self::Rerun { .. } => "rerun",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
        }
    }
}

/// What a client heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done: the run's or delivery's id.
    Done(String),
    /// It is certainly not done: the problem's code.
    Refused(String),
    /// It may be done: what came in place of an answer.
    Perhaps(String),
}

impl Answer {
    /// A name for counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused(_) => "refused",
            Self::Perhaps(_) => "unknown",
        }
    }
}

/// One request of a client.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// The node that was asked, by number.
    pub node: usize,
    /// What for.
    pub action: Action,
    /// When.
    pub asked: Nanos,
    /// When the answer came.
    pub answered: Nanos,
    /// It.
    pub answer: Answer,
}

/// A run as a client read it; only where that is news to it.
#[derive(Debug, Clone, Serialize)]
pub struct Sighting {
    /// The node that answered, by number.
    pub node: usize,
    /// When it was asked.
    pub asked: Nanos,
    /// The run.
    pub run: String,
    /// What was seen; none where the node said that there is no such run.
    pub seen: Option<Run>,
}

/// Someone who says to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Who, by number.
    pub node: usize,
    /// In which term.
    pub term: u64,
    /// When it was heard.
    pub at: Nanos,
}

/// A fault that was there for a time.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// What.
    pub class: Class,
    /// Whom it hit, by number.
    pub nodes: Vec<usize>,
    /// More about it, in words.
    pub words: String,
    /// What came of it, as the class counts that; 0 where nothing did.
    pub effect: u64,
    /// From when.
    pub began: Nanos,
    /// Until when.
    pub ended: Nanos,
}

/// A time in which something was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Whose, by number.
    pub node: usize,
    /// From when.
    pub began: Nanos,
    /// Until when.
    pub ended: Nanos,
}

/// A container, as Docker told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its node's id.
    pub node: String,
    /// `RUN.INDEX/NUMBER`.
    pub attempt: String,
    /// The fence that it was made under.
    pub fence: u64,
    /// When it started; none for one that never did.
    pub started: Option<Nanos>,
    /// When it ended; where the engine went away before it could tell, when that was.
    pub ended: Option<Nanos>,
    /// The engine went away while it ran: it ended at that time or somewhat later.
    pub cut_off: bool,
    /// Its exit code, where that was told.
    pub exit: Option<i64>,
    /// From when to when it stood still; to the end where it never went on.
    pub still: Vec<(Nanos, Nanos)>,
}

impl Container {
    /// When it ran, until at most `ended`: its life but for when it stood still. Never, where its init found that it came too late.
    #[must_use]
    pub fn ran(&self, ended: Nanos) -> Vec<(Nanos, Nanos)> {
        let Some(mut from) = self.started.filter(|_| self.exit != Some(TOO_LATE)) else { return Vec::new() };
        let mut ran = Vec::new();
        for (still, on) in &self.still {
            ran.push((from, *still));
            from = *on;
        }
        ran.push((from, self.ended.unwrap_or(ended)));
        ran.retain(|(from, to)| from < to);
        ran
    }
}

/// A node of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Attempts at one time.
    pub slots: usize,
}

/// A run, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its workflow's name, or that of a submit.
    pub name: String,
    /// First line of the commit's message.
    pub title: String,
    /// The delivery behind it.
    pub delivery: Option<String>,
    /// The run that it repeats.
    pub rerun_of: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Its jobs.
    #[serde(default)]
    pub jobs: Vec<Job>,
}

/// A job, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Job {
    /// `RUN.INDEX`.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub state: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// Attempts so far.
    pub attempts: u64,
    /// Why it waits or did not succeed.
    #[serde(default)]
    pub reason: Option<String>,
    /// Someone asked for its end.
    pub cancel_requested: bool,
}

/// An attempt, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// `RUN.INDEX/NUMBER`.
    pub id: String,
    /// Its node's id.
    pub node: String,
    /// Its fence.
    pub fence: u64,
    /// How it ended.
    pub outcome: Option<String>,
    /// Why.
    pub reason: String,
    /// When its end came into the state, in milliseconds of the cluster's time; 0 before.
    #[serde(default)]
    pub finished_at: u64,
    /// Bytes of output.
    pub log_bytes: u64,
    /// What it kept.
    pub artifacts: Vec<Artifact>,
}

/// A file that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest in hexadecimal.
    pub sha256: String,
}

/// All that one node shows at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct View {
    /// By id, each as it was answered.
    pub runs: BTreeMap<String, Value>,
    /// By job, each as it was answered.
    pub attempts: BTreeMap<String, Value>,
    /// The last entry that it has applied, and the hash of what came of all of them.
    pub state: (u64, String),
}

/// What an attempt left, as it was read at the end.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Output {
    /// Its log; none where it could not be read.
    pub log: Option<String>,
    /// By name: the digest of the bytes that came, and the bytes.
    pub artifacts: BTreeMap<String, (String, String)>,
}

/// What is counted by a node, at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Gauges {
    /// Whether it leads.
    pub leads: bool,
    /// `troupe_queue_jobs`, by state.
    pub queue: BTreeMap<String, u64>,
    /// `troupe_runner_slots`, by state.
    pub slots: BTreeMap<String, u64>,
}

/// All of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct History {
    /// The nodes, by number.
    pub nodes: Vec<Node>,
    /// How long a lease lasts for the leader, in milliseconds.
    pub lease_ms: u64,
    /// When the machine was started, from which scripts count.
    pub booted: Nanos,
    /// When it began.
    pub began: Nanos,
    /// When all faults had ended.
    pub healed: Nanos,
    /// When the last was looked at.
    pub ended: Nanos,
    /// What clients asked for.
    pub operations: Vec<Operation>,
    /// What they saw.
    pub sightings: Vec<Sighting>,
    /// Who said to lead.
    pub claims: Vec<Claim>,
    /// What was done to the nodes.
    pub faults: Vec<Fault>,
    /// When a node's process was dead or stopped.
    pub gaps: Vec<Gap>,
    /// When the engine was away; of no node.
    pub engine: Vec<Gap>,
    /// What Docker told.
    pub containers: Vec<Container>,
    /// What each node shows at the end, by number.
    pub views: Vec<View>,
    /// Deliveries that were accepted and are no runs yet.
    pub pending: BTreeSet<String>,
    /// By attempt.
    pub outputs: BTreeMap<String, Output>,
    /// By node.
    pub gauges: Vec<Gauges>,
    /// What is still there and should not be, in words.
    pub left: Vec<String>,
    /// What did not come to its end in time, in words.
    pub unfinished: Vec<String>,
    /// Processes that ended by themselves, or did not when they were asked, in words.
    pub deaths: Vec<String>,
    /// How many waits came to their end: what `left`, `unfinished` and `deaths` are the exceptions to.
    pub waits: BTreeMap<String, u64>,
}
