//! All nodes show the same, their metrics count what is there, and one leads at a time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::Facts;
use super::{Invariant, Verdict};

/// Those of a job that is not finished.
const OPEN: [&str; 5] = ["waiting", "queued", "held", "placed", "running"];

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut leaders = BTreeMap::new();
    for claim in &facts.history.claims {
        let leader = *leaders.entry(claim.term).or_insert(claim.node);
        verdict.check(Invariant::OneLeader, leader == claim.node, || {
            format!("in term {} node {} leads, and node {}", claim.term, leader + 1, claim.node + 1)
        });
    }
    let Some((first, others)) = facts.history.views.split_first() else { return };
    for (number, other) in (2..).zip(others) {
        same(&first.runs, &other.runs, number, verdict);
        same(&first.attempts, &other.attempts, number, verdict);
        // The others are not at the same entry where something was applied between two looks.
        if first.state.0 == other.state.0 {
            verdict.check(Invariant::NodesAgree, first.state == other.state, || {
                format!("node 1 is at {:?}, and node {number} at {:?}", first.state, other.state)
            });
        }
    }
    metrics(facts, verdict);
}

fn same(
    first: &BTreeMap<String, Value>,
    other: &BTreeMap<String, Value>,
    number: usize,
    verdict: &mut Verdict,
) {
    let only = other.keys().filter(|id| !first.contains_key(*id));
    for id in first.keys().chain(only) {
        let (here, there) = (first.get(id), other.get(id));
        verdict.check(Invariant::NodesAgree, here == there, || {
            let words = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            format!("of {id} node 1 shows {}, and node {number} {}", words(here), words(there))
        });
    }
}

fn metrics(facts: &Facts<'_>, verdict: &mut Verdict) {
    let gauges = &facts.history.gauges;
    let leaders: Vec<_> = gauges.iter().filter(|gauges| gauges.leads).collect();
    verdict.check(Invariant::MetricsAgree, leaders.len() == 1, || {
        format!("{} nodes count themselves as the leader", leaders.len())
    });
    for leader in leaders {
        for state in OPEN {
            let jobs = facts.runs.values().flat_map(|run| &run.jobs);
            let there = jobs.filter(|job| job.state == state).count() as u64;
            let counted = leader.queue.get(state).copied().unwrap_or_default();
            verdict.check(Invariant::MetricsAgree, counted == there, || {
                format!("{there} jobs are {state}, and the leader counts {counted}")
            });
        }
    }
    for (node, gauges) in facts.history.nodes.iter().zip(gauges) {
        let idle = gauges.slots.get("idle").copied().unwrap_or_default();
        verdict.check(Invariant::MetricsAgree, idle == node.slots as u64, || {
            format!("{} has {} slots and no job, and counts {:?}", node.name, node.slots, gauges.slots)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, found};
    use super::*;
    use crate::history::Claim;
    use crate::work::Kind;

    #[test]
    fn nodes_that_differ_are_found() {
        let mut sample = Sample::new();
        let run = sample.accepted("k", Kind::Short);
        let mut history = sample.history();
        history.views[2].runs.get_mut(&run).expect("the run")["outcome"] = Value::from("failed");
        let judged = |history: &crate::history::History| {
            let found = super::super::judge(history).violations;
            found.into_iter().map(|violation| violation.invariant).collect::<Vec<_>>()
        };
        assert_eq!(judged(&history), [Invariant::NodesAgree]);
        let mut history = sample.history();
        history.views[1].attempts.clear();
        assert_eq!(judged(&history), [Invariant::NodesAgree]);
        let mut history = sample.history();
        history.views[1].runs.insert("more".to_owned(), Value::Null);
        assert_eq!(judged(&history), [Invariant::NodesAgree]);
        let mut history = sample.history();
        history.views[1].state.1 = "other".to_owned();
        assert_eq!(judged(&history), [Invariant::NodesAgree]);
    }

    #[test]
    fn metrics_that_count_otherwise_are_found() {
        let mut sample = Sample::new();
        sample.accepted("k", Kind::Short);
        sample.history.gauges[0].queue.insert("queued".to_owned(), 1);
        assert_eq!(found(&sample), [Invariant::MetricsAgree]);
        let run = sample.accepted("stuck", Kind::Stuck);
        sample.never_placed(&run, 0);
        sample.open(&run, 0, "queued");
        assert_eq!(found(&sample), []);
        sample.history.gauges[1].slots.insert("idle".to_owned(), 1);
        assert_eq!(found(&sample), [Invariant::MetricsAgree]);
    }

    #[test]
    fn two_leaders_of_a_term_are_found() {
        let mut sample = Sample::new();
        let claim = |node, term| Claim { node, term, at: 0 };
        sample.history.claims = vec![claim(0, 1), claim(1, 2), claim(0, 1)];
        assert_eq!(found(&sample), []);
        sample.history.claims.push(claim(2, 2));
        assert_eq!(found(&sample), [Invariant::OneLeader]);
    }
}
