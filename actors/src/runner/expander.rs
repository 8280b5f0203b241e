//! Makes runs of an accepted delivery: workflow files at its commit, expanded, proposed in one entry.
//!
//! What goes wrong outside (a git server that is down) defers the delivery with the reason; what is wrong in a workflow
//! file becomes a failed run, which is the workflow crate's business.

use std::sync::Arc;

use domain::{
    ClusterState, Command, Delivery, DeliveryId, DeliveryState, Event, EventKind, Fence, NewRun, Refusal,
    Reply, Triggers,
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

/// How often the runs of a delivery are made, when others took their numbers meanwhile.
const MAX_TRIES: usize = 5;

/// A delivery of which all is read that its runs are made of.
struct Read {
    /// The event with what was looked up of it.
    event: Event,
    workflows: Workflows,
    triggers: Option<Triggers>,
}

enum Workflows {
    /// Files at a commit.
    Files(Arc<Files>),
    /// What is there is no set of workflows: the one run, which says why.
    Bad(NewRun),
}

/// Workflow files, and what they are expanded with.
struct Files {
    files: Vec<(String, Vec<u8>)>,
    event: Event,
    only: Arc<str>,
    facts: Facts,
    around: AtCommit,
}

impl Workflows {
    /// The runs, of which the first has this number, and whether that counts.
    async fn runs(&self, first: u64) -> Result<(Vec<NewRun>, bool), String> {
        let files = match self {
            Self::Files(files) => Arc::clone(files),
            Self::Bad(run) => return Ok((vec![run.clone()], false)),
        };
        let made = tokio::task::spawn_blocking(move || {
            let runs = files.expand(first);
            // Whatever asks for the number by another way than its name has the one that is next now.
            (runs, files.around.says("run_number"))
        });
        // A panic on a file must not be tried for ever in silence.
        made.await
            .map_err(|_| "reading its workflow files failed unexpectedly (see the node's log)".to_owned())
    }
}

impl Files {
    fn expand(&self, first: u64) -> Vec<NewRun> {
        let facts = Facts { run_number: first, ..self.facts.clone() };
        let changed = || self.around.changed(&self.event);
        let (event, files) = (&self.event, &self.around);
        let occasion = Occasion { event, only_path: &self.only, facts: &facts, files, changed: &changed };
        workflow::expand(&self.files, &occasion, &mut Mint)
    }
}

pub(super) async fn expand(replica: &SharedReplica, sources: &Sources, id: DeliveryId, fence: Fence) {
    let state = replica.state();
    let Some(delivery) = state.deliveries.get(&id).cloned() else { return };
    if !matches!(delivery.state, DeliveryState::Expanding { fence: present, .. } if present == fence) {
        return;
    }
    let repo = state.repos.get(&delivery.repo);
    let (name, mut next) = (repo.map(|repo| repo.name.to_string()), repo.map_or(1, |repo| repo.next_number));
    let read = read(&state, sources, &delivery).await;
    for _ in 0..MAX_TRIES {
        let command = match expanded(id, fence, &read, next).await {
            Ok(command) => command,
            Err(reason) => return defer(replica, &delivery, id, fence, reason).await,
        };
        let runs = if let Command::ExpandDelivery { runs, .. } = &command { runs.len() } else { 0 };
        let instead = with_one_run(&command);
        match replica.propose(command).await {
            Ok(Reply::Refused(Refusal::NumbersTaken { present, .. })) => {
                next = present;
                continue;
            }
            Ok(Reply::Refused(refusal)) => {
                tracing::warn!(delivery = %id, %refusal, "an expansion was not taken")
            }
            Ok(_) => {
                tracing::info!(delivery = %id, repo = name.as_deref(), runs, "a delivery is expanded");
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
        return;
    }
    let reason = "other deliveries of the repository took the numbers of its runs".to_owned();
    defer(replica, &delivery, id, fence, reason).await;
}

async fn defer(replica: &SharedReplica, of: &Delivery, delivery: DeliveryId, fence: Fence, reason: String) {
    tracing::warn!(%delivery, reason, "a delivery cannot be expanded now");
    let not_before = clock::now().plus_millis(expansion_pause(of.tries).as_millis() as u64);
    let command = Command::DeferDelivery { delivery, fence, reason, not_before };
    match replica.propose(command).await {
        Ok(Reply::Refused(refusal)) => tracing::warn!(%delivery, %refusal, "a deferral was not taken"),
        Ok(_) => {}
        // The leader asks again.
        Err(error) => tracing::debug!(%delivery, %error, "a deferral could not be reported"),
    }
}

async fn expanded(
    delivery: DeliveryId,
    fence: Fence,
    read: &Result<Read, String>,
    next: u64,
) -> Result<Command, String> {
    let Read { event, workflows, triggers } = read.as_ref().map_err(String::clone)?;
    let (runs, counts) = workflows.runs(next).await?;
    Ok(Command::ExpandDelivery {
        delivery,
        fence,
        commit: event.commit.clone(),
        git_ref: event.git_ref.clone(),
        payload: event.payload.clone(),
        runs,
        triggers: triggers.clone(),
        numbers_from: counts.then_some(next),
    })
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
        numbers_from: None,
    })
}

/// A run that says why there is no other.
fn failed(path: &str, why: &str) -> NewRun {
    NewRun::failed(workflow::Mint::run_id(&mut Mint), path.to_owned(), format!("{path}: {why}"))
}

/// Reads all that the runs of a delivery are made of; the error is for people, without secrets.
async fn read(state: &ClusterState, sources: &Sources, delivery: &Delivery) -> Result<Read, String> {
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
            let workflows = Workflows::Bad(failed(&path, &why));
            return Ok(Read { event, workflows, triggers: None });
        }
        read => read.map_err(|e| e.to_string())?,
    };
    let asked_for = files.iter().find(|(path, _)| workflow::is_at(path, &delivery.only_path));
    if let Some((_, bytes)) = asked_for.filter(|_| event.kind == EventKind::WorkflowDispatch).cloned() {
        event = tokio::task::spawn_blocking(move || workflow::with_inputs(event, &bytes))
            .await
            .map_err(|_| "reading its workflow file failed unexpectedly (see the node's log)")?;
    }
    let facts = Facts {
        repository: repo.name.to_string(),
        urls: super::urls::of(repo),
        variables: needs::variables(state, Some(delivery.repo)),
        ..Facts::default()
    };
    let around = AtCommit::new(mirrors.clone(), delivery.repo, at, files.clone());
    let (only, of_event) = (Arc::clone(&delivery.only_path), event.clone());
    let files = Arc::new(Files { files, event: of_event, only, facts, around });
    let triggers = match event.kind {
        EventKind::Push => triggers(mirrors, delivery, &event, &source).await?,
        _ => None,
    };
    Ok(Read { event, workflows: Workflows::Files(files), triggers })
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
