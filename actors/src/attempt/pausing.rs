//! The container of an attempt stands still while its run is paused. Its limits of time do not count that.

use std::time::Duration;

use domain::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lead::Noted;
use super::life::{Life, RETRY};
use crate::clock;
use crate::executor::{ContainerId, Error};

/// Where a pause stands. One that the executor was asked for may take long.
pub(super) struct Pausing {
    /// Since when it stands still, in the machine's time; none while it runs.
    since: Option<Duration>,
    /// For how long it was paused before that, in all.
    before: Duration,
    /// The executor's last answer was none: it may have done what it was asked for or not.
    unsure: bool,
    /// When this life of the node began with it.
    begun: Duration,
    calls: JoinSet<(bool, Result<(), Error>)>,
    /// Not asked again before.
    not_before: Instant,
}

impl Pausing {
    /// Of a container that was found so.
    pub(super) fn of(still: bool, note: Note) -> Self {
        let since = still.then(|| if note.since.is_zero() { clock::since_boot() } else { note.since });
        Self {
            since,
            before: note.total,
            unsure: false,
            begun: clock::since_boot(),
            calls: JoinSet::new(),
            not_before: Instant::now(),
        }
    }

    /// True while it stands still.
    pub(super) fn is_still(&self) -> bool {
        self.since.is_some()
    }

    /// The next answer of the executor; none while it was not asked.
    pub(super) async fn answered(&mut self) -> Option<(bool, Result<(), Error>)> {
        self.calls.join_next().await?.ok()
    }
}

/// What a later life of this node must know of pauses: on disk, where the job cannot write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Since when it stands still, in the machine's time; zero while it runs.
    pub(super) since: Duration,
    /// For how long it was paused before that, in all.
    pub(super) total: Duration,
}

impl Life {
    /// Asks the executor for what is wanted and not so: a paused run's container stands still unless it is to end.
    pub(super) async fn pause_or_resume(&mut self, id: &ContainerId, pausing: &mut Pausing, ends: bool) {
        let wanted = *self.task.paused.borrow_and_update() && !ends;
        let so = wanted == pausing.is_still() && !pausing.unsure;
        if so || !pausing.calls.is_empty() || Instant::now() < pausing.not_before {
            return;
        }
        if let Some(since) = pausing.since.filter(|_| !wanted) {
            // Before it wakes: its init must find out at once for how long it slept.
            let total = pausing.before + clock::since_boot().saturating_sub(since);
            self.note(Note { since: Duration::ZERO, total }).await;
            self.permits.stood_still(total).await;
            if let Err(error) = self.tap.note(Noted::Paused(total.as_millis() as u64)).await {
                tracing::warn!(attempt = %self.task.attempt, %error, "a pause cannot be noted: limits of actions count it");
            }
        }
        let (executor, id) = (std::sync::Arc::clone(&self.parts.executor), id.clone());
        pausing.calls.spawn(async move {
            let done = if wanted { executor.pause(&id).await } else { executor.unpause(&id).await };
            (wanted, done)
        });
    }

    /// Takes the executor's answer; how much longer the job may take for having stood still.
    pub(super) async fn paused_or_resumed(
        &mut self,
        pausing: &mut Pausing,
        (paused, done): (bool, Result<(), Error>),
    ) -> Duration {
        if let Err(error) = done {
            tracing::warn!(attempt = %self.task.attempt, paused, %error, "an attempt cannot be paused or resumed yet");
            (pausing.unsure, pausing.not_before) = (true, Instant::now() + RETRY);
            return Duration::ZERO;
        }
        tracing::info!(attempt = %self.task.attempt, paused, "an attempt stands still, or goes on");
        let now = clock::since_boot();
        let stood = pausing
            .since
            .filter(|_| !paused)
            .map_or(Duration::ZERO, |since| now.saturating_sub(since.max(pausing.begun)));
        pausing.unsure = false;
        match (paused, pausing.since) {
            (true, None) => {
                (pausing.since, pausing.before) = (Some(now), self.permits.paused());
                self.note(Note { since: now, total: pausing.before }).await;
            }
            (true, Some(_)) => {}
            (false, _) => (pausing.since, pausing.before) = (None, self.permits.paused()),
        }
        self.tap.stands_still(paused.then(clock::now));
        stood
    }

    /// Waits, before anything runs, while its run is paused.
    pub(super) async fn stand_by(&mut self) {
        let mut paused = self.task.paused.clone();
        let since: Option<Timestamp> = paused.borrow_and_update().then(clock::now);
        self.tap.stands_still(since);
        if since.is_some() {
            // An error cannot be: the sender is kept as long as the attempt is.
            drop(paused.wait_for(|paused| !paused).await);
            self.tap.stands_still(None);
        }
    }

    async fn note(&self, note: Note) {
        let directories = self.directories.clone();
        let written = tokio::task::spawn_blocking(move || directories.note_pause(note)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!(attempt = %self.task.attempt, ?written, "a later life of this node will not know how long an attempt was paused");
        }
    }
}
