//! Computes expressions. Rules: actions/languageservices `expressions/src/evaluator.ts`; memory as GitHub's runner
//! counts it, two bytes for each UTF-16 unit.
//!
//! Must not know: how a job went, what files there are; [`Environment`] is asked.

use std::cmp::Ordering;

use super::MAX_MEMORY;
use super::ast::{Comparison, Expression, Node};
use super::error::Error;
use super::functions;
use super::scope::Status;
use super::value::{Array, Object, Value};

/// What an evaluation asks of the world around it.
pub trait Environment {
    /// `success()` and its like; for a job's `if`, the names of jobs may be given.
    ///
    /// # Errors
    /// In words, when it is not known here.
    fn status(&self, asked: Status, of: &[Value]) -> Result<bool, String>;

    /// `hashFiles(patterns)`: the SHA-256 of the files that match, in hexadecimal; empty when none does.
    ///
    /// # Errors
    /// In words, when they cannot be read or there is no workspace here.
    fn hash_files(&self, patterns: &[String]) -> Result<String, String>;
}

/// No world around: status functions and `hashFiles` are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn status(&self, _: Status, _: &[Value]) -> Result<bool, String> {
        Err("how it went so far is not known here".to_owned())
    }

    fn hash_files(&self, _: &[String]) -> Result<String, String> {
        Err("there is no workspace here".to_owned())
    }
}

/// Limits of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Memory that the values may take at once, in bytes.
    pub max_memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_memory: MAX_MEMORY }
    }
}

/// Computes an expression. A context that is not given is null.
///
/// # Errors
/// Values that do not fit a function, texts that are no JSON or format, more than [`Options::max_memory`], and what the
/// environment cannot answer.
pub fn evaluate(
    expression: &Expression,
    contexts: &Object,
    environment: &dyn Environment,
    options: Options,
) -> Result<Value, Error> {
    let memory = Memory { most: options.max_memory, used: 0 };
    Evaluator { contexts, environment, memory }.value(&expression.root)
}

pub(crate) struct Evaluator<'a> {
    contexts: &'a Object,
    environment: &'a dyn Environment,
    pub(crate) memory: Memory,
}

/// What the values made so far take.
pub(crate) struct Memory {
    most: usize,
    used: usize,
}

impl Memory {
    /// Most bytes that one more text may have.
    pub(crate) fn left(&self) -> usize {
        self.most - self.used
    }

    pub(crate) fn exceeded() -> Error {
        Error::evaluation("The maximum allowed memory size was exceeded")
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.used = self.used.saturating_add(bytes).min(self.most.saturating_add(1));
        if self.used > self.most { Err(Self::exceeded()) } else { Ok(()) }
    }

    /// A text that was made.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Error> {
        self.take(OVERHEAD + 2 * text.encode_utf16().count())
    }
}

/// Bytes that a value takes beside its letters.
const OVERHEAD: usize = 26;

