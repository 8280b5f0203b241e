//! What is wrong with an expression, in the words that GitHub uses.

use std::fmt;

/// When it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text has something that is no token.
    Lexing,
    /// The tokens are no expression, or it names what is not there.
    Parsing,
    /// The values do not fit, or grew too large.
    Evaluation,
}

/// A name that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// A context, as written.
    Context(String),
    /// A function, as written.
    Function(String),
}

/// An expression that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// When it was found.
    pub kind: Kind,
    /// Without the place.
    pub message: String,
    /// The place in the expression, in UTF-16 units from 1, and the whole expression; none for what has no place.
    pub found: Option<(usize, String)>,
    /// The name that is not there, where that is what is wrong.
    pub unknown: Option<Unknown>,
}

impl Error {
    /// At a byte of the expression.
    pub(crate) fn at(kind: Kind, message: String, text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let found = Some((before.encode_utf16().count() + 1, text.to_owned()));
        Self { kind, message, found, unknown: None }
    }

    pub(crate) fn without_place(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), found: None, unknown: None }
    }

    pub(crate) fn evaluation(message: impl Into<String>) -> Self {
        Self::without_place(Kind::Evaluation, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.found {
            Some((position, text)) => {
                write!(f, ". Located at position {position} within expression: {text}")
            }
            None => Ok(()),
        }
    }
}
