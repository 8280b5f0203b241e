//! What is said about one operation of the API: its place, who may use it, what goes in, what comes out.
//!
//! Must not know any operation, nor how documents are written.

use domain::Right;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use warp::http::Method;

use crate::api::problem::Code;

/// The operations that look at no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Open {
    Health,
    Ready,
    Description,
    Hook,
}

/// The operations that take a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Guarded {
    ListRepos,
    GetRepo,
    PutRepo,
    RemoveRepo,
    ListSecrets,
    PutSecret,
    RemoveSecret,
    ListVariables,
    PutVariable,
    RemoveVariable,
    ListEnvironments,
    PutEnvironment,
    RemoveEnvironment,
    ListCaches,
    RemoveCaches,
    Dispatch,
    RepositoryEvent,
    GetDelivery,
    ListRuns,
    Submit,
    GetRun,
    RunEvents,
    CancelRun,
    PauseRun,
    ResumeRun,
    ApproveRun,
    Rerun,
    ListJobs,
    GetJob,
    ApproveJob,
    RejectJob,
    ListAttempts,
    GetAttempt,
    Log,
    ListArtifacts,
    Artifact,
    ListNodes,
    GetNode,
    Drain,
    Cluster,
    ListMembers,
    RemoveMember,
    TransferLeader,
    ListTokens,
    CreateToken,
    RevokeToken,
}

/// Who may use an operation, and which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Access {
    /// Anybody, or whoever has the secret of a webhook.
    Open(Open),
    /// Whoever has a token of this right or more.
    Token(Right, Guarded),
}

/// Makes a type's schema, whose definitions stay in the generator.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub(super) const fn of<T: JsonSchema>() -> SchemaOf {
    |generator| generator.subschema_for::<T>()
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values {
    /// Whole numbers from and to, and what is meant when none is given.
    Integer { min: u64, max: u64, default: Option<u64> },
    /// `true` or `false`, which is meant when none is given.
    Flag,
    /// One of these.
    Name(&'static [&'static str]),
    /// Text of this pattern, with an example.
    Text { pattern: &'static str, example: &'static str },
}

/// A parameter of the path, the query or the headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) values: Values,
}

/// What a body is made of.
#[derive(Clone, Copy)]
pub(super) enum Media {
    /// `application/json` of a type.
    Json(SchemaOf),
    /// `application/x-www-form-urlencoded` with JSON in the field `payload`, as forges send it when told to.
    Form,
    /// Text of this content type.
    Text(&'static str),
    /// `application/octet-stream`.
    Bytes,
}

/// An answer that is not an error.
#[derive(Clone, Copy)]
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) media: &'static [Media],
    /// Headers beyond those that every answer has.
    pub(super) headers: &'static [Parameter],
}

/// An operation. Its router reads the place and the right here; there are no others.
pub(in crate::api) struct Operation {
    pub(in crate::api) method: Method,
    /// As OpenAPI writes it: `/v1/runs/{run}`.
    pub(in crate::api) path: &'static str,
    pub(in crate::api) access: Access,
    pub(super) tag: &'static str,
    /// Its name, for programs.
    pub(in crate::api) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) details: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) headers: &'static [Parameter],
    /// What its body may be; none of them when it takes none.
    pub(super) body: &'static [Media],
    pub(super) answers: &'static [Success],
    /// Errors beyond those that follow from the rest; see [`Self::errors`].
    pub(super) fails: &'static [Code],
}

impl Operation {
    const fn new(method: Method, path: &'static str, access: Access) -> Self {
        Self {
            method,
            path,
            access,
            tag: "",
            id: "",
            summary: "",
            details: "",
            query: &[],
            headers: &[],
            body: &[],
            answers: &[],
            fails: &[],
        }
    }

    pub(super) const fn get(path: &'static str, access: Access) -> Self {
        Self::new(Method::GET, path, access)
    }

    pub(super) const fn post(path: &'static str, access: Access) -> Self {
        Self::new(Method::POST, path, access)
    }

    pub(super) const fn put(path: &'static str, access: Access) -> Self {
        Self::new(Method::PUT, path, access)
    }

    pub(super) const fn delete(path: &'static str, access: Access) -> Self {
        Self::new(Method::DELETE, path, access)
    }

    /// Names it, for programs and for people.
    pub(super) const fn named(mut self, tag: &'static str, id: &'static str, summary: &'static str) -> Self {
        (self.tag, self.id, self.summary) = (tag, id, summary);
        self
    }

    pub(super) const fn details(mut self, details: &'static str) -> Self {
        self.details = details;
        self
    }

    pub(super) const fn query(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    pub(super) const fn headers(mut self, headers: &'static [Parameter]) -> Self {
        self.headers = headers;
        self
    }

    pub(super) const fn takes(mut self, body: &'static [Media]) -> Self {
        self.body = body;
        self
    }

    pub(super) const fn answers(mut self, answers: &'static [Success]) -> Self {
        self.answers = answers;
        self
    }

    pub(super) const fn fails(mut self, fails: &'static [Code]) -> Self {
        self.fails = fails;
        self
    }

    /// The names of its query's parameters; the router refuses all others.
    pub(in crate::api) fn query_names(&self) -> Vec<&'static str> {
        self.query.iter().map(|parameter| parameter.name).collect()
    }

    /// Every error that it may be answered with.
    pub(super) fn errors(&self) -> Vec<Code> {
        // A path that is not UTF-8 and a parameter that is not known are refused everywhere.
        let mut codes = vec![Code::Invalid];
        if self.answers.iter().any(|answer| matches!(answer.media, [Media::Json(_), ..])) {
            codes.push(Code::Internal);
        }
        if let Access::Token(right, _) = self.access {
            codes.push(Code::Unauthorized);
            // Every token may read.
            if right > Right::Read {
                codes.push(Code::Forbidden);
            }
        }
        if !self.body.is_empty() {
            codes.extend([Code::RequestTimeout, Code::TooLarge, Code::UnsupportedEncoding]);
        }
        if self.method != Method::GET {
            codes.extend([Code::Unavailable, Code::OutcomeUnknown, Code::NoSpace]);
        }
        codes.extend_from_slice(self.fails);
        codes
    }
}
