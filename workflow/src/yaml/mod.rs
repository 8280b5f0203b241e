//! YAML as a tree with positions, read within limits: size, depth, number of values.
//!
//! Scalars have the types of YAML's core schema. Anchors and aliases are resolved, as GitHub does since 2025, and what an
//! alias stands for counts as often as it stands there, so that no file grows beyond the limits when it is read. Keys may
//! be there twice: who reads the tree says so.
//!
//! Must not know: what any key means.

mod parse;
mod scalar;

pub(crate) use parse::parse;
pub(crate) use scalar::{Plain, Scalar, number_text};

use crate::diagnostic::At;

/// Largest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting; GitHub's.
const MAX_DEPTH: usize = 50;
/// Most values in a file.
const MAX_VALUES: usize = 20_000;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In order, with every key that is there.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub at: At,
    pub text: String,
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(_) => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.plain == Plain::Null)
    }
}
