//! Clients: each asks, waits for its answer, thinks, and asks again, through any node that runs.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::counts::Counts;
use crate::node::SimNode;
use crate::records::Records;
use crate::requests::{Ended, Request, is_done};
use crate::trace::Trace;

/// Milliseconds after which keys are left alone and new ones used: a history must not grow without end.
const EPOCH: u64 = 6000;
/// Registers and idempotency keys in use at a time.
const KEYS: u64 = 3;
/// Jobs that are still acted on.
const JOBS: usize = 4;

/// Who waits for what.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    request: Request,
    called: u64,
    node: usize,
    life: u64,
}

#[derive(Debug)]
enum Client {
    Thinks { until: u64 },
    Waits { number: u64, waiting: Waiting },
}

/// An attempt that a client knows of.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    run: u64,
    number: u16,
    fence: u64,
}

/// All clients of a run.
#[derive(Debug)]
pub struct Clients {
    rng: SmallRng,
    clients: Vec<Client>,
    ended: Arc<Mutex<Vec<(u64, Ended)>>>,
    next_number: u64,
    next_value: u64,
    think: u64,
    runs: Vec<u64>,
    attempts: Vec<Attempt>,
    registered: bool,
    counts: Counts,
    trace: Trace,
    /// What they did.
    pub records: Records,
}

impl Clients {
    /// So many clients that think so long at most, in milliseconds.
    #[must_use]
    pub fn new(seed: u64, count: usize, think: u64, counts: Counts, trace: Trace) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            clients: (0..count).map(|_| Client::Thinks { until: 0 }).collect(),
            ended: Arc::default(),
            next_number: 1,
            next_value: 1,
            think,
            runs: Vec::new(),
            attempts: Vec::new(),
            registered: false,
            counts,
            trace,
            records: Records::default(),
        }
    }

    /// Takes answers, and asks if they may.
    ///
    /// # Errors
    /// An answer that cannot be right.
    pub fn step(&mut self, now: u64, nodes: &[SimNode], may_ask: bool) -> Result<(), String> {
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for (number, ended) in ended {
            self.answered(now, number, Some(ended))?;
        }
        let died: Vec<u64> = self
            .clients
            .iter()
            .filter_map(|client| match client {
                Client::Waits { number, waiting } => {
                    let process = nodes[waiting.node].process.as_ref();
                    process.is_none_or(|process| process.life != waiting.life).then_some(*number)
                }
                Client::Thinks { .. } => None,
            })
            .collect();
        for number in died {
            self.answered(now, number, None)?;
        }
        for n in 0..self.clients.len() {
            if may_ask && matches!(self.clients[n], Client::Thinks { until } if until <= now) {
                self.ask(now, n, nodes);
            }
        }
        Ok(())
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn all_think(&self) -> bool {
        self.clients.iter().all(|client| matches!(client, Client::Thinks { .. }))
    }

    fn answered(&mut self, now: u64, number: u64, ended: Option<Ended>) -> Result<(), String> {
        let which =
            self.clients.iter().position(|c| matches!(c, Client::Waits { number: n, .. } if *n == number));
        let Some(n) = which else { return Ok(()) };
        let Client::Waits { waiting, .. } = self.clients[n] else { return Ok(()) };
        self.clients[n] = Client::Thinks { until: now + self.rng.random_range(0..=self.think) };
        self.trace.say(now, &format!("client {n} at n{}: {:?} -> {ended:?}", waiting.node, waiting.request));
        self.counts.add(match &ended {
            Some(Ended::Committed(_)) => "answer: committed",
            Some(Ended::Seen(_)) => "answer: read",
            Some(Ended::Failed(raft_store::ProposeError::Unknown)) => "answer: unknown",
            Some(Ended::Failed(_)) => "answer: not done",
            None => "answer: none, the node died",
        });
        if let Some(Ended::Committed(committed)) = &ended
            && is_done(&committed.reply)
        {
            self.learn(waiting.request, committed);
        }
        self.records.ended(waiting.request, waiting.called, ended)
    }

    fn learn(&mut self, request: Request, committed: &raft_store::Committed) {
        match request {
            Request::Register => self.registered = true,
            Request::Submit { .. } => {
                if let domain::Reply::Run { id, duplicate: false, .. } = &committed.reply {
                    self.runs.push(id.0 as u64);
                }
            }
            Request::Place { run, number } => {
                self.attempts.push(Attempt { run, number, fence: committed.index });
            }
            _ => {}
        }
    }

    fn ask(&mut self, now: u64, n: usize, nodes: &[SimNode]) {
        let running: Vec<usize> =
            nodes.iter().filter(|node| node.store().is_some()).map(|node| node.index).collect();
        if running.is_empty() {
            return;
        }
        let node = running[self.rng.random_range(0..running.len())];
        let Some((store, life)) =
            nodes[node].store().cloned().zip(nodes[node].process.as_ref().map(|p| p.life))
        else {
            return;
        };
        let request = self.choose(now, &store);
        let (number, called) = (self.next_number, self.records.place());
        self.next_number += 1;
        let ended = Arc::clone(&self.ended);
        nodes[node].spawn(async move {
            let how = request.perform(store).await;
            ended.lock().unwrap_or_else(PoisonError::into_inner).push((number, how));
        });
        self.clients[n] = Client::Waits { number, waiting: Waiting { request, called, node, life } };
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn choose(&mut self, now: u64, store: &raft_store::Store) -> Request {
        if !self.registered {
            return Request::Register;
        }
        let key = now / EPOCH * KEYS + self.rng.random_range(0..KEYS);
        let recent = self.runs.len().saturating_sub(JOBS);
        let run =
            (recent < self.runs.len()).then(|| self.runs[self.rng.random_range(recent..self.runs.len())]);
        let known: Vec<Attempt> = self.attempts.iter().rev().take(2 * JOBS).copied().collect();
        let attempt = (!known.is_empty()).then(|| known[self.rng.random_range(0..known.len())]);
        match (self.rng.random_range(0..100), run, attempt) {
            (0..25, ..) => Request::Write { key, value: self.value() },
            (25..50, ..) => Request::ReadRegister { key },
            (50..60, ..) => Request::Submit { key, run: self.value() },
            (60..65, ..) => Request::ReadOnce { key },
            (65..75, Some(run), _) => {
                // As the scheduler does: by a state that may be old.
                let seen = Request::ReadJob { run }.look(&store.state());
                let attempts =
                    seen.map_or(
                        0,
                        |seen| if let crate::requests::Seen::Job(job) = seen { job.attempts } else { 0 },
                    );
                Request::Place { run, number: attempts + 1 }
            }
            (75..80, Some(run), _) => Request::ReadJob { run },
            (80..86, _, Some(Attempt { run, number, fence })) => Request::Start { run, number, fence },
            (86..90, _, Some(Attempt { run, number, fence })) => Request::Finish { run, number, fence },
            (90..100, _, Some(Attempt { run, number, fence })) => Request::Unplace { run, number, fence },
            _ => Request::ReadRegister { key },
        }
    }
}
