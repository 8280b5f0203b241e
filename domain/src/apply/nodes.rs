//! Nodes: registration, drain, loss.

use super::members::was_removed;
use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::{
    BootId, DeliveryState, Effect, JobId, Leave, Node, NodeFacts, NodeId, Refusal, Reply, Timestamp, shared,
};

impl Applying<'_> {
    /// A known node that registers anew keeps what it held: it may have adopted its containers.
    pub(super) fn register_node(&mut self, facts: &NodeFacts) -> Answer {
        if self.state.removed.contains(&facts.node) {
            return Err(was_removed(facts.node, "registering"));
        }
        if let Some(owner) = self.state.member_of_name(&facts.name).filter(|id| *id != facts.node) {
            let (name, owner) = (facts.name.to_string(), format!("node {owner}"));
            return Err(Refusal::NameTaken { what: "node name".to_owned(), name, owner });
        }
        if let Some(known) = self.state.member_name(facts.node).filter(|known| **known != facts.name) {
            let (name, owner) = (facts.node.to_string(), known.to_string());
            return Err(Refusal::NameTaken { what: "node id".to_owned(), name, owner });
        }
        let known = self.state.nodes.get(&facts.node);
        let node = Node {
            name: facts.name.clone(),
            boot: facts.boot,
            cluster_addr: facts.cluster_addr.clone(),
            http_addr: facts.http_addr.clone(),
            labels: facts.labels.clone(),
            capacity: facts.capacity,
            version: facts.version.clone(),
            drain: known.is_some_and(|known| known.drain),
            drain_until: known.and_then(|known| known.drain_until),
            leave: known.and_then(|known| known.leave).filter(|leave| leave.boot == facts.boot),
            lost: false,
            registered_at: self.state.now,
        };
        self.state.nodes.insert(facts.node, node);
        self.effects.push(Effect::WakeScheduler);
        self.effects.push(Effect::WakeExpansion);
        Ok(Reply::Done)
    }

    pub(super) fn set_drain(
        &mut self,
        id: NodeId,
        drain: bool,
        until: Option<Timestamp>,
        life: Option<BootId>,
    ) -> Answer {
        let node = self.state.nodes.get(&id).ok_or_else(|| not_found("node", id))?;
        if !drain && until.is_some() {
            return Err(invalid("deadline_seconds", "only a node that drains has one"));
        }
        if life.is_some_and(|life| life != node.boot) {
            return Err(wrong_state(format!("node {id}"), "registered anew", "draining its earlier life"));
        }
        self.state.nodes.update(&id, |node| match life {
            None => (node.drain, node.drain_until) = (drain, until),
            Some(boot) => node.leave = drain.then_some(Leave { boot, until }),
        });
        if !drain {
            self.effects.push(Effect::WakeScheduler);
        }
        Ok(Reply::Done)
    }

    pub(super) fn lose_node(&mut self, id: NodeId, boot: BootId) -> Answer {
        let node = self.state.nodes.get(&id).ok_or_else(|| not_found("node", id))?;
        if node.boot != boot || node.lost {
            return Err(wrong_state(
                format!("node {id}"),
                if node.lost { "lost" } else { "registered anew" },
                "losing it",
            ));
        }
        let reason = format!("node {} was lost", node.name);
        self.lose_work(id, &reason);
        Ok(Reply::Done)
    }

    /// Everything that a node has is lost, and the node counts as lost.
    pub(super) fn lose_work(&mut self, id: NodeId, reason: &str) {
        self.state.nodes.update(&id, |node| node.lost = true);
        for job in self.held_by(id) {
            self.lose_attempt(job, reason);
        }
        let expanding =
            |state: &DeliveryState| matches!(state, DeliveryState::Expanding { node, .. } if *node == id);
        let deliveries: Vec<_> =
            self.state.pending_deliveries.iter().map(|(delivery, ())| *delivery).collect();
        for delivery in deliveries {
            if self.state.deliveries.get(&delivery).is_some_and(|d| expanding(&d.state)) {
                let state = DeliveryState::Pending { not_before: self.state.now, reason: shared(reason) };
                self.state.deliveries.update(&delivery, |d| d.state = state);
                self.effects.push(Effect::WakeExpansion);
            }
        }
    }

    fn held_by(&self, node: NodeId) -> Vec<JobId> {
        self.state.held_jobs(node).map(|(job, _)| job).collect()
    }
}
