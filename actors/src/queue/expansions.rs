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

/// Deliveries for which something is done in one round.
const MOST: usize = 1024;
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
        for todo in look(&state, &live, &shared.options, &under) {
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

/// What is to be done now, oldest first: what waits for its next try, or is under way, holds up nothing that came later.
fn look(
    state: &ClusterState,
    live: &[NodeId],
    options: &super::Options,
    under: &HashSet<DeliveryId>,
) -> Vec<Todo> {
    // What is compared with it is of the cluster's time, which a clock that was wrong for a moment may have put ahead.
    let now = clock::now().max(state.now);
    let mut todo = Vec::new();
    for (id, ()) in state.pending_deliveries.iter() {
        if todo.len() >= MOST {
            break;
        }
        let Some(delivery) = state.deliveries.get(id) else { continue };
        match &delivery.state {
            DeliveryState::Pending { not_before, .. } if *not_before <= now && !live.is_empty() => {
                // Spread by id, moving on at each try: one node with a bad disk does not keep a delivery back.
                let node = live[(id.0 as usize).wrapping_add(usize::from(delivery.tries)) % live.len()];
                todo.push(Todo::Propose(Box::new(Command::AssignExpansion { delivery: *id, node })));
            }
            DeliveryState::Expanding { node, fence, since } => {
                let late = now.millis_since(*since) > options.expansion.as_millis() as u64;
                if late {
                    todo.push(Todo::Propose(Box::new(Command::DeferDelivery {
                        delivery: *id,
                        fence: *fence,
                        reason: format!("node {node} did not expand it within {:?}", options.expansion),
                        not_before: now.plus_millis(pause(delivery.tries).as_millis() as u64),
                    })));
                } else if !under.contains(id) {
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
    use std::sync::Arc;

    use domain::{Delivery, Event, EventKind, RepoId, Timestamp};

    use super::*;

    fn delivery(state: DeliveryState) -> Delivery {
        let event = Arc::new(Event::of(EventKind::Push));
        let (accepted_at, only_path) = (Timestamp(1), Arc::from(""));
        Delivery { repo: RepoId(1), event, only_path, accepted_at, tries: 9, state }
    }

    #[test]
    fn what_waits_or_is_under_way_holds_up_nothing_that_came_later() {
        let mut state = ClusterState { now: Timestamp(u64::MAX / 2), ..ClusterState::default() };
        let (node, fence) = (NodeId(1), Fence(1));
        let mut put = |id: u128, of| {
            state.deliveries.insert(DeliveryId(id), delivery(of));
            state.pending_deliveries.insert(DeliveryId(id), ());
        };
        let later = Timestamp(u64::MAX / 2 + 1000);
        let waits = |not_before| DeliveryState::Pending { not_before, reason: Arc::from("no such commit") };
        (0..2000).for_each(|id| put(id, waits(later)));
        let expanding =
            |id| put(id, DeliveryState::Expanding { node, fence, since: Timestamp(u64::MAX / 2) });
        (2000..4000).for_each(expanding);
        let under = (2000..4000).map(DeliveryId).collect();
        put(4000, waits(Timestamp(1)));
        let todo = look(&state, &[node], &super::super::Options::default(), &under);
        let [Todo::Propose(command)] = &todo[..] else { panic!("{} things to do", todo.len()) };
        assert_eq!(**command, Command::AssignExpansion { delivery: DeliveryId(4000), node });
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pause(0), PAUSE_MIN);
        assert_eq!(pause(1), PAUSE_MIN);
        assert_eq!(pause(3), PAUSE_MIN * 4);
        assert_eq!(pause(u16::MAX), PAUSE_MAX);
    }
}
