//! Questions that others ask of the state.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::{ClusterState, Holding, Job, JobState, NodeId, Outcome, Repo, RepoId, RepoName, Token, TokenId};

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting for jobs that they need, or for their members.
    pub waiting: u64,
    /// Ready to be placed.
    pub queued: u64,
    /// Held back.
    pub held: u64,
    /// Given to a node.
    pub placed: u64,
    /// Running.
    pub running: u64,
}

impl ClusterState {
    /// The hash of everything replicated: equal at equal log index on every node. Costs nothing: tables keep theirs.
    #[must_use]
    pub fn hash(&self) -> u64 {
        // Whole, so that nothing of a state can be forgotten here: what is missing does not compile.
        let Self {
            cluster,
            now,
            ad_hoc_number,
            open_jobs,
            nodes,
            repos,
            repo_names,
            tokens,
            deliveries,
            pending_deliveries,
            runs,
            jobs,
            specs,
            attempts,
            queue,
            held,
            keys,
            key_ages,
            outbox,
            join_tokens,
            admitted,
            removed,
            paused_runs,
            paused_attempts,
            contexts,
            outputs,
            reasons,
            undecided,
            once_undecided,
            unapproved,
            approved,
            groups,
            triggers,
            secrets,
            caches,
            variables,
            environments,
            reviews,
            backoffs,
        } = self;
        let mut hasher = SipHasher13::new();
        if let Some(cluster) = cluster {
            hasher.write_u128(cluster.0);
        }
        hasher.write_u64(now.0);
        for part in [
            nodes.content_hash(),
            repos.content_hash(),
            repo_names.content_hash(),
            tokens.content_hash(),
            deliveries.content_hash(),
            pending_deliveries.content_hash(),
            runs.content_hash(),
            jobs.content_hash(),
            specs.content_hash(),
            attempts.content_hash(),
            queue.content_hash(),
            held.content_hash(),
            keys.content_hash(),
            key_ages.content_hash(),
            outbox.content_hash(),
            *ad_hoc_number,
            u64::from(*open_jobs),
        ] {
            hasher.write_u64(part);
        }
        // Tables that came later count once they hold something: states from before them keep their hash.
        let later = [
            join_tokens.content_hash(),
            admitted.content_hash(),
            removed.content_hash(),
            paused_runs.content_hash(),
            paused_attempts.content_hash(),
            contexts.content_hash(),
            outputs.content_hash(),
            reasons.content_hash(),
            undecided.content_hash(),
            once_undecided.content_hash(),
            unapproved.content_hash(),
            approved.content_hash(),
            groups.content_hash(),
            triggers.content_hash(),
            secrets.content_hash(),
            caches.content_hash(),
            variables.content_hash(),
            environments.content_hash(),
            reviews.content_hash(),
            backoffs.content_hash(),
        ];
        for (number, part) in later.into_iter().enumerate().filter(|(_, part)| *part != 0) {
            hasher.write_u64(number as u64);
            hasher.write_u64(part);
        }
        hasher.finish()
    }

    /// What a node is to hold, and whether each is to be cancelled.
    pub fn holdings(&self, node: NodeId) -> impl Iterator<Item = (Holding, bool)> {
        self.held_jobs(node).map(|(job, record)| {
            (Holding { job, number: record.attempts, fence: record.fence }, record.cancel_requested)
        })
    }

    /// A repository by its name.
    #[must_use]
    pub fn find_repo(&self, name: &RepoName) -> Option<(RepoId, &Repo)> {
        let id = *self.repo_names.get(name)?;
        Some((id, self.repos.get(&id)?))
    }

    /// A token by the hash of its secret, expired or not.
    #[must_use]
    pub fn find_token(&self, hash: &[u8; 32]) -> Option<(TokenId, &Token)> {
        self.tokens.iter().find(|(_, token)| token.hash == *hash).map(|(id, token)| (*id, token))
    }

    /// Open jobs by state. Cost: O(jobs).
    #[must_use]
    pub fn job_counts(&self) -> JobCounts {
        let mut counts = JobCounts::default();
        for (_, job) in self.jobs.iter() {
            match job.state {
                JobState::Waiting(_) | JobState::Deciding | JobState::Open => counts.waiting += 1,
                JobState::Queued => counts.queued += 1,
                JobState::Held => counts.held += 1,
                JobState::Placed => counts.placed += 1,
                JobState::Running => counts.running += 1,
                JobState::Finished(_) => {}
            }
        }
        counts
    }
}

impl Job {
    /// How it ended, once it has, as far as others are concerned: the failure of one that may fail is none.
    #[must_use]
    pub fn result(&self) -> Option<Outcome> {
        let failed = |outcome| matches!(outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Lost);
        self.outcome()
            .map(|outcome| if self.may_fail && failed(outcome) { Outcome::Succeeded } else { outcome })
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            JobState::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }
}
