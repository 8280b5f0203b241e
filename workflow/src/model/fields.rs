//! How parts of the model are taken out of a [`Template`]. What is not as it should be was complained about when it was
//! read; here it is left out.

use crate::diagnostic::At;
use crate::expression::Expression;
use crate::template::{Content, Template};

/// Something, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// Where it begins.
    pub at: At,
    /// What it is.
    pub value: T,
}

/// What the file says, or the expression that says it when the run is under way.
#[derive(Debug, Clone, PartialEq)]
pub enum Dynamic<T> {
    /// As the file says.
    Is(T),
    /// To be computed.
    Computed(Expression),
}

impl<T> Dynamic<T> {
    /// What the file says; none when it is to be computed.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Computed(_) => None,
        }
    }
}

/// An entry of a map whose key is text.
pub(super) struct Entry<'a> {
    pub key: &'a str,
    pub at: At,
    pub value: &'a Template,
}

impl Entry<'_> {
    pub(super) fn name(&self) -> Located<String> {
        Located { at: self.at, value: self.key.to_owned() }
    }
}

/// The entries of a map; none of anything else.
pub(super) fn entries(template: &Template) -> impl Iterator<Item = Entry<'_>> {
    let entries = match &template.content {
        Content::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter_map(|(key, value)| match &key.content {
        Content::Text(text) => Some(Entry { key: text, at: key.at, value }),
        _ => None,
    })
}

/// The keys of a map, in order.
pub(super) fn keys(template: &Template) -> Vec<Located<String>> {
    entries(template).map(|entry| entry.name()).collect()
}

/// The value of one key.
pub(super) fn get<'a>(template: &'a Template, key: &str) -> Option<&'a Template> {
    entries(template).find(|entry| entry.key == key).map(|entry| entry.value)
}

/// Text, for the file or computed.
pub(super) fn text(template: &Template) -> Option<Located<Dynamic<String>>> {
    let value = match &template.content {
        Content::Expression(expression) => Dynamic::Computed(expression.clone()),
        _ => Dynamic::Is(template.text()?),
    };
    Some(Located { at: template.at, value })
}

/// Text that is never computed.
pub(super) fn plain(template: &Template) -> Option<Located<String>> {
    Some(Located { at: template.at, value: template.text()? })
}

pub(super) fn boolean(template: &Template) -> Option<Located<Dynamic<bool>>> {
    let value = match &template.content {
        Content::Boolean(value) => Dynamic::Is(*value),
        Content::Expression(expression) => Dynamic::Computed(expression.clone()),
        _ => return None,
    };
    Some(Located { at: template.at, value })
}

pub(super) fn number(template: &Template) -> Option<Located<Dynamic<f64>>> {
    let value = match &template.content {
        Content::Number(value) => Dynamic::Is(*value),
        Content::Expression(expression) => Dynamic::Computed(expression.clone()),
        _ => return None,
    };
    Some(Located { at: template.at, value })
}

/// One text or a list of texts, none of them computed.
pub(super) fn plain_list(template: &Template) -> Vec<Located<String>> {
    match &template.content {
        Content::List(items) => items.iter().filter_map(plain).collect(),
        _ => plain(template).into_iter().collect(),
    }
}

/// One text or a list of texts.
pub(super) fn text_list(template: &Template) -> Vec<Located<Dynamic<String>>> {
    match &template.content {
        Content::List(items) => items.iter().filter_map(text).collect(),
        _ => text(template).into_iter().collect(),
    }
}
