//! The one remotable actor of a node: takes encoded requests, answers encoded outcomes. Unnamed, found by `pg`.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorClusterMessage;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Handler;
use super::envelope::{self, Outcome, Rejection, Request};

#[derive(RactorClusterMessage)]
pub(super) enum InboxMessage {
    #[rpc]
    Call(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

pub(super) struct Inbox {
    pub handler: Handler,
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
        let request = match envelope::decode::<Request>(&bytes) {
            Ok(request) => request,
            Err(why) => {
                answer(reply, &Err(Rejection::Malformed { why }));
                return Ok(());
            }
        };
        let (work, stop) = ((self.handler)(request), state.stop.clone());
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

fn answer(reply: RpcReplyPort<Vec<u8>>, outcome: &Outcome) {
    match envelope::encode(outcome) {
        // The caller may have stopped waiting.
        Ok(bytes) => drop(reply.send(bytes)),
        Err(error) => tracing::error!(error, "an answer cannot be encoded"),
    }
}
