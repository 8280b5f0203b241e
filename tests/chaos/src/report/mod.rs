//! What is said of runs: figures, faults by class, what was asked for, what was checked, what does not hold. Pure, but for the
//! writing of its files.

mod timeline;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::faults::Class;
use crate::history::{Attempt, History, MILLI, TOO_LATE};
use crate::oracle::{Invariant, Verdict};
use crate::round::Ended;

pub use timeline::timeline;

/// How a run of the command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Everything was tried, and everything holds.
    Clean = 0,
    /// Something does not hold.
    Violated = 1,
    /// What was tried holds, and a class of faults that was asked for never came to anything.
    Inconclusive = 3,
}

/// Faults of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// That began.
    pub begun: u64,
    /// Of which something came.
    pub hit: u64,
    /// How much, in what the class counts: processes, pieces held, connections broken, syncs, reads of the clock.
    pub effect: u64,
}

/// One seed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Round {
    /// It.
    pub seed: u64,
    /// Seconds from the first fault to the end.
    pub seconds: u64,
    /// Faults by class.
    pub faults: BTreeMap<Class, Hits>,
    /// Requests by what for and what was answered.
    pub operations: BTreeMap<String, u64>,
    /// Other counts.
    pub figures: BTreeMap<&'static str, u64>,
    /// What was found.
    pub verdict: Verdict,
}

/// All seeds of a run of the command.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The classes that were asked for.
    pub wanted: Vec<Class>,
    /// By seed, in order.
    pub rounds: Vec<Round>,
}

impl Round {
    /// Of what happened.
    #[must_use]
    pub fn of(seed: u64, ended: &Ended) -> Self {
        let (history, verdict) = (&ended.history, ended.verdict.clone());
        let (mut faults, mut operations) = (BTreeMap::<_, Hits>::new(), BTreeMap::new());
        for fault in &history.faults {
            let hits = faults.entry(fault.class).or_default();
            hits.begun += 1;
            hits.hit += u64::from(fault.effect > 0);
            hits.effect += fault.effect;
        }
        for operation in &history.operations {
            let name = format!("{} {}", operation.action.name(), operation.answer.name());
            *operations.entry(name).or_default() += 1;
        }
        // One that broke off before it began has no beginning.
        let began = if history.began == 0 { history.ended } else { history.began };
        let seconds = (history.ended - began) / (1000 * MILLI);
        Self { seed, seconds, faults, operations, figures: figures(history), verdict }
    }

    /// In a line.
    #[must_use]
    pub fn line(&self) -> String {
        let figure = |name| self.figures.get(name).copied().unwrap_or_default();
        format!(
            "seed {}: {} s, {} faults, {} requests, {} runs, {} attempts ({} lost), {} checks, {} violations",
            self.seed,
            self.seconds,
            self.faults.values().map(|hits| hits.begun).sum::<u64>(),
            self.operations.values().sum::<u64>(),
            figure("runs"),
            figure("attempts"),
            figure("attempts lost"),
            self.verdict.checked.values().sum::<u64>(),
            self.verdict.violations.len(),
        )
    }
}

fn figures(history: &History) -> BTreeMap<&'static str, u64> {
    let view = history.views.first();
    let attempts: Vec<Attempt> = view
        .into_iter()
        .flat_map(|view| view.attempts.values())
        .filter_map(|value| serde_json::from_value::<Vec<Attempt>>(value["items"].clone()).ok())
        .flatten()
        .collect();
    let lost = attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some("lost")).count();
    let mut terms: Vec<u64> = history.claims.iter().map(|claim| claim.term).collect();
    terms.sort_unstable();
    terms.dedup();
    let too_late = history.containers.iter().filter(|container| container.exit == Some(TOO_LATE)).count();
    let started = history.containers.iter().filter(|container| container.started.is_some()).count();
    [
        ("runs", view.map_or(0, |view| view.runs.len())),
        ("jobs", view.map_or(0, |view| view.attempts.len())),
        ("attempts", attempts.len()),
        ("attempts lost", lost),
        ("containers started", started),
        ("terms with a leader", terms.len()),
        ("containers that came too late", too_late),
        ("sightings", history.sightings.len()),
    ]
    .map(|(name, count)| (name, count as u64))
    .into()
}

fn add<K: Ord + Clone>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (name, count) in more {
        *sum.entry(name.clone()).or_default() += count;
    }
}

impl Report {
    /// For these classes; nothing has run yet.
    #[must_use]
    pub fn new(wanted: &[Class]) -> Self {
        Self { wanted: wanted.to_vec(), rounds: Vec::new() }
    }

    /// Classes that were asked for and of which nothing came.
    #[must_use]
    pub fn quiet(&self) -> Vec<Class> {
        let hit = |class: &Class| {
            self.rounds.iter().any(|round| round.faults.get(class).is_some_and(|hits| hits.hit > 0))
        };
        self.wanted.iter().copied().filter(|class| !hit(class)).collect()
    }

