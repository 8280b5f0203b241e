//! Until when an attempt's container may run without hearing of its node: this node's lease, written where the container's init
//! reads it, again at each renewal. A node that is dead, stands still or waits for an engine writes nothing, and the init
//! ends the container by itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::AttemptId;
use init::permit::Permit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::control::Directories;
use crate::clock;
use crate::executor::Lease;

/// Writes an attempt's permit at each renewal of the lease, as long as it lives.
pub(super) struct Permits {
    shared: Arc<Shared>,
    _renewals: JoinSet<()>,
}

struct Shared {
    directories: Directories,
    /// Given up before this node takes a lease anew that others have given up.
    lease: Lease,
    /// For how long the attempt was paused, in all.
    paused: Mutex<Duration>,
}

impl Permits {
    /// Begins to write as soon as there is where to write.
    pub(super) fn begin(
        attempt: AttemptId,
        directories: Directories,
        lease: Lease,
        paused: Duration,
    ) -> Self {
        let (mut renewed, kill) = (lease.until.clone(), lease.kill.clone());
        let shared = Arc::new(Shared { directories, lease, paused: Mutex::new(paused) });
        let (mut renewals, of_renewals) = (JoinSet::new(), Arc::clone(&shared));
        renewals.spawn(async move {
            loop {
                let (shared, killed) = (Arc::clone(&of_renewals), kill.is_cancelled());
                let written = tokio::task::spawn_blocking(move || shared.write()).await;
                match written {
                    Ok(Ok(())) => {}
                    // Not prepared yet, or already cleared away.
                    Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                    failed => {
                        tracing::warn!(%attempt, ?failed, "the permit of an attempt cannot be written; it ends with the one before");
                    }
                }
                // What may not run any more may not begin either, should it be about to.
                tokio::select! {
                    changed = renewed.changed() => if changed.is_err() { return },
                    () = kill.cancelled(), if !killed => {}
                }
            }
        });
        Self { shared, _renewals: renewals }
    }

    /// For how long the attempt was paused, in all.
    pub(super) fn paused(&self) -> Duration {
        *self.shared.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it was paused for so long, in all; written when this returns, or said why not.
    pub(super) async fn stood_still(&self, total: Duration) {
        *self.shared.paused.lock().unwrap_or_else(PoisonError::into_inner) = total;
        let shared = Arc::clone(&self.shared);
        let written = tokio::task::spawn_blocking(move || shared.write()).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!(
                ?written,
                "the init of an attempt cannot be told how long it was paused: its limits count that"
            );
        }
    }

    /// As it is now.
    pub(super) fn now(&self) -> Permit {
        self.shared.now()
    }
}

impl Shared {
    fn now(&self) -> Permit {
        let paused = *self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        of(self.lease.end(), paused)
    }

    /// Blocking. One write after the other, each of what is so by then.
    fn write(&self) -> std::io::Result<()> {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        self.directories.permit(of(self.lease.end(), *paused))
    }
}

/// A lease in the machine's time: none has run out long ago.
fn of(lease: Option<Instant>, paused: Duration) -> Permit {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let until = lease
        .map(|until| clock::since_boot().saturating_add(until.saturating_duration_since(Instant::now())));
    Permit { until_ms: until.map_or(0, millis), paused_ms: millis(paused) }
}
