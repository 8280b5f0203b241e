//! Ends other than those of attempts by themselves: of all at once, of the life of who held them.

use std::time::Duration;

use tokio::time::Instant;

use super::{Runners, lock};

/// Between two looks at what still runs.
const LOOK: Duration = Duration::from_millis(50);

impl Runners {
    /// Nobody here holds anything any more, or not yet: also after a life that had no time to say so.
    pub(super) fn begin_anew(&self) {
        self.ready.send_replace(false);
        lock(&self.shared).clear();
    }

    /// Ends all attempts at once, as when this node's lease has run out; returns when nothing of them runs. There is nobody
    /// to whom their ends could be reported.
    pub async fn end_all(&self) {
        self.shared.deadline.send_replace(Some(Instant::now()));
        while !lock(&self.shared).is_empty() {
            match self.shared.work.survivors().await {
                Ok(survivors) if survivors.is_empty() => return,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }
}
