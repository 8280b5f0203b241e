//! Parameters that several operations share, and those of paths.
//!
//! Must not know which operations have them.

use super::operation::{Parameter, Values};
use crate::api::dto::names::{JOB_ID, REPO_NAME, ULID};
use crate::api::page;

const RUN: &str = "01J9ZC3V5W6X7Y8Z9A0B1C2D3E";
const JOB: &str = "01J9ZC3V5W6X7Y8Z9A0B1C2D3E.0";

/// The key by which a request is known again.
pub(super) const IDEMPOTENCY_KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    about: "1 to 200 visible characters. The same key of the same token within 24 hours is answered with what was made \
            then, when the request is the same too, and else with 409.",
    values: Values::Text { pattern: "^[ -~]{1,200}$", example: "nightly-2026-01-31" },
};

/// What the names in paths stand for.
pub(super) const OF_PATHS: &[Parameter] = &[
    Parameter {
        name: "repo",
        about: "A repository's name: one to four parts divided by `/`, 200 characters at most. The `/` may be written as \
                it is or as `%2F`, which a name needs whose last part is `caches`, `dispatch`, `events`, `secrets`, `variables` \
                or `environments`, or the last but one one of the last three.",
        values: Values::Text { pattern: REPO_NAME, example: "team/app" },
    },
    Parameter {
        name: "delivery",
        about: "A delivery's id.",
        values: Values::Text { pattern: ULID, example: RUN },
    },
    Parameter { name: "run", about: "A run's id.", values: Values::Text { pattern: ULID, example: RUN } },
    Parameter {
        name: "job",
        about: "A job's id, `RUN.INDEX`.",
        values: Values::Text { pattern: JOB_ID, example: JOB },
    },
    Parameter {
        name: "number",
        about: "An attempt's number within its job, from 1.",
        values: Values::Integer { min: 0, max: u16::MAX as u64, default: None },
    },
    Parameter {
        name: "path",
        about: "An artifact's path, relative to the workspace. Its `/` may be written as they are or as `%2F`.",
        values: Values::Text { pattern: "^.+$", example: "target/report.txt" },
    },
    Parameter {
        name: "node",
        about: "A node's name or id.",
        values: Values::Text { pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", example: "node-1" },
    },
    Parameter {
        name: "member",
        about: "A member's name or id.",
        values: Values::Text { pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", example: "node-1" },
    },
    Parameter {
        name: "secret",
        about: "A secret's name: 1 to 255 upper-case letters, digits and `_`, not first a digit, and not `GITHUB_` at the \
                beginning.",
        values: Values::Text { pattern: "^[A-Z_][A-Z0-9_]*$", example: "DEPLOY_TOKEN" },
    },
    Parameter {
        name: "variable",
        about: "A variable's name, as that of a secret.",
        values: Values::Text { pattern: "^[A-Z_][A-Z0-9_]*$", example: "TEAM" },
    },
    Parameter {
        name: "environment",
        about: "An environment's name: 1 to 255 bytes without control characters; the same in capitals or not.",
        values: Values::Text { pattern: "^.+$", example: "production" },
    },
    Parameter { name: "token", about: "A token's id.", values: Values::Text { pattern: ULID, example: RUN } },
];

/// Names in paths that may take more than one segment.
pub(super) const LONG: [&str; 2] = ["repo", "path"];

/// Entries of a page.
pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "Entries of the page, at most.",
    values: Values::Integer { min: 1, max: page::MAX as u64, default: Some(page::DEFAULT as u64) },
};

/// What a page follows, in a list of entries whose ids look like this.
pub(super) const fn cursor(pattern: &'static str, example: &'static str) -> Parameter {
    Parameter {
        name: "cursor",
        about: "The `next` of the page before.",
        values: Values::Text { pattern, example },
    }
}

/// The cursor of runs.
pub(super) const RUN_CURSOR: Parameter = cursor(ULID, RUN);
/// The cursor of jobs.
pub(super) const JOB_CURSOR: Parameter = cursor(JOB_ID, JOB);
/// The cursor of repositories.
pub(super) const REPO_CURSOR: Parameter = cursor(REPO_NAME, "team/app");
