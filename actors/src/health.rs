//! How the supervised children of a node fare, by their names: for readiness, for metrics, and for a node's last words.
//!
//! Must not know what children do, nor when they are restarted: supervisors tell it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::time::Instant;

use crate::metrics::{ACTOR_RESTARTS, ACTORS_DOWN};

/// How a child fares. Restarts are those within its supervisor's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It runs.
    Running {
        /// How often it was restarted.
        restarts: usize,
        /// More than half of the restarts that it may have: it runs now, and nobody should count on it.
        storm: bool,
        /// Why it ended last; empty when it never did.
        last: String,
    },
    /// It ended and will be restarted.
    Restarting {
        /// How often it was restarted, this time included.
        restarts: usize,
        /// Why it ended.
        last: String,
    },
    /// It was restarted too often, or one of its own children was: the node ends.
    GivenUp {
        /// Why.
        last: String,
    },
}

/// What is wrong with a node's children: the words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A child does not run.
    #[error(
        "{child} is down and will be restarted (restart {restarts} within {window:?}); last failure: {last}"
    )]
    Down {
        /// Which.
        child: &'static str,
        /// Restarts within the window, the one to come included.
        restarts: usize,
        /// The window.
        window: Duration,
        /// Its last words.
        last: String,
    },
    /// A child ends again and again.
    #[error("{child} was restarted {restarts} times within {window:?}; last failure: {last}")]
    Storm {
        /// Which.
        child: &'static str,
        /// Restarts within the window.
        restarts: usize,
        /// The window.
        window: Duration,
        /// Its last words.
        last: String,
    },
    /// A child was restarted too often.
    #[error("{last}")]
    GivenUp {
        /// Which.
        child: &'static str,
        /// Why.
        last: String,
    },
}

/// What a supervisor knows of a child.
struct Record {
    up: bool,
    given_up: bool,
    restarts: VecDeque<Instant>,
    permitted: usize,
    window: Duration,
    last: String,
}

#[derive(Default)]
struct Inner {
    children: BTreeMap<&'static str, Record>,
    /// The first that was given up: what came after it came of it.
    given_up: Option<Trouble>,
}

/// Where supervisors write how their children fare. Clones share it; names are unique within a node.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Inner>>);

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.standings()).finish()
    }
}

/// How often a child may be restarted, and within which time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) permitted: usize,
    pub(crate) window: Duration,
}

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It runs, for the first time or again.
    pub(crate) fn up(&self, child: &'static str, limit: Limit) {
        let mut inner = self.lock();
        let again = inner.children.get(child).is_some_and(|record| !record.up);
        let record = inner.children.entry(child).or_insert_with(|| Record {
            up: true,
            given_up: false,
            restarts: VecDeque::new(),
            permitted: limit.permitted,
            window: limit.window,
            last: String::new(),
        });
        record.up = true;
        // What never happened is shown as never, so that its first time is a change.
        counter!(ACTOR_RESTARTS, "actor" => child).increment(u64::from(again));
        count(&inner);
    }

    /// It ended and will be restarted; `restarts` are those within the window, this one included.
    pub(crate) fn down(&self, child: &'static str, limit: Limit, restarts: VecDeque<Instant>, last: String) {
        let Limit { permitted, window } = limit;
        let mut inner = self.lock();
        inner
            .children
            .insert(child, Record { up: false, given_up: false, restarts, permitted, window, last });
        count(&inner);
    }

    /// It ended and will not be restarted.
    pub(crate) fn given_up(&self, child: &'static str, why: String) {
        let mut inner = self.lock();
        if let Some(record) = inner.children.get_mut(child) {
            (record.up, record.given_up, record.last) = (false, true, why.clone());
        }
        inner.given_up.get_or_insert(Trouble::GivenUp { child, last: why });
        count(&inner);
    }

    /// Its supervisor stops: it is not missed.
    pub(crate) fn gone(&self, child: &'static str) {
        let mut inner = self.lock();
        inner.children.remove(child);
        count(&inner);
    }

    /// All children and how they fare.
    #[must_use]
    pub fn standings(&self) -> Vec<(&'static str, Standing)> {
        let now = Instant::now();
        self.lock().children.iter().map(|(name, record)| (*name, record.standing(now))).collect()
    }

    /// What is wrong, the worst first; none while all children run and none was restarted more than half as often as it may.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble_at(Instant::now())
    }

    fn trouble_at(&self, now: Instant) -> Option<Trouble> {
        let inner = self.lock();
        let told = |(child, record): (&&'static str, &Record)| record.trouble(child, now);
        let first = |down: bool| inner.children.iter().filter(|(_, record)| record.up != down).find_map(told);
        inner.given_up.clone().or_else(|| first(true)).or_else(|| first(false))
    }

    /// Why the first child was given up, if one was: the reason for which the node ends.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        self.lock().given_up.as_ref().map(ToString::to_string)
    }
}

fn count(inner: &Inner) {
    gauge!(ACTORS_DOWN).set(inner.children.values().filter(|record| !record.up).count() as f64);
}

impl Record {
    fn recent(&self, now: Instant) -> usize {
        self.restarts.iter().filter(|at| now.duration_since(**at) <= self.window).count()
    }

    fn is_storm(&self, restarts: usize) -> bool {
        restarts > self.permitted / 2
    }

    fn standing(&self, now: Instant) -> Standing {
        let (restarts, last) = (self.recent(now), self.last.clone());
        match (self.up, self.given_up) {
            (true, _) => Standing::Running { restarts, storm: self.is_storm(restarts), last },
            (false, false) => Standing::Restarting { restarts, last },
            (false, true) => Standing::GivenUp { last },
        }
    }

    fn trouble(&self, child: &'static str, now: Instant) -> Option<Trouble> {
        let (restarts, window, last) = (self.recent(now), self.window, self.last.clone());
        match self.up {
            false => Some(Trouble::Down { child, restarts, window, last }),
            true => self.is_storm(restarts).then_some(Trouble::Storm { child, restarts, window, last }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { permitted: 4, window: Duration::from_secs(60) };

    #[test]
    fn a_storm_is_over_when_the_window_has_passed_and_what_is_down_is_told_first() {
        let (board, now) = (Board::default(), Instant::now());
        for child in ["a", "b"] {
            board.up(child, LIMIT);
        }
        let fails = |child, times| board.down(child, LIMIT, vec![now; times].into(), "words".to_owned());
        fails("a", 2);
        board.up("a", LIMIT);
        assert_eq!(board.trouble_at(now), None, "half of what it may");
        fails("a", 3);
        board.up("a", LIMIT);
        let storm = board.trouble_at(now + LIMIT.window);
        assert!(matches!(storm, Some(Trouble::Storm { child: "a", restarts: 3, .. })), "{storm:?}");
        fails("b", 1);
        let down = board.trouble_at(now);
        assert!(matches!(down, Some(Trouble::Down { child: "b", restarts: 1, .. })), "{down:?}");
        board.up("b", LIMIT);
        let later = now + LIMIT.window + Duration::from_millis(1);
        assert_eq!(board.trouble_at(later), None);
        board.given_up("a", "first".to_owned());
        board.given_up("b", "of it".to_owned());
        assert_eq!(board.last_words().as_deref(), Some("first"));
        assert_eq!(board.trouble_at(later).map(|trouble| trouble.to_string()).as_deref(), Some("first"));
    }
}
