//! Interrupts, counted: the first asks for an end in order, the second for an end.
//!
//! Must not know what is ended.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The signals that ask for an end: by a key, by another process, by a terminal that goes away.
const ASKING: [fn() -> SignalKind; 4] =
    [SignalKind::interrupt, SignalKind::terminate, SignalKind::hangup, SignalKind::quit];

/// Counts SIGINT, SIGTERM, SIGHUP and SIGQUIT from when it was made.
#[derive(Debug)]
pub struct Interrupts {
    count: watch::Receiver<u32>,
    _listener: JoinSet<()>,
}

impl Interrupts {
    /// Begins to count.
    ///
    /// # Errors
    /// The system's, when signals cannot be listened to.
    pub fn listen() -> std::io::Result<Self> {
        let (sender, count) = watch::channel(0);
        let mut listener = JoinSet::new();
        let kinds = ASKING.into_iter().map(|kind| kind()).filter(|kind| !stays_ignored(*kind));
        for kind in kinds {
            let (mut asked, sender) = (signal(kind)?, sender.clone());
            listener.spawn(async move {
                while asked.recv().await.is_some() {
                    sender.send_modify(|count| *count += 1);
                }
            });
        }
        Ok(Self { count, _listener: listener })
    }

    /// Resolves when there were so many.
    pub async fn reach(&self, number: u32) {
        if self.count.clone().wait_for(|count| *count >= number).await.is_err() {
            // Nobody listens any more, so none will come.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether it is a hangup and nobody is to hear of it, as under `nohup`.
fn stays_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kind == SignalKind::hangup() && is_ignored(&status, kind.as_raw_value())
}

/// As `/proc/PID/status` tells it: one bit for each signal, the first for 1.
fn is_ignored(status: &str, signal: i32) -> bool {
    let told = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = told.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default();
    ignored.checked_shr((signal - 1).unsigned_abs()).unwrap_or_default() & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_as_the_kernel_tells_it() {
        let status = "SigBlk:\t0000000000000002\nSigIgn:\t0000000000000001\n";
        assert!(is_ignored(status, 1));
        assert!(!is_ignored(status, 2) && !is_ignored("", 1));
    }
}
