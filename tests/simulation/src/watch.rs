//! What must hold at every moment, seen from outside all nodes: one leader a term, one state an index, nothing applied twice or
//! taken back, the invariants of docs/invariants.md.

use std::collections::BTreeMap;

use domain::{ClusterId, LogIndex, NodeId};

use crate::counts::Counts;
use crate::node::SimNode;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Watch {
    leaders: BTreeMap<u64, usize>,
    hashes: BTreeMap<LogIndex, (u64, usize)>,
    cluster: Option<ClusterId>,
    /// Of which disk an id is: of which node, and the how many-th of it.
    ids: BTreeMap<NodeId, (usize, u64)>,
    snapshots: BTreeMap<u64, LogIndex>,
    /// Indices at which two nodes were seen with the same state.
    pub compared: u64,
}

impl Watch {
    /// A node has opened its store.
    ///
    /// # Errors
    /// The id is that of a disk that is gone, or of another node's.
    pub fn opened(&mut self, node: &SimNode, id: NodeId) -> Result<(), String> {
        let disk = (node.index, node.disks);
        match self.ids.insert(id, disk) {
            Some(other) if other != disk => Err(format!(
                "n{} has the id {id} on its disk {}, which was that of n{} on its disk {}",
                disk.0, disk.1, other.0, other.1
            )),
            _ => Ok(()),
        }
    }

    /// Looks at a node.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(&mut self, node: &mut SimNode, counts: &Counts) -> Result<(), String> {
        let index = node.index;
        let Some(process) = node.process.as_mut() else { return Ok(()) };
        let Some(store) = process.store.as_ref() else { return Ok(()) };
        let leadership = store.leadership().borrow().clone();
        if leadership.is_me {
            let before = self.leaders.insert(leadership.term, index);
            match before {
                None => counts.add("leader elected"),
                Some(other) if other != index => {
                    return Err(format!("n{other} and n{index} lead in term {}", leadership.term));
                }
                Some(_) => {}
            }
        }
        let view = store.view().current();
        if view.index == process.seen {
            return Ok(());
        }
        if view.index < process.seen {
            return Err(format!("n{index} had applied {} and is at {} now", process.seen, view.index));
        }
        if view.state.now < process.time {
            return Err(format!("replicated time went back on n{index}, to {:?}", view.state.now));
        }
        process.time = view.state.now;
        let snapshot = store.status().snapshot;
        let known = self.snapshots.insert(process.life, snapshot).unwrap_or(0);
        if snapshot > known {
            let installed = process.seen > 0 && snapshot > process.seen;
            counts.add(if installed { "snapshot installed" } else { "snapshot written" });
        }
        process.seen = view.index;
        let hash = view.state.hash();
        match self.hashes.insert(view.index, (hash, index)) {
            Some((other, who)) if other != hash => {
                return Err(format!("the states of n{who} and n{index} differ at index {}", view.index));
            }
            Some((_, who)) if who != index => self.compared += 1,
            Some(_) => {}
            None => domain::invariants::check_state(&view.state)
                .map_err(|violation| format!("n{index} at index {}: {violation}", view.index))?,
        }
        match (self.cluster, view.state.cluster) {
            (Some(one), Some(other)) if one != other => {
                Err(format!("two clusters: {one} and {other}, which n{index} has"))
            }
            (None, some) => {
                self.cluster = some;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The last index that any node was seen at.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.hashes.last_key_value().map_or(0, |(index, _)| *index)
    }
}
