//! Our own supervisor on ractor: children made by factories, restarted with backoff, given up past an intensity.
//!
//! ractor stops a parent when a child exits and is silent about a failed `pre_start`; here both lead to a restart. Must
//! not know what its children do. Jitter comes in as a function, so that tests are deterministic.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::health::{Board, Limit};

/// How children are restarted.
#[derive(Clone)]
pub struct Policy {
    /// Delay before the first restart; doubled at each further one within the window.
    pub backoff_min: Duration,
    /// No delay is longer.
    pub backoff_max: Duration,
    /// Restarts of one child within `window` that are tolerated; one more ends the supervisor.
    pub restarts: usize,
    /// The window over which restarts are counted.
    pub window: Duration,
    /// A number in `0.0..=1.0` for each delay: the share of its upper half that is used.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Where it is told how children fare.
    pub board: Board,
}

impl Policy {
    /// The delay before a restart that `earlier` others preceded within the window.
    fn delay(&self, earlier: usize) -> Duration {
        let factor = 1u32.checked_shl(earlier.min(20) as u32).unwrap_or(u32::MAX);
        let full = self.backoff_min.saturating_mul(factor).min(self.backoff_max);
        full / 2 + (full / 2).mul_f64((self.jitter)().clamp(0.0, 1.0))
    }

    fn limit(&self) -> Limit {
        Limit { permitted: self.restarts, window: self.window }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            restarts: 10,
            window: Duration::from_secs(60),
            jitter: Arc::new(rand::random::<f64>),
            board: Board::default(),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("backoff", &(self.backoff_min..self.backoff_max))
            .field("restarts", &self.restarts)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Why a child, or a whole supervisor, ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A child was restarted too often.
    #[error(
        "{child} was restarted {restarts} times within {window:?} and failed again; last failure: {last}"
    )]
    TooOften {
        /// Which child.
        child: &'static str,
        /// Restarts within the window.
        restarts: usize,
        /// The window.
        window: Duration,
        /// Its last words.
        last: String,
    },
    /// Below it, a child was restarted too often: what a restart can mend was tried there.
    #[error("{why}")]
    Escalated {
        /// The words of the supervisor that gave up.
        why: String,
    },
    /// A task panicked.
    #[error("the task of {child} panicked: {why}")]
    Panicked {
        /// Whose task.
        child: &'static str,
        /// The panic's words.
        why: String,
    },
}

