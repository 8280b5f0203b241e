//! Takes the YAML of Troupe's own keys apart, with exact complaints.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::complaints::Complaints;
use crate::diagnostic::{At, cut, nearest};
use crate::yaml::{Key, Node, Value};

/// The entries of a map, each to be asked for once; what is left over is refused.
pub(super) struct Fields<'a> {
    entries: Vec<(&'a Key, &'a Node)>,
    of: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of a map; of a key that is there twice, the first.
    pub(super) fn of(node: &'a Node, of: &'static str, c: &mut Complaints) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            c.unsupported(node.at, format!("{of} is {}, expected a map", node.kind()));
            return None;
        };
        let mut seen = HashMap::new();
        let mut kept = Vec::new();
        for (key, value) in entries {
            match seen.insert(key.text.as_str(), key.at.line) {
                None => kept.push((key, value)),
                Some(first) => {
                    let text = cut(&key.text);
                    c.unsupported(key.at, format!("the key {text:?} is here twice, first in line {first}"));
                }
            }
        }
        Some(Self { entries: kept, of })
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a Node> {
        let at = self.entries.iter().position(|(key, _)| key.text == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Refuses the fields that nobody asked for.
    pub(super) fn rest(self, allowed: &[&str], c: &mut Complaints) {
        for (key, _) in self.entries {
            not_supported(&key.text, key.at, self.of, allowed, c);
        }
    }
}

/// Refuses a key, and says what else could be there.
pub(super) fn not_supported(key: &str, at: At, of: &str, allowed: &[&str], c: &mut Complaints) {
    let near = nearest(allowed.iter().copied(), key);
    let hint = near.map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
    let (key, allowed) = (cut(key), allowed.join(", "));
    c.unsupported(at, format!("{key:?} is not supported in {of}.{hint} Allowed: {allowed}"));
}

/// Text; any scalar is text here.
pub(super) fn text(node: &Node, of: &str, c: &mut Complaints) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => {
            let text = scalar.text.as_str();
            if text.contains("${{") {
                c.unsupported(node.at, format!("{of} uses an expression, which is not supported there"));
            }
            if text.contains('\0') {
                c.unsupported(node.at, format!("{of} contains a NUL character"));
            }
            Some(text.to_owned())
        }
        _ => {
            c.unsupported(node.at, format!("{of} is {}, expected text", node.kind()));
            None
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node, of: &str, c: &mut Complaints) -> Option<bool> {
    let text = text(node, of, c)?;
    let value = text.parse().ok();
    if value.is_none() {
        c.unsupported(node.at, format!("{of} is {:?}, expected true or false", cut(&text)));
    }
    value
}

/// A whole number within limits.
pub(super) fn number<N>(node: &Node, of: &str, least: N, most: N, c: &mut Complaints) -> Option<N>
where
    N: FromStr + PartialOrd + Display + Copy,
{
    let text = text(node, of, c)?;
    let number = text.parse::<N>().ok().filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let text = cut(&text);
        c.unsupported(node.at, format!("{of} is {text:?}, expected a whole number from {least} to {most}"));
    }
    number
}

/// One text, or a list of texts.
pub(super) fn texts(node: &Node, of: &str, c: &mut Complaints) -> Vec<(At, String)> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(|item| Some((item.at, text(item, of, c)?))).collect(),
        _ => text(node, of, c).map(|text| (node.at, text)).into_iter().collect(),
    }
}
