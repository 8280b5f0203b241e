//! What becomes of a delivery that cannot be expanded: it waits for what may come back, and ends, with the reason, where nothing would ever
//! come of waiting. Pure.
//!
//! Must not know git, nor how anything is proposed.

use domain::{Delivery, EventKind, NewRun, Timestamp};
use serde_json::Value;

use super::failed;
use crate::workspace::Error;

/// Tries until a commit counts as gone: about two minutes, for copies of a forge may be behind its webhooks.
const TRIES_OF_A_COMMIT: u16 = 8;
/// Tries of what only its name is known of, or on which the reading of files broke off.
const TRIES: u16 = 3;
/// How long a git server is waited for, in milliseconds (7 days).
const LONGEST_WAIT: u64 = 7 * 24 * 3600 * 1000;

/// Why there is nothing to expand; in words for people, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// What is outside fails, as a git server that is down.
    Outside(String),
    /// The repository has no such commit or ref.
    Missing(String),
    /// It broke off here.
    Broken(String),
    /// It cannot be, however often it is tried.
    Never(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let why = error.to_string();
        match error {
            Error::NoSuchCommit { .. } => Self::Missing(why),
            Error::BadRef { .. }
            | Error::BadPath { .. }
            | Error::TooMuchOutput { .. }
            | Error::TooLarge { .. } => Self::Never(why),
            Error::Io { .. }
            | Error::Failed { .. }
            | Error::Refused { .. }
            | Error::TimedOut { .. }
            | Error::Submodule { .. }
            | Error::LargeFiles { .. } => Self::Outside(why),
        }
    }
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is tried again later.
    Wait(String),
    /// A run that failed says it.
    Failed(NewRun),
    /// No run follows; the delivery says why.
    Nothing(String),
}

/// What becomes of a delivery after so many tries ([`Delivery::tries`] counts this one).
pub(super) fn of(trouble: Trouble, delivery: &Delivery, now: Timestamp) -> Ending {
    let event = &delivery.event;
    let tries = if event.commit.is_empty() { TRIES } else { TRIES_OF_A_COMMIT };
    let why = match trouble {
        Trouble::Missing(why) if delivery.tries < tries => return Ending::Wait(why),
        Trouble::Broken(why) if delivery.tries < TRIES => return Ending::Wait(why),
        Trouble::Outside(why) if now.millis_since(delivery.accepted_at) < LONGEST_WAIT => {
            return Ending::Wait(why);
        }
        // Who deleted a branch, or pushed over it, needs no run that failed: what is there now has its own delivery.
        Trouble::Missing(why) if event.kind == EventKind::Push => {
            let gone = &event.git_ref;
            return Ending::Nothing(format!("{why}: {gone} was deleted or pushed over before it was read"));
        }
        Trouble::Missing(why) if event.kind == EventKind::PullRequest && is_closed(&event.payload) => {
            return Ending::Nothing(format!("{why}: the pull request is closed, and its branch is gone"));
        }
        Trouble::Missing(why) if event.from_fork => {
            format!("{why}: the forge gives no ref under which git would find the commits of this fork")
        }
        Trouble::Outside(why) => format!("given up after 7 days: {why}"),
        Trouble::Missing(why) | Trouble::Broken(why) | Trouble::Never(why) => why,
    };
    let path = if delivery.only_path.is_empty() { "workflows" } else { &*delivery.only_path };
    Ending::Failed(failed(path, &why))
}

fn is_closed(payload: &str) -> bool {
    let payload: Value = serde_json::from_str(payload).unwrap_or_default();
    payload["action"] == "closed"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{DeliveryState, Event, RepoId};

    use super::*;

    fn delivery(event: Event, tries: u16) -> Delivery {
        let state = DeliveryState::Pending { not_before: Timestamp(0), reason: Arc::from("") };
        let (event, only_path) = (Arc::new(event), Arc::from(""));
        Delivery { repo: RepoId(1), event, only_path, accepted_at: Timestamp(0), tries, state }
    }

    fn missing(event: &Event, tries: u16) -> Ending {
        of(Trouble::Missing("c was not found".to_owned()), &delivery(event.clone(), tries), Timestamp(1))
    }

    fn said(ending: Ending) -> String {
        match ending {
            Ending::Wait(why) => format!("waits: {why}"),
            Ending::Failed(run) => format!("failed: {}", run.error.unwrap_or_default()),
            Ending::Nothing(why) => format!("nothing: {why}"),
        }
    }

    #[test]
    fn what_is_not_there_is_waited_for_a_while_and_then_ends_with_the_reason() {
        let push = Event {
            commit: "c".to_owned(),
            git_ref: "refs/heads/x".to_owned(),
            ..Event::of(EventKind::Push)
        };
        assert_eq!(said(missing(&push, 7)), "waits: c was not found");
        let gone = "nothing: c was not found: refs/heads/x was deleted or pushed over before it was read";
        assert_eq!(said(missing(&push, 8)), gone);
        let asked = Event::of(EventKind::WorkflowDispatch);
        assert_eq!(said(missing(&asked, 2)), "waits: c was not found");
        assert_eq!(said(missing(&asked, 3)), "failed: workflows: c was not found");
        let pull = Event { commit: "c".to_owned(), from_fork: true, ..Event::of(EventKind::PullRequest) };
        assert!(
            said(missing(&pull, 8)).starts_with("failed: workflows: c was not found: the forge gives no ref")
        );
        let closed = Event { payload: r#"{"action":"closed"}"#.to_owned(), ..pull };
        assert!(
            said(missing(&closed, 8)).starts_with("nothing: c was not found: the pull request is closed")
        );
    }

    #[test]
    fn a_server_that_is_down_is_waited_for_long_and_what_can_never_be_is_not() {
        let push = Event { commit: "c".to_owned(), ..Event::of(EventKind::Push) };
        let outside =
            |now| of(Trouble::Outside("down".to_owned()), &delivery(push.clone(), 999), Timestamp(now));
        assert_eq!(said(outside(LONGEST_WAIT - 1)), "waits: down");
        assert_eq!(said(outside(LONGEST_WAIT)), "failed: workflows: given up after 7 days: down");
        let broken =
            |tries| of(Trouble::Broken("b".to_owned()), &delivery(push.clone(), tries), Timestamp(1));
        assert_eq!(
            (said(broken(2)), said(broken(3))),
            ("waits: b".to_owned(), "failed: workflows: b".to_owned())
        );
        let never = of(Trouble::Never("bad".to_owned()), &delivery(push.clone(), 1), Timestamp(1));
        assert_eq!(said(never), "failed: workflows: bad");
    }
}
