//! Where an expression stands for a map or a list as a whole, or for a key of one, and the typed model has no place for it: GitHub
//! computes such values first and reads them then, which the model does of `strategy` alone.

use super::job::STRATEGY;
use super::{Definition, Form, Mapping};
use crate::diagnostic::At;
use crate::template::{Content, Template};

/// What is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Where it stands.
    pub at: At,
    /// The key whose value it is.
    pub of: String,
    /// Only a key in there is computed.
    pub is_key: bool,
}

/// All of them in a value that was read by a definition.
pub(crate) fn wholes(template: &Template, definition: &'static Definition) -> Vec<Whole> {
    let mut found = Vec::new();
    walk("the file", template, definition, &mut found);
    found
}

fn walk(of: &str, template: &Template, definition: &'static Definition, found: &mut Vec<Whole>) {
    if std::ptr::eq(definition, &raw const STRATEGY) {
        return;
    }
    let maps: Vec<&'static Mapping> = definition
        .forms
        .iter()
        .filter_map(|form| if let Form::Map(map) = form { Some(*map) } else { None })
        .collect();
    let variables = maps.iter().any(|map| is_of_variables(map));
    match &template.content {
        Content::Expression(_) => {
            let whole = definition.forms.iter().all(|form| matches!(form, Form::Map(_) | Form::List(_)));
            if whole && !variables {
                found.push(Whole { at: template.at, of: of.to_owned(), is_key: false });
            }
        }
        Content::List(items) => {
            for form in definition.forms {
                if let Form::List(item) = form {
                    items.iter().for_each(|one| walk(of, one, item, found));
                }
            }
        }
        Content::Map(entries) => {
            for (key, value) in entries {
                match &key.content {
                    Content::Text(name) => {
                        let property = maps.iter().rev().find_map(|map| map.property(name));
                        let others = maps.iter().find_map(|map| map.others).map(|(_, value)| value);
                        if let Some(next) = property.map(|property| property.definition).or(others) {
                            walk(name, value, next, found);
                        }
                    }
                    // Names and values that are put in are.
                    Content::Insert if variables => {}
                    _ => found.push(Whole { at: key.at, of: of.to_owned(), is_key: true }),
                }
            }
        }
        _ => {}
    }
}

/// Whether a map is one of names and texts, as `env`: what computes one is kept as it is.
fn is_of_variables(map: &Mapping) -> bool {
    let is_text = |value: &Definition| value.forms.iter().any(|form| matches!(form, Form::Text));
    map.properties.is_empty() && map.others.is_some_and(|(_, value)| is_text(value))
}
