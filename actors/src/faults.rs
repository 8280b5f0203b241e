//! Faults for tests/chaos to inject. Without the feature `test-faults`, which no binary of Troupe has, there are none, and
//! nothing of this is left in the code.
//!
//! With it, a process does what the variable `TROUPE_TEST_FAULT` says: faults divided by commas, or `@` and the name of a file
//! that has them, which is read whenever it counts, so that a test can change them while the process runs.
//!
//! - `panic:POINT[:TIMES]`: whoever comes to that point panics, so many times, or always.
//! - `abort:POINT`: the process dies there, as by `kill -9`.
//! - `stall:POINT:MILLIS`: whoever comes there stands still for so long.
//! - `bug:NAME`: a bug that the chaos suite must find.

use std::time::Duration;

/// A place in the code.
#[cfg_attr(not(feature = "test-faults"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Loops of actors.
    Sessions,
    Bulk,
    Queue,
    Leases,
    Dispatcher,
    Scheduler,
    Expansions,
    Outbox,
    Retention,
    Decider,
    Timer,
    Heart,
    Runners,
    Reaper,
    /// The begin of an attempt's life.
    Life,
    /// Stages of an attempt: its directories are there.
    Prepared,
    /// Its image is there.
    Pulled,
    /// The state knows that it begins.
    Accepted,
    /// Its container is made and not started.
    Created,
    /// Its container runs.
    Started,
    /// Its container has ended.
    Exited,
    /// Its result is on disk.
    Kept,
    /// Its result is in the state.
    Reported,
    /// Nothing of it is left but its result and its log.
    Cleaned,
}

/// A bug that can be planted.
#[cfg_attr(not(feature = "test-faults"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The state takes whatever an attempt reports for the job's present attempt.
    NoFenceCheck,
    /// The node takes its lease for longer than it is.
    LeaseTooLong,
    /// A container has the name of its job, and one that has it already is taken for the attempt's own.
    AdoptByName,
    /// An end is reported twice, and the state takes it twice.
    DoubleReport,
    /// The reaper removes what runs, too, and is in a hurry.
    ReapTheLiving,
}

/// Plants what is to be planted into the state machine; before that applies anything.
#[cfg(feature = "test-faults")]
pub fn plant() {
    domain::plant_bugs(is(Bug::NoFenceCheck), is(Bug::DoubleReport));
}

/// A lease as the node takes it.
pub(crate) fn lease(left: Duration) -> Duration {
    if is(Bug::LeaseTooLong) { left * 20 } else { left }
}

#[cfg(not(feature = "test-faults"))]
pub(crate) use none::{at, is, near};
#[cfg(feature = "test-faults")]
pub(crate) use planted::{at, is, near};

#[cfg(not(feature = "test-faults"))]
mod none {
    use std::convert::Infallible;
    use std::future::{Pending, Ready, pending, ready};

    use super::{Bug, Point};

    pub(crate) const fn is(_: Bug) -> bool {
        false
    }

    pub(crate) fn at(_: Point) -> Ready<()> {
        ready(())
    }

    pub(crate) fn near(_: Point) -> Pending<Infallible> {
        pending()
    }
}

// In every test build: what reads faults is tested.
#[cfg(any(test, feature = "test-faults"))]
#[cfg_attr(not(feature = "test-faults"), allow(dead_code))]
mod planted {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::io;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::{Bug, Point};

    const VARIABLE: &str = "TROUPE_TEST_FAULT";
    /// Between two looks of an actor that waits.
    const LOOK: Duration = Duration::from_millis(50);

    const POINTS: [(&str, Point); 24] = [
        ("sessions", Point::Sessions),
        ("bulk", Point::Bulk),
        ("queue", Point::Queue),
        ("leases", Point::Leases),
        ("dispatcher", Point::Dispatcher),
        ("scheduler", Point::Scheduler),
        ("expansions", Point::Expansions),
        ("outbox", Point::Outbox),
        ("retention", Point::Retention),
        ("decider", Point::Decider),
        ("timer", Point::Timer),
        ("heart", Point::Heart),
        ("runners", Point::Runners),
        ("reaper", Point::Reaper),
        ("life", Point::Life),
        ("prepared", Point::Prepared),
        ("pulled", Point::Pulled),
        ("accepted", Point::Accepted),
        ("created", Point::Created),
        ("started", Point::Started),
        ("exited", Point::Exited),
        ("kept", Point::Kept),
        ("reported", Point::Reported),
        ("cleaned", Point::Cleaned),
    ];