    /// What it comes to. Without a round it comes to nothing.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        if self.rounds.iter().any(|round| !round.verdict.violations.is_empty()) {
            Conclusion::Violated
        } else if self.rounds.is_empty() || !self.quiet().is_empty() {
            Conclusion::Inconclusive
        } else {
            Conclusion::Clean
        }
    }

    /// For people.
    #[must_use]
    pub fn markdown(&self) -> String {
        let seeds: Vec<_> = self.rounds.iter().map(|round| round.seed.to_string()).collect();
        let mut text = format!("# Chaos: {:?}\n\nSeeds {}.\n", self.conclusion(), seeds.join(", "));
        let quiet = self.quiet();
        if !quiet.is_empty() {
            let names: Vec<_> = quiet.iter().map(|class| class.name()).collect();
            let _ = writeln!(
                text,
                "\nNothing came of these faults, so nothing is said about them: {}.",
                names.join(", ")
            );
        }
        self.violations(&mut text);
        self.tables(&mut text);
        text
    }

    fn violations(&self, text: &mut String) {
        for round in &self.rounds {
            for violation in &round.verdict.violations {
                let (name, found) = (violation.invariant.name(), &violation.found);
                let _ = writeln!(text, "\n**{name}** (seed {}): {found}", round.seed);
            }
        }
    }

    fn tables(&self, text: &mut String) {
        let (mut faults, mut operations) = (BTreeMap::<Class, Hits>::new(), BTreeMap::new());
        let (mut figures, mut checked) = (BTreeMap::new(), BTreeMap::<Invariant, u64>::new());
        let mut seconds = 0;
        for round in &self.rounds {
            for (class, hits) in &round.faults {
                let sum = faults.entry(*class).or_default();
                sum.begun += hits.begun;
                sum.hit += hits.hit;
                sum.effect += hits.effect;
            }
            add(&mut operations, &round.operations);
            add(&mut figures, &round.figures);
            add(&mut checked, &round.verdict.checked);
            seconds += round.seconds;
        }
        text.push_str("\n| fault | begun | hit | effect |\n|---|---|---|---|\n");
        for (class, Hits { begun, hit, effect }) in faults {
            let _ = writeln!(text, "| {} | {begun} | {hit} | {effect} |", class.name());
        }
        text.push_str("\n| asked for, answered | times |\n|---|---|\n");
        for (name, count) in operations {
            let _ = writeln!(text, "| {name} | {count} |");
        }
        text.push_str("\n| invariant | checked |\n|---|---|\n");
        for (invariant, count) in checked {
            let _ = writeln!(text, "| {} | {count} |", invariant.name());
        }
        let _ = writeln!(text, "\n| of it | count |\n|---|---|\n| seconds | {seconds} |");
        for (name, count) in figures {
            let _ = writeln!(text, "| {name} | {count} |");
        }
    }

    /// Writes `report.md` and `report.json`.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        fs::write(to.join("report.md"), self.markdown())?;
        fs::write(to.join("report.json"), serde_json::to_vec_pretty(self)?)
    }
}

/// Writes what is of one seed: its timeline, and all of its history.
///
/// # Errors
/// The directory cannot be written to.
pub fn write_round(ended: &Ended, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::write(to.join("timeline.svg"), timeline(&ended.history))?;
    fs::write(to.join("history.json"), serde_json::to_vec(&ended.history)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Violation;

    fn round(class: Class, hit: u64) -> Round {
        let hits = Hits { begun: 1, hit, effect: hit };
        Round { seed: 7, faults: [(class, hits)].into(), ..Round::default() }
    }

    #[test]
    fn a_class_of_which_nothing_came_is_no_success() {
        let mut report = Report::new(&[Class::Kill]);
        assert_eq!(report.conclusion(), Conclusion::Inconclusive);
        report.rounds.push(round(Class::Kill, 0));
        assert_eq!(report.conclusion(), Conclusion::Inconclusive);
        assert_eq!(report.quiet(), [Class::Kill]);
        report.rounds.push(round(Class::Kill, 1));
        assert_eq!(report.conclusion(), Conclusion::Clean);
    }

    #[test]
    fn a_violation_counts_more_than_anything() {
        let mut report = Report::new(&[Class::Kill, Class::Clock]);
        let mut bad = round(Class::Kill, 1);
        let found = "a run is gone".to_owned();
        bad.verdict.violations.push(Violation { invariant: Invariant::AcceptedOnce, found });
        report.rounds.push(bad);
        assert_eq!(report.conclusion(), Conclusion::Violated);
        let text = report.markdown();
        assert!(text.contains("**accepted-once** (seed 7): a run is gone"), "{text}");
        assert!(text.contains("nothing is said about them: clock."), "{text}");
    }
}
