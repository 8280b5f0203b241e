//! Limits of time: a step's own, and that of the action around it, which is one for all of that action's steps.
//!
//! Must not know clocks: it is told the time.

use super::Course;
use super::level::Level;

impl Course {
    /// So many milliseconds have passed since a time that stays the same, without those for which the job stood still.
    pub fn at(&mut self, ms: u64) {
        self.now = ms;
    }

    /// A step begins: so do the actions around it, if it is their first.
    pub(super) fn begin_limits(&mut self) {
        for action in self.levels.iter_mut().filter_map(|level| level.action.as_mut()) {
            action.ends_at.get_or_insert(self.now.saturating_add(action.limit_ms));
        }
    }

    /// The limit of a step whose own is this, or 0 for none, and the level of the action that it comes from, if it is not its own.
    pub(super) fn limit(&self, own: u64) -> (u64, Option<usize>) {
        let left = |(at, level): (usize, &Level)| Some((level.action.as_ref()?.left(self.now)?, at));
        let of_actions = self.levels.iter().enumerate().filter_map(left).min();
        match of_actions.filter(|(left, _)| own == 0 || *left < own) {
            Some((left, at)) => (left.max(1), Some(at)),
            None => (own, None),
        }
    }

    /// A step was ended by the limit of this action, whatever the time is said to be.
    pub(super) fn end_limit(&mut self, of: Option<usize>) {
        if let Some(action) = of.and_then(|at| self.levels.get_mut(at)?.action.as_mut()) {
            action.ends_at = Some(self.now);
        }
    }

    /// The time of an action that is under way is over.
    pub(super) fn is_late(&self) -> bool {
        let mut actions = self.levels.iter().filter_map(|level| level.action.as_ref());
        actions.any(|action| action.left(self.now) == Some(0))
    }
}
