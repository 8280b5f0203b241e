//! The question before a container starts: is the attempt still given to this node? It is asked of the cluster, not of
//! the copy of the state here, which may be old.
//!
//! Once the answer is yes, the placement cannot be taken back any more; only the node's lease ends it.

use domain::{AttemptId, AttemptReport, Fence, Progress};

use super::Parts;
use crate::clock;
use crate::runner::{Reported, report_until_known};

/// Waits until the state knows that the attempt begins; the error says why it may not.
pub(super) async fn accept(parts: &Parts, attempt: AttemptId, fence: Fence) -> Result<(), String> {
    let what = Progress::Started { at: clock::now() };
    let report = AttemptReport { attempt, fence, node: parts.options.node, what };
    match report_until_known(&parts.replica, report).await {
        Reported::Applied => Ok(()),
        Reported::Refused(refusal) => Err(format!("it may no longer begin here: {refusal}")),
        Reported::Unacceptable(why) => Err(why),
        // The next life of this node goes on with it.
        Reported::Stopped => std::future::pending().await,
    }
}
