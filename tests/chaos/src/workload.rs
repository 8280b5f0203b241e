//! People at work: each goes through one story after the other, through whichever node it happens to ask. What they ask for
//! and what they hear is recorded; what it means is the oracle's business.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::change;
use crate::history::{Action, Answer, Operation, Run, Sighting};
use crate::now_nanos;
use crate::oracle::MARK;
use crate::push::Webhook;
use crate::work::{Kind, NOBODY, TIMEOUT_SECONDS};
use crate::world::World;

/// How long after the end a client still asks for what it does not know yet.
const INSIST: Duration = Duration::from_secs(60);
/// How long a client waits for a run before it goes on to other things.
const PATIENCE: Duration = Duration::from_secs(8);

/// What all of them share.
pub struct Workload {
    seed: u64,
    /// The commit that is pushed.
    commit: String,
    keys: AtomicU64,
    /// Runs that ended, to be repeated.
    ended: Mutex<Vec<String>>,
}

/// One of them.
struct Person<'a> {
    world: &'a World,
    work: &'a Workload,
    rng: SmallRng,
    deadline: Option<Instant>,
}

impl Workload {
    /// Nothing was asked for yet.
    #[must_use]
    pub fn new(seed: u64, commit: String) -> Self {
        Self { seed, commit, keys: AtomicU64::new(0), ended: Mutex::default() }
    }

    /// Goes on until the world is stopped.
    pub async fn person(&self, world: &World, number: u64) {
        let rng = SmallRng::seed_from_u64(self.seed.wrapping_mul(1000).wrapping_add(number));
        let mut person = Person { world, work: self, rng, deadline: None };
        while !world.is_stopped() {
            person.story().await;
            let pause = Duration::from_millis(person.rng.random_range(50..600));
            world.rest(pause).await;
        }
    }

    /// Jobs that stay in the queue: what is counted at the end is not nothing.
    pub async fn leave_some(&self, world: &World) {
        let rng = SmallRng::seed_from_u64(self.seed);
        let mut person = Person { world, work: self, rng, deadline: None };
        for _ in 0..3 {
            person.submit(Kind::Stuck).await;
        }
    }

    /// Resumes what somebody may have paused without knowing: a request can be done long after nobody waits for it any more.
    pub async fn resume_the_rest(&self, world: &World) {
        let unsure = |operation: &Operation| match (&operation.action, &operation.answer) {
            (Action::Pause { run }, Answer::Perhaps(_)) => Some(run.clone()),
            _ => None,
        };
        let runs: Vec<String> = world.history().operations.iter().filter_map(unsure).collect();
        let rng = SmallRng::seed_from_u64(self.seed);
        let deadline = Some(Instant::now() + INSIST);
        let mut person = Person { world, work: self, rng, deadline };
        for run in runs {
            person.resume(&run).await;
        }
    }
}

