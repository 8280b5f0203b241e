//! What applying a command asks the leader to do.

use crate::{AttemptId, DeliveryId, Fence, JobId, NodeId, Outcome};

/// What applying a command asks the leader to do. Hints: the state is the truth, and everything is derived from it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Jobs became ready or capacity became free: plan.
    WakeScheduler,
    /// Tell the node to start the attempt.
    StartAttempt {
        /// Where.
        node: NodeId,
        /// Which.
        attempt: AttemptId,
        /// Under which fence.
        fence: Fence,
    },
    /// Tell the node to end the attempt.
    CancelAttempt {
        /// Where.
        node: NodeId,
        /// Which.
        attempt: AttemptId,
        /// Under which fence.
        fence: Fence,
    },
    /// The attempt's node will pause it, or let it go on (for metrics: nodes see to it by themselves).
    PauseAttempt {
        /// Which.
        attempt: AttemptId,
        /// Or resume.
        pause: bool,
    },
    /// The attempt stands still, or goes on (for metrics).
    AttemptPaused {
        /// Which.
        attempt: AttemptId,
        /// Or resumed.
        paused: bool,
    },
    /// A delivery waits to be given to a node.
    WakeExpansion,
    /// Tell the node to expand the delivery.
    StartExpansion {
        /// Where.
        node: NodeId,
        /// Which.
        delivery: DeliveryId,
        /// Under which fence.
        fence: Fence,
    },
    /// The outbox has something.
    WakeOutbox,
    /// A job is to be decided.
    WakeDecider,
    /// What starts workflows at certain times has changed.
    WakeClock,
    /// An attempt was lost on this node: it may be in trouble.
    AttemptLost {
        /// Where.
        node: NodeId,
    },
    /// A job is over.
    JobFinished {
        /// Which.
        job: JobId,
        /// How.
        outcome: Outcome,
    },
}
