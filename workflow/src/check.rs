//! Takes YAML apart with exact complaints; collects them all, so that one look shows everything that is wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::Diagnostic;
use crate::yaml::{At, Key, Node, Value};

/// Most complaints about one file.
const MAX_COMPLAINTS: usize = 100;

/// What was wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Complaints(pub Vec<Diagnostic>);

/// The entries of a map, each to be asked for once; what is left over is refused.
pub(crate) struct Fields<'a> {
    entries: Vec<(&'a Key, &'a Node)>,
    of: &'static str,
}

impl Complaints {
    /// Past [`MAX_COMPLAINTS`] nothing is added: nobody reads more, and a bad file costs no more than a good one.
    pub(crate) fn add(&mut self, at: At, message: impl Into<String>) {
        if self.0.len() < MAX_COMPLAINTS {
            self.0.push(at.says(message));
        }
    }

    /// The fields of a map.
    pub(crate) fn fields<'a>(&mut self, node: &'a Node, of: &'static str) -> Option<Fields<'a>> {
        match &node.value {
            Value::Map(entries) => {
                Some(Fields { entries: entries.iter().map(|(k, v)| (k, v)).collect(), of })
            }
            _ => {
                self.add(node.at, format!("{of} is {}, expected a map", node.kind()));
                None
            }
        }
    }

    /// Refuses the fields that nobody asked for.
    pub(crate) fn rest(&mut self, fields: Fields<'_>, allowed: &[&str]) {
        for (key, _) in fields.entries {
            let near = allowed.iter().find(|known| close(known, &key.text));
            let hint = near.map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
            let allowed = allowed.join(", ");
            self.add(
                key.at,
                format!("{:?} is not supported in {}.{hint} Allowed: {allowed}", key.text, fields.of),
            );
        }
    }

    /// Text; any scalar is text here.
    pub(crate) fn text(&mut self, node: &Node, of: &str) -> Option<String> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => {
                if text.contains("${{") {
                    self.add(
                        node.at,
                        format!("{of} uses an expression, which is not supported yet; GITHUB_* variables are set in each step"),
                    );
                }
                if text.contains('\0') {
                    self.add(node.at, format!("{of} contains a NUL character"));
                }
                Some(text.clone())
            }
            _ => {
                self.add(node.at, format!("{of} is {}, expected text", node.kind()));
                None
            }
        }
    }

    /// A whole number within limits.
    pub(crate) fn number<N>(&mut self, node: &Node, of: &str, least: N, most: N) -> Option<N>
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        let text = self.text(node, of)?;
        match text.parse::<N>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.add(
                    node.at,
                    format!("{of} is {:?}, expected a whole number from {least} to {most}", cut(&text)),
                );
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, node: &Node, of: &str) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.add(node.at, format!("{of} must be true or false"));
                None
            }
        }
    }

    /// One text, or a list of texts.
    pub(crate) fn texts(&mut self, node: &Node, of: &str) -> Vec<(At, String)> {
        match &node.value {
            Value::List(items) => {
                items.iter().filter_map(|item| Some((item.at, self.text(item, of)?))).collect()
            }
            _ => self.text(node, of).map(|text| (node.at, text)).into_iter().collect(),
        }
    }

    /// A map of texts, as `env`.
    pub(crate) fn text_map(&mut self, node: &Node, of: &'static str) -> BTreeMap<String, String> {
        let Some(fields) = self.fields(node, of) else { return BTreeMap::new() };
        let mut map = BTreeMap::new();
        for (key, value) in fields.entries {
            let name_ok = !key.text.is_empty() && !key.text.contains(['=', '\0', '\n']);
            if !name_ok {
                self.add(key.at, format!("{:?} cannot be the name of a variable", cut(&key.text)));
            }
            let text = if value.is_null() { Some(String::new()) } else { self.text(value, of) };
            if let Some(text) = text.filter(|_| name_ok) {
                map.insert(key.text.clone(), text);
            }
        }
        map
    }
}

impl<'a> Fields<'a> {
    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a Node> {
        let at = self.entries.iter().position(|(key, _)| key.text == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Takes all that are left.
    pub(crate) fn take_all(&mut self) -> Vec<(&'a Key, &'a Node)> {
        std::mem::take(&mut self.entries)
    }
}

/// The head of a text, for messages.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// At most two single-character changes apart (Levenshtein), for short words.
fn close(known: &str, found: &str) -> bool {
    if found.len() > 40 {
        return false;
    }
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), found.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let here = row[j + 1];
            row[j + 1] = (before + usize::from(x != y)).min(here + 1).min(row[j] + 1);
            before = here;
        }
    }
    row[b.len()] <= 2
}
