//! One breach of a rule, and how a list of them is shown. Knows no rule.

use std::fmt;

/// One breach of one rule, at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, relative to the root of the repository.
    pub path: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What was found, and what to do.
    pub what: String,
}

impl Violation {
    /// A breach at a line (from 1), or of the whole file (0).
    pub fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// All violations as one text, sorted, one on each line, for an assertion's message.
pub fn report(mut violations: Vec<Violation>) -> String {
    violations.sort();
    violations.dedup();
    violations.iter().map(|v| format!("  {v}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_sorted_and_says_each_thing_once() {
        let b = Violation::new("b.rs", 0, "too long");
        let a = Violation::new("a.rs", 7, "names tokio");
        assert_eq!(report(vec![b.clone(), a, b]), "  a.rs:7: names tokio\n  b.rs: too long\n");
    }
}
