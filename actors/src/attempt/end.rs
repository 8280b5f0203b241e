//! What an attempt amounts to, from all that is known when it is over. Pure.

use domain::{Outcome, Resources};
use init::{disk, permit};

use crate::executor::{Error, Exit};
use crate::logs;

/// Why the node itself ended the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// Someone asked for it, and it did not end by itself in time.
    Cancelled,
    /// This node may hold it no longer.
    Killed,
    /// Its init did not keep the job's limit.
    Overdue,
    /// What its init wrote makes no sense.
    Broken(String),
    /// This node cannot go on with it, through no fault of the job: another node may.
    Trouble(String),
}

impl Cause {
    /// A log that cannot go on: by what the job did to its spool or has of secrets, or by this node's own files.
    pub(super) fn of(error: logs::Error) -> Self {
        match error {
            logs::Error::BadSpool { .. } | logs::Error::Unmasked { .. } => Self::Broken(error.to_string()),
            logs::Error::Io { .. } | logs::Error::NotHere { .. } => Self::Trouble(error.to_string()),
        }
    }
}

impl Cause {
    /// An order that could not be given: its container has ended and everything was cleared away, the job has put something in its place,
    /// or this node's disk is full.
    pub(super) fn of_order(number: u32, error: &std::io::Error) -> Self {
        let why = format!("cannot give its init order {number}: {error}");
        if disk::is_to_blame(error) { Self::Trouble(why) } else { Self::Broken(why) }
    }
}

/// Exit codes of a container that was ended from outside before its init could say so: by KILL or TERM, or with its
/// machine, which the engine tells as 255.
const FROM_OUTSIDE: [i64; 3] = [128 + 9, 128 + 15, 255];

/// Exit codes of an init that heard nothing of its node.
const NO_PERMIT: [i64; 2] = [permit::RAN_OUT as i64, permit::TOO_LATE as i64];

