//! What a course is made of, and what it orders.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{JobSpec, Native, Variables};

use super::end::End;
use crate::expression::Value;

/// What a job is made of.
#[derive(Debug, Clone)]
pub struct Given {
    /// What it is to do.
    pub spec: Arc<JobSpec>,
    /// The workflow's file, for complaints.
    pub path: String,
    /// Where its steps see the workspace.
    pub workspace: String,
    /// `github`, `runner`, `matrix`, `strategy`, `inputs`, `needs`, `secrets`, `vars`, by name; what is not there is null. The
    /// course itself adds `env`, `steps` and `job.status`.
    pub contexts: Vec<(String, Value)>,
    /// Variables that no step can change.
    pub facts: Variables,
    /// What must not be told to others.
    pub secrets: Vec<String>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This is to be done; [`Course::over`](super::Course::over) is to say how it went.
    Order(Order),
    /// Something is being done.
    Wait,
    /// Nothing any more.
    Done(End),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Counts from 1.
    pub number: u32,
    /// Index of the job's step that it is for.
    pub step: u16,
    /// It is known that the job is cancelled or out of time.
    pub stopping: bool,
    /// Milliseconds; 0 is no limit of its own.
    pub timeout_ms: u64,
    /// Nothing comes after it, however it ends.
    pub last: bool,
    /// What.
    pub what: What,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A script.
    Run {
        /// Program and arguments, `{0}` for the script's file; empty for the default shell.
        argv: Vec<String>,
        /// The script.
        script: String,
        /// Relative to the workspace.
        cwd: String,
        /// Variables; later ones win.
        env: Variables,
        /// For the PATH, the last one first.
        path: Vec<String>,
    },
    /// An action of the caller's own.
    Native {
        /// Which.
        what: Native,
        /// Its inputs.
        with: BTreeMap<String, String>,
        /// Variables; later ones win.
        env: Variables,
        /// What it left for the end of the job, when it comes to that.
        post: Option<String>,
    },
    /// A container for the step.
    Docker {
        /// Its image.
        image: String,
        /// Its inputs.
        with: BTreeMap<String, String>,
        /// Variables; later ones win.
        env: Variables,
        /// For the PATH, the last one first.
        path: Vec<String>,
    },
}
