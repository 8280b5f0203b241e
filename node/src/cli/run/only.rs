//! A workflow file with one of its jobs and those that it needs: the lines of the others are empty, so that whatever is said of a
//! line is said of the right one.
//!
//! Pure. Must not know what else the file holds.

use std::collections::BTreeSet;

use workflow::model::Workflow;

/// Why a file cannot be cut.
#[derive(Debug, PartialEq, Eq)]
pub enum Uncut {
    /// It has no such job; it has these.
    NoSuchJob(Vec<String>),
    /// Its jobs do not begin on lines of their own.
    Flow,
}

/// The text without the lines of the jobs that `job` does not need.
///
/// # Errors
/// [`Uncut`].
pub fn only(text: &str, model: &Workflow, job: &str) -> Result<String, Uncut> {
    let find = |id: &str| model.jobs.iter().find(|job| job.id.value == id);
    if find(job).is_none() {
        return Err(Uncut::NoSuchJob(model.jobs.iter().map(|job| job.id.value.clone()).collect()));
    }
    let (mut kept, mut left) = (BTreeSet::new(), vec![job]);
    while let Some(id) = left.pop() {
        if kept.insert(id) {
            left.extend(find(id).iter().flat_map(|job| &job.needs).map(|need| need.value.as_str()));
        }
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut starts: Vec<_> =
        model.jobs.iter().map(|job| (job.id.at.line, job.id.at.column, &job.id.value)).collect();
    starts.sort();
    let alone = |(line, column, _): &(usize, usize, &String)| {
        let before = lines.get(line.wrapping_sub(1)).map(|line| line.chars().take(column - 1));
        *column > 1 && before.is_some_and(|mut before| before.all(|c| c == ' '))
    };
    let apart = starts.windows(2).all(|two| two[0].0 < two[1].0);
    if !apart || !starts.iter().all(alone) {
        return Err(Uncut::Flow);
    }
    let outside = |line: &&str| line.starts_with(|c: char| !c.is_whitespace() && c != '#');
    let end = |at: usize| match starts.get(at + 1) {
        Some((next, ..)) => next - 1,
        // The last one ends where the file says something else than jobs.
        None => {
            let begin = starts[at].0;
            lines[begin..].iter().position(outside).map_or(lines.len(), |more| begin + more)
        }
    };
    let mut gone = BTreeSet::new();
    for (at, (line, _, id)) in starts.iter().enumerate() {
        if !kept.contains(id.as_str()) {
            gone.extend(line - 1..end(at));
        }
    }
    let line =
        |(at, line): (usize, &&str)| if gone.contains(&at) { "\n".to_owned() } else { (*line).to_owned() };
    Ok(lines.iter().enumerate().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: echo a}]\n\n  # of b\n  b:\n    needs: a\n    \
                        runs-on: x\n    steps:\n      - run: |\n          echo b\n  c:\n    runs-on: x\n    steps: [{run: echo c}]\n\
                        env:\n  X: y\n";

    fn cut(text: &str, job: &str) -> Result<String, Uncut> {
        let (model, wrong) = workflow::read(text.as_bytes());
        assert_eq!(wrong, []);
        only(text, &model.unwrap(), job)
    }

    #[test]
    fn what_a_job_needs_stays_and_every_line_keeps_its_number() {
        for (job, kept) in [("a", vec!["a"]), ("b", vec!["a", "b"]), ("c", vec!["c"])] {
            let found = cut(FILE, job).unwrap();
            let (model, wrong) = workflow::read(found.as_bytes());
            assert_eq!(wrong, [], "{found}");
            let model = model.unwrap();
            let ids: Vec<_> = model.jobs.iter().map(|job| job.id.value.as_str()).collect();
            assert_eq!(ids, kept);
            assert!(found.ends_with("env:\n  X: y\n"), "{found}");
            let same = |(old, new): (&str, &str)| new.is_empty() || old == new;
            assert!(FILE.lines().zip(found.lines()).all(same), "{found}");
            assert_eq!(FILE.lines().count(), found.lines().count());
        }
    }

    #[test]
    fn a_job_that_is_not_there_and_jobs_on_one_line_are_said() {
        assert_eq!(cut(FILE, "d"), Err(Uncut::NoSuchJob(["a", "b", "c"].map(str::to_owned).into())));
        let flow =
            "on: push\njobs: {a: {runs-on: x, steps: [{run: a}]}, b: {runs-on: x, steps: [{run: b}]}}\n";
        assert_eq!(cut(flow, "a"), Err(Uncut::Flow));
    }
}
