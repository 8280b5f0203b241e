//! Bugs for tests/simulation to find, one at a time. Without the feature `planted-bugs`, which no binary of Troupe has, there
//! are none, and nothing of this is left in the code.

/// A bug that can be planted.
#[cfg_attr(not(feature = "planted-bugs"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// The log says that it has synced what it has not.
    SkipFsync = 1,
    /// The log says that entries are synced before they are.
    AnswerBeforeSync,
    /// A vote is not written down.
    LoseVote,
    /// A leader answers a command before others have it.
    AnswerBeforeQuorum,
    /// A read does not ask whether this node still leads.
    StaleRead,
    /// A command of unknown outcome is written again.
    RetryUnknown,
    /// A report under a stale fence is taken for a report under the present one.
    IgnoreFence,
    /// The last entry of a snapshot is applied again after it.
    DoubleApply,
    /// Idempotency keys do not come back with a snapshot.
    ForgetKeys,
    /// An emptied directory gets the id that it had.
    ReuseId,
    /// The name of a new snapshot is not made durable.
    SkipNameSync,
    /// A new snapshot is given its name before it is synced.
    SkipSnapshotSync,
    /// Replicated time goes back with the clock of who proposes.
    TrustClock,
    /// A cluster is begun with whoever answers.
    BeginWithFewer,
    /// A leader that restarts goes on in its term.
    RestoreLeader,
}

/// Whether this bug is planted.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub(crate) use planting::is;
#[cfg(feature = "planted-bugs")]
pub use planting::{ALL, plant};

#[cfg(feature = "planted-bugs")]
mod planting {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    /// All bugs there are.
    pub const ALL: [Bug; 15] = [
        Bug::SkipFsync,
        Bug::AnswerBeforeSync,
        Bug::LoseVote,
        Bug::AnswerBeforeQuorum,
        Bug::StaleRead,
        Bug::RetryUnknown,
        Bug::IgnoreFence,
        Bug::DoubleApply,
        Bug::ForgetKeys,
        Bug::ReuseId,
        Bug::SkipNameSync,
        Bug::SkipSnapshotSync,
        Bug::TrustClock,
        Bug::BeginWithFewer,
        Bug::RestoreLeader,
    ];

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a bug, in the whole process and for as long as it lives.
    pub fn plant(bug: Bug) {
        PLANTED.store(bug as u8, Ordering::Relaxed);
    }

    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}
