//! Bugs of the state machine that the chaos suite must find. Without the feature `test-faults`, which no binary of Troupe has, there
//! are none, and nothing of this is left in the code. With it, whoever runs the process plants them, in all nodes alike.

#[cfg(feature = "test-faults")]
mod bugs {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    static UNFENCED: AtomicBool = AtomicBool::new(false);
    static AGAIN: AtomicBool = AtomicBool::new(false);

    /// Plants these bugs and no others: reports are taken whatever their fence; an end that was applied is applied again.
    pub fn plant(unfenced: bool, again: bool) {
        UNFENCED.store(unfenced, Relaxed);
        AGAIN.store(again, Relaxed);
    }

    pub(crate) fn unfenced() -> bool {
        UNFENCED.load(Relaxed)
    }

    pub(crate) fn again() -> bool {
        AGAIN.load(Relaxed)
    }
}

#[cfg(feature = "test-faults")]
pub use bugs::plant;
#[cfg(feature = "test-faults")]
pub(crate) use bugs::{again, unfenced};

#[cfg(not(feature = "test-faults"))]
pub(crate) const fn unfenced() -> bool {
    false
}

#[cfg(not(feature = "test-faults"))]
pub(crate) const fn again() -> bool {
    false
}
