//! What a course is told when something that it ordered is over.

use domain::Outcome;

use super::files;

/// How an order went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// When its process exited by itself.
    pub exit_code: Option<i32>,
    /// When a signal ended it.
    pub signal: Option<i32>,
    /// How. Skipped, when it was ordered without knowing that the job stops, or too late.
    pub outcome: Outcome,
    /// What it wrote.
    pub written: Written,
    /// What the caller answers for what it did itself.
    pub answer: Answer,
}

/// What a step wrote into its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// `GITHUB_OUTPUT`.
    pub output: Vec<u8>,
    /// `GITHUB_ENV`.
    pub env: Vec<u8>,
    /// `GITHUB_PATH`.
    pub path: Vec<u8>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary: Vec<u8>,
    /// Names of files that could not be read or were too large.
    pub bad: Vec<&'static str>,
}

/// What came of something that the caller did itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its outputs.
    pub outputs: Vec<(String, String)>,
    /// Something that is to be done when all steps are over.
    pub post: Option<Post>,
    /// Why it failed, in words.
    pub why: Option<String>,
}

/// Something that is to be done when all steps are over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Only when the job succeeded.
    pub on_success: bool,
    /// What it is told then.
    pub state: String,
}

/// What a step wrote, understood.
#[derive(Debug, Default)]
pub(super) struct Understood {
    pub(super) outputs: Vec<(String, String)>,
    pub(super) env: Vec<(String, String)>,
    pub(super) paths: Vec<String>,
    /// What is wrong, in words; it fails the step.
    pub(super) wrong: Vec<String>,
    /// What is not kept, in words; it is a warning.
    pub(super) left_out: Option<String>,
}

impl Written {
    /// What of it is right counts also when something is not.
    pub(super) fn understand(&self) -> Understood {
        let mut found = Understood::default();
        for name in &self.bad {
            let why = format!("{name}: it has more than 1 MiB, or is no file");
            match *name {
                "GITHUB_STEP_SUMMARY" => found.left_out = Some(format!("{why}; it is not kept")),
                // Nobody reads it here.
                "GITHUB_STATE" => {}
                _ => found.wrong.push(why),
            }
        }
        match files::pairs(&self.output) {
            Ok(pairs) => found.outputs = pairs,
            Err(why) => found.wrong.push(format!("GITHUB_OUTPUT: {why}")),
        }
        match files::pairs(&self.env) {
            Ok(pairs) => {
                let (refused, env) =
                    pairs.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("NODE_OPTIONS"));
                found.env = env;
                if !Vec::is_empty(&refused) {
                    found.wrong.push("GITHUB_ENV: NODE_OPTIONS cannot be set there".to_owned());
                }
            }
            Err(why) => found.wrong.push(format!("GITHUB_ENV: {why}")),
        }
        found.paths = files::paths(&self.path);
        found
    }
}
