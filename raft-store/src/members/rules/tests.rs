//! The rules one by one, and all small clusters together.

use super::*;

const ME: u64 = 1;

fn rules() -> Rules {
    Rules::new(Voting { max_voters: 5, dead_after: Duration::from_secs(60) }, Duration::from_millis(100))
}

/// How a member is in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Well,
    Silent,
    Dead,
}

fn peer(id: u64, is: Is) -> Peer {
    let rules = rules();
    let silent = match is {
        Is::Well => Duration::ZERO,
        Is::Silent => rules.heard_within * 2,
        Is::Dead => rules.dead_after,
    };
    let steady = if is == Is::Well { rules.settle } else { Duration::ZERO };
    let address = NodeAddress { name: format!("n{id}"), cluster_addr: format!("h{id}:1") };
    Peer { address, silent, behind: 0, steady, told: is == Is::Well }
}

fn seen(voters: &[(u64, Is)], learners: &[(u64, Is)]) -> Seen {
    Seen {
        me: ME,
        configs: vec![voters.iter().map(|(id, _)| *id).collect()],
        peers: voters.iter().chain(learners).map(|(id, is)| (*id, peer(*id, *is))).collect(),
        settled: true,
        admitted: BTreeMap::new(),
        moved: BTreeMap::new(),
        removed: BTreeSet::new(),
    }
}

fn well(ids: &[u64]) -> Vec<(u64, Is)> {
    ids.iter().map(|id| (*id, Is::Well)).collect()
}

fn voters(ids: &[u64]) -> Option<Change> {
    Some(Change::Voters(ids.iter().copied().collect()))
}

#[test]
fn one_change_at_a_time_and_a_half_done_one_first() {
    let mut half = seen(&well(&[1, 2, 3]), &well(&[4, 5]));
    half.configs.push(BTreeSet::from([1, 2, 3, 4, 5]));
    assert_eq!(decide(&half, &rules()), Some(Change::Flatten));
    half.settled = false;
    assert_eq!(decide(&half, &rules()), None);
}

#[test]
fn learners_vote_in_odd_numbers_up_to_the_cap() {
    let rules = rules();
    assert_eq!(decide(&seen(&well(&[1]), &well(&[2])), &rules), None);
    assert_eq!(decide(&seen(&well(&[1]), &well(&[2, 3])), &rules), voters(&[1, 2, 3]));
    assert_eq!(decide(&seen(&well(&[1, 2]), &well(&[3])), &rules), voters(&[1, 2, 3]));
    assert_eq!(decide(&seen(&well(&[1, 2, 3]), &well(&[4])), &rules), None);
    assert_eq!(decide(&seen(&well(&[1, 2, 3]), &well(&[4, 5, 6])), &rules), voters(&[1, 2, 3, 4, 5]));
    assert_eq!(decide(&seen(&well(&[1, 2, 3, 4, 5]), &well(&[6, 7])), &rules), None);
}

#[test]
fn a_learner_votes_only_when_it_was_there_and_near_for_a_while() {
    let rules = rules();
    let good = seen(&well(&[1, 2]), &well(&[3]));
    for spoil in [
        (|peer: &mut Peer| peer.steady = Duration::ZERO) as fn(&mut Peer),
        |peer| peer.behind = NEAR + 1,
        |peer| peer.silent = Duration::from_secs(1),
    ] {
        let mut seen = good.clone();
        seen.peers.entry(3).and_modify(spoil);
        assert_eq!(decide(&seen, &rules), None);
    }
}

