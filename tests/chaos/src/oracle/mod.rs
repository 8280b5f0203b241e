//! Judges a history: was anything lost, done twice, begun too early, written wrongly? Pure: what it reads was gathered by
//! others. What is unknown to a client may have been done or not; what was refused was not.

mod agreement;
mod attempts;
mod facts;
mod graphs;
mod outcomes;
mod outputs;
mod pauses;
mod promises;
#[cfg(test)]
mod sample;
mod submits;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::History;

use self::facts::Facts;
pub use self::facts::MARK;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// What was accepted is there, once.
    AcceptedOnce,
    /// What was refused is not there, and nothing is there that nobody asked for.
    RefusedIsAbsent,
    /// A run that was acknowledged is known to every node that answers.
    AcknowledgedIsSeen,
    /// An outcome that was seen once never changes, and is that of the attempt with the highest fence.
    OneOutcome,
    /// A job ends as it must: by its script, its needs, a cancel, or after too many losses.
    ExpectedOutcome,
    /// Attempts of one job do not overlap in time.
    NoOverlap,
    /// When an attempt is over, its container has ended.
    OverIsOver,
    /// Each container belongs to an attempt under its fence on its node, and each attempt to one container at most.
    OneContainer,
    /// No job starts before those that it needs have ended.
    ParentsFirst,
    /// What was cancelled before it was placed never starts.
    CancelledNeverStarts,
    /// Nothing of a run goes on while that is paused.
    PausedStandsStill,
    /// Output is exact: every byte, once.
    OutputExact,
    /// Artifacts are what was written, and match their digests.
    ArtifactsExact,
    /// A node never has more containers than slots.
    Slots,
    /// In one term one node leads.
    OneLeader,
    /// All nodes show the same.
    NodesAgree,
    /// Metrics count what is there.
    MetricsAgree,
    /// After healing everything ends, and fresh jobs run on every node.
    EverythingEnds,
    /// After that nothing is left over.
    NothingLeft,
    /// A process ends when it is asked to, and never by itself.
    ProcessesLive,
}

impl Invariant {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }
}

/// One that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was found.
    pub found: String,
}

/// The judgement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// How often each was checked.
    pub checked: BTreeMap<Invariant, u64>,
    /// What does not hold.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Counts one check, and remembers what it found.
    fn check(&mut self, invariant: Invariant, holds: bool, found: impl FnOnce() -> String) {
        *self.checked.entry(invariant).or_default() += 1;
        if !holds {
            self.violations.push(Violation { invariant, found: found() });
        }
    }

    /// As [`Self::check`], of a result whose error is what was found.
    fn expect(&mut self, invariant: Invariant, result: Result<(), String>) {
        let found = result.err();
        self.check(invariant, found.is_none(), || found.unwrap_or_default());
    }
}

/// Judges all of it.
#[must_use]
pub fn judge(history: &History) -> Verdict {
    let facts = Facts::of(history);
    let mut verdict = Verdict::default();
    submits::judge(&facts, &mut verdict);
    outcomes::judge(&facts, &mut verdict);
    attempts::judge(&facts, &mut verdict);
    pauses::judge(&facts, &mut verdict);
    graphs::judge(&facts, &mut verdict);
    outputs::judge(&facts, &mut verdict);
    agreement::judge(&facts, &mut verdict);
    promises::judge(&facts, &mut verdict);
    verdict
}
