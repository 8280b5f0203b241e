//! Tells forges how runs stand: drains the replicated outbox, as long as this node leads.
//!
//! At least once, and the last state wins: what is said is read from the state when it is sent, and a notice is taken out of the
//! outbox when the forge has it. Nothing waits for a forge, and no forge for another. Must not know how forges are spoken to.

mod lanes;
mod message;
mod post;

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{ClusterState, Command, Effect, Fence, RepoId, RunId};
use forge::Forge;
use forge::status::{self, Next, State, Status};
use metrics::{counter, gauge};
use ractor::ActorProcessingErr;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::lanes::{Failure, Lanes, Waiting};
use self::message::Message;
use self::post::{Answer, Post};
use super::Shared;
use crate::clock;
use crate::faults::{self, Point};
use crate::metrics::{OUTBOX_NOTICES, OUTBOX_OLDEST, OUTBOX_SENT};
use crate::vault::{Purpose, Vault};

/// Notices that nobody is to be told of, taken out in one round.
const DROPPED: usize = 64;
/// How long a repository rests whose token cannot be opened: until somebody has mended the key file.
const SEALED_REST: Duration = Duration::from_secs(60);

/// How the outbox behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a link to a run begins with; the run's id follows.
    pub runs_url: String,
    /// How long one request may take.
    pub patience: Duration,
    /// What the tokens of forges are opened with.
    pub vault: Vault,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            runs_url: "http://127.0.0.1:7070/v1/runs/".to_owned(),
            patience: Duration::from_secs(15),
            vault: Vault::default(),
        }
    }
}

/// How a request went.
struct Sent {
    run: RunId,
    repo: RepoId,
    how: How,
}

enum How {
    /// Nothing more is to be sent of this state.
    Over {
        /// What was said is that it waits: it is still to be said that it runs.
        waits: bool,
    },
    /// It is to be sent again.
    Again { failure: Failure, why: String },
}

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let ended = drain(&shared, &stop).await;
    // Another leader's figures count now.
    gauge!(OUTBOX_NOTICES).set(0.0);
    gauge!(OUTBOX_OLDEST).set(0.0);
    ended
}

async fn drain(shared: &Shared, stop: &CancellationToken) -> Result<(), ActorProcessingErr> {
    let post = Post::new(shared.options.outbox.patience)?;
    let mut effects = shared.replica.effects();
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut lanes, mut requests, mut begun) = (Lanes::default(), JoinSet::new(), BTreeSet::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Outbox) => match never {},
            Some(sent) = requests.join_next() => settle(&mut lanes, &mut begun, sent?),
            effect = effects.recv() => match effect {
                Ok((_, Effect::WakeOutbox)) | Err(RecvError::Lagged(_)) => {}
                Ok((_, Effect::StartAttempt { attempt, .. })) => {
                    if !wants_begin(&shared.replica.state(), attempt.job.run) || !begun.insert(attempt.job.run) {
                        continue;
                    }
                }
                Ok(_) => continue,
                Err(RecvError::Closed) => return Err("the store is closed".into()),
            },
            _ = tick.tick() => {
                let state = shared.replica.state();
                measure(&state);
                drop_unwanted(shared, &state, stop).await;
            }
        }
        let state = shared.replica.state();
        begun.retain(|run| state.runs.get(run).is_some_and(|run| run.outcome.is_none()));
        lanes.keep(|run| state.outbox.contains(&run) || begun.contains(&run));
        for one in lanes.take(waiting(&state, &begun), Instant::now()) {
            let Some(message) = message::of(&state, one.run) else {
                lanes.done(one.repo, one.run);
                continue;
            };
            let at = state.outbox.get(&one.run).map(|notice| notice.fence);
            requests.spawn(send(shared.clone(), post.clone(), one, message, at));
        }
    }
}

/// Whether the forge of a run tells apart what waits and what runs.
fn wants_begin(state: &ClusterState, run: RunId) -> bool {
    let repo = state.runs.get(&run).and_then(|run| state.repos.get(&run.repo?));
    let to = repo.and_then(|repo| repo.access.status.as_ref());
    to.is_some_and(|to| to.forge == Forge::GitLab.as_str())
}

