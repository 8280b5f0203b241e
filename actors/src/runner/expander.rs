//! Makes runs of an accepted delivery: workflow files at its commit, expanded, proposed in one entry.
//!
//! What goes wrong outside (a git server that is down) defers the delivery with the reason; what is wrong in a workflow
//! file becomes a failed run, which is the workflow crate's business.

use std::sync::Arc;

use domain::{
    ClusterState, Command, Delivery, DeliveryId, DeliveryState, Event, EventKind, Fence, NewRun, Reply,
    Triggers,
};
use workflow::Occasion;
use workflow::contexts::Facts;

use crate::clock;
use crate::mint::Mint;
use crate::needs;
use crate::queue::expansion_pause;
use crate::replica::{ProposeError, SharedReplica};
use crate::workspace::{Error, Mirrors, Point, Source};

mod files;
mod follows;

use files::AtCommit;

/// Where workflow files come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// This node's mirrors.
    pub mirrors: Mirrors,
}

/// What an expansion found.
struct Expanded {
    /// The event with what was looked up of it.
    event: Event,
    runs: Vec<NewRun>,
    triggers: Option<Triggers>,
}

pub(super) async fn expand(replica: &SharedReplica, sources: &Sources, id: DeliveryId, fence: Fence) {
    let state = replica.state();
    let Some(delivery) = state.deliveries.get(&id).cloned() else { return };
    if !matches!(delivery.state, DeliveryState::Expanding { fence: present, .. } if present == fence) {
        return;
    }
    let command = match expanded(&state, sources, &delivery).await {
        Ok(Expanded { event: Event { commit, git_ref, payload, .. }, runs, triggers }) => {
            Command::ExpandDelivery { delivery: id, fence, commit, git_ref, payload, runs, triggers }
        }
        Err(reason) => {
            let pause = expansion_pause(delivery.tries).as_millis() as u64;
            tracing::warn!(delivery = %id, reason, "a delivery cannot be expanded now");
            Command::DeferDelivery {
                delivery: id,
                fence,
                reason,
                not_before: clock::now().plus_millis(pause),
            }
        }
    };
    let expanded = if let Command::ExpandDelivery { runs, .. } = &command { Some(runs.len()) } else { None };
    let instead = with_one_run(&command);
    let repo = state.repos.get(&delivery.repo).map(|repo| repo.name.to_string());
    match replica.propose(command).await {
        Ok(Reply::Refused(refusal)) => tracing::warn!(delivery = %id, %refusal, "an expansion was not taken"),
        Ok(_) => {
            if let Some(runs) = expanded {
                tracing::info!(delivery = %id, repo = repo.as_deref(), runs, "a delivery is expanded");
            }
        }
        // That would be so for ever, so it is a run that failed.
        Err(error @ ProposeError::TooLarge { .. }) => {
            let why = format!("its workflows make too much of one event: {error}");
            if let Some(said) = instead.map(|of| of(failed("workflows", &why)))
                && let Err(error) = replica.propose(said).await
            {
                tracing::warn!(delivery = %id, %error, "an expansion that failed could not be reported");
            }
        }
        // The leader asks again.
        Err(error) => tracing::debug!(delivery = %id, %error, "an expansion could not be reported"),
    }
}

/// The same expansion with one run in the place of all.
fn with_one_run(command: &Command) -> Option<impl FnOnce(NewRun) -> Command + use<>> {
    let Command::ExpandDelivery { delivery, fence, commit, git_ref, payload, .. } = command else {
        return None;
    };
    let (delivery, fence) = (*delivery, *fence);
    let (commit, git_ref, payload) = (commit.clone(), git_ref.clone(), payload.clone());
    Some(move |run| Command::ExpandDelivery {
        delivery,
        fence,
        commit,
        git_ref,
        payload,
        runs: vec![run],
        triggers: None,
    })
}

