//! Gives accepted deliveries to nodes for expansion, tells the nodes again until they answer, and takes a delivery away
//! from a node that does not.

use std::collections::HashSet;
use std::time::Duration;

use domain::{ClusterState, Command, DeliveryId, DeliveryState, Effect, Fence, NodeId, Reply};
use ractor::ActorProcessingErr;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::clock;
use crate::faults::{self, Point};
use crate::gateway::Request;

/// Deliveries looked at in one round.
const EXAMINE: usize = 1024;
/// Pause after the first failed try; doubled at each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The pause before try `tries + 1` of an expansion.
pub(crate) fn pause(tries: u16) -> Duration {
    let factor = 1u32 << tries.saturating_sub(1).min(16);
    PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX)
}

pub(super) async fn run(shared: Shared, stop: CancellationToken) -> Result<(), ActorProcessingErr> {
    let mut effects = shared.replica.effects();
    let mut tick = tokio::time::interval(shared.options.reconcile);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut calls, mut under) = (JoinSet::new(), HashSet::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            never = faults::near(Point::Expansions) => match never {},
            Some(Ok(delivery)) = calls.join_next() => {
                under.remove(&delivery);
                continue;
            }
            effect = effects.recv() => match effect {
                Ok((_, Effect::WakeExpansion | Effect::StartExpansion { .. })) | Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return Err("the store is closed".into()),
            },
            _ = tick.tick() => {}
        }
        let state = shared.replica.state();
        let live: Vec<NodeId> = shared.leases.live().into_iter().collect();
        for todo in look(&state, &live, &shared) {
            match todo {
                Todo::Tell { node, delivery, fence } => {
                    if under.insert(delivery) {
                        let gateway = shared.gateway.clone();
                        calls.spawn(async move {
                            if let Err(error) = gateway.call(node, Request::StartExpansion { delivery, fence }).await {
                                tracing::debug!(%node, %delivery, %error, "an expansion could not be given out; again soon");
                            }
                            delivery
                        });
                    }
                }
                Todo::Propose(command) => {
                    match stop.run_until_cancelled(shared.replica.propose(*command)).await {
                        None => return Ok(()),
                        Some(Ok(Reply::Refused(refusal))) => {
                            tracing::debug!(%refusal, "an expansion was not given out")
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => tracing::debug!(%error, "an expansion cannot be given out now"),
                    }
                }
            }
        }
    }
}

enum Todo {
    Tell { node: NodeId, delivery: DeliveryId, fence: Fence },
    Propose(Box<Command>),
}

fn look(state: &ClusterState, live: &[NodeId], shared: &Shared) -> Vec<Todo> {
    // What is compared with it is of the cluster's time, which a clock that was wrong for a moment may have put ahead.
    let now = clock::now().max(state.now);
    let mut todo = Vec::new();
    for (id, ()) in state.pending_deliveries.iter().take(EXAMINE) {
        let Some(delivery) = state.deliveries.get(id) else { continue };
        match &delivery.state {
            DeliveryState::Pending { not_before, .. } if *not_before <= now && !live.is_empty() => {
                // Spread by id, moving on at each try: one node with a bad disk does not keep a delivery back.
                let node = live[(id.0 as usize).wrapping_add(usize::from(delivery.tries)) % live.len()];
                todo.push(Todo::Propose(Box::new(Command::AssignExpansion { delivery: *id, node })));
            }
            DeliveryState::Expanding { node, fence, since } => {
                let late = now.millis_since(*since) > shared.options.expansion.as_millis() as u64;
                if late {
                    todo.push(Todo::Propose(Box::new(Command::DeferDelivery {
                        delivery: *id,
                        fence: *fence,
                        reason: format!(
                            "node {node} did not expand it within {:?}",
                            shared.options.expansion
                        ),
                        not_before: now.plus_millis(pause(delivery.tries).as_millis() as u64),
                    })));
                } else {
                    todo.push(Todo::Tell { node: *node, delivery: *id, fence: *fence });
                }
            }
            DeliveryState::Pending { .. } | DeliveryState::Expanded { .. } => {}
        }
    }
    todo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pause(0), PAUSE_MIN);
        assert_eq!(pause(1), PAUSE_MIN);
        assert_eq!(pause(3), PAUSE_MIN * 4);
        assert_eq!(pause(u16::MAX), PAUSE_MAX);
    }
}
