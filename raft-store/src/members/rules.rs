//! Which change of the members is due: pure, from what the leader sees to the one next change.
//!
//! Must not know: clocks, links, how a change is carried out. See docs/adr/0010.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::types::NodeAddress;

/// A learner this close behind the leader counts as caught up, in entries.
const NEAR: u64 = 1000;
/// Voters below which a dead one is only replaced, never just demoted: two bear the loss of none, as three do with one dead.
const FEW: usize = 3;

/// Who votes; the same on all nodes, and the leader's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voting {
    /// Voters, at most: odd, 1 to 7. The rest follow.
    pub max_voters: usize,
    /// A voter that was not heard for so long is replaced.
    pub dead_after: Duration,
}

impl Default for Voting {
    fn default() -> Self {
        Self { max_voters: 5, dead_after: Duration::from_secs(600) }
    }
}

/// What the leader goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub max_voters: usize,
    pub dead_after: Duration,
    /// A member that was heard within this time is there.
    pub heard_within: Duration,
    /// A learner must have been there and caught up for so long before it votes.
    pub settle: Duration,
}

impl Rules {
    /// With the times that follow from Raft's heartbeat.
    pub(crate) fn new(voting: Voting, heartbeat: Duration) -> Self {
        let Voting { max_voters, dead_after } = voting;
        Self { max_voters, dead_after, heard_within: heartbeat * 5, settle: heartbeat * 20 }
    }
}

/// What the leader knows of a member of Raft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub address: NodeAddress,
    /// For how long it was not heard; nothing for the leader itself.
    pub silent: Duration,
    /// How many entries it lacks.
    pub behind: u64,
    /// For how long it was there and caught up without a break.
    pub steady: Duration,
    /// It has the entry by which it was removed.
    pub told: bool,
}

/// What the leader sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub me: u64,
    /// The sets of voters: two while a change is half done.
    pub configs: Vec<BTreeSet<u64>>,
    /// All members of Raft, the leader among them.
    pub peers: BTreeMap<u64, Peer>,
    /// The last change is committed.
    pub settled: bool,
    /// Let in, but no members of Raft yet.
    pub admitted: BTreeMap<u64, NodeAddress>,
    /// Where members say they are reached: here, or where the membership has them.
    pub moved: BTreeMap<u64, String>,
    /// Removed by the state, whether Raft knows it yet or not.
    pub removed: BTreeSet<u64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Ends a change that an earlier leader left half done.
    Flatten,
    /// A member is reached elsewhere.
    Readdress(u64, NodeAddress),
    /// A new learner.
    Add(u64, NodeAddress),
    /// Exactly these vote; who voted before goes on as a learner.
    Voters(BTreeSet<u64>),
    /// A learner that was removed.
    Drop(u64),
    /// The leader is to be removed: another leads first.
    HandOver,
}

/// The change that is due next, if any. There is at most one under way at any time.
pub(crate) fn decide(seen: &Seen, rules: &Rules) -> Option<Change> {
    if !seen.settled {
        return None;
    }
    let [voters] = &seen.configs[..] else { return Some(Change::Flatten) };
    readdress(seen)
        .or_else(|| drop_removed(seen, rules, voters))
        .or_else(|| add(seen))
        .or_else(|| change_voters(seen, rules, voters))
}

fn readdress(seen: &Seen) -> Option<Change> {
    seen.moved.iter().find_map(|(id, addr)| {
        let peer = seen.peers.get(id).filter(|peer| peer.address.cluster_addr != *addr)?;
        let address = NodeAddress { cluster_addr: addr.clone(), ..peer.address.clone() };
        Some(Change::Readdress(*id, address))
    })
}

/// A learner that was removed goes when it knows, so that it can stop by itself, or when it is not there.
fn drop_removed(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    let learners = seen.peers.iter().filter(|(id, _)| !voters.contains(id) && seen.removed.contains(id));
    let mut ready = learners.filter(|(_, peer)| peer.told || peer.silent > rules.heard_within);
    ready.next().map(|(id, _)| Change::Drop(*id))
}

fn add(seen: &Seen) -> Option<Change> {
    let new = |id: &&u64| !seen.peers.contains_key(id) && !seen.removed.contains(id);
    let (id, address) = seen.admitted.iter().find(|(id, _)| new(id))?;
    Some(Change::Add(*id, address.clone()))
}

fn change_voters(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    demote_removed(seen, rules, voters)
        .or_else(|| replace_removed_leader(seen, rules, voters))
        .or_else(|| replace_dead(seen, rules, voters))
        .or_else(|| demote_surplus(seen, rules, voters))
        .or_else(|| promote(seen, rules, voters))
}

/// Voters but the leader, the one that was not heard for longest first.
fn by_silence<'a>(seen: &'a Seen, voters: &'a BTreeSet<u64>) -> Vec<(u64, &'a Peer)> {
    let others = voters.iter().filter(|id| **id != seen.me);
    let mut others: Vec<_> = others.filter_map(|id| Some((*id, seen.peers.get(id)?))).collect();
    others.sort_by_key(|(id, peer)| std::cmp::Reverse((peer.silent, *id)));
    others
}

