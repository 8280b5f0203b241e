//! Whether this machine can take a job at all.
//!
//! Pure. Must not know when jobs are placed.

use std::collections::BTreeMap;

use domain::{ClusterState, Form, Hold, Job, JobId, JobState, Node, RunId};

/// What of a run this machine cannot run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    /// Why, by the key of each job that waits in vain.
    pub why: BTreeMap<String, String>,
    /// Other jobs are under way, or will be.
    pub others: bool,
}

impl Stuck {
    /// Nothing goes on any more, and the run is not finished.
    #[must_use]
    pub fn for_ever(&self) -> bool {
        !self.why.is_empty() && !self.others
    }
}

/// Looks at the jobs of a run.
#[must_use]
pub fn look(state: &ClusterState, run: RunId) -> Stuck {
    let mut stuck = Stuck::default();
    let Some((_, node)) = state.nodes.iter().next() else { return stuck };
    let jobs = state.runs.get(&run).map_or(0, |run| run.jobs);
    for index in 0..jobs {
        let id = JobId { run, index };
        let Some(job) = state.jobs.get(&id) else { continue };
        match (job.state, in_vain(job, node)) {
            (JobState::Queued, Some(why)) => drop(stuck.why.insert(job.key.to_string(), why)),
            (JobState::Queued | JobState::Placed | JobState::Running | JobState::Deciding, _) => {
                stuck.others = true;
            }
            // What else holds a job is another one.
            (JobState::Held, _) => stuck.others |= state.hold(id) == Some(Hold::Backoff),
            _ => {}
        }
    }
    stuck
}

/// Why the node will never take it.
fn in_vain(job: &Job, node: &Node) -> Option<String> {
    if !matches!(job.form, Form::Job) {
        return None;
    }
    let missing: Vec<_> = node.labels.missing(&job.labels).collect();
    if let Some(first) = missing.first() {
        let (all, one) = (missing.join(", "), first);
        return Some(format!(
            "this machine has no label {all}; with --label {one}=IMAGE it has, and runs such jobs in that image"
        ));
    }
    let (wanted, has) = (job.resources, node.capacity.resources);
    if wanted.cpu_millis > has.cpu_millis || wanted.memory_mib > has.memory_mib {
        return Some(format!(
            "it asks for {} cpus and {} MiB of memory, and this machine has {} and {} for jobs (see x-troupe.resources)",
            cpus(wanted.cpu_millis),
            wanted.memory_mib,
            cpus(has.cpu_millis),
            has.memory_mib
        ));
    }
    (node.capacity.slots == 0).then(|| "node.slots is 0, so that this machine runs no jobs".to_owned())
}

fn cpus(millis: u32) -> String {
    format!("{}", f64::from(millis) / 1000.0)
}
