//! What there is to do with what a repository's workflows are given, and have kept: secrets, variables, environments, caches.

use domain::Right;

use super::operation::{Access, Guarded, Media, Operation, Parameter, Success, Values, of};
use super::parameters::{LIMIT, cursor};
use crate::api::dto::{
    CacheView, CachesRemoved, EnvironmentPut, EnvironmentRemoved, EnvironmentView, PutEnvironment, PutSecret,
    PutVariable, SecretNames, SecretPut, SecretRemoved, VariablePut, VariableRemoved, VariableView,
};
use crate::api::page::Page;
use crate::api::problem::Code;

const TAG: &str = "repositories";

/// Which caches are meant.
const CACHE_KEY: Parameter = Parameter {
    name: "key",
    about: "Those whose key begins so; all, unless given.",
    values: Values::Text { pattern: "^.*$", example: "cargo-" },
};

const CACHE_SCOPE: Parameter = Parameter {
    name: "scope",
    about: "Those of this full ref; all, unless given.",
    values: Values::Text { pattern: "^.*$", example: "refs/heads/main" },
};

const CACHE_CURSOR: Parameter = cursor(
    "^[0-9a-f]{64}:[^:]*:.*$",
    "0000000000000000000000000000000000000000000000000000000000000000:refs/heads/main:cargo-1",
);

/// The operations.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/v1/repos/{repo}/secrets", Access::Token(Right::Admin, Guarded::ListSecrets))
        .named(TAG, "listSecrets", "Names of a repository's secrets")
        .answers(&[Success {
            status: 200,
            about: "Their names; the values are never shown.",
            media: &[Media::Json(of::<SecretNames>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::put("/v1/repos/{repo}/secrets/{secret}", Access::Token(Right::Admin, Guarded::PutSecret))
        .named(TAG, "putSecret", "Stores a secret for a repository's jobs, sealed")
        .takes(&[Media::Json(of::<PutSecret>())])
        .answers(&[
            Success { status: 201, about: "Stored.", media: &[Media::Json(of::<SecretPut>())], headers: &[] },
            Success {
                status: 200,
                about: "Stored in the place of the one of before.",
                media: &[Media::Json(of::<SecretPut>())],
                headers: &[],
            },
        ])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::delete(
        "/v1/repos/{repo}/secrets/{secret}",
        Access::Token(Right::Admin, Guarded::RemoveSecret),
    )
    .named(TAG, "removeSecret", "Removes a secret")
    .answers(&[Success {
        status: 200,
        about: "Removed.",
        media: &[Media::Json(of::<SecretRemoved>())],
        headers: &[],
    }])
    .fails(&[Code::NotFound]),
    Operation::get("/v1/repos/{repo}/variables", Access::Token(Right::Read, Guarded::ListVariables))
        .named(TAG, "listVariables", "A repository's variables, by name")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<VariableView>>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::put(
        "/v1/repos/{repo}/variables/{variable}",
        Access::Token(Right::Admin, Guarded::PutVariable),
    )
    .named(TAG, "putVariable", "Stores a variable of a repository's workflows")
    .takes(&[Media::Json(of::<PutVariable>())])
    .answers(&[
        Success {
            status: 201,
            about: "It is new.",
            media: &[Media::Json(of::<VariablePut>())],
            headers: &[],
        },
        Success {
            status: 200,
            about: "It was there, and is changed.",
            media: &[Media::Json(of::<VariablePut>())],
            headers: &[],
        },
    ])
    .fails(&[Code::NotFound, Code::Conflict]),
    Operation::delete(
        "/v1/repos/{repo}/variables/{variable}",
        Access::Token(Right::Admin, Guarded::RemoveVariable),
    )
    .named(TAG, "removeVariable", "Removes a variable")
    .answers(&[Success {
        status: 200,
        about: "Removed.",
        media: &[Media::Json(of::<VariableRemoved>())],
        headers: &[],
    }])
    .fails(&[Code::NotFound]),
    Operation::get("/v1/repos/{repo}/environments", Access::Token(Right::Read, Guarded::ListEnvironments))
        .named(TAG, "listEnvironments", "A repository's environments, by name")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<EnvironmentView>>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::put(
        "/v1/repos/{repo}/environments/{environment}",
        Access::Token(Right::Admin, Guarded::PutEnvironment),
    )
    .named(TAG, "putEnvironment", "Registers an environment of a repository, or changes it")
    .takes(&[Media::Json(of::<PutEnvironment>())])
    .answers(&[
        Success {
            status: 201,
            about: "It is new.",
            media: &[Media::Json(of::<EnvironmentPut>())],
            headers: &[],
        },
        Success {
            status: 200,
            about: "It was there, and is changed.",
            media: &[Media::Json(of::<EnvironmentPut>())],
            headers: &[],
        },
    ])
    .fails(&[Code::NotFound, Code::Conflict]),
    Operation::delete(
        "/v1/repos/{repo}/environments/{environment}",
        Access::Token(Right::Admin, Guarded::RemoveEnvironment),
    )
    .named(TAG, "removeEnvironment", "Removes an environment; jobs that wait for it begin")
    .answers(&[Success {
        status: 200,
        about: "Removed.",
        media: &[Media::Json(of::<EnvironmentRemoved>())],
        headers: &[],
    }])
    .fails(&[Code::NotFound]),
    Operation::get("/v1/repos/{repo}/caches", Access::Token(Right::Read, Guarded::ListCaches))
        .named(TAG, "listCaches", "Caches of a repository's jobs, and where they are")
        .query(&[LIMIT, CACHE_CURSOR, CACHE_KEY, CACHE_SCOPE])
        .answers(&[Success {
            status: 200,
            about: "A page, by scope and key.",
            media: &[Media::Json(of::<Page<CacheView>>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::delete("/v1/repos/{repo}/caches", Access::Token(Right::Admin, Guarded::RemoveCaches))
        .named(TAG, "removeCaches", "Removes caches of a repository's jobs")
        .query(&[CACHE_KEY, CACHE_SCOPE])
        .answers(&[Success {
            status: 200,
            about: "Removed.",
            media: &[Media::Json(of::<CachesRemoved>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
];
