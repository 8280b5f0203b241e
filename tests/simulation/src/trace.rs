//! What happened, in order: always as one hash, on request in words.

use std::hash::Hasher;
use std::sync::{Arc, Mutex, PoisonError};

use siphasher::sip::SipHasher13;

/// A trace. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    hasher: SipHasher13,
    events: u64,
    aloud: bool,
}

impl Trace {
    /// A trace that is printed as well, if it is `aloud`.
    #[must_use]
    pub fn new(aloud: bool) -> Self {
        Self(Arc::new(Mutex::new(State { aloud, ..State::default() })))
    }

    /// Something small and frequent: hashed, never printed.
    pub fn event(&self, at: u64, what: &str, values: &[u64]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        state.hasher.write_u64(at);
        state.hasher.write(what.as_bytes());
        values.iter().for_each(|value| state.hasher.write_u64(*value));
    }

    /// Something to be read.
    pub fn say(&self, at: u64, words: &str) {
        self.event(at, words, &[]);
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).aloud {
            println!("{at:>7} ms  {words}");
        }
    }

    /// The hash of all that happened so far, and how many events that were.
    #[must_use]
    pub fn hash(&self) -> (u64, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.hasher.finish(), state.events)
    }
}
