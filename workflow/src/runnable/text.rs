//! Texts and their like from the model, as long as nothing is to be computed.

use std::collections::BTreeMap;

use super::fields::not_supported;
use crate::complaints::Complaints;
use crate::diagnostic::{At, cut};
use crate::model::{Dynamic, Located};
use crate::template::{Content, Template};

/// Refuses the keys that are not among these.
pub(super) fn refuse_keys(keys: &[Located<String>], of: &str, allowed: &[&str], c: &mut Complaints) {
    for key in keys.iter().filter(|key| !allowed.contains(&key.value.as_str())) {
        not_supported(&key.value, key.at, of, allowed, c);
    }
}

/// Text that the file says.
pub(super) fn text(found: &Located<Dynamic<String>>, of: &str, c: &mut Complaints) -> Option<String> {
    match &found.value {
        Dynamic::Is(text) => Some(without_nul(text, found.at, of, c)),
        Dynamic::Computed(_) => {
            computed(found.at, of, c);
            None
        }
    }
}

pub(super) fn plain(found: &Located<String>, of: &str, c: &mut Complaints) -> String {
    without_nul(&found.value, found.at, of, c)
}

fn without_nul(text: &str, at: At, of: &str, c: &mut Complaints) -> String {
    if text.contains('\0') {
        c.unsupported(at, format!("{of} contains a NUL character"));
    }
    text.to_owned()
}

fn computed(at: At, of: &str, c: &mut Complaints) {
    let instead = "GITHUB_* variables are set in each step";
    c.unsupported(at, format!("{of} uses an expression, which is not supported yet; {instead}"));
}

/// A whole number that the file says.
pub(super) fn number(
    found: &Located<Dynamic<f64>>,
    of: &str,
    (least, most): (u32, u32),
    c: &mut Complaints,
) -> Option<u32> {
    let Some(value) = found.value.known() else {
        computed(found.at, of, c);
        return None;
    };
    let fits = value.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(value);
    if !fits {
        let shown = crate::yaml::number_text(*value);
        c.unsupported(found.at, format!("{of} is {shown:?}, expected a whole number from {least} to {most}"));
    }
    fits.then_some(*value as u32)
}

/// True or false, as the file says.
pub(super) fn boolean(found: &Located<Dynamic<bool>>, of: &str, c: &mut Complaints) -> Option<bool> {
    let known = found.value.known().copied();
    if known.is_none() {
        computed(found.at, of, c);
    }
    known
}

/// A map of texts, each with its place.
pub(super) fn map<'a>(
    found: Option<&'a Template>,
    of: &str,
    c: &mut Complaints,
) -> Vec<(&'a Template, String, String)> {
    let Some(found) = found else { return Vec::new() };
    let Content::Map(entries) = &found.content else {
        if found.is_dynamic() {
            computed(found.at, of, c);
        }
        return Vec::new();
    };
    let mut read = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.text().filter(|_| key.content != Content::Null) else {
            computed(key.at, of, c);
            continue;
        };
        match value.text() {
            Some(text) => {
                let text = without_nul(&text, value.at, of, c);
                read.push((value, name, text));
            }
            None if value.is_dynamic() => computed(value.at, of, c),
            None => {}
        }
    }
    read
}

/// Variables: a map of texts whose names can be names of variables.
pub(super) fn env(found: Option<&Template>, of: &str, c: &mut Complaints) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (place, name, value) in map(found, of, c) {
        if name.is_empty() || name.contains(['=', '\0', '\n']) {
            c.unsupported(place.at, format!("{:?} cannot be the name of a variable", cut(&name)));
        } else {
            variables.insert(name, value);
        }
    }
    variables
}

/// A path within the workspace.
pub(super) fn path(text: String, at: At, of: &str, c: &mut Complaints) -> Option<String> {
    let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside || text.len() > 1024 {
        let shown = cut(&text);
        c.unsupported(
            at,
            format!("{of} is {shown:?}, expected a relative path without .. of at most 1024 bytes"),
        );
        return None;
    }
    Some(text)
}
