//! What is wrong with a file, and where.

use std::fmt;

/// Most characters of a complaint.
const MAX_MESSAGE: usize = 500;

/// A place in a file, from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Whose rule a file breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The language's: GitHub refuses the file, too.
    Invalid,
    /// Troupe's: the file is right, but asks for what is not supported here, or is over a limit.
    Unsupported,
}

/// Something in a file that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostic {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Whose rule it is.
    pub kind: Kind,
    /// What was found, what is allowed.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl At {
    /// The beginning of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn invalid(self, message: impl Into<String>) -> Diagnostic {
        self.says(Kind::Invalid, message.into())
    }

    pub(crate) fn unsupported(self, message: impl Into<String>) -> Diagnostic {
        self.says(Kind::Unsupported, message.into())
    }

    pub(crate) fn says_of(self, kind: Kind, message: impl Into<String>) -> Diagnostic {
        self.says(kind, message.into())
    }

    /// What it says may quote the file, so it is cut: a complaint stays one that a person reads.
    fn says(self, kind: Kind, mut message: String) -> Diagnostic {
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
        }
        Diagnostic { line: self.line, column: self.column, kind, message }
    }
}

/// The head of a text, for messages.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The known word that is at most two changes of a letter from what was found, to ask "Did you mean".
pub(crate) fn nearest<'a>(known: impl IntoIterator<Item = &'a str>, found: &str) -> Option<&'a str> {
    let near = |word: &'a str| Some((distance(word, found).filter(|distance| *distance <= 2)?, word));
    known.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// Levenshtein's; none for long words, whose distance nobody needs and which would cost.
fn distance(a: &str, b: &str) -> Option<usize> {
    if b.len() > 40 {
        return None;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
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
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["steps", "step", "strategy"];
        assert_eq!(nearest(known, "stepps"), Some("steps"));
        assert_eq!(nearest(known, "stragety"), Some("strategy"));
        assert_eq!(nearest(known, "services"), None);
        assert_eq!(nearest(known, &"s".repeat(1000)), None);
    }
}
