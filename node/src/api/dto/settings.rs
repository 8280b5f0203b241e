//! What a repository's workflows are given beside their files: variables and environments.

use domain::Environment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::repos::SECRET_NAME;

/// A variable as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutVariable {
    /// Its value, at most 48 KiB of text; 256 KiB for all of a repository.
    #[schemars(length(max = 49_152))]
    pub value: String,
}

/// A variable.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct VariableView {
    /// Its name.
    #[schemars(extend("pattern" = SECRET_NAME))]
    pub name: String,
    /// Its value; it is no secret.
    pub value: String,
}

/// A variable was stored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct VariablePut {
    /// Its name.
    #[schemars(extend("pattern" = SECRET_NAME))]
    pub name: String,
    /// It was there before.
    pub existed: bool,
}

/// A variable was removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct VariableRemoved {
    /// Its name.
    #[schemars(extend("pattern" = SECRET_NAME))]
    pub removed: String,
}

/// An environment as it is registered.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEnvironment {
    /// Jobs for it begin once somebody approves them.
    pub approval: bool,
}

/// An environment.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentView {
    /// Its name; jobs name it in capitals or not.
    pub name: String,
    /// Jobs for it begin once somebody approves them.
    pub approval: bool,
    /// When it was registered, or last changed.
    pub changed_at: u64,
}

impl EnvironmentView {
    /// An environment's view.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        Self {
            name: environment.name.to_string(),
            approval: environment.approval,
            changed_at: environment.changed_at.0,
        }
    }
}

/// An environment was registered or changed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentPut {
    /// Its name.
    pub name: String,
    /// It was there before.
    pub existed: bool,
}

/// An environment was removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentRemoved {
    /// Its name.
    pub removed: String,
}