impl Person<'_> {
    async fn story(&mut self) {
        match self.rng.random_range(0..100) {
            0..45 => {
                let kind = Kind::AD_HOC[self.rng.random_range(0..Kind::AD_HOC.len())];
                if let Some(run) = self.submit(kind).await {
                    self.perhaps_cancel(&run, 15).await;
                    self.follow(&run).await;
                }
            }
            45..70 => {
                let kind = Kind::GRAPHS[self.rng.random_range(0..Kind::GRAPHS.len())];
                if let Some(run) = self.push(kind).await {
                    self.perhaps_cancel(&run, 15).await;
                    self.follow(&run).await;
                }
            }
            70..80 => {
                // Nobody can run it: its end is the cancel's.
                if let Some(run) = self.submit(Kind::Stuck).await {
                    self.perhaps_cancel(&run, 100).await;
                    self.follow(&run).await;
                }
            }
            80..90 => self.pause().await,
            _ => {
                let ended = self.work.ended.lock().unwrap().clone();
                if !ended.is_empty() {
                    let of = ended[self.rng.random_range(0..ended.len())].clone();
                    let path = format!("/v1/runs/{of}/rerun");
                    // It has no key: an unknown one is not asked for again.
                    if let Answer::Done(run) = self.post(Action::Rerun { run: of }, &path, None).await {
                        self.follow(&run).await;
                    }
                }
            }
        }
    }

    /// A run that is paused, and resumed whatever became of that.
    async fn pause(&mut self) {
        let Some(run) = self.submit(Kind::Long).await else { return };
        self.post(Action::Pause { run: run.clone() }, &format!("/v1/runs/{run}/pause"), None).await;
        // Some pauses are over before every node has heard of them, and some outlive leases.
        let longest = if self.rng.random_ratio(1, 3) { 20_000 } else { 4_000 };
        self.world.rest(Duration::from_millis(self.rng.random_range(0..longest))).await;
        self.resume(&run).await;
        self.follow(&run).await;
    }

    /// Until it is resumed, or finished meanwhile.
    async fn resume(&mut self, run: &str) {
        while self.may_go_on() {
            let answer = self
                .post(Action::Resume { run: run.to_owned() }, &format!("/v1/runs/{run}/resume"), None)
                .await;
            if !is_passing(&answer) {
                break;
            }
            self.hesitate().await;
        }
    }

    fn key(&self) -> String {
        format!("{}-{}", self.work.seed, self.work.keys.fetch_add(1, Ordering::Relaxed))
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.world.clients.len())
    }

    /// A request through some node, recorded.
    async fn post(&mut self, action: Action, path: &str, body: Option<(&str, &Value)>) -> Answer {
        let node = self.node();
        let mut request = self.world.clients[node].request(Method::POST, path);
        if let Some((key, body)) = body {
            request = request.header("idempotency-key", key).json(body);
        }
        self.send(node, action, request).await
    }

    async fn send(&self, node: usize, action: Action, request: reqwest::RequestBuilder) -> Answer {
        let asked = now_nanos();
        let answer = change(request).await;
        let operation = Operation { node, action, asked, answered: now_nanos(), answer: answer.clone() };
        self.world.did(operation);
        answer
    }

    /// Whether one that has no answer yet asks again: for some time after the end, too, but not for ever.
    fn may_go_on(&mut self) -> bool {
        if !self.world.is_stopped() {
            return true;
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + INSIST);
        Instant::now() < deadline
    }

    /// Some give up when they are refused; nobody does who does not know.
    fn insists(&mut self, answer: &Answer) -> bool {
        match answer {
            Answer::Done(_) => false,
            Answer::Perhaps(_) => self.may_go_on(),
            Answer::Refused(_) => self.rng.random_range(0..10) > 0 && self.may_go_on(),
        }
    }

    async fn hesitate(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(100..500))).await;
    }

    async fn submit(&mut self, kind: Kind) -> Option<String> {
        let key = self.key();
        let job = kind.jobs()[0];
        let labels: &[&str] = if kind == Kind::Stuck { &[NOBODY] } else { &[] };
        let artifacts: &[&str] = if job.keeps { &[crate::work::ARTIFACT] } else { &[] };
        let body = json!({
            "name": format!("{MARK}{key}"),
            "script": job.script(),
            "labels": labels,
            "artifacts": artifacts,
            "memory_mib": 64,
            "timeout_seconds": TIMEOUT_SECONDS,
        });
        loop {
            let action = Action::Submit { key: key.clone(), kind };
            let answer = self.post(action, "/v1/runs", Some((&key, &body))).await;
            if let Answer::Done(run) = answer {
                return Some(run);
            }
            if !self.insists(&answer) {
                return None;
            }
            self.hesitate().await;
        }
    }

    async fn push(&mut self, kind: Kind) -> Option<String> {
        let key = self.key();
        let title = format!("{MARK}{key}");
        let webhook = Webhook::titled(&self.work.commit, kind.name(), &title, &key);
        let delivery = loop {
            let (node, action) = (self.node(), Action::Push { key: key.clone(), kind });
            let request = self.world.clients[node].webhook(&webhook);
            let answer = self.send(node, action, request).await;
            if let Answer::Done(delivery) = answer {
                break delivery;
            }
            if !self.insists(&answer) {
                return None;
            }
            self.hesitate().await;
        };
        let given_up = Instant::now() + PATIENCE;
        while Instant::now() < given_up && self.may_go_on() {
            let node = self.node();
            let seen = self.world.clients[node].found(&format!("/v1/deliveries/{delivery}")).await;
            if let Some(run) = seen.as_ref().and_then(|seen| seen["runs"].get(0)?.as_str()) {
                return Some(run.to_owned());
            }
            self.hesitate().await;
        }
        None
    }

    /// In so many of a hundred cases, asks for the end of a run: at once, or while it runs.
    async fn perhaps_cancel(&mut self, run: &str, percent: u32) {
        if self.rng.random_range(0..100) >= percent {
            return;
        }
        self.world.rest(Duration::from_millis(self.rng.random_range(0..2_500))).await;
        loop {
            let answer = self
                .post(Action::Cancel { run: run.to_owned() }, &format!("/v1/runs/{run}/cancel"), None)
                .await;
            // One that has ended in the meantime cannot be cancelled.
            if !is_passing(&answer) || !self.insists(&answer) {
                return;
            }
            self.hesitate().await;
        }
    }

    /// Looks at a run, through one node after the other, until it has ended or other things are more interesting.
    async fn follow(&mut self, run: &str) {
        let (given_up, mut last) = (Instant::now() + PATIENCE, None);
        while Instant::now() < given_up && !self.world.is_stopped() {
            let (node, asked) = (self.node(), now_nanos());
            let seen: Option<Run> = match self.world.clients[node].get(&format!("/v1/runs/{run}")).await {
                Some((StatusCode::OK, value)) => serde_json::from_value(value).ok(),
                Some((StatusCode::NOT_FOUND, _)) => None,
                _ => {
                    self.hesitate().await;
                    continue;
                }
            };
            if last.as_ref() != Some(&seen) {
                self.world.saw(Sighting { node, asked, run: run.to_owned(), seen: seen.clone() });
            }
            if seen.as_ref().is_some_and(|seen| seen.outcome.is_some()) {
                self.work.ended.lock().unwrap().push(run.to_owned());
                return;
            }
            last = Some(seen);
            self.hesitate().await;
        }
    }
}

/// Whether another try may be answered otherwise.
fn is_passing(answer: &Answer) -> bool {
    match answer {
        Answer::Done(_) => false,
        Answer::Perhaps(_) => true,
        Answer::Refused(code) => !matches!(code.as_str(), "conflict" | "not_found" | "no_route"),
    }
}