/// Outcome and reason. What init said counts first, for it saw the steps; but a cancel that nobody `asked` for is the end
/// of its node or of its container, and the job has not had its say.
pub(super) fn conclude(
    cause: Option<Cause>,
    end: Option<(Outcome, String)>,
    exit: &Result<Exit, Error>,
    asked: bool,
    resources: Resources,
) -> (Outcome, String) {
    let starved = exit.as_ref().is_ok_and(|exit| exit.oom_killed);
    let memory =
        format!("the kernel ended a process for want of memory; the job has {} MiB", resources.memory_mib);
    match (end, cause, exit) {
        (Some((Outcome::Failed, reason)), _, _) if starved => {
            (Outcome::Failed, format!("{reason}: {memory}"))
        }
        (_, Some(Cause::Trouble(why)), _) => (Outcome::Lost, why),
        (_, Some(Cause::Broken(why)), _) => (Outcome::Failed, why),
        (None | Some((Outcome::Cancelled, _)), Some(Cause::Killed), _) => {
            (Outcome::Lost, "killed: its node may no longer hold it".to_owned())
        }
        (None | Some((Outcome::Cancelled, _)), Some(Cause::Overdue), _) => {
            (Outcome::TimedOut, "it did not end at the job's limit and was killed".to_owned())
        }
        (Some((Outcome::Cancelled, _)), _, _) if !asked => (
            Outcome::Lost,
            "its container was ended from outside: nobody asked for it in the cluster".to_owned(),
        ),
        // A job that began is not skipped, whatever was written into its spool.
        (Some((Outcome::Skipped, _)), _, _) => {
            (Outcome::Failed, "its init said that all of it was skipped".to_owned())
        }
        (Some(end), _, _) => end,
        (None, Some(Cause::Cancelled), _) => {
            (Outcome::Cancelled, "cancelled; it did not end by itself and was killed".to_owned())
        }
        (None, None, Ok(_)) if starved => (Outcome::Failed, memory),
        (None, None, Ok(Exit { code, .. })) if NO_PERMIT.contains(code) => (
            Outcome::Lost,
            "its node said nothing more to it until its lease had run out, so it ended by itself".to_owned(),
        ),
        (None, None, Ok(Exit { code, .. })) if *code == i64::from(disk::FAILED) => {
            (Outcome::Lost, "its init could not write: the disk of its node is full, or fails".to_owned())
        }
        (None, None, Ok(Exit { code, error, .. })) => {
            let words = error.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            if FROM_OUTSIDE.contains(code) {
                return (
                    Outcome::Lost,
                    format!("its container was ended from outside with code {code}{words}"),
                );
            }
            (
                Outcome::Failed,
                format!("its container ended with code {code} before its steps were over{words}"),
            )
        }
        (None, None, Err(Error::Gone(_))) => {
            (Outcome::Lost, "its container was removed by someone else".to_owned())
        }
        (None, None, Err(error)) => (Outcome::Lost, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCES: Resources = Resources { cpu_millis: 0, memory_mib: 64 };

    fn exit(code: i64, oom_killed: bool) -> Result<Exit, Error> {
        Ok(Exit { code, oom_killed, error: None })
    }

    fn said(outcome: Outcome) -> Option<(Outcome, String)> {
        Some((outcome, "said".to_owned()))
    }

    fn outcome(
        cause: Option<Cause>,
        end: Option<(Outcome, String)>,
        exit: &Result<Exit, Error>,
        asked: bool,
    ) -> Outcome {
        conclude(cause, end, exit, asked, RESOURCES).0
    }

    #[test]
    fn what_init_said_counts_and_without_it_the_cause_or_the_exit_does() {
        use Outcome::{Cancelled, Failed, Lost, Skipped, Succeeded, TimedOut};
        let gone = Err(Error::Gone(String::new()));
        assert_eq!(outcome(None, said(Succeeded), &exit(0, false), false), Succeeded);
        assert_eq!(outcome(Some(Cause::Killed), said(Succeeded), &exit(0, false), false), Succeeded);
        assert_eq!(outcome(Some(Cause::Cancelled), said(Cancelled), &exit(1, false), true), Cancelled);
        assert_eq!(outcome(Some(Cause::Killed), None, &exit(137, false), false), Lost);
        assert_eq!(outcome(Some(Cause::Cancelled), None, &exit(137, false), true), Cancelled);
        assert_eq!(outcome(Some(Cause::Overdue), None, &exit(137, false), false), TimedOut);
        assert_eq!(outcome(None, None, &gone, false), Lost);
        assert_eq!(outcome(None, said(Skipped), &exit(0, false), false), Failed);
        let broken = Some(Cause::Broken("nonsense".to_owned()));
        assert_eq!(outcome(broken, said(Succeeded), &exit(0, false), false), Failed);
        let trouble = Some(Cause::Trouble("disk full".to_owned()));
        assert_eq!(outcome(trouble, said(Succeeded), &exit(0, false), false), Lost);
        let (outcome, reason) = conclude(None, said(Failed), &exit(1, true), false, RESOURCES);
        assert_eq!(outcome, Failed);
        assert!(reason.contains("said") && reason.contains("64 MiB"), "{reason}");
        let (outcome, reason) = conclude(None, None, &exit(3, false), false, RESOURCES);
        assert!(outcome == Failed && reason.contains("code 3"), "{reason}");
    }

    #[test]
    fn an_order_that_cannot_be_given_for_want_of_disk_is_not_the_jobs_fault() {
        use std::io::{Error, ErrorKind};
        let of = |error: Error| Cause::of_order(3, &error);
        for error in
            [ErrorKind::StorageFull.into(), ErrorKind::QuotaExceeded.into(), Error::from_raw_os_error(5)]
        {
            assert!(
                matches!(of(error), Cause::Trouble(why) if why.starts_with("cannot give its init order 3: "))
            );
        }
        for kind in [ErrorKind::AlreadyExists, ErrorKind::NotFound, ErrorKind::IsADirectory] {
            assert!(matches!(of(kind.into()), Cause::Broken(_)), "{kind}");
        }
    }

    #[test]
    fn an_end_from_outside_that_nobody_asked_for_is_a_loss() {
        use Outcome::{Cancelled, Failed, Lost, TimedOut};
        // The engine or the machine stops: TERM reaches init, which takes it for a cancel.
        assert_eq!(outcome(None, said(Cancelled), &exit(1, false), false), Lost);
        // The same after someone asked, though this node has not been told.
        assert_eq!(outcome(None, said(Cancelled), &exit(1, false), true), Cancelled);
        // Self-fenced while or before it heard of a cancel: its job goes on by what the state says of it.
        assert_eq!(outcome(Some(Cause::Killed), said(Cancelled), &exit(1, false), true), Lost);
        assert_eq!(outcome(Some(Cause::Overdue), said(Cancelled), &exit(1, false), false), TimedOut);
        let of_disk = i64::from(disk::FAILED);
        for code in FROM_OUTSIDE.into_iter().chain(NO_PERMIT).chain([of_disk]) {
            assert_eq!(outcome(None, None, &exit(code, false), false), Lost, "{code}");
        }
        assert_eq!(outcome(None, None, &exit(137, true), false), Failed, "by the kernel, for want of memory");
        let refused = Err(Error::Refused { action: "wait", why: "no".to_owned() });
        assert_eq!(outcome(None, None, &refused, false), Lost);
    }
}
