//! Deliveries: accepted once, given to a node for expansion, expanded once.

use std::fmt::Write as _;
use std::sync::Arc;

use super::runs::Origin;
use super::{Answer, Applying, clipped, invalid, not_found, wrong_state};
use crate::{
    Delivery, DeliveryId, DeliveryState, Effect, Event, EventKind, Fence, KeyRecord, KeyTarget, NewRun,
    NodeId, Refusal, Reply, RepoId, RunId, Timestamp, Triggers, limits, shared,
};

impl Applying<'_> {
    pub(super) fn accept_delivery(
        &mut self,
        id: DeliveryId,
        repo: RepoId,
        key: &str,
        digest: [u8; 32],
        event: &Event,
        only_path: &str,
    ) -> Answer {
        if !self.state.repos.contains(&repo) {
            return Err(not_found("repository", repo));
        }
        if key.len() > limits::MAX_KEY_BYTES {
            return Err(invalid(
                "delivery key",
                format!("{} bytes, the limit is {}", key.len(), limits::MAX_KEY_BYTES),
            ));
        }
        if event.payload.len() > limits::MAX_PAYLOAD_BYTES {
            let found = event.payload.len();
            return Err(invalid(
                "payload",
                format!("{found} bytes, the limit is {}", limits::MAX_PAYLOAD_BYTES),
            ));
        }
        let by_id: Arc<str> = format!("delivery:{repo}:{key}").into();
        let by_body: Arc<str> = format!("body:{repo}:{}", hex(&digest)).into();
        let by_ref: Arc<str> = format!("ref:{repo}:{}", event.git_ref).into();
        if let Some((known, of)) = self.known_delivery(&by_id).filter(|_| !key.is_empty()) {
            // Whoever asks by the API says with the key that it is the same request.
            let asked = matches!(event.kind, EventKind::WorkflowDispatch | EventKind::RepositoryDispatch);
            if asked && of != digest {
                return Err(Refusal::KeyConflict { key: key.to_owned() });
            }
            return Ok(Reply::Delivery { id: known, duplicate: true });
        }
        if let Some((known, _)) = self.known_delivery(&by_body) {
            if !self.goes_on(known, &by_ref, event) {
                return Ok(Reply::Delivery { id: known, duplicate: true });
            }
            self.forget_later(&by_body, known);
        }
        if self.state.deliveries.contains(&id) {
            return Err(Refusal::AlreadyDone { what: format!("accepting the delivery {id}") });
        }
        let by_id = Some(by_id).filter(|_| !key.is_empty());
        let by_ref = Some(by_ref).filter(|_| event.kind == EventKind::Push);
        for key in [Some(by_body), by_id, by_ref].into_iter().flatten() {
            self.remember_key(key, KeyTarget::Delivery(id), digest);
        }
        self.put_delivery(id, repo, event.clone(), only_path);
        Ok(Reply::Delivery { id, duplicate: false })
    }

    fn known_delivery(&self, key: &Arc<str>) -> Option<(DeliveryId, [u8; 32])> {
        match self.state.keys.get(key)? {
            KeyRecord { target: KeyTarget::Delivery(id), digest, .. } => Some((*id, *digest)),
            _ => None,
        }
    }

    /// Whether a push whose body is known already begins where the last one of its ref ended: a branch that is pushed back and
    /// forth, and not what somebody sends again.
    fn goes_on(&self, known: DeliveryId, by_ref: &Arc<str>, event: &Event) -> bool {
        let last = self.known_delivery(by_ref).filter(|(last, _)| *last != known);
        let ended = last.and_then(|(last, _)| Some(&self.state.deliveries.get(&last)?.event.commit));
        event.kind == EventKind::Push
            && !event.before.is_empty()
            && ended.is_some_and(|commit| *commit == event.before)
    }

    /// The key is another delivery's from now on; this one is still forgotten in its time.
    fn forget_later(&mut self, key: &Arc<str>, id: DeliveryId) {
        let Some(record) = self.state.keys.remove(key) else { return };
        self.state.key_ages.remove(&(record.at, Arc::clone(key)));
        let until: Arc<str> = format!("was:{id}").into();
        self.state.key_ages.insert((record.at, Arc::clone(&until)), ());
        self.state.keys.insert(until, record);
    }

    /// Of a repository that is gone nothing can be expanded.
    pub(super) fn forget_pending_deliveries(&mut self, repo: RepoId) {
        let of_repo = |id: &DeliveryId| self.state.deliveries.get(id).is_some_and(|one| one.repo == repo);
        let gone: Vec<DeliveryId> =
            self.state.pending_deliveries.iter().map(|(id, ())| *id).filter(of_repo).collect();
        for id in gone {
            self.state.pending_deliveries.remove(&id);
            self.state.deliveries.remove(&id);
        }
    }

    /// Repeats a run, once for each key.
    pub(super) fn rerun_once(&mut self, id: RunId, of: RunId, sender: &str, key: &str) -> Answer {
        if key.is_empty() {
            return self.rerun(id, of, sender);
        }
        if key.len() > limits::MAX_KEY_BYTES {
            let why = format!("{} bytes, the limit is {}", key.len(), limits::MAX_KEY_BYTES);
            return Err(invalid("Idempotency-Key", why));
        }
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&of.0.to_be_bytes());
        let stored: Arc<str> = format!("rerun:{key}").into();
        if let Some(known) = self.state.keys.get(&stored) {
            let KeyTarget::Run(id) = known.target else {
                return Err(Refusal::KeyConflict { key: key.to_owned() });
            };
            if known.digest != digest {
                return Err(Refusal::KeyConflict { key: key.to_owned() });
            }
            let number = self.state.runs.get(&id).map_or(0, |run| run.number);
            return Ok(Reply::Run { id, number, duplicate: true });
        }
        let made = self.rerun(id, of, sender)?;
        self.remember_key(stored, KeyTarget::Run(id), digest);
        Ok(made)
    }

    /// A delivery that is to be expanded.
    pub(super) fn put_delivery(&mut self, id: DeliveryId, repo: RepoId, event: Event, only_path: &str) {
        let delivery = Delivery {
            repo,
            event: Arc::new(event),
            only_path: shared(only_path),
            accepted_at: self.state.now,
            tries: 0,
            state: DeliveryState::Pending { not_before: self.state.now, reason: shared("") },
        };
        self.state.deliveries.insert(id, delivery);
        self.state.pending_deliveries.insert(id, ());
        self.effects.push(Effect::WakeExpansion);
    }

    pub(super) fn assign_expansion(&mut self, id: DeliveryId, node: NodeId) -> Answer {
        let delivery = self.state.deliveries.get(&id).ok_or_else(|| not_found("delivery", id))?;
        let DeliveryState::Pending { not_before, .. } = delivery.state else {
            return Err(wrong_state(
                format!("delivery {id}"),
                delivery.state.as_str(),
                "giving it to a node",
            ));
        };
        if not_before > self.state.now {
            return Err(wrong_state(
                format!("delivery {id}"),
                "waiting for its next try",
                "giving it to a node",
            ));
        }
        let fit = self.state.nodes.get(&node).filter(|n| !n.lost);
        if fit.is_none() {
            return Err(Refusal::NodeUnfit { node, why: "it is unknown or lost".to_owned() });
        }
        let (fence, since) = (self.fence, self.state.now);
        self.state.deliveries.update(&id, |d| {
            d.tries = d.tries.saturating_add(1);
            d.state = DeliveryState::Expanding { node, fence, since };
        });
        self.effects.push(Effect::StartExpansion { node, delivery: id, fence });
        Ok(Reply::Done)
    }

    /// Runs that break a limit become runs that failed with the reason, so that the person who pushed sees it.
    pub(super) fn expand_delivery(
        &mut self,
        id: DeliveryId,
        fence: Fence,
        (commit, git_ref, payload): (&str, &str, &str),
        (runs, reason, numbers_from): (&[NewRun], &str, Option<u64>),
        triggers: Option<&Triggers>,
    ) -> Answer {
        let delivery = self.checked_expansion(id, fence)?;
        let present = self.next_number(Some(delivery.repo));
        if let Some(given) = numbers_from.filter(|given| *given != present) {
            return Err(Refusal::NumbersTaken { given, present });
        }
        if let Some(run) = runs.iter().find(|run| self.state.runs.contains(&run.id)) {
            return Err(Refusal::AlreadyDone { what: format!("making the run {}", run.id) });
        }
        if let Some(triggers) = triggers.filter(|_| self.state.repos.contains(&delivery.repo)) {
            self.set_triggers(delivery.repo, triggers, fence);
        }
        let mut event = (*delivery.event).clone();
        for (field, found) in
            [(&mut event.commit, commit), (&mut event.git_ref, git_ref), (&mut event.payload, payload)]
        {
            found.clone_into(field);
        }
        let event = Arc::new(event);
        for run in runs {
            let number = self.take_number(Some(delivery.repo));
            let origin = Origin {
                repo: Some(delivery.repo),
                number,
                delivery: Some(id),
                rerun_of: None,
                event: Arc::clone(&event),
            };
            match self.validate(run) {
                Ok(()) => self.create_run(run, origin),
                Err(refusal) => {
                    let mut failed = NewRun::failed(run.id, run.path.clone(), refusal.to_string());
                    failed.name.clone_from(&run.name);
                    self.create_run(&failed, origin);
                }
            }
        }
        let ids: Arc<[RunId]> = runs.iter().map(|run| run.id).collect();
        let reason = clipped(reason);
        self.state.deliveries.update(&id, |d| d.state = DeliveryState::Expanded { runs: ids, reason });
        self.state.pending_deliveries.remove(&id);
        // Nobody told of it from outside, so no key remembers it.
        let from_within = matches!(delivery.event.kind, EventKind::WorkflowRun | EventKind::Schedule);
        if from_within && runs.is_empty() {
            self.state.deliveries.remove(&id);
        }
        // Its keys may be gone already, when its git server was down for long.
        if self.state.now.millis_since(delivery.accepted_at) > limits::KEY_WINDOW_MILLIS {
            self.forget_without_runs(id);
        }
        Ok(Reply::Done)
    }

    pub(super) fn defer_delivery(
        &mut self,
        id: DeliveryId,
        fence: Fence,
        reason: &str,
        not_before: Timestamp,
    ) -> Answer {
        self.checked_expansion(id, fence)?;
        let state = DeliveryState::Pending { not_before, reason: clipped(reason) };
        self.state.deliveries.update(&id, |d| d.state = state);
        self.effects.push(Effect::WakeExpansion);
        Ok(Reply::Done)
    }

    fn checked_expansion(&self, id: DeliveryId, given: Fence) -> Result<Delivery, Refusal> {
        let delivery = self.state.deliveries.get(&id).ok_or_else(|| not_found("delivery", id))?;
        match delivery.state {
            DeliveryState::Expanding { fence, .. } if fence == given => Ok(delivery.clone()),
            DeliveryState::Expanding { fence, .. } => Err(Refusal::StaleFence { given, present: fence }),
            _ => {
                Err(wrong_state(format!("delivery {id}"), delivery.state.as_str(), "reporting its expansion"))
            }
        }
    }

    pub(super) fn remember_key(&mut self, key: Arc<str>, target: KeyTarget, digest: [u8; 32]) {
        let at = self.state.now;
        if let Some(before) = self.state.keys.get(&key) {
            self.state.key_ages.remove(&(before.at, Arc::clone(&key)));
        }
        self.state.key_ages.insert((at, Arc::clone(&key)), ());
        self.state.keys.insert(key, KeyRecord { target, digest, at });
    }

    pub(super) fn forget_old_keys(&mut self, most: usize) {
        for _ in 0..most {
            let Some((oldest, ())) = self.state.key_ages.first() else { return };
            if self.state.now.millis_since(oldest.0) <= limits::KEY_WINDOW_MILLIS {
                return;
            }
            let age = oldest.clone();
            let key = self.state.keys.remove(&age.1);
            self.state.key_ages.remove(&age);
            if let Some(KeyRecord { target: KeyTarget::Delivery(id), .. }) = key {
                self.forget_without_runs(id);
            }
        }
    }

    /// A delivery that no workflow wanted goes with its keys; others go with the last of their runs.
    fn forget_without_runs(&mut self, id: DeliveryId) {
        let delivery = self.state.deliveries.get(&id);
        if delivery
            .is_some_and(|d| matches!(&d.state, DeliveryState::Expanded { runs, .. } if runs.is_empty()))
        {
            self.state.deliveries.remove(&id);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
