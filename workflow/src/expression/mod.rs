//! Expressions of the Actions language: what stands in `${{ }}` and in `if`.
//!
//! [`Expression::parse`] checks a text against the [`Scope`] it stands in (which contexts and functions are allowed
//! there); [`evaluate`] computes it from contexts that the caller gives. The rules are those of GitHub's documentation
//! ("Evaluate expressions in workflows and actions") and of actions/languageservices, `expressions/src`; where its
//! TypeScript and GitHub's service differ (white space, escapes in texts, memory), the service is followed.
//!
//! Must not know: where contexts come from, files of a workspace ([`Environment`] does), YAML.

mod ast;
mod error;
mod evaluate;
mod functions;
mod json;
mod lexer;
mod number;
mod parser;
mod scope;
mod value;

pub use ast::{Expression, Visit};
/// The value that a JSON text stands for.
///
/// # Errors
/// In words, what is wrong with it.
pub fn from_json(text: &str) -> Result<Value, String> {
    json::parse(text)
}

/// A value as JSON; none when it takes more bytes than this.
#[must_use]
pub fn to_json(value: &Value, most: usize) -> Option<String> {
    json::print(value, most)
}

pub use error::{Error, Kind, Unknown};
pub use evaluate::{Environment, NoEnvironment, Options, evaluate};
pub use scope::{Function, Scope, Status};
pub use value::{Array, Object, Value, fold_case};

/// Deepest nesting of an expression.
pub const MAX_DEPTH: usize = 50;
/// Longest expression, in UTF-16 units, which is how GitHub counts.
pub const MAX_LENGTH: usize = 21_000;
/// Memory that the values of one evaluation may take at once, in bytes, when [`Options`] do not say otherwise.
pub const MAX_MEMORY: usize = 1024 * 1024;
