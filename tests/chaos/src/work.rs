//! What clients ask for: jobs whose script, output, artifact and end are known beforehand, so that each can be checked to the
//! byte. Pure.

use serde::Serialize;

/// The file that some jobs keep.
pub const ARTIFACT: &str = "kept";
/// The limit of each job: far more than it takes, and far less than clocks are wrong by.
pub const TIMEOUT_SECONDS: u32 = 120;
/// How what Troupe says in the output of an attempt begins; no script here says so.
const WORDS: &str = "troupe: ";
/// A label that no node has.
pub const NOBODY: &str = "no-such-node";

/// When a job with needs runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// When all of them succeeded.
    Success,
    /// However they ended.
    Always,
}

/// A job of a graph, and all that is to be seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Its key.
    pub key: &'static str,
    /// Keys of those before it.
    pub needs: &'static [&'static str],
    /// When it runs.
    pub after: After,
    /// Numbered lines, a tenth of a second each.
    pub lines: u32,
    /// Its exit code.
    pub exit: i32,
    /// It keeps [`ARTIFACT`].
    pub keeps: bool,
}

/// A job without anything special.
const PLAIN: Job = Job { key: "job", needs: &[], after: After::Success, lines: 8, exit: 0, keeps: false };

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One job, under a second.
    Short,
    /// One job that takes longer than a lease lasts.
    Long,
    /// One job that fails.
    Fails,
    /// One job that keeps a file.
    Keeps,
    /// One job that nobody can run.
    Stuck,
    /// Three jobs, one after the other.
    Chain,
    /// Two jobs after one, and one after the two.
    Diamond,
    /// One that fails, one that is skipped for it, and one that runs all the same.
    Broken,
}

impl Kind {
    /// Those of one job, which are submitted by hand. Long ones twice as often: only they can outlive a lease.
    pub const AD_HOC: [Self; 5] = [Self::Short, Self::Long, Self::Long, Self::Fails, Self::Keeps];
    /// Those that are pushed; the name of each is its branch.
    pub const GRAPHS: [Self; 3] = [Self::Chain, Self::Diamond, Self::Broken];

    /// Its name; for a graph, its branch and its workflow's file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Fails => "fails",
            Self::Keeps => "keeps",
            Self::Stuck => "stuck",
            Self::Chain => "chain",
            Self::Diamond => "diamond",
            Self::Broken => "broken",
        }
    }

    /// Its jobs.
    #[must_use]
    pub fn jobs(self) -> Vec<Job> {
        let after = |key, needs| Job { key, needs, ..PLAIN };
        match self {
            Self::Short | Self::Stuck => vec![PLAIN],
            Self::Long => vec![Job { lines: 120, ..PLAIN }],
            Self::Fails => vec![Job { exit: 3, ..PLAIN }],
            Self::Keeps => vec![Job { keeps: true, ..PLAIN }],
            Self::Chain => vec![
                after("first", &[]),
                Job { keeps: true, ..after("second", &["first"]) },
                after("third", &["second"]),
            ],
            Self::Diamond => vec![
                after("top", &[]),
                after("left", &["top"]),
                Job { lines: 20, ..after("right", &["top"]) },
                after("bottom", &["left", "right"]),
            ],
            Self::Broken => vec![
                Job { exit: 3, ..after("bad", &[]) },
                after("skipped", &["bad"]),
                Job { after: After::Always, ..after("cleanup", &["bad"]) },
            ],
        }
    }

    /// How a job of it ends when nothing comes between.
    #[must_use]
    pub fn outcome(self, key: &str) -> Option<&'static str> {
        let jobs = self.jobs();
        let job = jobs.iter().find(|job| job.key == key)?;
        let succeeded = |key: &&str| self.outcome(key) == Some("succeeded");
        Some(if job.after == After::Success && !job.needs.iter().all(succeeded) {
            "skipped"
        } else if job.exit == 0 {
            "succeeded"
        } else {
            "failed"
        })
    }

    /// The workflow of a graph.
    #[must_use]
    pub fn workflow(self) -> String {
        let name = self.name();
        let mut text = format!("on:\n  push:\n    branches: [{name}]\njobs:\n");
        for job in self.jobs() {
            let minutes = TIMEOUT_SECONDS / 60;
            text += &format!("  {}:\n    runs-on: linux\n    timeout-minutes: {minutes}\n", job.key);
            if !job.needs.is_empty() {
                text += &format!("    needs: [{}]\n", job.needs.join(", "));
            }
            if job.after == After::Always {
                text += "    if: always()\n";
            }
            let keeps = if job.keeps { format!(", artifacts: {ARTIFACT}") } else { String::new() };
            text += &format!(
                "    x-troupe: {{ retry: {{ attempts: 5, on: [lost] }}{keeps} }}\n    steps:\n      - run: |\n"
            );
            for line in job.script().lines() {
                text += &format!("          {line}\n");
            }
        }
        text
    }
}

