//! What a forge is to be told of a run, as the state has it at that moment. Pure.
//!
//! Must not know how it is sent, nor any secret.

use domain::{ClusterState, DeliveryState, EventKind, Job, JobState, Outcome, Run, RunId, Sealed, StatusApi};
use forge::Forge;
use forge::status::State;

/// What is said, and to whom. The token is still sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) forge: Forge,
    pub(super) api_url: String,
    /// The repository's name here, for which the token was sealed.
    pub(super) name: String,
    /// As the forge names it.
    pub(super) repository: String,
    pub(super) commit: String,
    pub(super) state: State,
    pub(super) context: String,
    pub(super) description: String,
    pub(super) token: Sealed,
}

/// The message about a run; none when nobody is to be told of it.
pub(super) fn of(state: &ClusterState, id: RunId) -> Option<Message> {
    let run = state.runs.get(&id)?;
    let repo = state.repos.get(&run.repo?)?;
    let StatusApi { forge, api_url, token } = repo.access.status.as_ref()?;
    let forge = Forge::ALL.into_iter().find(|known| known.as_str() == forge)?;
    if run.event.commit.is_empty() {
        return None;
    }
    let (told, description) = standing(state, id, run);
    Some(Message {
        forge,
        api_url: api_url.clone(),
        name: repo.name.to_string(),
        repository: named(repo.name.as_str(), &repo.clone_url, forge),
        commit: run.event.commit.clone(),
        state: told,
        context: context(state, run),
        description,
        token: token.clone(),
    })
}

/// Whether anything of a run runs or ran.
pub(super) fn has_begun(state: &ClusterState, id: RunId) -> bool {
    state.jobs_of(id).any(|(_, job)| job.started_at.0 > 0)
}

/// By the workflow's name, or its path where another of the same delivery has that name; of another event than a push with that,
/// for both may be about one commit.
fn context(state: &ClusterState, run: &Run) -> String {
    let delivery = run.delivery.and_then(|id| state.deliveries.get(&id));
    let others = match delivery.map(|delivery| &delivery.state) {
        Some(DeliveryState::Expanded { runs, .. }) => &runs[..],
        _ => &[],
    };
    let taken = others
        .iter()
        .filter_map(|id| state.runs.get(id))
        .any(|other| other.name == run.name && other.path != run.path);
    let name = if run.name.is_empty() || taken { &run.path } else { &run.name };
    match run.event.kind {
        EventKind::Push => format!("troupe / {name}"),
        other => format!("troupe / {name} ({})", other.as_str()),
    }
}

fn standing(state: &ClusterState, id: RunId, run: &Run) -> (State, String) {
    let Some(outcome) = run.outcome else {
        let reviewed = |(job, review): (&domain::JobId, &domain::Review)| job.run == id && review.is_open();
        let begun = has_begun(state, id);
        return match begun {
            _ if state.reviews.iter().any(reviewed) => {
                let told = if begun { State::Running } else { State::Pending };
                (told, "waits for approval".to_owned())
            }
            true => (State::Running, "runs".to_owned()),
            false if state.unapproved.contains(&id) => (State::Pending, "waits for approval".to_owned()),
            false => (State::Pending, "waits".to_owned()),
        };
    };
    if let Some(error) = &run.error {
        return (State::Failure, error.to_string());
    }
    let took = seconds(run.finished_at.millis_since(run.created_at) / 1000);
    match outcome {
        Outcome::Succeeded => (State::Success, format!("succeeded in {took}")),
        Outcome::Skipped => (State::Success, "nothing was to be done".to_owned()),
        Outcome::Cancelled => (State::Cancelled, format!("cancelled after {took}")),
        Outcome::Failed => (State::Failure, format!("failed in {took}: {}", culprits(state, id, outcome))),
        Outcome::TimedOut => (State::Failure, format!("timed out: {}", culprits(state, id, outcome))),
        Outcome::Lost => (State::Error, format!("lost with its node: {}", culprits(state, id, outcome))),
    }
}

/// The first jobs that ended so, and how many more.
fn culprits(state: &ClusterState, id: RunId, outcome: Outcome) -> String {
    let all: Vec<&Job> = state
        .jobs_of(id)
        .map(|(_, job)| job)
        .filter(|job| job.state == JobState::Finished(outcome))
        .collect();
    let names: Vec<&str> =
        all.iter().take(3).map(|job| if job.name.is_empty() { &*job.key } else { &*job.name }).collect();
    match all.len().saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn seconds(all: u64) -> String {
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// The repository's name in its forge: the path of its clone URL, of which a Data Center has one part before it (`scm`), and GitLab
/// alone more than two parts. Its name here where that is the end of the path.
fn named(name: &str, clone_url: &str, forge: Forge) -> String {
    let path = match clone_url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => clone_url,
    };
    let path = path.trim_end_matches('/').trim_end_matches(".git").trim_matches('/');
    let is_end = path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    if name.contains('/') && is_end {
        return name.to_owned();
    }
    let parts: Vec<&str> = path.split('/').collect();
    match forge {
        Forge::GitLab => path.to_owned(),
        _ => parts[parts.len().saturating_sub(2)..].join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_as_its_forge_names_it() {
        for (name, url, forge, wanted) in [
            ("app", "https://github.com/team/app.git", Forge::GitHub, "team/app"),
            ("team/app", "https://github.com/team/app", Forge::GitHub, "team/app"),
            ("app", "ssh://git@h:7999/TEAM/app.git", Forge::BitbucketDataCenter, "TEAM/app"),
            ("app", "https://h/scm/team/app.git", Forge::BitbucketDataCenter, "team/app"),
            ("app", "https://h/group/sub/app.git/", Forge::GitLab, "group/sub/app"),
            ("sub/app", "https://h/gitlab/sub/app.git", Forge::GitLab, "sub/app"),
            ("b/app", "https://h/team/club/app.git", Forge::GitLab, "team/club/app"),
            ("other/name", "https://codeberg.org/team/app.git", Forge::Forgejo, "team/app"),
        ] {
            assert_eq!(named(name, url, forge), wanted, "{name} {url}");
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0, 59, 60, 3599, 3600, 90_061].map(seconds),
            ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "25h 1m"]
        );
    }
}
