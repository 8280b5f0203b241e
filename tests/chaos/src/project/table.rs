//! What was looked at, what was found, and what should have been; and figures, which are not judged.

use std::fmt::{Debug, Display};

use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The part of the show.
    pub part: &'static str,
    /// What.
    pub what: String,
    /// How it is.
    pub found: String,
    /// How it should be.
    pub expected: String,
    /// Whether these are the same.
    pub ok: bool,
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    /// In order.
    pub rows: Vec<Row>,
    /// What, and how long or how much.
    pub figures: Vec<(String, String)>,
    #[serde(skip)]
    part: &'static str,
}

impl Table {
    /// What is looked at from here on belongs to this part.
    pub(super) fn part(&mut self, part: &'static str) {
        eprintln!("{part}");
        self.part = part;
    }

    /// Looks at one thing.
    pub(super) fn check<T: Debug + PartialEq<U>, U: Debug>(
        &mut self,
        what: impl Display,
        found: T,
        expected: U,
    ) {
        let ok = found == expected;
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        if !ok {
            eprintln!("  not ok: {what}: {found} instead of {expected}");
        }
        self.rows.push(Row { part: self.part, what: what.to_string(), found, expected, ok });
    }

    /// Notes a figure.
    pub(super) fn figure(&mut self, what: impl Display, value: impl Display) {
        eprintln!("  {what}: {value}");
        self.figures.push((format!("{}: {what}", self.part), value.to_string()));
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.rows.iter().all(|row| row.ok)
    }
}
