//! Makes runs of an accepted delivery: workflow files at its commit, expanded, proposed in one entry.
//!
//! What goes wrong outside (a git server that is down) defers the delivery with the reason; what is wrong in a workflow
//! file becomes a failed run, which is the workflow crate's business.

use std::sync::Arc;

use domain::{Command, Delivery, DeliveryId, DeliveryState, Event, Fence, NewRun, Reply};

use crate::clock;
use crate::queue::expansion_pause;
use crate::replica::{ProposeError, SharedReplica};
use crate::workspace::{CloneUrl, Mirrors, Source};

/// Workflow files (path and bytes), the event with its commit, and the only path wanted (empty for all), to runs.
pub type ExpandFn = Arc<dyn Fn(&[(String, Vec<u8>)], &Event, &str) -> Vec<NewRun> + Send + Sync>;

/// Where workflow files come from and what makes runs of them.
#[derive(Clone)]
pub struct Sources {
    /// This node's mirrors.
    pub mirrors: Mirrors,
    /// The workflow language.
    pub expand: ExpandFn,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("mirrors", &self.mirrors).finish_non_exhaustive()
    }
}

pub(super) async fn expand(replica: &SharedReplica, sources: &Sources, id: DeliveryId, fence: Fence) {
    let state = replica.state();
    let Some(delivery) = state.deliveries.get(&id).cloned() else { return };
    if !matches!(delivery.state, DeliveryState::Expanding { fence: present, .. } if present == fence) {
        return;
    }
    let command = match runs(&state, sources, &delivery).await {
        Ok((commit, runs)) => Command::ExpandDelivery { delivery: id, fence, commit, runs, triggers: None },
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
    let repo = state.repos.get(&delivery.repo).map(|repo| repo.name.to_string());
    match replica.propose(command).await {
        Ok(Reply::Refused(refusal)) => tracing::warn!(delivery = %id, %refusal, "an expansion was not taken"),
        Ok(_) => {
            if let Some(runs) = expanded {
                tracing::info!(delivery = %id, repo = repo.as_deref(), runs, "a delivery is expanded");
            }
        }
        // Too large, for one: that would be so for ever, so it is said where people see it.
        Err(error @ ProposeError::TooLarge { .. }) => {
            let not_before = clock::now().plus_millis(expansion_pause(u16::MAX).as_millis() as u64);
            let defer = Command::DeferDelivery { delivery: id, fence, reason: error.to_string(), not_before };
            if let Err(error) = replica.propose(defer).await {
                tracing::warn!(delivery = %id, %error, "an expansion that failed could not be reported");
            }
        }
        // The leader asks again.
        Err(error) => tracing::debug!(delivery = %id, %error, "an expansion could not be reported"),
    }
}

/// The commit and its runs; the error is for people, without secrets.
async fn runs(
    state: &domain::ClusterState,
    sources: &Sources,
    delivery: &Delivery,
) -> Result<(String, Vec<NewRun>), String> {
    let repo = state.repos.get(&delivery.repo).ok_or("its repository was removed")?;
    let url = CloneUrl::parse(&repo.clone_url).map_err(|e| format!("the clone URL: {e}"))?;
    let event = &delivery.event;
    let source =
        Source { repo: delivery.repo, url, git_ref: event.git_ref.clone(), commit: event.commit.clone() };
    let commit = sources.mirrors.ensure(&source).await.map_err(|e| e.to_string())?.commit;
    let files = sources.mirrors.read_workflows(delivery.repo, &commit).await.map_err(|e| e.to_string())?;
    let (expand, event) =
        (Arc::clone(&sources.expand), Event { commit: commit.clone(), ..(**event).clone() });
    let only = Arc::clone(&delivery.only_path);
    let runs = tokio::task::spawn_blocking(move || expand(&files, &event, &only)).await;
    // A panic on a file must not be tried for ever in silence.
    let runs = runs.map_err(|_| "reading its workflow files failed unexpectedly (see the node's log)")?;
    Ok((commit, runs))
}
