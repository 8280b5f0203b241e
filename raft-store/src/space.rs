//! Room on the disk, looked at again and again: new work is refused while there is room for what is under way, and everything
//! that would grow the log while there is room for what Raft itself must write.
//!
//! Votes and what purges the log go on: they fit into the space that the log has reserved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::Command;
use tokio::sync::watch;

use crate::LogStore;
use crate::disk::{SharedDisk, blocking};
use crate::members::Members;
use crate::store::Leadership;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two tries to let another lead, where all may be short of room.
const AGAIN: Duration = Duration::from_secs(30);

/// How much room there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Space {
    /// Enough for everything.
    #[default]
    Enough,
    /// Less than is to stay free: no new work.
    Low,
    /// Less than a quarter of that: no entries at all.
    Full,
}

impl Space {
    /// What so many free bytes mean where `least` are to stay free.
    #[must_use]
    pub fn of(free: u64, least: u64) -> Self {
        match free {
            _ if free >= least => Self::Enough,
            _ if free >= least / 4 => Self::Low,
            _ => Self::Full,
        }
    }

    /// Whether a command may be brought into the log.
    #[must_use]
    pub fn allows(self, command: &Command) -> bool {
        match self {
            Self::Enough => true,
            Self::Low => !command.brings_work(),
            Self::Full => false,
        }
    }
}

/// Looks until nobody listens any more.
pub(crate) async fn watch(
    disk: SharedDisk,
    dir: PathBuf,
    least: u64,
    log: LogStore,
    sender: watch::Sender<Space>,
) {
    while !sender.is_closed() {
        let (its, at) = (SharedDisk::clone(&disk), dir.clone());
        match blocking(&*disk, move || its.free_bytes(&at)).await {
            Ok(free) => {
                metrics::gauge!(crate::metrics::DISK_FREE).set(crate::metrics::number(free));
                tell(&sender, Space::of(free, least), free, least, &dir);
                log.reserve();
            }
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "cannot tell how much room the disk has")
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Hands leadership over while this node leads and its disk has not enough room: it would refuse everybody's new work, not
/// only its own. Whether another has room is not known here; that one looks for itself.
pub(crate) async fn give_way(
    mut space: watch::Receiver<Space>,
    mut leadership: watch::Receiver<Leadership>,
    members: Arc<Members>,
) {
    loop {
        if *space.borrow_and_update() != Space::Enough && leadership.borrow_and_update().is_me {
            match members.hand_over(None).await {
                Ok(leader) => tracing::warn!(%leader, "the disk is nearly full: another leads now"),
                Err(error) => {
                    tracing::warn!(%error, "the disk is nearly full, and this node goes on to lead")
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        let changed = tokio::select! {
            biased;
            changed = space.changed() => changed,
            changed = leadership.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn tell(sender: &watch::Sender<Space>, space: Space, free: u64, least: u64, dir: &std::path::Path) {
    let changed = sender.send_if_modified(|before| std::mem::replace(before, space) != space);
    let (dir, free_mib, least_mib) = (dir.display(), free >> 20, least >> 20);
    match space {
        _ if !changed => {}
        Space::Enough => tracing::info!(%dir, free_mib, "the disk has room again"),
        Space::Low => {
            tracing::error!(%dir, free_mib, least_mib, "the disk is nearly full: no new work is accepted")
        }
        Space::Full => tracing::error!(%dir, free_mib, least_mib, "the disk is full: nothing is accepted"),
    }
}

#[cfg(test)]
mod tests {
    use domain::{RunId, TokenId};

    use super::*;

    #[test]
    fn new_work_ends_first_then_everything() {
        const LEAST: u64 = 4096;
        let submit =
            Command::Rerun { id: RunId(2), of: RunId(1), sender: "me".to_owned(), key: String::new() };
        let others =
            [Command::RevokeToken { id: TokenId(1) }, Command::CancelRun { run: RunId(1), force: false }];
        for (free, work, rest) in [
            (4096, true, true),
            (4095, false, true),
            (1024, false, true),
            (1023, false, false),
            (0, false, false),
        ] {
            let space = Space::of(free, LEAST);
            assert_eq!(space.allows(&submit), work, "{free} bytes free");
            assert!(others.iter().all(|other| space.allows(other) == rest), "{free} bytes free");
        }
    }
}
