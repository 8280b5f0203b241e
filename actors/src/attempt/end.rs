//! What an attempt amounts to, from all that is known when it is over. Pure.

use domain::{Outcome, Resources};

use crate::executor::{Error, Exit};

/// Why the node itself ended the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// Someone asked for it, and it did not end by itself in time.
    Cancelled,
    /// This node may hold it no longer.
    Killed,
    /// Its init did not keep the job's limit.
    Overdue,
    /// Its log cannot be written, or what init wrote makes no sense.
    Broken(String),
}

/// Outcome and reason. What init said counts first: it saw the steps.
pub(super) fn conclude(
    cause: Option<Cause>,
    end: Option<(Outcome, String)>,
    exit: &Result<Exit, Error>,
    resources: Resources,
) -> (Outcome, String) {
    let starved = exit.as_ref().is_ok_and(|exit| exit.oom_killed);
    let memory =
        format!("the kernel ended a process for want of memory; the job has {} MiB", resources.memory_mib);
    match (end, cause, exit) {
        (Some((Outcome::Failed, reason)), _, _) if starved => {
            (Outcome::Failed, format!("{reason}: {memory}"))
        }
        (_, Some(Cause::Broken(why)), _) => (Outcome::Failed, why),
        (Some(end), _, _) => end,
        (None, Some(Cause::Killed), _) => {
            (Outcome::Lost, "killed: its node may no longer hold it".to_owned())
        }
        (None, Some(Cause::Cancelled), _) => {
            (Outcome::Cancelled, "cancelled; it did not end by itself and was killed".to_owned())
        }
        (None, Some(Cause::Overdue), _) => {
            (Outcome::TimedOut, "it did not end at the job's limit and was killed".to_owned())
        }
        (None, None, Ok(_)) if starved => (Outcome::Failed, memory),
        (None, None, Ok(Exit { code, error, .. })) => {
            let words = error.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            (
                Outcome::Failed,
                format!("its container ended with code {code} before its steps were over{words}"),
            )
        }
        (None, None, Err(Error::Gone(_))) => {
            (Outcome::Lost, "its container was removed by someone else".to_owned())
        }
        (None, None, Err(error)) => (Outcome::Failed, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCES: Resources = Resources { cpu_millis: 0, memory_mib: 64 };

    fn exit(code: i64, oom_killed: bool) -> Result<Exit, Error> {
        Ok(Exit { code, oom_killed, error: None })
    }

    #[test]
    fn what_init_said_counts_and_without_it_the_cause_or_the_exit_does() {
        let said = |outcome| Some((outcome, "said".to_owned()));
        let outcome = |cause, end, exit: &_| conclude(cause, end, exit, RESOURCES).0;
        let gone = Err(Error::Gone(String::new()));
        assert_eq!(outcome(None, said(Outcome::Succeeded), &exit(0, false)), Outcome::Succeeded);
        assert_eq!(
            outcome(Some(Cause::Killed), said(Outcome::Succeeded), &exit(0, false)),
            Outcome::Succeeded
        );
        assert_eq!(
            outcome(Some(Cause::Cancelled), said(Outcome::Cancelled), &exit(1, false)),
            Outcome::Cancelled
        );
        assert_eq!(outcome(Some(Cause::Killed), None, &exit(137, false)), Outcome::Lost);
        assert_eq!(outcome(Some(Cause::Cancelled), None, &exit(137, false)), Outcome::Cancelled);
        assert_eq!(outcome(Some(Cause::Overdue), None, &exit(137, false)), Outcome::TimedOut);
        assert_eq!(outcome(None, None, &gone), Outcome::Lost);
        let broken = Some(Cause::Broken("disk full".to_owned()));
        assert_eq!(outcome(broken, said(Outcome::Succeeded), &exit(0, false)), Outcome::Failed);
        let (outcome, reason) = conclude(None, said(Outcome::Failed), &exit(1, true), RESOURCES);
        assert_eq!(outcome, Outcome::Failed);
        assert!(reason.contains("said") && reason.contains("64 MiB"), "{reason}");
        let (outcome, reason) = conclude(None, None, &exit(3, false), RESOURCES);
        assert!(outcome == Outcome::Failed && reason.contains("code 3"), "{reason}");
    }
}
