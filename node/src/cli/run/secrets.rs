//! Secrets of a run on this machine: from options, the environment, and a file.
//!
//! Must not know where they go.

use std::path::Path;

use super::super::Failure;
use super::super::submit::bytes_of;

/// A secret as an option names it: with its value, or to be taken from the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Named {
    name: String,
    value: Option<String>,
}

// By hand: a value is shown nowhere.
impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Named({})", self.name)
    }
}

/// `NAME`, or `NAME=VALUE`.
///
/// # Errors
/// What is expected.
pub fn named(text: &str) -> Result<Named, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("expected NAME or NAME=VALUE".to_owned());
    }
    Ok(Named { name: name.to_owned(), value })
}

/// Names and values: those of the file, then those of options, of which a later one of the same name wins.
///
/// # Errors
/// [`Failure::NoSecret`], or [`Failure::Input`] with the line that is wrong.
pub fn all(options: &[Named], file: Option<&Path>) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    if let Some(path) = file {
        let wrong = |why: String| Failure::Input {
            path: path.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, why),
        };
        let text = String::from_utf8(bytes_of(path)?).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        all = lines(&text).map_err(wrong)?;
    }
    for Named { name, value } in options {
        let value = value.clone().or_else(|| std::env::var(name).ok());
        let value = value.ok_or_else(|| Failure::NoSecret { name: name.clone() })?;
        all.push((name.clone(), value));
    }
    Ok(all)
}

/// `NAME=VALUE` on each line, the value perhaps in quotes; empty lines and those that begin with `#` are left out.
fn lines(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parts = line.split_once('=').filter(|(name, _)| !name.trim().is_empty());
        // The line is not shown: it may be a secret.
        let (name, value) = parts.ok_or_else(|| format!("line {}: NAME=VALUE is expected", at + 1))?;
        let value = value.trim();
        let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        all.push((name.trim().to_owned(), inner.unwrap_or(value).to_owned()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_name_and_a_value_on_each_line() {
        let found = lines("# x\n\nA=1\n B = \"two = 2\" \nC='3'\nD=\n").unwrap();
        let expected = [("A", "1"), ("B", "two = 2"), ("C", "3"), ("D", "")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let wrong = lines("A=1\nhunter2\n").unwrap_err();
        assert!(wrong.starts_with("line 2") && !wrong.contains("hunter2"), "{wrong}");
    }

    #[test]
    fn an_option_shows_no_value() {
        let secret = named("TOKEN=hunter2=").unwrap();
        assert_eq!(secret.value.as_deref(), Some("hunter2="));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(named("=x").is_err());
    }
}
