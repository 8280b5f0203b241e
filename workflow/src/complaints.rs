//! Collects everything that is wrong with a file, so that one look shows it all.

use crate::diagnostic::{At, Diagnostic, Kind};

/// Most complaints about one file.
const MAX_COMPLAINTS: usize = 100;

/// What was wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Vec<Diagnostic>);

impl Complaints {
    /// The file breaks a rule of the language.
    pub(crate) fn invalid(&mut self, at: At, message: impl Into<String>) {
        self.add(at.invalid(message));
    }

    /// The file asks for what is not supported here.
    pub(crate) fn unsupported(&mut self, at: At, message: impl Into<String>) {
        self.add(at.unsupported(message));
    }

    /// Past [`MAX_COMPLAINTS`] nothing is added: nobody reads more, and a bad file costs no more than a good one.
    pub(crate) fn add(&mut self, one: Diagnostic) {
        if self.0.len() < MAX_COMPLAINTS {
            self.0.push(one);
        }
    }

    /// True when the file is no workflow for GitHub either.
    pub(crate) fn any_invalid(&self) -> bool {
        self.0.iter().any(|one| one.kind == Kind::Invalid)
    }

    /// In the order of the file. Where a place breaks a rule of the language, what is not supported there does not
    /// matter yet.
    pub(crate) fn sorted(mut self) -> Vec<Diagnostic> {
        let places: Vec<_> =
            self.0.iter().filter(|one| one.kind == Kind::Invalid).map(|one| (one.line, one.column)).collect();
        self.0.retain(|one| one.kind == Kind::Invalid || !places.contains(&(one.line, one.column)));
        self.0.sort_by_key(|one| (one.line, one.column));
        self.0
    }
}
