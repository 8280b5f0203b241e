//! From what a webhook tells to what the cluster can keep of it: its deliveries.
//!
//! Must not know how any forge spells its events.

use domain::EventKind;
use sha2::{Digest, Sha256};

use crate::{Commit, Event, PullRequest, Push, Received, What, payload};

/// What is to be accepted of one webhook. Nothing of it is lost: what is no delivery has its reason.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliveries {
    /// Each to be accepted on its own, in this order.
    pub all: Vec<Delivery>,
    /// Why nothing follows from the rest.
    pub no_runs: Vec<String>,
}

/// One thing that happened, as the cluster keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The webhook's key, told apart where the webhook tells of several; empty when the forge gave no id. At most 255
    /// bytes.
    pub key: String,
    /// The webhook's digest, told apart in the same way.
    pub digest: [u8; 32],
    /// What happened.
    pub event: domain::Event,
}

/// Reasons that are shown of one webhook.
const MOST_REASONS: usize = 5;

impl Deliveries {
    /// Why nothing follows from some of it, or from all; none when something follows from everything.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let shown: Vec<&str> = self.no_runs.iter().take(MOST_REASONS).map(String::as_str).collect();
        let more = self.no_runs.len() - shown.len();
        match (shown.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(shown.join("; ")),
            (false, more) => Some(format!("{}; and {more} more", shown.join("; "))),
        }
    }
}

impl Received {
    /// What the cluster can keep of it. The same webhook gives the same keys and digests each time, so what was accepted of
    /// a webhook that failed half-way is not accepted again when the forge repeats it.
    pub fn deliveries(&self) -> Deliveries {
        let (mut all, mut no_runs) = (Vec::new(), Vec::new());
        for (index, what) in self.what.iter().enumerate() {
            match self.kept(what) {
                Ok(event) => {
                    all.push(Delivery { key: self.key_of(index), digest: self.digest_of(index), event })
                }
                Err(reason) => no_runs.push(reason),
            }
        }
        Deliveries { all, no_runs }
    }

    /// By the place in the webhook, whatever becomes of those before it.
    fn key_of(&self, index: usize) -> String {
        match self.key.split_once(':') {
            Some((forge, id)) if index > 0 => format!("{forge}#{index}:{id}"),
            _ => self.key.clone(),
        }
    }

    fn digest_of(&self, index: usize) -> [u8; 32] {
        if index == 0 {
            return self.digest;
        }
        Sha256::new().chain_update(self.digest).chain_update((index as u64).to_le_bytes()).finalize().into()
    }

    fn kept(&self, what: &What) -> Result<domain::Event, String> {
        match what {
            What::Event(Event::Push(push)) => Ok(self.push(push)),
            What::Event(Event::Created(change)) => {
                Err(format!("{} was created; the push that comes with it is what counts", change.git_ref))
            }
            What::Event(Event::Deleted(change)) => Err(format!("{} was deleted", change.git_ref)),
            What::Event(Event::PullRequest(request)) => Ok(self.pull_request(request)),
            What::NoRun(reason) => Err(reason.clone()),
        }
    }

    fn push(&self, push: &Push) -> domain::Event {
        domain::Event {
            git_ref: push.git_ref.clone(),
            commit: push.commit.clone(),
            before: push.before.clone(),
            sender: self.sender.shown().to_owned(),
            title: push.head.as_ref().map(Commit::title).unwrap_or_default(),
            payload: payload::push(self, push),
            ..domain::Event::of(EventKind::Push)
        }
    }

    /// Whatever was done with it: workflows say by its name what they want.
    fn pull_request(&self, request: &PullRequest) -> domain::Event {
        let git_ref = match request.fetch_ref.as_str() {
            "" => format!("refs/pull/{}/head", request.number),
            known => known.to_owned(),
        };
        domain::Event {
            git_ref,
            commit: request.head.commit.clone(),
            before: request.before.clone(),
            sender: self.sender.shown().to_owned(),
            title: request.title.clone(),
            payload: payload::pull_request(self, request),
            from_fork: request.from_fork,
            base_ref: format!("refs/heads/{}", request.base.branch),
            ..domain::Event::of(EventKind::PullRequest)
        }
    }
}
