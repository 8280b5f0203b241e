//! What may be found on the disk: the state after all that was acknowledged and some, in order, of what was only begun.

use std::collections::BTreeMap;

use crate::op::{Id, Op, Said};

/// What the storage holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Term and node.
    pub vote: Option<(u64, u64)>,
    /// The last that is known to be committed; may be an older one after a crash.
    pub committed: Option<Id>,
    /// The last that was purged.
    pub purged: Option<Id>,
    /// The last of the log, or of what was purged.
    pub last: Option<Id>,
    /// By index: term and salt.
    pub entries: BTreeMap<u64, (u64, u64)>,
}

impl State {
    fn make(&mut self, op: &Op, part: u64) {
        match *op {
            Op::Append { term, first, count, salt } => {
                for index in first..first + count.min(part) {
                    self.entries.insert(index, (term, salt));
                    self.last = Some((term, index));
                }
            }
            Op::Vote { term, node } => self.vote = Some((term, node)),
            Op::Committed(id) => self.committed = Some(id),
            Op::Truncate(last) => {
                self.entries.split_off(&last.map_or(0, |(_, index)| index + 1));
                self.last = last;
            }
            Op::Purge(id) => {
                self.entries = self.entries.split_off(&(id.1 + 1));
                self.purged = Some(id);
                if self.last.is_none_or(|last| last.1 < id.1) {
                    self.last = Some(id);
                }
            }
            Op::Snapshot(_) => {}
        }
    }
}

/// What was said since the storage was last seen, over what was seen then.
#[derive(Debug, Default)]
pub struct Model {
    base: State,
    snapshot: Option<Id>,
    begun: Vec<Op>,
    acknowledged: u64,
    acknowledged_snapshot: Option<Id>,
    /// By index: term and salt of all entries that were ever committed, for what a snapshot must hold.
    pub history: BTreeMap<u64, (u64, u64)>,
}

impl Model {
    /// Takes up what was said.
    pub fn hear(&mut self, said: Said) {
        match said {
            Said::Begins(op) => {
                if let Op::Committed(_) | Op::Snapshot(_) = op {
                    let mut now = self.base.clone();
                    self.begun.iter().for_each(|op| now.make(op, u64::MAX));
                    let (Op::Committed(up_to) | Op::Snapshot(up_to)) = op else { unreachable!() };
                    self.history.extend(now.entries.range(..=up_to.1).map(|(index, made)| (*index, *made)));
                }
                self.begun.push(op);
            }
            Said::Acknowledged(number) => {
                let op = &self.begun[usize::try_from(number).expect("a small number")];
                if let Op::Snapshot(id) = *op {
                    // Written beside the log: says nothing about what is in it.
                    self.acknowledged_snapshot = self.acknowledged_snapshot.max(Some(id));
                } else {
                    self.acknowledged = self.acknowledged.max(number + 1);
                }
            }
        }
    }

    /// How many changes were acknowledged, and begun, since the storage was last seen.
    #[must_use]
    pub fn progress(&self) -> (u64, usize) {
        (self.acknowledged, self.begun.len())
    }

    /// Checks what was found, and goes on from there.
    ///
    /// # Errors
    /// What was found that may not be, in words.
    pub fn found(&mut self, state: State, snapshot: Option<Id>) -> Result<(), String> {
        let mut may = Vec::new();
        let mut now = self.base.clone();
        for (number, op) in self.begun.iter().enumerate() {
            if number as u64 >= self.acknowledged {
                let parts = if let Op::Append { count, .. } = op { *count } else { 1 };
                may.extend((0..parts).map(|part| {
                    let mut partly = now.clone();
                    if part > 0 {
                        partly.make(op, part);
                    }
                    partly
                }));
            }
            now.make(op, u64::MAX);
        }
        may.push(now);
        if !may.contains(&state) {
            let nearest = may.first();
            return Err(format!(
                "found {state:?}\nafter {} of {} changes were acknowledged, which is at least {nearest:?}\nlast: {:?}",
                self.acknowledged,
                self.begun.len(),
                &self.begun[self.begun.len().saturating_sub(8)..]
            ));
        }
        let least = self.snapshot.max(self.acknowledged_snapshot);
        let known = snapshot == self.snapshot
            || self.begun.iter().any(|op| matches!(op, Op::Snapshot(id) if Some(*id) == snapshot));
        if snapshot < least || !known {
            return Err(format!("found the snapshot {snapshot:?}, {least:?} was acknowledged"));
        }
        let history = std::mem::take(&mut self.history);
        *self = Self { base: state, snapshot, history, ..Self::default() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: &[Said]) -> Model {
        let mut model = Model::default();
        said.iter().cloned().for_each(|said| model.hear(said));
        model
    }

    fn state(last: u64) -> State {
        State {
            entries: (1..=last).map(|index| (index, (1, 9))).collect(),
            last: (last > 0).then_some((1, last)),
            ..State::default()
        }
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_begun_may() {
        let append = |first| Said::Begins(Op::Append { term: 1, first, count: 3, salt: 9 });
        let said = [append(1), append(4), Said::Acknowledged(0)];
        for (found, may_be) in [(0, false), (2, false), (3, true), (4, true), (6, true), (7, false)] {
            assert_eq!(heard(&said).found(state(found), None).is_ok(), may_be, "{found} entries");
        }
        let other = State { vote: Some((1, 1)), ..state(3) };
        assert!(heard(&said).found(other, None).is_err(), "a vote that nobody gave");
    }

    #[test]
    fn a_snapshot_is_not_older_than_the_one_acknowledged() {
        let append = Said::Begins(Op::Append { term: 1, first: 1, count: 6, salt: 9 });
        let snapshot = |index| Said::Begins(Op::Snapshot((1, index)));
        let said = [append, snapshot(2), snapshot(4), Said::Acknowledged(1)];
        for (found, may_be) in [(None, false), (Some(2), true), (Some(4), true), (Some(5), false)] {
            let found = found.map(|index| (1, index));
            assert_eq!(heard(&said).found(state(6), found).is_ok(), may_be, "{found:?}");
        }
    }
}
