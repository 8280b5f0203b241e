//! One stage of submits: so many clients, each sending the next as soon as the one before is answered.
//!
//! The jobs ask for a label that no node has, so that only their durable acceptance is measured. What was or may have
//! been accepted is given back, for whoever withdraws it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::RunId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::Failure;
use super::door::{Door, Refused};
use super::figures::Latencies;
use super::work::{Keyed, Work};

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// Which one; part of the keys.
    pub number: usize,
    /// Clients at one time.
    pub clients: usize,
    /// Nothing is begun after so long.
    pub length: Duration,
    /// Submits at most.
    pub most: usize,
}

/// What came of a stage.
#[derive(Debug, Default)]
pub struct Done {
    /// From the first submit until the last answer.
    pub elapsed: Duration,
    /// Of accepted submits, from sending until the whole answer is there.
    pub latencies: Latencies,
    /// What was accepted.
    pub accepted: Vec<RunId>,
    /// What may have been accepted.
    pub unsure: Vec<Keyed>,
    /// How many were not, by status and code.
    pub errors: BTreeMap<String, usize>,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.accepted.extend(other.accepted);
        self.unsure.extend(other.unsure);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

/// Runs a stage to its end, or to the end of what is under way when told to `stop`.
///
/// # Errors
/// [`Failure`] when a client cannot reach its node to begin with.
pub async fn run(door: &Door, work: &Work, stage: Stage, stop: &CancellationToken) -> Result<Done, Failure> {
    connect(door, stage.clients).await?;
    let (begun, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for index in 0..stage.clients {
        let one = One {
            door: door.only(index),
            work: work.clone(),
            stage,
            until: begun + stage.length,
            next: next.clone(),
            stop: stop.clone(),
            done: Done::default(),
        };
        clients.spawn(one.run());
    }
    let mut all = Done::default();
    while let Some(done) = clients.join_next().await {
        all.add(done.map_err(std::io::Error::other)?);
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}

/// Opens the connections: opening them is no part of a submit.
async fn connect(door: &Door, clients: usize) -> Result<(), Failure> {
    let mut greetings = JoinSet::new();
    for index in 0..clients {
        let door = door.only(index);
        greetings.spawn(async move { door.greet().await });
    }
    while let Some(greeted) = greetings.join_next().await {
        greeted.map_err(std::io::Error::other)??;
    }
    Ok(())
}

/// One client.
struct One {
    door: Door,
    work: Work,
    stage: Stage,
    until: Instant,
    next: Arc<AtomicUsize>,
    stop: CancellationToken,
    done: Done,
}

impl One {
    async fn run(mut self) -> Done {
        while Instant::now() < self.until && !self.stop.is_cancelled() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.stage.most {
                break;
            }
            let keyed = self.work.keyed(self.stage.number, number);
            let since = Instant::now();
            match self.door.submit(&keyed).await {
                Ok(run) => {
                    self.done.latencies.push(since.elapsed());
                    self.done.accepted.push(run);
                }
                Err(refused) => self.refused(keyed, refused).await,
            }
        }
        self.done
    }

    /// Counts it and waits as long as the node asks, but not past the end of the stage.
    async fn refused(&mut self, keyed: Keyed, refused: Refused) {
        *self.done.errors.entry(refused.what).or_default() += 1;
        if refused.unsure {
            self.done.unsure.push(keyed);
        }
        let until = (Instant::now() + refused.wait).min(self.until);
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
