//! What was waited for after healing, and did not come.

use crate::history::History;

use super::facts::Facts;
use super::{Invariant, Verdict};

pub(super) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) {
    let History { unfinished, left, deaths, waits, .. } = facts.history;
    // The names are those under which the waits that came to their end were counted.
    let promises = [
        (Invariant::EverythingEnds, "unfinished", unfinished),
        (Invariant::NothingLeft, "left", left),
        (Invariant::ProcessesLive, "deaths", deaths),
    ];
    for (invariant, name, broken) in promises {
        let kept = waits.get(name).copied().unwrap_or_default();
        if kept > 0 {
            *verdict.checked.entry(invariant).or_default() += kept;
        }
        for found in broken {
            verdict.check(invariant, false, || found.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, found};
    use super::*;

    #[test]
    fn what_did_not_come_is_found() {
        let mut sample = Sample::new();
        sample.history.waits.insert("left".to_owned(), 3);
        assert_eq!(found(&sample), []);
        sample.history.left.push("a container".to_owned());
        sample.history.unfinished.push("a run".to_owned());
        sample.history.deaths.push("a process".to_owned());
        let all = [Invariant::EverythingEnds, Invariant::NothingLeft, Invariant::ProcessesLive];
        assert_eq!(found(&sample), all);
    }
}
