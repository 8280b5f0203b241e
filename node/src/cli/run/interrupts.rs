//! Interrupts, counted: the first asks for an end in order, the second for an end.
//!
//! Must not know what is ended.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Counts SIGINT and SIGTERM from when it was made.
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
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, count) = watch::channel(0);
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
            }
        });
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
