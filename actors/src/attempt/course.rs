//! What the frames of an attempt's log say of its course: steps, start, end, and what init waits for. Pure.

use domain::{Outcome, StepResult, Timestamp};

use crate::logs::{Content, Frame};
use crate::runner::work::Told;

/// A step that has not begun.
const UNTOUCHED: StepResult = StepResult {
    exit_code: None,
    signal: None,
    outcome: None,
    started_at: Timestamp(0),
    finished_at: Timestamp(0),
};

/// Characters of the reason that a job ended with which are kept: the job can write what it likes there.
const MAX_REASON: usize = 1000;

/// Built from frames in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// What there is to tell.
    pub(super) told: Told,
    /// The step that the node is to do, while it is.
    pub(super) host: Option<u16>,
    /// How init says that the job ended.
    pub(super) end: Option<(Outcome, String)>,
}

impl Course {
    /// With so many steps.
    pub(super) fn new(steps: usize) -> Self {
        Self { told: Told { steps: vec![UNTOUCHED; steps], ..Told::default() }, ..Self::default() }
    }

    /// True when this step is over.
    pub(super) fn is_over(&self, step: u16) -> bool {
        self.told.steps.get(usize::from(step)).is_some_and(|step| step.outcome.is_some())
    }

    /// Takes one frame. A step that the plan does not have is the job's own forgery and says nothing.
    pub(super) fn take(&mut self, frame: &Frame) {
        self.told.started_at.get_or_insert(frame.at);
        let index = frame.step;
        match &frame.content {
            Content::Output(..) | Content::Dropped(_) => {}
            Content::JobFinished { outcome, reason } => {
                self.end.get_or_insert_with(|| (*outcome, reason.chars().take(MAX_REASON).collect()));
            }
            Content::HostWanted => {
                if usize::from(index) < self.told.steps.len() {
                    self.host = Some(index);
                }
            }
            Content::StepStarted => {
                if let Some(step) = self.told.steps.get_mut(usize::from(index)) {
                    step.started_at = frame.at;
                }
            }
            Content::StepFinished { exit_code, signal, outcome } => {
                self.host = self.host.filter(|waits| *waits != index);
                if let Some(step) = self.told.steps.get_mut(usize::from(index)) {
                    (step.exit_code, step.signal) = (*exit_code, *signal);
                    (step.outcome, step.finished_at) = (Some(*outcome), frame.at);
                }
            }
        }
    }

    /// The steps when nothing more comes: one that was under way ended with the job.
    pub(super) fn closed(mut self, outcome: Outcome, at: Timestamp) -> Vec<StepResult> {
        for step in &mut self.told.steps {
            if step.outcome.is_none() {
                let began = step.started_at != Timestamp(0);
                step.outcome = Some(if began { outcome } else { Outcome::Skipped });
                step.finished_at = if began { at } else { Timestamp(0) };
            }
        }
        self.told.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at: u64, step: u16, content: Content) -> Frame {
        Frame { at: Timestamp(at), step, spool_end: 0, offset: 0, content }
    }

    #[test]
    fn a_reason_is_kept_in_part() {
        let mut course = Course::new(0);
        course.take(&frame(
            1,
            0,
            Content::JobFinished { outcome: Outcome::Failed, reason: "ü".repeat(9000) },
        ));
        assert_eq!(course.end, Some((Outcome::Failed, "ü".repeat(MAX_REASON))));
    }

    #[test]
    fn frames_make_steps_and_an_end() {
        let mut course = Course::new(3);
        let finished = |outcome| Content::StepFinished { exit_code: Some(0), signal: None, outcome };
        course.take(&frame(5, 0, Content::StepStarted));
        course.take(&frame(6, 0, Content::HostWanted));
        assert_eq!((course.told.started_at, course.host), (Some(Timestamp(5)), Some(0)));
        course.take(&frame(7, 0, finished(Outcome::Succeeded)));
        assert_eq!(course.host, None);
        course.take(&frame(8, 1, Content::StepStarted));
        assert!(course.is_over(0) && !course.is_over(1) && !course.is_over(900));
        // Forged by the job: ignored.
        course.take(&frame(8, 900, finished(Outcome::Succeeded)));
        course.take(&frame(8, 900, Content::HostWanted));
        assert_eq!(course.host, None);
        course.take(&frame(9, 0, Content::JobFinished { outcome: Outcome::Failed, reason: "first".into() }));
        course.take(&frame(
            9,
            0,
            Content::JobFinished { outcome: Outcome::Succeeded, reason: "then".into() },
        ));
        assert_eq!(course.end, Some((Outcome::Failed, "first".to_owned())));
        let steps = course.closed(Outcome::Failed, Timestamp(12));
        let ends: Vec<_> = steps.iter().map(|s| (s.started_at.0, s.finished_at.0, s.outcome)).collect();
        assert_eq!(
            ends,
            [
                (5, 7, Some(Outcome::Succeeded)),
                (8, 12, Some(Outcome::Failed)),
                (0, 0, Some(Outcome::Skipped))
            ]
        );
    }
}
