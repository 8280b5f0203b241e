//! Reads a tree of YAML by the schema. Rules: actions/languageservices `workflow-parser/src/templates/template-reader.ts`.
//!
//! What is wrong is complained about and kept as it is, so that the rest of the file can be looked at, too.

use std::collections::HashSet;

use super::job::EXTENSION;
use super::scalar;
use super::{ANY, Definition, Form, Mapping};
use crate::complaints::Complaints;
use crate::diagnostic::{At, nearest};
use crate::expression::{Scope, fold_case};
use crate::template::{Content, Foreign, Template};
use crate::yaml::{Key, Node, Value};

/// Reads a value that is to be as defined.
pub(crate) fn read(node: &Node, definition: &'static Definition, complaints: &mut Complaints) -> Template {
    Reader { complaints }.value(node, definition, Scope::NONE)
}

struct Reader<'a> {
    complaints: &'a mut Complaints,
}

impl Reader<'_> {
    fn value(&mut self, node: &Node, definition: &'static Definition, around: Scope) -> Template {
        let scope = definition.scope.unwrap_or(around);
        let at = node.at;
        if definition.forms.iter().any(|form| matches!(form, Form::Foreign)) {
            return Template { at, content: Content::Foreign(Foreign(node.clone())) };
        }
        match &node.value {
            Value::Scalar(scalar) => {
                let read = scalar::read(scalar, at, scope, self.complaints);
                scalar::check(read, definition, scope, self.complaints)
            }
            Value::List(items) => {
                let item = definition.forms.iter().find_map(|form| match form {
                    Form::List(item) => Some(*item),
                    _ => None,
                });
                let Some(item) = item else {
                    self.complaints.invalid(at, "A sequence was not expected");
                    return Template { at, content: Content::List(Vec::new()) };
                };
                let items = items.iter().map(|node| self.value(node, item, scope)).collect();
                Template { at, content: Content::List(items) }
            }
            Value::Map(entries) => {
                let maps: Vec<_> = definition
                    .forms
                    .iter()
                    .filter_map(|form| if let Form::Map(map) = form { Some(*map) } else { None })
                    .collect();
                if maps.is_empty() {
                    self.complaints.invalid(at, "A mapping was not expected");
                    return Template { at, content: Content::Map(Vec::new()) };
                }
                self.map(at, entries, maps, scope)
            }
        }
    }

    /// Reads the entries of a map that may be any of several kinds; its keys show which.
    fn map(
        &mut self,
        at: At,
        entries: &[(Key, Node)],
        mut maps: Vec<&'static Mapping>,
        scope: Scope,
    ) -> Template {
        let others = maps.first().and_then(|map| map.others);
        let (mut seen, mut has_dynamic_key) = (HashSet::new(), false);
        let mut read = Vec::new();
        for (key, node) in entries {
            let name = scalar::read_text(&key.text, key.at, scope, self.complaints);
            let Content::Text(text) = &name.content else {
                has_dynamic_key = true;
                if scope.is_empty() {
                    self.complaints.invalid(key.at, "A template expression is not allowed in this context");
                    continue;
                }
                let all_others = maps.iter().all(|map| map.properties.is_empty());
                let value = others.filter(|_| all_others).map_or(&ANY, |(_, value)| value);
                let value = self.value(node, value, scope);
                read.push((name, value));
                continue;
            };
            if !text.is_empty() && !seen.insert(fold_case(text)) {
                self.complaints.invalid(key.at, format!("'{}' is already defined", scalar::short(text)));
                continue;
            }
            if let Some(definition) = property(&mut maps, text) {
                let value = self.value(node, definition, scope);
                read.push((name, value));
            } else if let Some((key_definition, value_definition)) = others {
                let name = scalar::check(name, key_definition, scope, self.complaints);
                let value = self.value(node, value_definition, scope);
                read.push((name, value));
            } else {
                self.unknown_key(key.at, text, &maps);
            }
        }
        match maps.as_slice() {
            [map] if !has_dynamic_key => self.required(at, map, &seen),
            [_] => {}
            several => self.undecided(at, several),
        }
        Template { at, content: Content::Map(read) }
    }

    fn required(&mut self, at: At, map: &Mapping, seen: &HashSet<String>) {
        for property in map.properties.iter().filter(|property| property.required) {
            if !seen.contains(&fold_case(property.name)) {
                self.complaints.invalid(at, format!("Required property is missing: {}", property.name));
            }
        }
    }

    fn unknown_key(&mut self, at: At, text: &str, maps: &[&Mapping]) {
        let mut known: Vec<_> =
            maps.iter().flat_map(|map| map.properties).map(|property| property.name).collect();
        known.sort_unstable();
        known.dedup();
        let hint = nearest(known.iter().copied(), text).map(|near| format!(". Did you mean {near:?}?"));
        let (hint, text) = (hint.unwrap_or_else(|| ".".to_owned()), scalar::short(text));
        self.complaints.invalid(at, format!("Unexpected value '{text}'{hint} Allowed: {}", known.join(", ")));
    }

    /// None of the keys shows which kind of map this is: those that would are named, but for the newest, which GitHub
    /// does not name either.
    fn undecided(&mut self, at: At, maps: &[&Mapping]) {
        let is_once = |name: &str| maps.iter().filter(|map| map.property(name).is_some()).count() == 1;
        let mut telling: Vec<_> = maps
            .iter()
            .flat_map(|map| map.properties)
            .map(|property| property.name)
            .filter(|name| is_once(name) && !["wait", "wait-all", "cancel", EXTENSION].contains(name))
            .collect();
        telling.sort_unstable();
        let message = "There's not enough info to determine what you meant. Add one of these properties";
        self.complaints.invalid(at, format!("{message}: {}", telling.join(", ")));
    }
}

/// What the key is in the kinds of map that have it; the others it is not, from here on.
fn property(maps: &mut Vec<&'static Mapping>, name: &str) -> Option<&'static Definition> {
    let found = maps.iter().rev().find_map(|map| map.property(name))?;
    maps.retain(|map| map.property(name).is_some());
    Some(found.definition)
}
