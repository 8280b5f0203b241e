//! Runs that somebody asks for, and events that other systems tell.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Bytes of the path of a workflow.
pub const MAX_WORKFLOW_BYTES: usize = 512;
/// Bytes of the type of an event.
pub const MAX_EVENT_BYTES: usize = 100;

/// A run asked for by hand.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// The workflow's path in the repository, 1 to 512 bytes without `..` or control characters.
    #[schemars(length(min = 1, max = MAX_WORKFLOW_BYTES))]
    pub workflow: String,
    /// Branch, tag or full ref, 1 to 255 bytes; default `main`.
    #[serde(default = "main_branch")]
    #[schemars(length(min = 1, max = 255))]
    pub git_ref: String,
    /// The workflow's inputs: texts, numbers or booleans. They are checked against the workflow when its file is read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Input>,
}

/// The value of an input.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Input {
    /// Text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
}

fn main_branch() -> String {
    "main".to_owned()
}

/// An event of another system: workflows with `repository_dispatch` run, on the default branch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryEvent {
    /// What happened, as `types` names it: 1 to 100 bytes without control characters.
    #[schemars(length(min = 1, max = MAX_EVENT_BYTES))]
    pub event_type: String,
    /// What workflows find as `github.event.client_payload`; 64 KiB with all around it.
    #[serde(default)]
    pub client_payload: Map<String, Value>,
}
