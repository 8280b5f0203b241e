//! Certificates that are replaced while the node runs: their files are looked at again and again, and used when they have
//! changed, settled, and stand.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{Error, Files, Identity};

/// With less time than this left, the log warns.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// Between two warnings.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What is seen of the three files from outside: device, inode, size and time of change of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp([Option<[i128; 4]>; 3]);

impl Stamp {
    pub(crate) fn of(files: &Files) -> Self {
        let look = |path: &Path| {
            // A link is followed: where it leads may have been changed for another file.
            let meta = fs::metadata(path).ok()?;
            let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
            Some([meta.dev().into(), meta.ino().into(), meta.size().into(), modified])
        };
        Self([look(&files.ca), look(&files.cert), look(&files.key)])
    }
}

impl Identity {
    /// Looks at the files `every` so often until `stop`, and uses them when they have changed and were the same at two looks:
    /// whoever replaces them needs more than one moment. Each `now` uses them at once, changed or not. Files that do not
    /// stand are refused with a word in the log, and what was in use stays in use. Warns when the certificate is about to
    /// expire.
    pub async fn watch(&self, every: Duration, now: &Notify, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut tried, mut seen) = (self.stamp(), self.stamp());
        let mut warned: Option<Instant> = None;
        loop {
            if self.expires_soon() && warned.is_none_or(|at| at.elapsed() >= AGAIN) {
                warned = Some(Instant::now());
                self.warn();
            }
            let at_once = tokio::select! {
                () = stop.cancelled() => return,
                () = now.notified() => true,
                _ = tick.tick() => false,
            };
            let found = self.look().await;
            let settled = found == seen;
            seen = found.clone();
            if at_once || (settled && found != tried) {
                tried = found;
                match self.reload_aside().await {
                    Ok(()) => {
                        warned = None;
                        let days = self.days_left();
                        tracing::info!(days, "the node's certificate was read again; new links use it");
                    }
                    Err(error) => tracing::error!(
                        %error,
                        "the files of the node's certificate are not used; what was in use stays in use"
                    ),
                }
            }
        }
    }

    async fn look(&self) -> Stamp {
        let files = self.files().clone();
        tokio::task::spawn_blocking(move || Stamp::of(&files)).await.unwrap_or_else(|_| self.stamp())
    }

    async fn reload_aside(&self) -> Result<(), Error> {
        let identity = self.clone();
        let reload = tokio::task::spawn_blocking(move || identity.reload());
        // The runtime ends: nobody uses it any more.
        reload.await.unwrap_or(Ok(()))
    }

    fn expires_soon(&self) -> bool {
        self.expires() < SystemTime::now() + SOON
    }

    fn days_left(&self) -> u64 {
        self.expires().duration_since(SystemTime::now()).unwrap_or_default().as_secs() / (24 * 3600)
    }

    fn warn(&self) {
        let path = self.files().cert.display();
        if self.expires() <= SystemTime::now() {
            tracing::error!(%path, "the node's certificate has expired: no other node makes or takes a link; replace it");
        } else {
            let days = self.days_left();
            tracing::warn!(%path, days, "the node's certificate expires soon; replace it (docs/operations.md, Certificates)");
        }
    }
}