/// What there is to send, oldest first: notices of the outbox, and runs that have begun since.
fn waiting<'a>(
    state: &'a ClusterState,
    begun: &'a BTreeSet<RunId>,
) -> impl Iterator<Item = Waiting> + use<'a> {
    let noted = state.outbox.iter().map(|(run, _)| *run);
    let begun = begun.iter().filter(|run| !state.outbox.contains(run) && message::has_begun(state, **run));
    noted.chain(begun.copied()).filter_map(|run| {
        let of = state.runs.get(&run)?;
        let repo = of.repo?;
        let server = state.repos.get(&repo)?.access.status.as_ref()?.api_url.clone();
        Some(Waiting { run, repo, commit: of.event.commit.clone(), server })
    })
}

/// Takes out what nobody is to be told of: the repository is gone, or has no statuses any more.
async fn drop_unwanted(shared: &Shared, state: &ClusterState, stop: &CancellationToken) {
    let unwanted = state.outbox.iter().filter(|(run, _)| message::of(state, **run).is_none());
    let unwanted: Vec<_> = unwanted.take(DROPPED).map(|(run, notice)| (*run, notice.fence)).collect();
    for (run, fence) in unwanted {
        let drop = Command::NoticeSent { run, fence };
        match stop.run_until_cancelled(shared.replica.propose(drop)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return tracing::debug!(%error, "the outbox cannot be tidied now"),
            None => return,
        }
    }
}

fn settle(lanes: &mut Lanes, begun: &mut BTreeSet<RunId>, sent: Sent) {
    match sent.how {
        How::Over { waits } => {
            if !waits {
                begun.remove(&sent.run);
            }
            lanes.done(sent.repo, sent.run);
        }
        How::Again { failure, why } => {
            let pause = lanes.failed((sent.repo, sent.run), failure, rand::random(), Instant::now());
            tracing::info!(run = %sent.run, why, ?pause, "a forge could not be told; again later");
        }
    }
}

fn measure(state: &ClusterState) {
    gauge!(OUTBOX_NOTICES).set(state.outbox.len() as f64);
    let oldest = state.outbox.iter().map(|(_, notice)| notice.at).min();
    let age = oldest.map_or(0, |at| clock::now().max(state.now).millis_since(at));
    gauge!(OUTBOX_OLDEST).set(age as f64 / 1000.0);
}

/// Sends one message, and takes the notice out when there is nothing more to say.
async fn send(shared: Shared, post: Post, one: Waiting, message: Message, at: Option<Fence>) -> Sent {
    let Waiting { run, repo, .. } = one;
    let options = &shared.options.outbox;
    let sent = |how| Sent { run, repo, how };
    let token = match options.vault.open(&message.name, Purpose::Statuses, &message.token.0) {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(repository = message.name, %error, "the token for commit statuses cannot be opened");
            return sent(How::Again { failure: Failure::Unanswered(SEALED_REST), why: error.to_string() });
        }
    };
    let target_url = format!("{}{run}", options.runs_url);
    let request = status::request(&Status {
        forge: message.forge,
        api_url: &message.api_url,
        repository: &message.repository,
        commit: &message.commit,
        state: message.state,
        context: &message.context,
        description: &message.description,
        target_url: &target_url,
        token: &token,
    });
    let Answer { next, why, came } = match request {
        Ok(request) => post.send(message.forge, request).await,
        Err(unsendable) => {
            let next = Next::Never { why: unsendable.to_string() };
            Answer { next, why: String::new(), came: false }
        }
    };
    let outcome = match next {
        Next::Done => "told",
        Next::Again { after_seconds } => {
            count(message.forge, "again");
            let failure = match after_seconds {
                0 if came => Failure::Answered,
                seconds => Failure::Unanswered(Duration::from_secs(seconds)),
            };
            return sent(How::Again { failure, why });
        }
        Next::Never { why } => {
            // A server may say back what it was sent.
            let why = why.replace(&token, "***");
            tracing::warn!(%run, repository = message.name, why, "a forge does not take a commit status; it is given up");
            "never"
        }
    };
    count(message.forge, outcome);
    if let Some(fence) = at
        && let Err(error) = shared.replica.propose(Command::NoticeSent { run, fence }).await
    {
        // It is told again, by this leader or by the next.
        return sent(How::Again { failure: Failure::Unanswered(Duration::ZERO), why: error.to_string() });
    }
    sent(How::Over { waits: message.state == State::Pending })
}

fn count(forge: Forge, outcome: &'static str) {
    counter!(OUTBOX_SENT, "forge" => forge.as_str(), "outcome" => outcome).increment(1);
}
