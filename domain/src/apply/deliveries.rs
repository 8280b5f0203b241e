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
        let mut keys: Vec<Arc<str>> = vec![format!("body:{repo}:{}", hex(&digest)).into()];
        if !key.is_empty() {
            keys.push(format!("delivery:{repo}:{key}").into());
        }
        for key in &keys {
            if let Some(KeyRecord { target: KeyTarget::Delivery(id), .. }) = self.state.keys.get(key) {
                return Ok(Reply::Delivery { id: *id, duplicate: true });
            }
        }
        if self.state.deliveries.contains(&id) {
            return Err(Refusal::AlreadyDone { what: format!("accepting the delivery {id}") });
        }
        for key in keys {
            self.remember_key(key, KeyTarget::Delivery(id), digest);
        }
        self.put_delivery(id, repo, event.clone(), only_path);
        Ok(Reply::Delivery { id, duplicate: false })
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
        (runs, triggers): (&[NewRun], Option<&Triggers>),
        numbers_from: Option<u64>,
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
        self.state.deliveries.update(&id, |d| d.state = DeliveryState::Expanded { runs: ids });
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
        if delivery.is_some_and(|d| matches!(&d.state, DeliveryState::Expanded { runs } if runs.is_empty())) {
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
