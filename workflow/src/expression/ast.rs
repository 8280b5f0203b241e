//! An expression that was read.

use std::fmt;
use std::sync::Arc;

use super::value::Value;

/// An expression; cheap to clone.
#[derive(Clone)]
pub struct Expression {
    pub(crate) text: Arc<str>,
    pub(crate) root: Arc<Node>,
}

#[derive(Debug)]
pub(crate) enum Node {
    Literal(Value),
    /// A context, by its name as written.
    Context(String),
    /// A value of a value: `a.b`, `a['b']`.
    Index(Box<Node>, Box<Node>),
    /// All values of a value: `a.*`.
    All(Box<Node>),
    Not(Box<Node>),
    /// From left to right, each with the outcome of those before. Flat, so that a long row of them is not a deep tree.
    Compare(Box<Node>, Vec<(Comparison, Node)>),
    /// Two or more, the first that decides.
    And(Vec<Node>),
    Or(Vec<Node>),
    /// The name in lower case.
    Call(String, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

/// What [`Expression::visit`] comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit<'a> {
    /// A context, by its name as written.
    Context(&'a str),
    /// A function, by its name in lower case.
    Call(&'a str),
}

impl Expression {
    /// As written, without the white space around it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text that it always is, when it is nothing but a literal text, as `${{ '{{' }}`.
    #[must_use]
    pub fn literal_text(&self) -> Option<&str> {
        match &*self.root {
            Node::Literal(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// True when it asks how it went so far: `success()`, `failure()`, `always()`, `cancelled()`.
    #[must_use]
    pub fn asks_for_status(&self) -> bool {
        let mut asks = false;
        self.visit(&mut |seen| {
            asks |= matches!(seen, Visit::Call(name) if super::Status::named(name).is_some());
        });
        asks
    }

    /// Comes by every context and function that is named.
    pub fn visit(&self, see: &mut dyn FnMut(Visit<'_>)) {
        self.root.visit(see);
    }
}

impl Node {
    fn visit(&self, see: &mut dyn FnMut(Visit<'_>)) {
        match self {
            Self::Literal(_) => {}
            Self::Context(name) => see(Visit::Context(name)),
            Self::All(of) | Self::Not(of) => of.visit(see),
            Self::Index(a, b) => {
                a.visit(see);
                b.visit(see);
            }
            Self::Compare(first, rest) => {
                first.visit(see);
                rest.iter().for_each(|(_, operand)| operand.visit(see));
            }
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.visit(see)),
            Self::Call(name, arguments) => {
                see(Visit::Call(name));
                arguments.iter().for_each(|argument| argument.visit(see));
            }
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{{{ {} }}}}", self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