impl Evaluator<'_> {
    pub(crate) fn value(&mut self, node: &Node) -> Result<Value, Error> {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Context(name) => Ok(self.contexts.get(name).cloned().unwrap_or(Value::Null)),
            Node::Index(of, index) => {
                let index = self.value(index)?;
                let of = self.value(of)?;
                self.index(&of, &index)
            }
            Node::All(of) => {
                let of = self.value(of)?;
                self.all(&of)
            }
            Node::Not(of) => Ok(Value::Boolean(!self.value(of)?.is_truthy())),
            Node::Compare(first, rest) => {
                let mut left = self.value(first)?;
                for (comparison, operand) in rest {
                    let right = self.value(operand)?;
                    left = Value::Boolean(compare(*comparison, &left, &right));
                }
                Ok(left)
            }
            Node::And(parts) => self.first(parts, |value| !value.is_truthy()),
            Node::Or(parts) => self.first(parts, Value::is_truthy),
            Node::Call(name, arguments) => self.call(name, arguments),
        }
    }

    /// The first operand that decides, or the last.
    fn first(&mut self, parts: &[Node], decides: fn(&Value) -> bool) -> Result<Value, Error> {
        let mut last = Value::Null;
        for part in parts {
            last = self.value(part)?;
            if decides(&last) {
                break;
            }
        }
        Ok(last)
    }

    /// What the arguments took is free again when the function has its value.
    fn call(&mut self, name: &str, arguments: &[Node]) -> Result<Value, Error> {
        let before = self.memory.used;
        let value = match (Status::named(name), name) {
            (Some(status), _) => {
                let of = self.all_of(arguments)?;
                Value::Boolean(self.environment.status(status, &of).map_err(Error::evaluation)?)
            }
            (None, "hashfiles") => {
                let patterns: Vec<String> =
                    self.all_of(arguments)?.iter().map(|value| value.as_text().as_ref().to_owned()).collect();
                Value::text(self.environment.hash_files(&patterns).map_err(Error::evaluation)?)
            }
            _ => functions::call(self, name, arguments)?,
        };
        self.memory.used = before;
        match &value {
            Value::String(text) => self.memory.text(text)?,
            _ => self.memory.take(OVERHEAD)?,
        }
        Ok(value)
    }

    pub(crate) fn all_of(&mut self, nodes: &[Node]) -> Result<Vec<Value>, Error> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    /// A value of a value. Asked of what `*` made, it is asked of each item; what an item does not have is left out.
    fn index(&mut self, of: &Value, index: &Value) -> Result<Value, Error> {
        let place = Place::of(index);
        Ok(match of {
            Value::Array(array) if array.filtered => {
                let found: Vec<_> =
                    array.items.iter().filter_map(|item| place.within(item).cloned()).collect();
                self.memory.take(OVERHEAD * found.len())?;
                Value::filtered(found)
            }
            of => place.within(of).cloned().unwrap_or(Value::Null),
        })
    }

    fn all(&mut self, of: &Value) -> Result<Value, Error> {
        let items: Vec<Value> = match of {
            Value::Array(array) if array.filtered => array.items.iter().flat_map(values).cloned().collect(),
            of => values(of).cloned().collect(),
        };
        self.memory.take(OVERHEAD * items.len())?;
        Ok(Value::filtered(items))
    }
}

fn values(of: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match of {
        Value::Array(array) => Box::new(array.items.iter()),
        Value::Object(object) => Box::new(object.iter().map(|(_, value)| value)),
        _ => Box::new(std::iter::empty()),
    }
}

/// Where an index points: a name in objects, a number in arrays. Arrays and objects point nowhere.
struct Place {
    name: Option<std::sync::Arc<str>>,
    number: Option<usize>,
}

impl Place {
    fn of(index: &Value) -> Self {
        let number = index.as_number();
        let is_place = number.is_finite() && number >= 0.0;
        Self {
            name: index.is_primitive().then(|| index.as_text()),
            number: is_place.then_some(number.floor() as usize),
        }
    }

    fn within<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match value {
            Value::Array(array) => array.items.get(self.number?),
            Value::Object(object) => object.get(self.name.as_deref()?),
            _ => None,
        }
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> bool {
    match comparison {
        Comparison::Equal => left.equals(right),
        Comparison::NotEqual => !left.equals(right),
        Comparison::Greater => left.order(right) == Some(Ordering::Greater),
        Comparison::Less => left.order(right) == Some(Ordering::Less),
        Comparison::GreaterEqual => left.order(right) == Some(Ordering::Greater) || left.equals(right),
        Comparison::LessEqual => left.order(right) == Some(Ordering::Less) || left.equals(right),
    }
}

/// The items of an array, for functions that take one.
pub(crate) fn items(value: &Value) -> Option<&Array> {
    match value {
        Value::Array(array) => Some(array),
        _ => None,
    }
}
