//! Filters of branches, tags and paths with GitHub's pattern rules ("Filter pattern cheat sheet"): `*` any characters but `/`, `**` any characters, `?` and `+` repeat the
//! character before, `[]` one of a set, `\` the next character as it is; `!` in front takes out again what an earlier
//! pattern let in, in order.

use regex::Regex;

/// Most bytes of a pattern: each becomes a regular expression.
const MAX_BYTES: usize = 1024;

/// Patterns in order.
#[derive(Debug, Clone, Default)]
pub struct Filter(Vec<(bool, Regex)>);

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} cannot be read: {why}")]
pub struct InvalidPattern {
    /// As found.
    pub pattern: String,
    /// What is wrong.
    pub why: String,
}

impl Filter {
    /// Reads patterns.
    ///
    /// # Errors
    /// [`InvalidPattern`] for the first that cannot be read.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let read = |pattern: &str| {
            let invalid = |why: String| InvalidPattern { pattern: pattern.chars().take(80).collect(), why };
            if pattern.len() > MAX_BYTES {
                return Err(invalid(format!("it has {} bytes, the limit is {MAX_BYTES}", pattern.len())));
            }
            let (lets_in, text) = pattern.strip_prefix('!').map_or((true, pattern), |rest| (false, rest));
            let regex = translate(text).map_err(invalid)?;
            Ok((lets_in, Regex::new(&regex).map_err(|e| invalid(e.to_string()))?))
        };
        patterns.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the last pattern that matches lets the name in.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().rev().find(|(_, regex)| regex.is_match(name)).is_some_and(|(lets_in, _)| *lets_in)
    }
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut regex = String::from("(?s)^(?:");
    let mut chars = pattern.chars().peekable();
    let mut repeatable = false;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                // `**/` also matches nothing, so that `**/x` matches `x`.
                let piece = if chars.peek() == Some(&'/') {
                    chars.next();
                    "(?:.*/)?"
                } else {
                    ".*"
                };
                // Twice the same matches no more than once, and would cost.
                if !regex.ends_with(piece) {
                    regex.push_str(piece);
                }
            }
            '*' => regex.push_str("[^/]*"),
            '?' | '+' if repeatable => regex.push(c),
            '?' | '+' => return Err(format!("{c} must follow a character")),
            '[' => {
                let mut set = String::new();
                loop {
                    match chars.next() {
                        Some(']') => break,
                        Some(c) => set.push(c),
                        None => return Err("[ is not closed".to_owned()),
                    }
                }
                if set.is_empty() || !set.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                    return Err("[] must hold letters, digits and ranges".to_owned());
                }
                regex.push('[');
                regex.push_str(&set);
                regex.push(']');
            }
            '\\' => {
                let next = chars.next().ok_or("\\ at the end")?;
                regex.push_str(&regex::escape(&next.to_string()));
            }
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
        repeatable = !matches!(c, '*' | '?' | '+');
    }
    regex.push_str(")$");
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of GitHub's filter pattern cheat sheet, and the order of `!`.
    #[test]
    fn patterns_match_as_github_documents() -> Result<(), InvalidPattern> {
        let cases: [(&[&str], &[&str], &[&str]); 23] = [
            (
                &["feature/*"],
                &["feature/my-branch", "feature/your-branch"],
                &["feature/beta-a/my-branch", "feature"],
            ),
            (&["feature/**"], &["feature/beta-a/my-branch", "feature/mona/the/octocat"], &["main"]),
            (&["main", "releases/mona-the-octocat"], &["main", "releases/mona-the-octocat"], &["mains"]),
            (&["*"], &["main", "releases"], &["all/the/branches"]),
            (&["**"], &["all/the/branches", "every/tag"], &[]),
            (&["*feature"], &["mona-feature", "feature", "ver-10-feature"], &["features"]),
            (&["v2*"], &["v2", "v2.0", "v2.9"], &["v1"]),
            (&["v[12].[0-9]+.[0-9]+"], &["v1.10.1", "v2.0.0"], &["v3.1.1", "v1.x.1"]),
            (&["releases/**", "!releases/**-alpha"], &["releases/10"], &["releases/beta/3-alpha", "main"]),
            (&["!main", "**"], &["main"], &[]),
            (&["*.jsx?"], &["page.js", "page.jsx"], &["page.jsxx", "src/page.js"]),
            (&["*.js"], &["app.js", "index.js"], &["js/index.js"]),
            (&["**.js"], &["index.js", "js/index.js", "src/js/app.js"], &["index.jsx"]),
            (&["docs/*"], &["docs/README.md", "docs/file.txt"], &["docs/a/b.md"]),
            (&["docs/**"], &["docs/README.md", "docs/mona/octocat.txt"], &["src/docs/x"]),
            (&["docs/**/*.md"], &["docs/README.md", "docs/a/markdown/file.md"], &["docs/x.txt"]),
            (
                &["**/docs/**"],
                &["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"],
                &["doc/x"],
            ),
            (&["**/README.md"], &["README.md", "js/README.md"], &["XREADME.md"]),
            (&["**/*src/**"], &["a/src/app.js", "my-src/code/js/app.js"], &["src.js"]),
            (&["**/migrate-*.sql"], &["migrate-10909.sql", "db/sept/migrate-v1.sql"], &["db/migrate.sql"]),
            (&["**/**/x", "a/**/**/**/b**"], &["x", "y/x", "a/b", "a/c/d/bc"], &["y", "a/c"]),
            (&["*.md", "!README.md"], &["hello.md"], &["README.md", "docs/hello.md"]),
            (&["*.md", "!README.md", "README*"], &["hello.md", "README.md", "README.doc"], &["x.doc"]),
        ];
        for (patterns, matching, other) in cases {
            let filter = Filter::new(patterns.iter().copied())?;
            for name in matching {
                assert!(filter.matches(name), "{patterns:?} must match {name}");
            }
            for name in other {
                assert!(!filter.matches(name), "{patterns:?} must not match {name}");
            }
        }
        for bad in ["+x", "a[", "a[b", "a[$]", "a[]", "[é]", "x\\", "*?", &"x".repeat(1025)] {
            assert!(Filter::new([bad]).is_err(), "{bad}");
        }
        Ok(())
    }
}
