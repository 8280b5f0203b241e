//! Repositories.

use super::{Answer, Applying, invalid, not_found, wrong_state};
use crate::{CloneAs, Fence, Reply, Repo, RepoId, limits};

impl Applying<'_> {
    /// Registers a repository, or gives the one of that name other facts: that of the version `over`, where one is given.
    pub(super) fn put_repo(&mut self, id: RepoId, new: Repo, over: Option<Fence>) -> Answer {
        if new.clone_url.is_empty() || new.clone_url.len() > 2048 {
            return Err(invalid("clone_url", "1 to 2048 bytes are allowed"));
        }
        let clone = match &new.access.clone {
            CloneAs::Nobody => None,
            CloneAs::Token(sealed) | CloneAs::Key(sealed) => Some(("clone credential", sealed)),
        };
        let status = new.access.status.as_ref().map(|status| ("status token", &status.token));
        for (field, sealed) in
            [("webhook_secret", &new.webhook_secret)].into_iter().chain(clone).chain(status)
        {
            if !(1..=limits::MAX_SEALED_BYTES).contains(&sealed.0.len()) {
                let why = format!(
                    "{} bytes when sealed, 1 to {} are allowed",
                    sealed.0.len(),
                    limits::MAX_SEALED_BYTES
                );
                return Err(invalid(field, why));
            }
        }
        let existing = self.state.repo_names.get(&new.name).copied();
        let target = existing.unwrap_or(id);
        if existing.is_none() && self.state.repos.contains(&id) {
            return Err(invalid("id", "belongs to another repository"));
        }
        let before = self.state.repos.get(&target);
        if over.is_some() && before.map(|repo| repo.version) != over {
            let what = format!("repository {}", new.name);
            return Err(wrong_state(
                what,
                "not any more what it was",
                "keeping what was left out; ask again",
            ));
        }
        let next_number = before.map_or(new.next_number, |repo| repo.next_number);
        let created_at = before.map_or(new.created_at, |repo| repo.created_at);
        self.state.repo_names.insert(new.name.clone(), target);
        self.state.repos.insert(target, Repo { next_number, created_at, ..new });
        Ok(Reply::Repo { id: target, existed: existing.is_some() })
    }

    pub(super) fn remove_repo(&mut self, id: RepoId) -> Answer {
        let repo = self.state.repos.remove(&id).ok_or_else(|| not_found("repository", id))?;
        self.cancel_unreviewed(id);
        self.state.repo_names.remove(&repo.name);
        self.state.triggers.remove(&id);
        self.forget_pending_deliveries(id);
        self.forget_secrets(id);
        self.forget_variables(id);
        self.forget_environments(id);
        self.remove_caches(id, "", "")
    }
}
