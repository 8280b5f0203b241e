//! Every error of the API: a closed set of codes, each with one HTTP status and one CLI exit code, as problem+json.
//!
//! Must not know which handler failed.

use domain::Refusal;
use raft_store::ProposeError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A field, parameter or body that cannot be accepted.
    Invalid,
    /// No token, an unknown or expired one, or a wrong signature.
    Unauthorized,
    /// The token or signature is good, but not for this.
    Forbidden,
    /// No such thing.
    NotFound,
    /// The API has no such path.
    NoRoute,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// The state does not allow it, or a key or name is taken.
    Conflict,
    /// The body or the command is too large.
    TooLarge,
    /// A compressed body.
    UnsupportedEncoding,
    /// The queue is full; try again later.
    QueueFull,
    /// No leader or no quorum: nothing was changed; try again later.
    Unavailable,
    /// The leader was lost while it worked: the change may or may not have been made. Repeat with the same key.
    OutcomeUnknown,
    /// The disk of this node, or of the one that leads, is nearly full: nothing was changed.
    NoSpace,
    /// Log or artifact cannot be reached on the node that has it.
    OutputUnavailable,
    /// A defect of Troupe.
    Internal,
}

impl Code {
    /// Its HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::OutcomeUnknown | Self::OutputUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// As it is sent.
    pub(super) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }

    /// The CLI's exit code for it (docs/cli.md).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Invalid
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::TooLarge
            | Self::UnsupportedEncoding => 2,
            Self::NotFound => 3,
            Self::Unauthorized | Self::Forbidden | Self::Conflict => 4,
            Self::RequestTimeout
            | Self::QueueFull
            | Self::Unavailable
            | Self::OutcomeUnknown
            | Self::NoSpace
            | Self::OutputUnavailable => 5,
            Self::Internal => 6,
        }
    }

    /// Seconds after which another try may go well.
    pub(super) fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::QueueFull | Self::Unavailable | Self::OutcomeUnknown | Self::OutputUnavailable => Some("2"),
            // Somebody has to make room.
            Self::NoSpace => Some("60"),
            _ => None,
        }
    }
}

/// An error as it is sent: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The HTTP status, again.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// For programs.
    pub code: Code,
    /// For people.
    pub detail: String,
    /// The field or parameter, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem with words for people.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { status: code.status().as_u16(), code, detail: detail.into(), field: None }
    }

    /// A field that is not acceptable.
    #[must_use]
    pub fn invalid(field: &str, why: impl std::fmt::Display) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(Code::Invalid, format!("{field}: {why}")) }
    }

    /// No such thing.
    #[must_use]
    pub fn not_found(what: &str, id: &dyn std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("no {what} {id}"))
    }

    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.code.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotFound { .. } => Self::new(Code::NotFound, detail),
            Refusal::QueueFull { .. } => Self::new(Code::QueueFull, detail),
            Refusal::Invalid { field, .. } => Self { field: Some(field), ..Self::new(Code::Invalid, detail) },
            Refusal::StaleFence { .. }
            | Refusal::WrongState { .. }
            | Refusal::NodeUnfit { .. }
            | Refusal::KeyConflict { .. }
            | Refusal::NameTaken { .. }
            | Refusal::AlreadyDone { .. }
            | Refusal::NumbersTaken { .. } => Self::new(Code::Conflict, detail),
        }
    }
}

impl From<ProposeError> for Problem {
    fn from(error: ProposeError) -> Self {
        let code = match error {
            ProposeError::Unavailable | ProposeError::Stopped | ProposeError::NotYet { .. } => {
                Code::Unavailable
            }
            ProposeError::Unknown => Code::OutcomeUnknown,
            ProposeError::TooLarge { .. } => Code::TooLarge,
            ProposeError::NoSpace => Code::NoSpace,
        };
        Self::new(code, error.to_string())
    }
}
