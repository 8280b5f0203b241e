//! Lists of globs as GitHub's toolkit reads them: one in a line, `!` before one takes away what those before it chose, one that
//! names a directory chooses all below it, and of what several say the last word holds. Pure.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Error;

/// A list of globs, all relative to the same directory.
#[derive(Debug)]
pub(crate) struct Globs(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    chooses: bool,
    set: GlobSet,
    /// The directories that it names before its first wildcard.
    head: Vec<String>,
}

impl Globs {
    /// Of patterns that are relative, each with whether it chooses or takes away.
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = (bool, &'a str)>) -> Result<Self, Error> {
        let rules = patterns
            .into_iter()
            .map(|(chooses, pattern)| Ok(Rule { chooses, set: set(pattern)?, head: head(pattern) }));
        Ok(Self(rules.collect::<Result<_, Error>>()?))
    }

    /// Whether it is chosen.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        let said = self.0.iter().rev().find(|rule| rule.set.is_match(path));
        said.is_some_and(|rule| rule.chooses)
    }

    /// Whether anything in this directory could be chosen: what no pattern names is not even listed.
    pub(crate) fn may_be_below(&self, directory: &Path) -> bool {
        self.choosing()
            .any(|rule| rule.head.iter().zip(directory).all(|(wanted, found)| found == wanted.as_str()))
    }

    /// Where a search begins for each that chooses; none lies below another.
    pub(crate) fn heads(&self) -> Vec<&[String]> {
        let mut heads: Vec<_> = self.choosing().map(|rule| rule.head.as_slice()).collect();
        heads.sort_unstable();
        heads.dedup();
        let all = heads.clone();
        heads.retain(|head| !all.iter().any(|other| other.len() < head.len() && head.starts_with(other)));
        heads
    }

    /// Hidden is what has a name with a dot at its beginning, from where its search began.
    pub(crate) fn is_hidden(&self, path: &Path) -> bool {
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let seen_from = |head: &&[String]| {
            let below = parts.len() >= head.len() && head.iter().zip(&parts).all(|(a, b)| a.as_str() == b);
            below && parts[head.len().saturating_sub(1)..].iter().all(|part| !part.starts_with('.'))
        };
        !self.heads().iter().any(seen_from)
    }

    fn choosing(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.chooses)
    }
}

fn head(pattern: &str) -> Vec<String> {
    let parts = pattern.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).map(str::to_owned).collect()
}

fn set(pattern: &str) -> Result<GlobSet, Error> {
    let bad =
        |error: globset::Error| Error::BadPattern { pattern: pattern.to_owned(), why: error.to_string() };
    let parts: Vec<_> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let plain = parts.join("/");
    let both = match plain.is_empty() {
        true => vec!["**".to_owned()],
        false => vec![plain.clone(), format!("{plain}/**")],
    };
    let mut set = GlobSetBuilder::new();
    for glob in both {
        set.add(GlobBuilder::new(&glob).literal_separator(true).build().map_err(bad)?);
    }
    set.build().map_err(bad)
}

/// The lines that say something: trimmed, without empty ones and comments, with whether each chooses.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| match line.strip_prefix('!') {
        Some(rest) => (false, rest.trim_start()),
        None => (true, line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(text: &str) -> Result<Globs, Error> {
        Globs::new(lines(text))
    }

    #[test]
    fn the_last_that_speaks_of_a_path_holds() -> Result<(), Error> {
        let found = globs("# what\n dist \n!dist/**/*.map\ndist/keep.map\n\n./other//*.txt\n")?;
        for (path, chosen) in [
            ("dist/a.js", true),
            ("dist/sub/.hidden/x", true),
            ("dist/a.map", false),
            ("dist/sub/a.map", false),
            ("dist/keep.map", true),
            ("other/x.txt", true),
            ("other/sub/x.txt", false),
            ("distant", false),
        ] {
            assert_eq!(found.matches(Path::new(path)), chosen, "{path}");
        }
        assert!(globs(".")?.matches(Path::new("any/thing")));
        assert!(!globs("!x")?.matches(Path::new("y")), "nothing was chosen");
        assert!(matches!(globs("a[").err(), Some(Error::BadPattern { .. })));
        Ok(())
    }

    #[test]
    fn a_search_begins_where_patterns_do() -> Result<(), Error> {
        let found = globs("a/b/*.x\na\nc/d\n!e")?;
        assert_eq!(found.heads(), [&["a".to_owned()][..], &["c".to_owned(), "d".to_owned()]]);
        assert!(found.may_be_below(Path::new("c")) && found.may_be_below(Path::new("a/any")));
        assert!(!found.may_be_below(Path::new("e")) && !found.may_be_below(Path::new("c/x")));
        Ok(())
    }

    #[test]
    fn hidden_is_seen_from_where_the_search_began() -> Result<(), Error> {
        for (pattern, path, hidden) in [
            (".", ".git/config", true),
            (".", "src/.env", true),
            (".", "src/env", false),
            (".next", ".next/x", true),
            (".next/static/*", ".next/static/x", false),
            ("dist/*/x", "dist/.a/x", true),
            ("dist/.env", "dist/.env", true),
        ] {
            assert_eq!(globs(pattern)?.is_hidden(Path::new(path)), hidden, "{pattern} {path}");
        }
        Ok(())
    }
}
