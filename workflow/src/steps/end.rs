//! What a course tells while it goes on, and at its end.

use domain::{Annotation, Level, Outcome, limits};

/// Bytes that are kept for what says where the job's environment is.
const MAX_OF_ENVIRONMENT: usize = 4096;
/// Annotations of one level that one step may make.
const MAX_PER_STEP: usize = 10;

/// Something to be told of a step, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The step began.
    Started {
        /// Index of the step.
        step: u16,
    },
    /// What the step is called, where that is computed.
    Named {
        /// Index of the step.
        step: u16,
        /// As people see it.
        name: String,
    },
    /// Words for its log.
    Said {
        /// Index of the step.
        step: u16,
        /// Without the end of the line.
        words: String,
    },
    /// What it wrote for people to read, Markdown.
    Summary {
        /// Index of the step.
        step: u16,
        /// Its bytes.
        text: Vec<u8>,
    },
    /// The step is over.
    Finished {
        /// Index of the step.
        step: u16,
        /// When its process exited by itself.
        exit_code: Option<i32>,
        /// When a signal ended it.
        signal: Option<i32>,
        /// How.
        outcome: Outcome,
    },
}

/// What a job amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// Why, when not a success.
    pub reason: String,
    /// What it tells later jobs.
    pub outputs: Vec<(String, String)>,
}

/// What the steps said of places in the sources, within limits.
#[derive(Debug, Clone, Default)]
pub(super) struct Annotations {
    pub(super) kept: Vec<Annotation>,
    counts: Vec<(u16, Level, usize)>,
    bytes: usize,
}

impl Annotations {
    /// One that is known to fit.
    pub(super) fn put(&mut self, annotation: Annotation) {
        self.bytes += annotation.message.len() + annotation.title.len() + annotation.file.len();
        self.kept.push(annotation);
    }

    /// A warning about a step, if there is room.
    pub(super) fn warn(&mut self, step: u16, message: String) {
        let (title, file, line, column) = (String::new(), String::new(), 0, 0);
        self.add(step, Annotation { level: Level::Warning, message, title, file, line, column, step });
    }

    /// One that a step said, if there is room.
    pub(super) fn add(&mut self, step: u16, annotation: Annotation) {
        let level = annotation.level;
        let at = self.counts.iter().position(|(of, known, _)| (*of, *known) == (step, level));
        let at = at.unwrap_or_else(|| {
            self.counts.push((step, level, 0));
            self.counts.len() - 1
        });
        self.counts[at].2 += 1;
        let told = annotation.message.len() + annotation.title.len() + annotation.file.len();
        // One is left for the job's environment.
        let room = self.kept.len() + 1 < limits::MAX_ANNOTATIONS
            && self.bytes + told + MAX_OF_ENVIRONMENT <= limits::MAX_ANNOTATION_BYTES;
        if self.counts[at].2 <= MAX_PER_STEP && room {
            self.put(Annotation { step, ..annotation });
        }
    }
}
