//! Parts of the model as text: what is computed stands in `${{ }}` again.

use domain::Variables;

use crate::complaints::Complaints;
use crate::diagnostic::{At, cut};
use crate::model::{Dynamic, Located};
use crate::template::{Content, Template};

fn written(expression: &crate::expression::Expression) -> String {
    format!("${{{{ {} }}}}", expression.text())
}

/// Text, as the file says it or as an expression.
pub(crate) fn text_of<T: ToString>(found: &Located<Dynamic<T>>) -> String {
    match &found.value {
        Dynamic::Is(value) => value.to_string(),
        Dynamic::Computed(expression) => written(expression),
    }
}

/// The text of what may be left out.
pub(super) fn maybe<T: ToString>(found: Option<&Located<Dynamic<T>>>) -> String {
    found.map(text_of).unwrap_or_default()
}

/// A scalar as text; none of a list or a map.
fn scalar(template: &Template) -> Option<String> {
    match &template.content {
        Content::Expression(expression) => Some(written(expression)),
        _ => template.text(),
    }
}

/// A map of texts in order. What is computed as a whole, or put in, has no name.
pub(crate) fn variables(found: Option<&Template>) -> Variables {
    let Some(found) = found else { return Vec::new() };
    match &found.content {
        Content::Expression(expression) => vec![(String::new(), written(expression))],
        Content::Map(entries) => {
            let entry = |(key, value): &(Template, Template)| match &key.content {
                Content::Insert => Some((String::new(), scalar(value)?)),
                _ => Some((scalar(key)?, scalar(value)?)),
            };
            entries.iter().filter_map(entry).collect()
        }
        _ => Vec::new(),
    }
}

/// The same, of which the names are those of variables.
pub(super) fn env(found: Option<&Template>, of: &str, c: &mut Complaints) -> Variables {
    if let Some(Template { content: Content::Map(entries), .. }) = found {
        for (key, _) in entries {
            if let Some(name) = key.text()
                && (name.is_empty() || name.contains(['=', '\0', '\n']))
            {
                c.unsupported(key.at, format!("{:?} cannot be the name of a variable of {of}", cut(&name)));
            }
        }
    }
    no_nul(found, of, c);
    variables(found)
}

fn no_nul(found: Option<&Template>, of: &str, c: &mut Complaints) {
    let Some(found) = found else { return };
    match &found.content {
        Content::Text(text) if text.contains('\0') => {
            c.unsupported(found.at, format!("{of} contains a NUL character"));
        }
        Content::Map(entries) => entries.iter().for_each(|(_, value)| no_nul(Some(value), of, c)),
        _ => {}
    }
}

/// Text without NUL.
pub(super) fn checked(found: &Located<Dynamic<String>>, of: &str, c: &mut Complaints) -> String {
    let text = text_of(found);
    if text.contains('\0') {
        c.unsupported(found.at, format!("{of} contains a NUL character"));
    }
    text
}

/// A path within the workspace, or text that is computed.
pub(super) fn path(found: &Located<Dynamic<String>>, of: &str, c: &mut Complaints) -> String {
    let text = checked(found, of, c);
    if let Dynamic::Is(text) = &found.value {
        within(text, found.at, of, c);
    }
    text
}

/// Complains of what is no path within the workspace.
pub(super) fn within(text: &str, at: At, of: &str, c: &mut Complaints) {
    let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside || text.len() > 1024 {
        let shown = cut(text);
        let expected = "expected a relative path without .. of at most 1024 bytes";
        c.unsupported(at, format!("{of} is {shown:?}, {expected}"));
    }
}
