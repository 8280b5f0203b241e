//! The top of a workflow file.

use super::events::ON;
use super::job::JOB;
use super::scopes::{RUN_NAME, WORKFLOW_ENV};
use super::{BOOLEAN, Definition, Form, Mapping, NON_EMPTY, TEXT, may, must};

pub(crate) static WORKFLOW: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    must("on", &ON),
    may("name", &TEXT),
    may("description", &TEXT),
    may("run-name", &Definition::within(RUN_NAME, &[Form::Text])),
    may("defaults", &DEFAULTS),
    may("env", &ENV),
    may("permissions", &PERMISSIONS),
    may("concurrency", &Definition::within(RUN_NAME, &[Form::Text, Form::Map(&CONCURRENCY)])),
    must("jobs", &Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &JOB))])),
]))]);

static ENV: Definition = Definition::within(WORKFLOW_ENV, &[Form::Map(&Mapping::loose(&NON_EMPTY, &TEXT))]);

static DEFAULTS: Definition =
    Definition::of(&[Form::Map(&Mapping::of(&[may("run", &Definition::of(&[Form::Map(&DEFAULTS_RUN)]))]))]);

pub(crate) static DEFAULTS_RUN: Mapping =
    Mapping::of(&[may("shell", &NON_EMPTY), may("working-directory", &NON_EMPTY)]);

pub(crate) static CONCURRENCY: Mapping = Mapping::of(&[
    must("group", &NON_EMPTY),
    may("cancel-in-progress", &BOOLEAN),
    may("queue", &Definition::of(&[Form::Words(&["single", "max"])])),
]);

pub(crate) static PERMISSIONS: Definition =
    Definition::of(&[Form::Map(&PERMISSION_MAP), Form::Words(&["read-all", "write-all"])]);

static ANY_LEVEL: Definition = Definition::of(&[Form::Words(&["read", "write", "none"])]);
static READ: Definition = Definition::of(&[Form::Words(&["read", "none"])]);
static WRITE: Definition = Definition::of(&[Form::Words(&["write", "none"])]);

static PERMISSION_MAP: Mapping = Mapping::of(&[
    may("actions", &ANY_LEVEL),
    may("artifact-metadata", &ANY_LEVEL),
    may("attestations", &ANY_LEVEL),
    may("checks", &ANY_LEVEL),
    may("code-quality", &ANY_LEVEL),
    may("contents", &ANY_LEVEL),
    may("copilot-requests", &WRITE),
    may("deployments", &ANY_LEVEL),
    may("discussions", &ANY_LEVEL),
    may("drives", &ANY_LEVEL),
    may("id-token", &WRITE),
    may("issues", &ANY_LEVEL),
    may("models", &READ),
    may("packages", &ANY_LEVEL),
    may("pages", &ANY_LEVEL),
    may("pull-requests", &ANY_LEVEL),
    may("repository-projects", &ANY_LEVEL),
    may("security-events", &ANY_LEVEL),
    may("statuses", &ANY_LEVEL),
    may("vulnerability-alerts", &READ),
]);
