//! Environments of repositories, and what people say of the jobs that wait for them.

use std::sync::Arc;

use super::{Answer, Applying, clipped, invalid, not_found, wrong_state};
use crate::{
    ClusterState, Environment, Hold, Job, JobId, JobState, Outcome, Refusal, Reply, RepoId, Review, Run,
    RunId, limits, shared,
};

/// How an environment is found.
fn key(repo: RepoId, name: &str) -> (RepoId, Arc<str>) {
    (repo, name.to_lowercase().into())
}

/// # Errors
/// The name of an environment is empty, too long, has control characters, or is one that paths of the API cannot have.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    let most = limits::MAX_ENVIRONMENT_NAME_BYTES;
    let fine = (1..=most).contains(&name.len()) && !name.contains(char::is_control);
    if fine && !matches!(name, "." | "..") {
        return Ok(());
    }
    let why = format!(
        "{} bytes, 1 to {most} without control characters are allowed, and neither . nor ..",
        name.len()
    );
    Err(invalid(field, why))
}

impl Applying<'_> {
    pub(super) fn put_environment(&mut self, repo: RepoId, name: &str, approval: bool) -> Answer {
        if !self.state.repos.contains(&repo) {
            return Err(not_found("repository", repo));
        }
        check_name("name", name)?;
        let id = key(repo, name);
        let count = self.state.environments_of(repo).count();
        if count >= limits::MAX_ENVIRONMENTS && !self.state.environments.contains(&id) {
            return Err(invalid("name", format!("there are {count} environments, which is the limit")));
        }
        let environment = Environment { name: shared(name), approval, changed_at: self.state.now };
        self.state.environments.insert(id, environment);
        self.review_again();
        Ok(Reply::Done)
    }

    pub(super) fn remove_environment(&mut self, repo: RepoId, name: &str) -> Answer {
        self.state.environments.remove(&key(repo, name)).ok_or_else(|| not_found("environment", name))?;
        self.review_again();
        Ok(Reply::Done)
    }

    pub(super) fn forget_environments(&mut self, repo: RepoId) {
        let names: Vec<_> = self.state.environments_of(repo).map(|one| Arc::clone(&one.name)).collect();
        for name in names {
            self.state.environments.remove(&key(repo, &name));
        }
    }

    /// What waits for a review that nobody can give any more does not begin without it.
    pub(super) fn cancel_unreviewed(&mut self, repo: RepoId) {
        let open = self.state.reviews.iter().filter(|(_, review)| review.is_open()).map(|(id, _)| *id);
        let of_repo = |id: &JobId| self.state.runs.get(&id.run).is_some_and(|run| run.repo == Some(repo));
        let jobs: Vec<_> = open.filter(of_repo).collect();
        for id in jobs {
            self.state.reasons.insert(id, shared("its repository was removed before anybody reviewed it"));
            self.cancel_job(id);
            self.touched.push(id.run);
        }
    }

    /// Jobs that need not wait for a review any more begin.
    fn review_again(&mut self) {
        let open = self.state.reviews.iter().filter(|(_, review)| review.is_open());
        let free = open.filter(|(id, _)| self.state.hold(**id) != Some(Hold::Review));
        let runs: Vec<RunId> = free.map(|(id, _)| id.run).collect();
        self.touched.extend(runs);
    }

    pub(super) fn review_job(&mut self, id: JobId, approve: bool, sender: &str) -> Answer {
        let job = self.state.jobs.get(&id).ok_or_else(|| not_found("job", id))?;
        if self.state.hold(id) != Some(Hold::Review) || job.state != JobState::Held {
            return Err(wrong_state(format!("job {id}"), job.state.as_str(), "reviewing it"));
        }
        if sender.is_empty() {
            return Err(invalid("sender", "is empty"));
        }
        if approve {
            self.ask_for_review(id);
            self.state.reviews.update(&id, |review| review.by = shared(sender));
            self.notice(id.run, None);
        } else {
            let environment = job.environment.as_deref().unwrap_or_default();
            let reason = format!("{sender} did not approve it for the environment {environment:?}");
            self.state.reasons.insert(id, clipped(&reason));
            self.move_job(id, JobState::Finished(Outcome::Failed));
        }
        self.settle(id.run);
        Ok(Reply::Done)
    }

    /// Notes that a job waits for a review from now on.
    pub(super) fn ask_for_review(&mut self, id: JobId) {
        if !self.state.reviews.contains(&id) {
            self.state.reviews.insert(id, Review { asked_at: self.state.now, by: shared("") });
            self.notice(id.run, None);
        }
    }

    /// Nobody is to be asked about this job any more.
    pub(super) fn end_review(&mut self, id: JobId) {
        if self.state.reviews.get(&id).is_some_and(Review::is_open) {
            self.state.reviews.remove(&id);
        }
    }
}

impl ClusterState {
    /// The environments of a repository, by name.
    pub fn environments_of(&self, repo: RepoId) -> impl Iterator<Item = &Environment> {
        let all = self.environments.range((repo, shared(""))..);
        all.take_while(move |((of, _), _)| *of == repo).map(|(_, environment)| environment)
    }

    /// Whether a job is for an environment that asks for a review, and nobody approved it.
    pub(crate) fn waits_for_review(&self, id: JobId, job: &Job, run: &Run) -> bool {
        let environment = job.environment.as_deref().zip(run.repo);
        let rule = environment.and_then(|(name, repo)| self.environments.get(&key(repo, name)));
        rule.is_some_and(|rule| rule.approval) && self.reviews.get(&id).is_none_or(Review::is_open)
    }
}
