//! What holds a job that could begin: the time until its next try, and the review of its environment.

use domain::{JobId, Retry};

use super::{Command, Move, REPO, Reply, Timestamp, World, pick};

/// After what a job is tried again.
pub(super) fn retry(bits: u64) -> Retry {
    let backoff_seconds = (bits >> 9 & 3) as u32;
    let (failed, timed_out) = (bits & 16 == 0, bits & 32 == 0);
    Retry { backoff_seconds, failed, timed_out, lost: bits & 448 != 0, attempts: 1 + (bits % 3) as u16 }
}

impl World {
    pub(super) fn end_backoff(&mut self, one: Move) -> Result<(), String> {
        let open: Vec<_> = self.state.backoffs.iter().map(|(id, until)| (*id, *until)).collect();
        let Some((job, until)) = pick(&open, one.a).copied() else { return Ok(()) };
        let early = self.state.now.max(Timestamp(self.clock)) < until;
        match self.apply(Command::EndBackoff { job })? {
            Reply::Refused(_) if early => Ok(()),
            Reply::Done if !early => {
                self.seen.tried_again += 1;
                Ok(())
            }
            other => Err(format!("{job} waits until {until:?}, and the end of that was answered {other:?}")),
        }
    }

    pub(super) fn review(&mut self, one: Move) -> Result<(), String> {
        let open: Vec<JobId> =
            self.state.reviews.iter().filter(|(_, review)| review.is_open()).map(|(id, _)| *id).collect();
        let Some(job) = pick(&open, one.a).copied() else { return Ok(()) };
        let approve = one.b & 1 == 0;
        let reply = self.apply(Command::ReviewJob { job, approve, sender: "someone".to_owned() })?;
        self.seen.reviewed += u64::from(reply == Reply::Done);
        Ok(())
    }

    /// Asks for reviews of an environment, or not any more.
    pub(super) fn change_environment(&mut self, one: Move) -> Result<(), String> {
        let (name, approval) = (format!("env{}", one.a % 2), one.b & 2 == 0);
        let command = match one.b & 1 {
            0 => Command::PutEnvironment { repo: REPO, name, approval },
            _ => Command::RemoveEnvironment { repo: REPO, name },
        };
        self.apply(command).map(drop)
    }

    /// Nothing waits for its time or for somebody any more.
    pub(super) fn hold_nothing(&mut self) -> Result<(), String> {
        for name in ["env0", "env1"] {
            self.apply(Command::RemoveEnvironment { repo: REPO, name: name.to_owned() })?;
        }
        if let Some(last) = self.state.backoffs.iter().map(|(_, until)| *until).max() {
            self.clock = self.clock.max(last.0);
        }
        for id in self.state.backoffs.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            self.apply(Command::EndBackoff { job: id })?;
        }
        Ok(())
    }
}