    const BUGS: [(&str, Bug); 5] = [
        ("no-fence-check", Bug::NoFenceCheck),
        ("lease-too-long", Bug::LeaseTooLong),
        ("adopt-by-name", Bug::AdoptByName),
        ("double-report", Bug::DoubleReport),
        ("reap-the-living", Bug::ReapTheLiving),
    ];

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Fault {
        Panic(Point, u32),
        Abort(Point),
        Stall(Point, Duration),
        Bug(Bug),
    }

    /// Reads faults. One that makes no sense is an error: a test that injects nothing proves nothing.
    pub(super) fn parse(text: &str) -> Result<Vec<(&str, Fault)>, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(|word| Ok((word, one(word).ok_or_else(|| format!("no such fault: {word}"))?))).collect()
    }

    fn one(word: &str) -> Option<Fault> {
        let point = |name| POINTS.iter().find(|(known, _)| *known == name).map(|(_, point)| *point);
        let parts: Vec<_> = word.split(':').collect();
        Some(match parts[..] {
            ["panic", at] => Fault::Panic(point(at)?, u32::MAX),
            ["panic", at, times] => Fault::Panic(point(at)?, times.parse().ok()?),
            ["abort", at] => Fault::Abort(point(at)?),
            ["stall", at, millis] => Fault::Stall(point(at)?, Duration::from_millis(millis.parse().ok()?)),
            ["bug", name] => Fault::Bug(BUGS.iter().find(|(known, _)| *known == name)?.1),
            _ => return None,
        })
    }

    fn variable() -> &'static str {
        static TEXT: OnceLock<String> = OnceLock::new();
        TEXT.get_or_init(|| std::env::var(VARIABLE).unwrap_or_default())
    }

    /// The text of now.
    fn text() -> String {
        let Some(path) = variable().strip_prefix('@') else { return variable().to_owned() };
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.unwrap_or_else(|error| hopeless(&format!("{path}: {error}"))),
        }
    }

    fn with<T>(look: impl Fn(&str, Fault) -> Option<T>) -> Option<T> {
        let text = text();
        let faults = parse(&text).unwrap_or_else(|why| hopeless(&why));
        faults.into_iter().find_map(|(word, fault)| look(word, fault))
    }

    fn hopeless(why: &str) -> ! {
        eprintln!("{VARIABLE}: {why}");
        std::process::abort()
    }

    pub(crate) fn is(bug: Bug) -> bool {
        with(|_, fault| (fault == Fault::Bug(bug)).then_some(())).is_some()
    }

    /// Does what is to be done here and now; how long to stand still.
    fn come_to(here: Point) -> Option<Duration> {
        with(|word, fault| match fault {
            Fault::Panic(point, times) if point == here && count(word) <= times => {
                panic!("the test wants it: {word}")
            }
            Fault::Abort(point) if point == here => {
                eprintln!("the test wants it: {word}");
                std::process::abort()
            }
            Fault::Stall(point, time) if point == here => Some(time),
            _ => None,
        })
    }

    /// How often a fault was injected, this time included.
    fn count(word: &str) -> u32 {
        static COUNTS: OnceLock<Mutex<HashMap<String, u32>>> = OnceLock::new();
        let mut counts = COUNTS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(word.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Somebody comes to this point.
    pub(crate) async fn at(point: Point) {
        if let Some(time) = come_to(point) {
            tokio::time::sleep(time).await;
        }
    }

    /// Somebody waits at this point, beside what they wait for.
    pub(crate) async fn near(point: Point) -> Infallible {
        loop {
            if let Some(time) = come_to(point) {
                // All that they wait for stands still with them.
                let still = || Handle::current().block_on(tokio::time::sleep(time));
                tokio::task::block_in_place(still);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::planted::{Fault, parse};
    use super::{Bug, Point};

    #[test]
    fn faults_are_read_and_what_makes_no_sense_is_not_passed_over() {
        let read = |text| parse(text).map(|faults| faults.into_iter().map(|(_, fault)| fault).collect());
        assert_eq!(read(""), Ok(vec![]));
        let wanted = vec![
            Fault::Panic(Point::Heart, u32::MAX),
            Fault::Panic(Point::Life, 2),
            Fault::Abort(Point::Created),
            Fault::Stall(Point::Kept, Duration::from_millis(20)),
            Fault::Bug(Bug::AdoptByName),
        ];
        let text = "panic:heart,panic:life:2, abort:created ,stall:kept:20,bug:adopt-by-name\n";
        assert_eq!(read(text), Ok(wanted));
        for bad in ["panic", "panic:nowhere", "panic:heart:x", "abort:heart:1", "stall:heart", "bug:none"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