impl Job {
    /// What it runs. Its output tells when it began and ended, in seconds since the machine did.
    #[must_use]
    pub fn script(&self) -> String {
        let Self { lines, exit, .. } = self;
        let keep = if self.keeps {
            format!("printf 'kept by %s %s %s' \"$CI_RUN_ID\" \"$CI_JOB\" \"$CI_RUN_ATTEMPT\" > {ARTIFACT}\n")
        } else {
            String::new()
        };
        let say = |word: &str| {
            format!(
                "echo {word} \"$CI_RUN_ID\" \"$CI_JOB\" \"$CI_RUN_ATTEMPT\" \"$(cut -d' ' -f1 /proc/uptime)\"\n"
            )
        };
        let count =
            format!("i=0\nwhile [ $i -lt {lines} ]; do\n  i=$((i + 1))\n  echo line $i\n  sleep 0.1\ndone\n");
        format!("{}{count}{keep}{}exit {exit}\n", say("begin"), say("end"))
    }

    /// What an attempt keeps.
    #[must_use]
    pub fn artifact(&self, run: &str, attempt: u64) -> String {
        format!("kept by {run} {} {attempt}", self.key)
    }

    /// Whether this is the output of an attempt: the whole of it, or else the beginning, and after that what Troupe says of its
    /// end.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn check_output(&self, text: &str, run: &str, attempt: u64, whole: bool) -> Result<(), String> {
        let text = if whole { text } else { Self::without_words(text) };
        let head = |word: &str| format!("{word} {run} {} {attempt} ", self.key);
        let (begin, end) = (head("begin"), head("end"));
        let mut number = 0;
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let is_time = |words: &str| words.trim_end().parse::<f64>().is_ok();
        for (at, line) in all.iter().enumerate() {
            let expected = match at {
                0 => line.strip_prefix(&begin).is_some_and(is_time),
                _ if number < self.lines => {
                    number += 1;
                    line.trim_end() == format!("line {number}")
                }
                _ if at == self.lines as usize + 1 => line.strip_prefix(&end).is_some_and(is_time),
                _ => false,
            };
            // One that was cut off may end anywhere.
            let cut = !whole && at + 1 == all.len() && !line.ends_with('\n');
            if !(expected && line.ends_with('\n') || cut) {
                return Err(format!("line {} of the output is {line:?}", at + 1));
            }
        }
        let expected = self.lines as usize + 2;
        if whole && all.len() != expected {
            return Err(format!("the output has {} lines, {expected} were written", all.len()));
        }
        Ok(())
    }

    /// Output without what Troupe itself has added at its end.
    #[must_use]
    pub fn without_words(text: &str) -> &str {
        let at =
            if text.starts_with(WORDS) { Some(0) } else { text.find(&format!("\n{WORDS}")).map(|at| at + 1) };
        at.map_or(text, |at| &text[..at])
    }

    /// When an attempt's script began and ended, in seconds since the machine did, as its output says.
    #[must_use]
    pub fn times(text: &str) -> (Option<f64>, Option<f64>) {
        let time = |word: &str| {
            let line = text.lines().find(|line| line.starts_with(word))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        (time("begin "), time("end "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> String {
        let mut text = "begin R job 2 7.25\n".to_owned();
        for number in 1..=8 {
            text += &format!("line {number}\n");
        }
        text + "end R job 2 8.50\n"
    }

    #[test]
    fn output_is_checked_to_the_line() {
        let (good, job) = (output(), PLAIN);
        assert_eq!(job.check_output(&good, "R", 2, true), Ok(()));
        assert_eq!(Job::times(&good), (Some(7.25), Some(8.5)));
        for bad in [
            good.replace("line 4\n", ""),
            good.replace("line 4\n", "line 4\nline 4\n"),
            good.replace("line 4\n", "line 5\n"),
            good.replace(" 2 ", " 1 "),
            good.clone() + "more\n",
            good[..good.len() - 20].to_owned(),
            String::new(),
        ] {
            assert!(job.check_output(&bad, "R", 2, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_cut_off_is_a_beginning() {
        let (good, job) = (output(), PLAIN);
        for end in [0, 5, 19, 24, 40, good.len()] {
            assert_eq!(job.check_output(&good[..end], "R", 2, false), Ok(()), "{end}");
        }
        assert!(job.check_output(&good.replace("line 4\n", ""), "R", 2, false).is_err());
        for said in ["troupe: given up\n".to_owned(), good[..26].to_owned() + "troupe: cancelled\n"] {
            assert_eq!(job.check_output(&said, "R", 2, false), Ok(()), "{said}");
            assert!(job.check_output(&said, "R", 2, true).is_err(), "{said}");
        }
    }

    #[test]
    fn outcomes_follow_from_the_graph() {
        let of = |key| Kind::Broken.outcome(key);
        assert_eq!(
            (of("bad"), of("skipped"), of("cleanup")),
            (Some("failed"), Some("skipped"), Some("succeeded"))
        );
        assert_eq!(of("nobody"), None);
        assert!(Kind::Diamond.jobs().iter().all(|job| Kind::Diamond.outcome(job.key) == Some("succeeded")));
        assert!(Kind::Broken.workflow().contains("if: always()"));
    }
}