#[test]
fn a_dead_voters_place_is_taken_by_a_learner_in_one_change() {
    let rules = rules();
    let dead = [(1, Is::Well), (2, Is::Well), (3, Is::Dead)];
    assert_eq!(decide(&seen(&dead, &well(&[4])), &rules), voters(&[1, 2, 4]));
    // Of three nothing is won without a learner, of four something is.
    assert_eq!(decide(&seen(&dead, &[]), &rules), None);
    let four = [(1, Is::Well), (2, Is::Well), (3, Is::Dead), (4, Is::Well)];
    assert_eq!(decide(&seen(&four, &[]), &rules), voters(&[1, 2, 4]));
    // Two of five: one after the other.
    let five = [(1, Is::Well), (2, Is::Well), (3, Is::Well), (4, Is::Dead), (5, Is::Dead)];
    assert_eq!(decide(&seen(&five, &[]), &rules), voters(&[1, 2, 3, 4]));
    // Silence that was not long enough is none.
    let silent = [(1, Is::Well), (2, Is::Well), (3, Is::Silent)];
    assert_eq!(decide(&seen(&silent, &well(&[4])), &rules), None);
}

#[test]
fn without_a_safe_quorum_nobody_is_demoted() {
    let rules = rules();
    let two_dead = [(1, Is::Well), (2, Is::Dead), (3, Is::Dead)];
    assert_eq!(decide(&seen(&two_dead, &well(&[4, 5])), &rules), None);
    let dead_and_silent = [(1, Is::Well), (2, Is::Silent), (3, Is::Dead), (4, Is::Well), (5, Is::Silent)];
    assert_eq!(decide(&seen(&dead_and_silent, &[]), &rules), None);
}

#[test]
fn a_removed_voter_is_demoted_then_dropped_and_the_leader_hands_over_first() {
    let rules = rules();
    let mut leaving = seen(&well(&[1, 2, 3]), &[]);
    leaving.removed = BTreeSet::from([3]);
    assert_eq!(decide(&leaving, &rules), voters(&[1, 2]));
    let mut demoted = seen(&well(&[1, 2]), &well(&[3]));
    demoted.removed = BTreeSet::from([3]);
    assert_eq!(decide(&demoted, &rules), Some(Change::Drop(3)));
    demoted.peers.entry(3).and_modify(|peer| peer.told = false);
    assert_eq!(decide(&demoted, &rules), None);
    demoted.peers.entry(3).and_modify(|peer| peer.silent = rules.dead_after);
    assert_eq!(decide(&demoted, &rules), Some(Change::Drop(3)));
    let mut leader = seen(&well(&[1, 2, 3]), &[]);
    leader.removed = BTreeSet::from([ME]);
    assert_eq!(decide(&leader, &rules), Some(Change::HandOver));
    let mut alone = seen(&well(&[1]), &well(&[2]));
    alone.removed = BTreeSet::from([ME]);
    assert_eq!(decide(&alone, &rules), voters(&[1, 2]));
}

#[test]
fn what_was_admitted_is_added_and_what_moved_is_found() {
    let rules = rules();
    let mut seen = seen(&well(&[1, 2, 3]), &[]);
    let new = NodeAddress { name: "n9".to_owned(), cluster_addr: "h9:1".to_owned() };
    seen.admitted.insert(9, new.clone());
    assert_eq!(decide(&seen, &rules), Some(Change::Add(9, new)));
    seen.removed.insert(9);
    assert_eq!(decide(&seen, &rules), None);
    seen.moved.insert(2, "h2:2".to_owned());
    let moved = NodeAddress { name: "n2".to_owned(), cluster_addr: "h2:2".to_owned() };
    assert_eq!(decide(&seen, &rules), Some(Change::Readdress(2, moved)));
    seen.moved.insert(2, "h2:1".to_owned());
    assert_eq!(decide(&seen, &rules), None);
}

#[test]
fn too_many_voters_become_fewer_the_silent_ones_first() {
    let rules = Rules { max_voters: 3, ..rules() };
    let five = [(1, Is::Well), (2, Is::Silent), (3, Is::Well), (4, Is::Well), (5, Is::Well)];
    assert_eq!(decide(&seen(&five, &[]), &rules), voters(&[1, 3, 4, 5]));
    assert_eq!(decide(&seen(&well(&[1, 3, 4, 5]), &[]), &rules), voters(&[1, 3, 4]));
    assert_eq!(decide(&seen(&well(&[1, 3, 4]), &well(&[2])), &rules), None);
}

