//! What starts workflows beside what forges tell: the times that they name, and runs of other workflows.

use std::sync::Arc;

use super::{Answer, Applying, invalid, not_found};
use crate::{
    DeliveryId, Effect, Event, EventKind, Fence, Outcome, Refusal, Reply, RepoId, RunId, Schedule, Timestamp,
    Triggers, limits,
};

impl Applying<'_> {
    /// What the default branch says from now on. A schedule that was known goes on from where it is.
    pub(super) fn set_triggers(&mut self, repo: RepoId, new: &Triggers, read_by: Fence) {
        let known = self.state.triggers.get(&repo).cloned().unwrap_or_default();
        if known.read_by > read_by {
            return;
        }
        let now = self.state.now;
        let schedules = new.schedules.iter().take(limits::MAX_SCHEDULES).map(|new| {
            let same =
                |old: &&Schedule| (&old.path, &old.cron, &old.zone) == (&new.path, &new.cron, &new.zone);
            let last = known.schedules.iter().find(same).map_or(now, |old| old.last);
            Schedule { last, ..new.clone() }
        });
        let follows = new.follows.iter().take(limits::MAX_FOLLOWERS).cloned().collect();
        let triggers = Triggers { schedules: schedules.collect(), follows, read_by, ..new.clone() };
        self.state.triggers.insert(repo, triggers);
        self.effects.push(Effect::WakeClock);
    }

    /// Once for each time: the entry that moves the schedule on is the one that accepts the delivery.
    pub(super) fn tick(
        &mut self,
        id: DeliveryId,
        repo: RepoId,
        (path, cron, zone): (&str, &str, &str),
        due: Timestamp,
    ) -> Answer {
        let triggers = self.state.triggers.get(&repo).ok_or_else(|| not_found("schedule of", repo))?;
        let same = |one: &Schedule| (&*one.path, &*one.cron, &*one.zone) == (path, cron, zone);
        let known = triggers.schedules.iter().find(|one| same(one));
        let known = known.ok_or_else(|| not_found("schedule of", path))?;
        if due <= known.last || self.state.deliveries.contains(&id) {
            return Err(Refusal::AlreadyDone { what: format!("{path} at {}", due.0) });
        }
        // The leader's clock may be ahead by what clocks of a cluster may differ, not by a day.
        if due.millis_since(self.state.now) > 24 * 3600 * 1000 {
            return Err(invalid("due", "it is more than a day away"));
        }
        let event = Event {
            git_ref: triggers.git_ref.clone(),
            sender: "schedule".to_owned(),
            title: cron.to_owned(),
            payload: payload(cron, zone),
            ..Event::of(EventKind::Schedule)
        };
        let moved = |one: &Schedule| Schedule { last: if same(one) { due } else { one.last }, ..one.clone() };
        let schedules = triggers.schedules.iter().map(moved).collect();
        self.state.triggers.update(&repo, |triggers| triggers.schedules = schedules);
        // One of the same schedule that still waits (its git server is down, say) stands for this time, too.
        let waits = self.state.pending_deliveries.iter().find(|(id, ())| {
            let delivery = self.state.deliveries.get(id);
            delivery.is_some_and(|one| one.repo == repo && *one.event == event && &*one.only_path == path)
        });
        if let Some(id) = waits.map(|(id, ())| *id) {
            return Ok(Reply::Delivery { id, duplicate: true });
        }
        self.put_delivery(id, repo, event, path);
        Ok(Reply::Delivery { id, duplicate: false })
    }

    /// A run was made (no outcome) or has ended: workflows that follow it get a delivery, on the default branch.
    pub(super) fn follow(&mut self, run_id: RunId, outcome: Option<Outcome>) {
        let Some(run) = self.state.runs.get(&run_id) else { return };
        let Some((repo, triggers)) = run.repo.and_then(|id| Some((id, self.state.triggers.get(&id)?))) else {
            return;
        };
        if self.depth(run_id) >= limits::MAX_FOLLOWING {
            return;
        }
        let name = Arc::clone(&run.name);
        let wanted = |one: &&crate::Follow| {
            let asked = if outcome.is_some() { one.completed } else { one.requested };
            asked && one.workflows.iter().any(|workflow| **workflow == *name)
        };
        let paths: Vec<String> = triggers.follows.iter().filter(wanted).map(|one| one.path.clone()).collect();
        let event = Event {
            git_ref: triggers.git_ref.clone(),
            before: run.event.commit.clone(),
            sender: run.event.sender.clone(),
            title: run.name.to_string(),
            from_fork: run.event.from_fork,
            cause: Some(run_id),
            // What is known of the run is added when this is expanded; what has happened to it, now.
            payload: format!(
                "{{\"action\":\"{}\"}}",
                if outcome.is_some() { "completed" } else { "requested" }
            ),
            ..Event::of(EventKind::WorkflowRun)
        };
        for (number, path) in paths.iter().enumerate() {
            // Of the run's own id, so that every node mints the same: its first bits are time, its last ones random.
            let mark = 2 * number as u128 + u128::from(outcome.is_some());
            let id = DeliveryId(run_id.0 ^ (mark + 1));
            if !self.state.deliveries.contains(&id) {
                self.put_delivery(id, repo, event.clone(), path);
            }
        }
    }

    fn depth(&self, run: RunId) -> usize {
        let cause = |run: &RunId| self.state.runs.get(run).and_then(|run| run.event.cause);
        std::iter::successors(cause(&run), cause).take(limits::MAX_FOLLOWING).count()
    }
}

/// What comes with a time that has come. Neither text has quotes: what is no cron and no zone is refused when its file is read.
fn payload(cron: &str, zone: &str) -> String {
    match zone {
        "" => format!("{{\"schedule\":\"{cron}\"}}"),
        zone => format!("{{\"schedule\":\"{cron}\",\"timezone\":\"{zone}\"}}"),
    }
}
