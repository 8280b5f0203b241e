//! What init's threads tell each other: cancelled, answers of the node, ends of processes and pumps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::sys;

/// What is known.
#[derive(Debug, Default)]
pub struct State {
    /// Someone asked for the end.
    pub cancelled: bool,
    /// Leader of the process group of the step that runs, as long as it is not reaped.
    pub group: Option<u32>,
    /// Exit codes of steps that the node did.
    pub host: BTreeMap<u16, i32>,
    /// Steps whose process ended.
    pub exited: BTreeSet<u16>,
    /// Pumps that are at their end, by step.
    pub drained: BTreeMap<u16, usize>,
}

/// The state and the bell that rings when it changes.
#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    bell: Condvar,
}

impl Shared {
    /// The state as it is.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and rings.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.bell.notify_all();
    }

    /// Waits until the predicate holds (true) or the deadline passes (false).
    pub fn wait(&self, until: Option<Instant>, holds: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if holds(&state) {
                return true;
            }
            state = match until.map(|u| u.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return false,
                Some(left) => self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Ends the step and this process at once: its node may hold the attempt no longer. Nothing more is written; `always` steps
/// do not run. The state stays locked, so that no step can begin.
#[expect(clippy::disallowed_methods, reason = "main waits for a step or writes, and neither may go on")]
fn kill(shared: &Shared) -> ! {
    let state = shared.lock();
    if let Some(group) = state.group {
        sys::signal_group(group, sys::KILL);
    }
    std::process::exit(128 + sys::KILL)
}

/// Obeys the lines of the control FIFO; lines that make no sense are ignored, for nobody could be told.
pub fn obey(control: File, shared: Arc<Shared>) {
    for line in BufReader::new(control).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split(' ');
        match (words.next(), words.next().map(str::parse::<u16>), words.next().map(str::parse)) {
            (Some("cancel"), None, None) => shared.change(|s| s.cancelled = true),
            (Some("kill"), None, None) => kill(&shared),
            (Some("host"), Some(Ok(step)), Some(Ok(code))) => shared.change(|s| {
                s.host.entry(step).or_insert(code);
            }),
            _ => {}
        }
    }
}