#[test]
fn a_removal_that_would_cost_the_quorum_is_refused_with_what_to_do() {
    let rules = rules();
    let one_dead = [(1, Is::Well), (2, Is::Well), (3, Is::Dead)];
    let why = why_not_remove(&seen(&one_dead, &[]), &rules, 2).expect("refused");
    assert!(why.contains("bring n3 back"), "{why}");
    assert_eq!(why_not_remove(&seen(&one_dead, &[]), &rules, 3), None);
    assert_eq!(why_not_remove(&seen(&one_dead, &well(&[4])), &rules, 4), None);
    let why = why_not_remove(&seen(&well(&[1]), &[]), &rules, 1).expect("refused");
    assert!(why.contains("the only voter"), "{why}");
}

/// What carrying a change out makes of it; nobody's health changes.
fn carry_out(seen: &mut Seen, change: Change) {
    match change {
        Change::Voters(new) => seen.configs = vec![new],
        Change::Drop(id) => {
            seen.peers.remove(&id);
        }
        Change::HandOver => seen.me = successor(seen, &rules()).expect("there is one"),
        other => panic!("{other:?} without a reason"),
    }
}

/// Every cluster of up to five members, each voting or not, well, silent or dead, removed or not, under a leader that is
/// well: changes come to an end, none of them without a quorum on both sides, none that takes more than one voter away.
#[test]
fn every_small_cluster_comes_to_rest_and_is_never_without_a_quorum() {
    // Absent, or one of 2 roles, 3 healths, removed or not.
    const KINDS: u32 = 13;
    let (rules, mut changes) = (rules(), 0_u32);
    for number in 0..2 * KINDS.pow(4) {
        let mut now = seen(&well(&[ME]), &[]);
        if number % 2 == 1 {
            now.removed.insert(ME);
        }
        let mut left = number / 2;
        for id in 2..=5 {
            let kind = left % KINDS;
            left /= KINDS;
            if kind == 0 {
                continue;
            }
            let (role, is, removed) = ((kind - 1) % 2, (kind - 1) / 2 % 3, (kind - 1) / 6);
            now.peers.insert(id, peer(id, [Is::Well, Is::Silent, Is::Dead][is as usize]));
            if role == 0 {
                now.configs[0].insert(id);
            }
            if removed == 1 {
                now.removed.insert(id);
            }
        }
        let mut steps = 0;
        while let Some(change) = decide(&now, &rules) {
            let before = now.clone();
            carry_out(&mut now, change);
            check_step(&before, &now, &rules);
            (steps, changes) = (steps + 1, changes + 1);
            assert!(steps <= 12, "no end: {now:?}");
        }
        let quorum = has_quorum(&now, &rules, &now.configs[0]);
        let stuck = |id: &u64| now.removed.contains(id) && *id != now.me;
        let voters = &now.configs[0];
        // What is removed is gone wherever the rest is a majority.
        if quorum && voters.iter().any(stuck) {
            let rest: Vec<_> = voters.iter().filter(|id| stuck(id)).collect();
            assert!(rest.iter().all(|id| why_not_remove(&now, &rules, **id).is_some()), "{now:?}");
        }
    }
    assert!(changes > 10_000, "only {changes} changes");
}

fn check_step(before: &Seen, after: &Seen, rules: &Rules) {
    let (old, new) = (&before.configs[0], &after.configs[0]);
    assert!(old.difference(new).count() <= 1, "{old:?} -> {new:?}");
    if old != new {
        assert!(new.contains(&after.me), "{old:?} -> {new:?}");
        for voters in [old, new] {
            assert!(has_quorum(before, rules, voters), "{old:?} -> {new:?} of {before:?}");
        }
        for id in new.difference(old) {
            assert!(!before.removed.contains(id) && is_there(before, rules, *id), "{id} was promoted");
        }
        assert!(new.len() <= rules.max_voters.max(old.len()));
    }
}
