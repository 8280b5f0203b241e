//! The one remotable actor of a node: takes encoded requests, answers encoded outcomes. Unnamed, found by `pg`.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorClusterMessage;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::envelope::{self, Answer, Outcome, Rejection, Request, Sealed};
use super::tickets::NONE;

#[derive(RactorClusterMessage)]
pub(super) enum InboxMessage {
    #[rpc]
    Call(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

pub(super) struct Inbox {
    pub gateway: Gateway,
    /// Requests under way here, from all peers together.
    pub limit: Arc<Semaphore>,
}

pub(super) struct InboxState {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Actor for Inbox {
    type Msg = InboxMessage;
    type State = InboxState;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<InboxMessage>, (): ()) -> Result<InboxState, ActorProcessingErr> {
        Ok(InboxState { tracker: TaskTracker::new(), stop: CancellationToken::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<InboxMessage>,
        InboxMessage::Call(bytes, reply): InboxMessage,
        state: &mut InboxState,
    ) -> Result<(), ActorProcessingErr> {
        let Ok(permit) = Arc::clone(&self.limit).try_acquire_owned() else {
            answer(reply, &Err(Rejection::Busy));
            return Ok(());
        };
        let request = match self.open(&bytes) {
            Ok(request) => request,
            Err(outcome) => {
                answer(reply, &outcome);
                return Ok(());
            }
        };
        let (work, stop) = ((self.gateway.inner.handler)(request), state.stop.clone());
        state.tracker.spawn(async move {
            let outcome = stop.run_until_cancelled(work).await.unwrap_or(Err(Rejection::Unavailable));
            answer(reply, &outcome);
            drop(permit);
        });
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<InboxMessage>,
        state: &mut InboxState,
    ) -> Result<(), ActorProcessingErr> {
        state.stop.cancel();
        state.tracker.close();
        state.tracker.wait().await;
        Ok(())
    }
}

impl Inbox {
    /// What is to be done; or the answer, when nothing is.
    fn open(&self, bytes: &[u8]) -> Result<Request, Outcome> {
        let inner = &self.gateway.inner;
        let Sealed { ticket, request } =
            envelope::decode(bytes).map_err(|why| Err(Rejection::Malformed { why }))?;
        if let Request::Introduce { from, ticket } = request {
            inner.tickets.take(from, ticket);
            return Err(Ok(Answer::Done));
        }
        if let Some(node) = request.speaks_of() {
            let state = inner.replica.state();
            let name = state.nodes.get(&node).map(|node| &node.name);
            // Who is not known here is refused by name further on.
            if name.is_some_and(|name| !inner.tickets.is_of(ticket, name.as_str())) {
                if ticket != NONE {
                    inner.tickets.refuse();
                    tracing::warn!(%node, "a request of somebody who is not the node of which it speaks; refused");
                }
                return Err(Err(Rejection::NotIntroduced));
            }
        }
        Ok(request)
    }
}

fn answer(reply: RpcReplyPort<Vec<u8>>, outcome: &Outcome) {
    match envelope::encode(outcome) {
        // The caller may have stopped waiting.
        Ok(bytes) => drop(reply.send(bytes)),
        Err(error) => tracing::error!(error, "an answer cannot be encoded"),
    }
}
