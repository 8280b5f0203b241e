//! Decides jobs whose needs have ended and whose place in the run depends on how. The verdict is an entry of the log: who leads next
//! finds it done, or decides anew and finds the same.

use domain::{ClusterState, Command, JobId, Reply, Undecided, Verdict, limits};
use ractor::ActorProcessingErr;
use raft_store::codec;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use workflow::Asked;
use workflow::contexts::Facts;
use workflow::graph::Before;

use super::Shared;
use crate::faults::{self, Point};
use crate::mint::Mint;
use crate::needs;
use crate::replica::ProposeError;
use crate::runner::contexts;

/// Jobs decided in one round.
const BATCH: usize = 64;

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut effects = shared.replica.effects();
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Decider) => match never {},
            effect = effects.recv() => match effect {
                Ok((_, domain::Effect::WakeDecider)) | Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return Err("the store is closed".into()),
            },
            _ = tick.tick() => {}
        }
        let state = shared.replica.state();
        let open: Vec<JobId> = state.undecided.iter().map(|(id, ())| *id).take(BATCH).collect();
        for job in open {
            let of = state.clone();
            let verdict = tokio::task::spawn_blocking(move || decide(&of, job)).await;
            // A panic on a job must not be tried for ever in silence.
            let verdict = verdict.unwrap_or_else(|_| Verdict::Fail {
                reason: "deciding it failed unexpectedly (see the leader's log)".to_owned(),
            });
            let mut proposed =
                stop.run_until_cancelled(shared.replica.propose(Command::DecideJob { job, verdict })).await;
            if let Some(Err(error @ ProposeError::TooLarge { .. })) = &proposed {
                // It would be so for ever, so it is said where people see it.
                let verdict = Verdict::Fail { reason: format!("what it becomes is too large: {error}") };
                let fail = Command::DecideJob { job, verdict };
                proposed = stop.run_until_cancelled(shared.replica.propose(fail)).await;
            }
            match proposed {
                None => return Ok(()),
                Some(Ok(Reply::Refused(refusal))) => {
                    tracing::debug!(%job, %refusal, "a job was decided by another")
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::debug!(%job, %error, "a job cannot be decided now"),
            }
        }
    }
}

fn decide(state: &ClusterState, id: JobId) -> Verdict {
    verdict(state, id).unwrap_or_else(|reason| Verdict::Fail { reason })
}

fn verdict(state: &ClusterState, id: JobId) -> Result<Verdict, String> {
    let unknown = || format!("job {id} is not in the state");
    let (job, run) = (state.jobs.get(&id).ok_or_else(unknown)?, state.runs.get(&id.run).ok_or_else(unknown)?);
    let bytes = state.specs.get(&id).ok_or_else(unknown)?;
    let undecided: Undecided = codec::decode(&bytes.0, limits::MAX_SPEC_BYTES)
        .map_err(|error| format!("the specification of job {id} cannot be read: {error}"))?;
    let repo = run.repo.and_then(|repo| state.repos.get(&repo));
    let facts = Facts { variables: needs::variables(state, run.repo), ..contexts::known(repo, id.run, run) };
    let before = needs::before(state, id);
    let jobs = before.iter().map(|(name, outcome)| (name.as_str(), *outcome)).collect();
    let asked = Asked {
        undecided: &undecided,
        key: &job.key,
        contexts: state.contexts.get(&id).map_or("", |text| text),
        event: &run.event,
        facts: &facts,
        before: &Before { jobs, cancelled: run.cancel_requested },
        needs: &needs::context(state, id),
    };
    Ok(workflow::decide(&asked, &Mint))
}
