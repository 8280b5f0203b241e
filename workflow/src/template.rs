//! A value of a workflow file in which some places are expressions: what a schema has read, and what the model is made of.
//!
//! Must not know: what any key means, where contexts come from.

use crate::diagnostic::At;
use crate::expression::{Environment, Error, Expression, Object, Options, Value, evaluate};
use crate::yaml::{Node, number_text};

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Where it begins.
    pub at: At,
    /// What it is.
    pub content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Text without expressions.
    Text(String),
    /// An expression; of text with expressions in it, the one that puts it together.
    Expression(Expression),
    /// `${{ insert }}` as a key: the entries of its value stand here.
    Insert,
    /// A list.
    List(Vec<Template>),
    /// Keys and values in order.
    Map(Vec<(Template, Template)>),
    /// What no rule of the language is about; Troupe's own.
    Foreign(Foreign),
}

/// Something of Troupe's own, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign(pub(crate) Node);

impl Template {
    /// Text without expressions; what is a number or a boolean is text, too.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match &self.content {
            Content::Null => Some(String::new()),
            Content::Boolean(value) => Some(value.to_string()),
            Content::Number(value) => Some(number_text(*value)),
            Content::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// True when it, or something in it, is computed.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        match &self.content {
            Content::Expression(_) | Content::Insert => true,
            Content::List(items) => items.iter().any(Self::is_dynamic),
            Content::Map(entries) => {
                entries.iter().any(|(key, value)| key.is_dynamic() || value.is_dynamic())
            }
            _ => false,
        }
    }

    /// Its value with all expressions computed.
    ///
    /// # Errors
    /// Of the first expression that cannot be computed, with the place of the value it stands in.
    pub fn resolve(&self, contexts: &Object, environment: &dyn Environment) -> Result<Value, (At, Error)> {
        Ok(match &self.content {
            Content::Null | Content::Insert | Content::Foreign(_) => Value::Null,
            Content::Boolean(value) => Value::Boolean(*value),
            Content::Number(value) => Value::Number(*value),
            Content::Text(text) => Value::text(text),
            Content::Expression(expression) => {
                evaluate(expression, contexts, environment, Options::default()).map_err(|e| (self.at, e))?
            }
            Content::List(items) => {
                let items: Result<_, _> =
                    items.iter().map(|item| item.resolve(contexts, environment)).collect();
                Value::array(items?)
            }
            Content::Map(entries) => {
                let mut object = Object::default();
                for (key, value) in entries {
                    let value = value.resolve(contexts, environment)?;
                    match (&key.content, &value) {
                        (Content::Insert, Value::Object(inner)) => {
                            inner.iter().for_each(|(name, value)| object.insert(name, value.clone()));
                        }
                        (Content::Insert, _) => {}
                        _ => object.insert(&key.resolve(contexts, environment)?.as_text(), value),
                    }
                }
                Value::Object(std::sync::Arc::new(object))
            }
        })
    }
}
