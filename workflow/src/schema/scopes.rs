//! What expressions may name in each place. Rules: GitHub, "Context availability".

use crate::expression::{Function, Scope};

const HASH_FILES: Function = Function::new("hashFiles", 1, 255);
/// A job may ask how the jobs that it names went.
const OF_JOBS: &[Function] = &[
    Function::new("always", 0, 0),
    Function::new("failure", 0, usize::MAX),
    Function::new("cancelled", 0, 0),
    Function::new("success", 0, usize::MAX),
];
const OF_STEPS: &[Function] = &[
    Function::new("always", 0, 0),
    Function::new("failure", 0, 0),
    Function::new("cancelled", 0, 0),
    Function::new("success", 0, 0),
    HASH_FILES,
];

const fn contexts(contexts: &'static [&'static str]) -> Scope {
    Scope { contexts, functions: &[] }
}

pub(crate) const RUN_NAME: Scope = contexts(&["github", "inputs", "vars"]);
pub(crate) const WORKFLOW_ENV: Scope = contexts(&["github", "inputs", "vars", "secrets"]);
pub(crate) const WORKFLOW_OUTPUT: Scope = contexts(&["github", "inputs", "vars", "jobs"]);
pub(crate) const NEEDS: Scope = contexts(&["github", "inputs", "vars", "needs"]);
pub(crate) const JOB_CONDITION: Scope =
    Scope { contexts: &["github", "inputs", "vars", "needs"], functions: OF_JOBS };
pub(crate) const JOB: Scope = contexts(&["github", "inputs", "vars", "needs", "strategy", "matrix"]);
pub(crate) const JOB_SECRETS: Scope =
    contexts(&["github", "inputs", "vars", "needs", "strategy", "matrix", "secrets"]);
pub(crate) const JOB_DEFAULTS: Scope =
    contexts(&["github", "inputs", "vars", "needs", "strategy", "matrix", "env"]);
pub(crate) const CREDENTIALS: Scope =
    contexts(&["github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "env"]);
pub(crate) const RUNNER: Scope = contexts(&[
    "github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "steps", "job", "runner", "env",
]);
pub(crate) const RUNNER_NO_SECRETS: Scope =
    contexts(&["github", "inputs", "vars", "needs", "strategy", "matrix", "steps", "job", "runner", "env"]);
pub(crate) const STEP: Scope = Scope { contexts: RUNNER.contexts, functions: &[HASH_FILES] };
pub(crate) const STEP_CONDITION: Scope = Scope { contexts: RUNNER_NO_SECRETS.contexts, functions: OF_STEPS };
/// What the steps of an action may name: it is the same wherever it is used.
const IN_ACTION: &[&str] = &["github", "inputs", "strategy", "matrix", "steps", "job", "runner", "env"];
pub(crate) const ACTION_STEP: Scope = Scope { contexts: IN_ACTION, functions: &[HASH_FILES] };
pub(crate) const ACTION_CONDITION: Scope = Scope { contexts: IN_ACTION, functions: OF_STEPS };
pub(crate) const ACTION_INPUT: Scope =
    Scope { contexts: &["github", "strategy", "matrix", "job", "runner"], functions: &[HASH_FILES] };
pub(crate) const ACTION_OUTPUT: Scope =
    contexts(&["github", "strategy", "matrix", "job", "runner", "env", "steps", "inputs"]);
