//! Inputs of actions: known by name, or refused by it.

use super::{Inputs, NativeContext};

/// Inputs that are known, by their names in small letters; what was not given is empty.
pub(super) struct Known(Vec<(String, String)>);

impl Known {
    /// As it was given, without the space around it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }
}

/// Takes those that are `known`; says which mean nothing here.
///
/// # Errors
/// One that the action does not have.
pub(super) async fn known(
    ctx: &NativeContext,
    action: &str,
    with: &Inputs,
    known: &[&str],
    ignored: &[&str],
) -> Result<Known, String> {
    let (found, told) = sort(action, with, known, ignored)?;
    if !told.is_empty() {
        ctx.lines.say(&format!("these inputs mean nothing here: {}", told.join(", "))).await;
    }
    Ok(found)
}

fn sort(
    action: &str,
    with: &Inputs,
    known: &[&str],
    ignored: &[&str],
) -> Result<(Known, Vec<String>), String> {
    let (mut found, mut told) = (Vec::new(), Vec::new());
    for (name, value) in with {
        let small = name.to_ascii_lowercase();
        if known.contains(&small.as_str()) {
            found.push((small, value.clone()));
        } else if ignored.contains(&small.as_str()) {
            if !value.trim().is_empty() {
                told.push(name.clone());
            }
        } else {
            return Err(format!("{name}: {action} has no such input; it has {}", known.join(", ")));
        }
    }
    Ok((Known(found), told))
}

/// `true` or `false`; what was not given is false.
pub(super) fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "" | "false" => Ok(false),
        _ => Err(format!("{name}: expected true or false, found {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_known_ignored_or_refused_by_name() -> Result<(), String> {
        let with = |all: &[(&str, &str)]| -> Inputs {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let given = with(&[("Path", " a\n"), ("retention-days", "3"), ("level", "")]);
        let (known, told) = sort("x/y", &given, &["path", "name"], &["retention-days", "level"])?;
        assert_eq!((known.get("path"), known.get("name")), ("a", ""));
        assert_eq!(told, ["retention-days"]);
        let refused = sort("x/y", &with(&[("typo", "1")]), &["path"], &[]).err().unwrap_or_default();
        assert_eq!(refused, "typo: x/y has no such input; it has path");
        assert_eq!((flag("a", "TRUE")?, flag("a", "")?), (true, false));
        assert!(flag("a", "yes").is_err());
        Ok(())
    }
}