type Start = Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// A child, and how to make it (again).
pub struct Child {
    name: &'static str,
    start: Start,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Child {
    /// A child that is an actor; `make` gives the actor and its arguments for each life.
    pub fn actor<A, F>(name: &'static str, make: F) -> Self
    where
        A: Actor,
        F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    {
        let start = move |supervisor: ActorCell| -> BoxFuture<'static, _> {
            let (actor, arguments) = make();
            Box::pin(async move {
                let (child, _) = Actor::spawn_linked(None, actor, arguments, supervisor).await?;
                Ok(child.get_cell())
            })
        };
        Self { name, start: Box::new(start) }
    }

    /// A child that is one long task, wrapped in an actor that owns it. The task ends when its token is cancelled; an
    /// earlier end is a failure like any other.
    pub fn task<F>(name: &'static str, make: F) -> Self
    where
        F: Fn(CancellationToken) -> BoxFuture<'static, Result<(), ActorProcessingErr>>
            + Send
            + Sync
            + 'static,
    {
        Self::actor(name, move || {
            let stop = CancellationToken::new();
            (Task { name }, (make(stop.clone()), stop))
        })
    }

    /// A supervisor as a child; `children` makes its children for each life.
    pub fn supervisor<F>(name: &'static str, policy: Policy, children: F) -> Self
    where
        F: Fn() -> Vec<Child> + Send + Sync + 'static,
    {
        Self::actor(name, move || (Supervisor { policy: policy.clone() }, children()))
    }
}

/// Wraps one task in an actor, so that it is supervised.
struct Task {
    name: &'static str,
}

struct TaskState {
    tracker: TaskTracker,
    stop: CancellationToken,
    // When the actor is killed, the task is told all the same.
    _guard: DropGuard,
}

enum TaskMessage {
    Over(Result<(), ActorProcessingErr>),
}

impl ractor::Message for TaskMessage {}

impl Actor for Task {
    type Msg = TaskMessage;
    type State = TaskState;
    type Arguments = (BoxFuture<'static, Result<(), ActorProcessingErr>>, CancellationToken);

    async fn pre_start(
        &self,
        myself: ActorRef<TaskMessage>,
        (work, stop): Self::Arguments,
    ) -> Result<TaskState, ActorProcessingErr> {
        let tracker = TaskTracker::new();
        let work = tracker.spawn(work);
        let name = self.name;
        tracker.spawn(async move {
            let result = work
                .await
                .unwrap_or_else(|join| Err(Failure::Panicked { child: name, why: panic_words(join) }.into()));
            // Nobody listens when the actor is stopping already: then the end was asked for.
            drop(myself.cast(TaskMessage::Over(result)));
        });
        tracker.close();
        Ok(TaskState { tracker, _guard: stop.clone().drop_guard(), stop })
    }

    async fn handle(
        &self,
        myself: ActorRef<TaskMessage>,
        TaskMessage::Over(result): TaskMessage,
        _state: &mut TaskState,
    ) -> Result<(), ActorProcessingErr> {
        result?;
        myself.stop(Some("its task ended".to_owned()));
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<TaskMessage>,
        state: &mut TaskState,
    ) -> Result<(), ActorProcessingErr> {
        state.stop.cancel();
        state.tracker.wait().await;
        Ok(())
    }
}

fn panic_words(join: tokio::task::JoinError) -> String {
    match join.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no words)".to_owned()),
        Err(join) => join.to_string(),
    }
}

/// Keeps its children alive; ends, with all of them, when one cannot be kept alive: then its own supervisor ends, too, up to
/// the root, for what a restart can mend has been tried.
#[derive(Debug)]
pub struct Supervisor {
    policy: Policy,
}

impl Supervisor {
    /// A supervisor with this policy; its children are its arguments.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// Starts one without a parent.
    ///
    /// # Errors
    /// ractor's, which it gives for a supervisor only when its `pre_start` panics.
    pub async fn start(
        policy: Policy,
        children: Vec<Child>,
    ) -> Result<(ActorRef<Message>, tokio::task::JoinHandle<()>), SpawnErr> {
        Actor::spawn(None, Self::new(policy), children).await
    }
}

/// What a supervisor tells itself.
#[derive(Debug)]
pub enum Message {
    /// The backoff of the child at this index is over.
    Restart(usize),
}

impl ractor::Message for Message {}

/// Children and their histories.
pub struct State {
    slots: Vec<Slot>,
}

struct Slot {
    child: Child,
    running: Option<ActorCell>,
    restarts: VecDeque<Instant>,
}

impl Supervisor {
    async fn start_child(
        &self,
        myself: &ActorRef<Message>,
        slot: &mut Slot,
        index: usize,
    ) -> Result<(), ActorProcessingErr> {
        match (slot.child.start)(myself.get_cell()).await {
            Ok(cell) => {
                slot.running = Some(cell);
                self.policy.board.up(slot.child.name, self.policy.limit());
                Ok(())
            }
            // No supervision event follows a failed pre_start.
            Err(error) => self.failed(myself, slot, index, error.to_string()),
        }
    }

    fn failed(
        &self,
        myself: &ActorRef<Message>,
        slot: &mut Slot,
        index: usize,
        last: String,
    ) -> Result<(), ActorProcessingErr> {
        slot.running = None;
        let now = Instant::now();
        while slot.restarts.front().is_some_and(|at| now.duration_since(*at) > self.policy.window) {
            slot.restarts.pop_front();
        }
        let (child, restarts, window) = (slot.child.name, slot.restarts.len(), self.policy.window);
        let board = &self.policy.board;
        if restarts >= self.policy.restarts {
            let failure = Failure::TooOften { child, restarts, window, last };
            tracing::error!(child, why = %failure, "a child is given up");
            board.given_up(child, failure.to_string());
            return Err(failure.into());
        }
        let delay = self.policy.delay(restarts);
        tracing::warn!(child, why = last, ?delay, "a child ended and will be restarted");
        slot.restarts.push_back(now);
        board.down(child, self.policy.limit(), slot.restarts.clone(), last);
        myself.send_after(delay, move || Message::Restart(index));
        Ok(())
    }
}

fn slot_of(state: &mut State, id: ActorId) -> Option<(usize, &mut Slot)> {
    let is_it = |slot: &Slot| slot.running.as_ref().is_some_and(|cell| cell.get_id() == id);
    state.slots.iter_mut().enumerate().find(|(_, slot)| is_it(slot))
}

/// Whether a child ended because a supervisor gave up. It is not tried again: with the windows alike on each level, a level
/// above would never find that it was too often.
fn is_escalation(error: &ActorProcessingErr) -> bool {
    let failure = error.downcast_ref::<Failure>();
    matches!(failure, Some(Failure::TooOften { .. } | Failure::Escalated { .. }))
}

impl Actor for Supervisor {
    type Msg = Message;
    type State = State;
    type Arguments = Vec<Child>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        children: Vec<Child>,
    ) -> Result<State, ActorProcessingErr> {
        let mut slots = Vec::with_capacity(children.len());
        for (index, child) in children.into_iter().enumerate() {
            let mut slot = Slot { child, running: None, restarts: VecDeque::new() };
            self.start_child(&myself, &mut slot, index).await?;
            slots.push(slot);
        }
        Ok(State { slots })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Restart(index): Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match state.slots.get_mut(index) {
            Some(slot) if slot.running.is_none() => self.start_child(&myself, slot, index).await,
            _ => Ok(()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (id, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                if let Some((_, slot)) = slot_of(state, cell.get_id()).filter(|_| is_escalation(&error)) {
                    let why = error.to_string();
                    self.policy.board.given_up(slot.child.name, why.clone());
                    return Err(Failure::Escalated { why }.into());
                }
                (cell.get_id(), error.to_string())
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), reason.unwrap_or_else(|| "it stopped".to_owned()))
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => return Ok(()),
        };
        match slot_of(state, id) {
            Some((index, slot)) => self.failed(&myself, slot, index, why),
            None => Ok(()),
        }
    }

    /// Stops the children in the reverse of the order in which they were started, and waits for each.
    async fn post_stop(
        &self,
        myself: ActorRef<Message>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        for slot in state.slots.iter_mut().rev() {
            if let Some(cell) = slot.running.take() {
                cell.unlink(myself.get_cell());
                // An error means that it had ended already.
                drop(cell.stop_and_wait(None, None).await);
            }
            self.policy.board.gone(slot.child.name);
        }
        Ok(())
    }
}
