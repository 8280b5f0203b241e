//! Makes runs of an accepted delivery: workflow files at its commit, expanded, proposed in one entry.
//!
//! What goes wrong outside (a git server that is down) defers the delivery with the reason, and what can never be expanded ends
//! (`ending`); what is wrong in a workflow file becomes a failed run, which is the workflow crate's business.

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

mod ending;
mod files;
mod follows;
mod skip;

use ending::{Ending, Trouble};
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
    /// Nothing runs, for this reason.
    Nothing(String),
}

/// What is made of a delivery.
struct Made {
    runs: Vec<NewRun>,
    /// Why there are none.
    reason: String,
    /// Whether the number of the first of them counts.
    counts: bool,
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
    /// The runs, of which the first has this number.
    async fn runs(&self, first: u64) -> Result<Made, Trouble> {
        let files = match self {
            Self::Files(files) => Arc::clone(files),
            Self::Bad(run) => {
                return Ok(Made { runs: vec![run.clone()], reason: String::new(), counts: false });
            }
            Self::Nothing(why) => {
                return Ok(Made { runs: Vec::new(), reason: why.clone(), counts: false });
            }
        };
        let made = tokio::task::spawn_blocking(move || {
            let runs = files.expand(first);
            let reason = if runs.is_empty() { "no workflow at its commit wants it" } else { "" };
            // Whatever asks for the number by another way than its name has the one that is next now.
            Made { runs, reason: reason.to_owned(), counts: files.around.says("run_number") }
        });
        made.await.map_err(broken)
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
        let command = match expanded(id, fence, &read, next)
            .await
            .or_else(|trouble| ended(trouble, id, fence, &delivery))
        {
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
    read: &Result<Read, Trouble>,
    next: u64,
) -> Result<Command, Trouble> {
    let Read { event, workflows, triggers } = read.as_ref().map_err(Trouble::clone)?;
    let Made { runs, reason, counts } = workflows.runs(next).await?;
    Ok(Command::ExpandDelivery {
        delivery,
        fence,
        commit: event.commit.clone(),
        git_ref: event.git_ref.clone(),
        payload: event.payload.clone(),
        runs,
        reason,
        triggers: triggers.clone(),
        numbers_from: counts.then_some(next),
    })
}

/// What comes of a delivery that cannot be expanded; why it waits, where it may be later.
fn ended(trouble: Trouble, id: DeliveryId, fence: Fence, delivery: &Delivery) -> Result<Command, String> {
    let (runs, reason) = match ending::of(trouble, delivery, clock::now()) {
        Ending::Wait(why) => return Err(why),
        Ending::Failed(run) => (vec![run], String::new()),
        Ending::Nothing(reason) => (Vec::new(), reason),
    };
    let Event { commit, git_ref, payload, .. } = (*delivery.event).clone();
    Ok(Command::ExpandDelivery {
        delivery: id,
        fence,
        commit,
        git_ref,
        payload,
        runs,
        reason,
        triggers: None,
        numbers_from: None,
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
        reason: String::new(),
        triggers: None,
        numbers_from: None,
    })
}

/// A run that says why there is no other.
fn failed(path: &str, why: &str) -> NewRun {
    NewRun::failed(workflow::Mint::run_id(&mut Mint), path.to_owned(), format!("{path}: {why}"))
}

/// Reads all that the runs of a delivery are made of.
async fn read(state: &ClusterState, sources: &Sources, delivery: &Delivery) -> Result<Read, Trouble> {
    // With a repository that is removed what waits goes, too: this node is told of that soon.
    let gone = || Trouble::Outside("its repository was removed".to_owned());
    let repo = state.repos.get(&delivery.repo).ok_or_else(gone)?;
    let url = sources.mirrors.url_of(repo).map_err(Trouble::Outside)?;
    let mirrors = &sources.mirrors;
    let source = |git_ref: &str, commit: &str| Source {
        repo: delivery.repo,
        url: url.clone(),
        git_ref: git_ref.to_owned(),
        commit: commit.to_owned(),
    };
    let mut event = (*delivery.event).clone();
    let Point { git_ref, commit } = mirrors.ensure(&source(&event.git_ref, &event.commit)).await?;
    event.commit = commit;
    if !event.git_ref.starts_with("refs/") {
        event.payload = with_ref(&event.payload, &git_ref);
        event.git_ref = git_ref;
    }
    if let Some(cause) = event.cause {
        event.payload = follows::payload(state, cause, &event.payload);
    }
    // What strangers push must not say what runs here: of a fork, the workflows are those of the branch that it is to go to.
    let at = match event.from_fork && event.kind == EventKind::PullRequest {
        true => mirrors.ensure(&source(&event.base_ref, "")).await?.commit,
        false => event.commit.clone(),
    };
    let files = match mirrors.read_workflows(delivery.repo, &at).await {
        // It would be so for ever, so it is a run that failed: the person who pushed sees it.
        Err(Error::TooLarge { path, why }) => {
            let workflows = Workflows::Bad(failed(&path, &why));
            return Ok(Read { event, workflows, triggers: None });
        }
        read => read?,
    };
    let triggers = match event.kind {
        EventKind::Push => triggers(mirrors, delivery, &event, &source).await?,
        _ => None,
    };
    if matches!(event.kind, EventKind::Push | EventKind::PullRequest)
        && let Some(words) = skip::asked(&mirrors.message(delivery.repo, &event.commit).await?)
    {
        let workflows = Workflows::Nothing(format!("the message of {} says {words}", event.commit));
        return Ok(Read { event, workflows, triggers });
    }
    let asked_for = files.iter().find(|(path, _)| workflow::is_at(path, &delivery.only_path));
    if let Some((_, bytes)) = asked_for.filter(|_| event.kind == EventKind::WorkflowDispatch).cloned() {
        event = tokio::task::spawn_blocking(move || workflow::with_inputs(event, &bytes))
            .await
            .map_err(broken)?;
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
    Ok(Read { event, workflows: Workflows::Files(files), triggers })
}

/// A panic on a file must not be tried for ever in silence.
fn broken(_: tokio::task::JoinError) -> Trouble {
    Trouble::Broken("reading its workflow files failed unexpectedly (see the node's log)".to_owned())
}

/// The payload with the ref as it was found, where it had one.
fn with_ref(payload: &str, git_ref: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(payload) {
        Ok(mut payload) if payload.get("ref").is_some() => {
            payload["ref"] = git_ref.into();
            payload.to_string()
        }
        _ => payload.to_owned(),
    }
}

/// What the default branch says now, when it was pushed to: as it is by now, for pushes are not expanded in their order.
async fn triggers(
    mirrors: &Mirrors,
    delivery: &Delivery,
    event: &Event,
    source: &impl Fn(&str, &str) -> Source,
) -> Result<Option<Triggers>, Trouble> {
    let default = mirrors.default_branch(delivery.repo).await?;
    if event.git_ref != default {
        return Ok(None);
    }
    let head = match mirrors.ensure(&source(&default, "")).await {
        // It was deleted since.
        Err(Error::NoSuchCommit { .. }) => return Ok(None),
        found => found?.commit,
    };
    let files = match mirrors.read_workflows(delivery.repo, &head).await {
        // The push that made it so is a run that says it; what was known before stays.
        Err(Error::TooLarge { .. }) => return Ok(None),
        read => read?,
    };
    let read = tokio::task::spawn_blocking(move || workflow::triggers(&files, &default));
    Ok(Some(read.await.map_err(broken)?))
}
