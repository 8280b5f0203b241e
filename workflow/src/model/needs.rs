//! Whether the jobs of a workflow can all be reached. Rules: actions/languageservices
//! `workflow-parser/src/model/converter/jobs.ts`.

use std::collections::HashMap;

use super::job::Job;
use crate::complaints::Complaints;
use crate::diagnostic::{At, cut};

/// Most names of jobs that a complaint shows, so that many wrong names in a workflow of many jobs stay cheap.
const MAX_SHOWN: usize = 10;

/// Complains about needs that are no jobs and about circles.
pub(super) fn check(jobs: &[Job], at: At, c: &mut Complaints) {
    let places: HashMap<&str, usize> =
        jobs.iter().enumerate().map(|(at, job)| (job.id.value.as_str(), at)).collect();
    if jobs.iter().all(|job| !job.needs.is_empty()) {
        let first = jobs.first().map(|job| cut(&job.id.value));
        let here = first.map(|job| format!(" Here the needs of job {job:?} lead in a circle, or to no job"));
        let message = "The workflow must contain at least one job with no dependencies.";
        c.invalid(at, format!("{message}{}", here.unwrap_or_default()));
        return;
    }
    let done = reachable(jobs, &places);
    unknown(jobs, &places, c);
    for (job, _) in jobs.iter().zip(&done).filter(|(_, done)| !**done) {
        for need in &job.needs {
            let Some(place) = places.get(need.value.as_str()) else { continue };
            if done[*place] {
                continue;
            }
            let (name, need_name) = (cut(&job.id.value), cut(&need.value));
            c.invalid(
                need.at,
                format!(
                    "Job '{name}' depends on job '{need_name}' which creates a cycle in the dependency graph. (The needs of job {name:?} lead in a circle.)"
                ),
            );
        }
    }
}

/// Which jobs come to run when each waits for those it needs.
fn reachable(jobs: &[Job], places: &HashMap<&str, usize>) -> Vec<bool> {
    let mut waits: Vec<usize> = jobs.iter().map(|job| job.needs.len()).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); jobs.len()];
    for (at, job) in jobs.iter().enumerate() {
        for need in job.needs.iter().filter_map(|need| places.get(need.value.as_str())) {
            needed_by[*need].push(at);
        }
    }
    let mut done = vec![false; jobs.len()];
    let mut free: Vec<usize> = (0..jobs.len()).filter(|at| waits[*at] == 0).collect();
    while let Some(at) = free.pop() {
        done[at] = true;
        for next in &needed_by[at] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                free.push(*next);
            }
        }
    }
    done
}

fn unknown(jobs: &[Job], places: &HashMap<&str, usize>, c: &mut Complaints) {
    for job in jobs {
        for need in job.needs.iter().filter(|need| !places.contains_key(need.value.as_str())) {
            let known: Vec<_> = jobs.iter().take(MAX_SHOWN).map(|job| cut(&job.id.value)).collect();
            let (name, need_name, known) = (cut(&job.id.value), cut(&need.value), known.join(", "));
            c.invalid(
                need.at,
                format!("Job '{name}' depends on unknown job '{need_name}'. Jobs of this workflow: {known}"),
            );
        }
    }
}