fn demote_removed(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    let leaving = by_silence(seen, voters).into_iter().filter(|(id, _)| seen.removed.contains(id));
    leaving.map(|(id, _)| without(seen, rules, voters, id)).find_map(|rest| safely(seen, rules, voters, rest))
}

fn replace_removed_leader(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    if !seen.removed.contains(&seen.me) {
        return None;
    }
    if successor(seen, rules).is_some() {
        return Some(Change::HandOver);
    }
    // Nobody to hand over to: one who can take over is made first.
    let spare = spares(seen, rules, voters).first().copied()?;
    safely(seen, rules, voters, voters.iter().copied().chain([spare]).collect())
}

fn replace_dead(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    let dead = by_silence(seen, voters).into_iter().filter(|(_, peer)| peer.silent >= rules.dead_after);
    let rests = dead.map(|(id, _)| without(seen, rules, voters, id));
    rests
        .filter(|rest| rest.len() == voters.len() || voters.len() > FEW)
        .find_map(|rest| safely(seen, rules, voters, rest))
}

fn demote_surplus(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    if voters.len() <= rules.max_voters {
        return None;
    }
    let (worst, _) = *by_silence(seen, voters).first()?;
    safely(seen, rules, voters, voters.iter().copied().filter(|id| *id != worst).collect())
}

/// Promotes so many that an odd number votes: a fourth voter bears no more losses than three do.
fn promote(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Option<Change> {
    let wanted = 1 + voters.len() % 2;
    let chosen = spares(seen, rules, voters);
    if chosen.len() < wanted || voters.len() + wanted > rules.max_voters {
        return None;
    }
    safely(seen, rules, voters, voters.iter().copied().chain(chosen.into_iter().take(wanted)).collect())
}

/// The voters without one; a learner takes its place where one can and is needed.
fn without(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>, id: u64) -> BTreeSet<u64> {
    let mut rest: BTreeSet<u64> = voters.iter().copied().filter(|voter| *voter != id).collect();
    if rest.len() < rules.max_voters {
        rest.extend(spares(seen, rules, voters).first());
    }
    rest
}

/// Learners that can vote, those that are nearest first.
fn spares(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> Vec<u64> {
    let fit = |(id, peer): &(&u64, &Peer)| {
        !voters.contains(id)
            && !seen.removed.contains(id)
            && peer.steady >= rules.settle
            && is_caught_up(peer, rules)
    };
    let mut spares: Vec<_> = seen.peers.iter().filter(fit).collect();
    spares.sort_by_key(|(id, peer)| (peer.behind, **id));
    spares.into_iter().map(|(id, _)| *id).collect()
}

/// There, and near the end of the log.
pub(crate) fn is_caught_up(peer: &Peer, rules: &Rules) -> bool {
    peer.silent <= rules.heard_within && peer.behind <= NEAR
}

fn is_there(seen: &Seen, rules: &Rules, id: u64) -> bool {
    id == seen.me || seen.peers.get(&id).is_some_and(|peer| peer.silent <= rules.heard_within)
}

fn safely(seen: &Seen, rules: &Rules, old: &BTreeSet<u64>, new: BTreeSet<u64>) -> Option<Change> {
    let safe = *old != new && new.contains(&seen.me);
    (safe && has_quorum(seen, rules, old) && has_quorum(seen, rules, &new)).then_some(Change::Voters(new))
}

/// More than half of these are there.
fn has_quorum(seen: &Seen, rules: &Rules, voters: &BTreeSet<u64>) -> bool {
    voters.iter().filter(|id| is_there(seen, rules, **id)).count() > voters.len() / 2
}

/// Who would lead next: a voter that is there, is not to be removed, and has the most.
pub(crate) fn successor(seen: &Seen, rules: &Rules) -> Option<u64> {
    let voters: BTreeSet<u64> = seen.configs.iter().flatten().copied().collect();
    let fit = voters
        .iter()
        .filter(|id| **id != seen.me && !seen.removed.contains(id) && is_there(seen, rules, **id));
    fit.min_by_key(|id| (seen.peers.get(id).map_or(u64::MAX, |peer| peer.behind), **id)).copied()
}

/// Why a member cannot be removed now, in words.
pub(crate) fn why_not_remove(seen: &Seen, rules: &Rules, id: u64) -> Option<String> {
    let voters: BTreeSet<u64> = seen.configs.iter().flatten().copied().collect();
    if !voters.contains(&id) {
        return None;
    }
    let rest = without(seen, rules, &voters, id);
    if rest.is_empty() {
        return Some("it is the only voter: a cluster without voters is none".to_owned());
    }
    if has_quorum(seen, rules, &rest) {
        return None;
    }
    let there = rest.iter().filter(|id| is_there(seen, rules, **id)).count();
    let missing: Vec<_> = rest
        .iter()
        .filter(|id| !is_there(seen, rules, **id))
        .filter_map(|id| seen.peers.get(id))
        .map(|peer| peer.address.name.clone())
        .collect();
    Some(format!(
        "of the {} voters that would be left only {there} can be reached, which is no majority; bring {} back, or \
         remove it first",
        rest.len(),
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests;