/// A run that says why there is no other.
fn failed(path: &str, why: &str) -> NewRun {
    NewRun::failed(workflow::Mint::run_id(&mut Mint), path.to_owned(), format!("{path}: {why}"))
}

/// What comes of a delivery; the error is for people, without secrets.
async fn expanded(state: &ClusterState, sources: &Sources, delivery: &Delivery) -> Result<Expanded, String> {
    let repo = state.repos.get(&delivery.repo).ok_or("its repository was removed")?;
    let url = sources.mirrors.url_of(repo)?;
    let mirrors = &sources.mirrors;
    let source = |git_ref: &str, commit: &str| Source {
        repo: delivery.repo,
        url: url.clone(),
        git_ref: git_ref.to_owned(),
        commit: commit.to_owned(),
    };
    let mut event = (*delivery.event).clone();
    let Point { git_ref, commit } =
        mirrors.ensure(&source(&event.git_ref, &event.commit)).await.map_err(|e| e.to_string())?;
    event.commit = commit;
    if event.git_ref.is_empty() {
        event.git_ref = git_ref;
    }
    if let Some(cause) = event.cause {
        event.payload = follows::payload(state, cause, &event.payload);
    }
    // What strangers push must not say what runs here: of a fork, the workflows are those of the branch that it is to go to.
    let at = match event.from_fork && event.kind == EventKind::PullRequest {
        true => mirrors.ensure(&source(&event.base_ref, "")).await.map_err(|e| e.to_string())?.commit,
        false => event.commit.clone(),
    };
    let files = match mirrors.read_workflows(delivery.repo, &at).await {
        // It would be so for ever, so it is a run that failed: the person who pushed sees it.
        Err(Error::TooLarge { path, why }) => {
            let runs = vec![failed(&path, &why)];
            return Ok(Expanded { event, runs, triggers: None });
        }
        read => read.map_err(|e| e.to_string())?,
    };
    let facts = Facts {
        repository: repo.name.to_string(),
        urls: super::urls::of(repo),
        variables: needs::variables(state, Some(delivery.repo)),
        ..Facts::default()
    };
    let here = AtCommit::new(mirrors.clone(), delivery.repo, at, files.clone());
    let (only, of_event) = (Arc::clone(&delivery.only_path), event.clone());
    let runs = tokio::task::spawn_blocking(move || {
        let changed = || here.changed(&of_event);
        let occasion =
            Occasion { event: &of_event, only_path: &only, facts: &facts, files: &here, changed: &changed };
        workflow::expand(&files, &occasion, &mut Mint)
    });
    // A panic on a file must not be tried for ever in silence.
    let runs =
        runs.await.map_err(|_| "reading its workflow files failed unexpectedly (see the node's log)")?;
    let triggers = match event.kind {
        EventKind::Push => triggers(mirrors, delivery, &event, &source).await?,
        _ => None,
    };
    Ok(Expanded { event, runs, triggers })
}

/// What the default branch says now, when it was pushed to: as it is by now, for pushes are not expanded in their order.
async fn triggers(
    mirrors: &Mirrors,
    delivery: &Delivery,
    event: &Event,
    source: &impl Fn(&str, &str) -> Source,
) -> Result<Option<Triggers>, String> {
    let default = mirrors.default_branch(delivery.repo).await.map_err(|e| e.to_string())?;
    if event.git_ref != default {
        return Ok(None);
    }
    let head = mirrors.ensure(&source(&default, "")).await.map_err(|e| e.to_string())?.commit;
    let files = match mirrors.read_workflows(delivery.repo, &head).await {
        // The push that made it so is a run that says it; what was known before stays.
        Err(Error::TooLarge { .. }) => return Ok(None),
        read => read.map_err(|e| e.to_string())?,
    };
    let read = tokio::task::spawn_blocking(move || workflow::triggers(&files, &default));
    Ok(Some(read.await.map_err(|_| "reading its workflow files failed unexpectedly (see the node's log)")?))
}
