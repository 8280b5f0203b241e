//! What init's threads tell each other: cancelled, answers of the node, ends of processes and pumps; and limits of time,
//! which do not count how long the job was paused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use init::permit::Permit;

use crate::lease::Lease;
use crate::sys;

/// What is known.
#[derive(Debug, Default)]
pub struct State {
    /// Someone asked for the end.
    pub cancelled: bool,
    /// The last order that the node told of.
    pub told: u32,
    /// Leader of the process group of the order that runs, as long as it is not reaped.
    pub group: Option<u32>,
    /// The last order that the node itself did, and its exit code.
    pub host: Option<(u32, i32)>,
    /// The last order whose process ended.
    pub exited: u32,
    /// Pumps that are at their end, by order.
    pub drained: BTreeMap<u32, usize>,
}

/// A limit of time, while the job is not paused.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    at: Instant,
    /// What [`Shared::paused`] was when it was set.
    paused: Duration,
}

impl Limit {
    /// How much of it is left, when the job was paused for so long in all.
    fn left(self, paused: Duration) -> Duration {
        (self.at + paused.saturating_sub(self.paused)).saturating_duration_since(Instant::now())
    }
}

/// The state and the bell that rings when it changes.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    lease: Option<Lease>,
}

impl Shared {
    /// Nothing has happened; the node says of time what this lease holds.
    pub fn new(lease: Option<Lease>) -> Self {
        Self { state: Mutex::default(), bell: Condvar::new(), lease }
    }

    /// For how long the job was paused, in all. Read anew each time: one who wakes from a pause must know of it at once.
    fn paused(&self) -> Duration {
        Duration::from_millis(self.permit().map_or(0, |permit| permit.paused_ms))
    }

    /// What the node says of time now.
    pub fn permit(&self) -> Option<Permit> {
        self.lease.as_ref().and_then(Lease::read)
    }

    /// So many milliseconds from now; 0 is no limit.
    pub fn after(&self, ms: u64) -> Option<Limit> {
        (ms > 0).then(|| Limit { at: Instant::now() + Duration::from_millis(ms), paused: self.paused() })
    }

    /// True when there is a limit and it is over.
    pub fn is_over(&self, limit: Option<Limit>) -> bool {
        limit.is_some_and(|limit| limit.left(self.paused()).is_zero())
    }

    /// The one of two limits that is over first.
    pub fn earlier(&self, a: Option<Limit>, b: Option<Limit>) -> Option<Limit> {
        let paused = self.paused();
        a.into_iter().chain(b).min_by_key(|limit| limit.left(paused))
    }

    /// The state as it is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and rings.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.bell.notify_all();
    }

    /// Waits until the predicate holds (true) or the limit is over (false).
    pub fn wait(&self, limit: Option<Limit>, holds: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if holds(&state) {
                return true;
            }
            state = match limit.map(|limit| limit.left(self.paused())) {
                Some(left) if left.is_zero() => return false,
                Some(left) => self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Ends the step and this process at once: its node may hold the attempt no longer. Nothing more is written, and no
/// order is carried out. The state stays locked, so that no process can begin.
#[expect(clippy::disallowed_methods, reason = "main waits for a step or writes, and neither may go on")]
pub fn end(shared: &Shared, code: i32) -> ! {
    let state = shared.lock();
    if let Some(group) = state.group {
        sys::signal_group(group, sys::KILL);
    }
    std::process::exit(code)
}

/// Obeys the lines of the control FIFO; lines that make no sense are ignored, for nobody could be told.
pub fn obey(control: File, shared: Arc<Shared>) {
    for line in BufReader::new(control).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split(' ');
        match (words.next(), words.next().map(str::parse::<u32>), words.next().map(str::parse)) {
            (Some("cancel"), None, None) => shared.change(|s| s.cancelled = true),
            (Some("kill"), None, None) => end(&shared, 128 + sys::KILL),
            (Some("order"), Some(Ok(order)), None) => shared.change(|s| s.told = s.told.max(order)),
            (Some("host"), Some(Ok(order)), Some(Ok(code))) => {
                shared.change(|s| s.host = Some((order, code)))
            }
            _ => {}
        }
    }
}
