//! Repositories.

use super::{Answer, Applying, invalid, not_found};
use crate::{Labels, Reply, Repo, RepoId, RepoName};

impl Applying<'_> {
    pub(super) fn put_repo(
        &mut self,
        id: RepoId,
        name: &RepoName,
        clone_url: &str,
        webhook_secret: &str,
        labels: &Labels,
    ) -> Answer {
        if clone_url.is_empty() || clone_url.len() > 2048 {
            return Err(invalid("clone_url", "1 to 2048 bytes are allowed"));
        }
        if !(8..=256).contains(&webhook_secret.len()) {
            return Err(invalid(
                "webhook_secret",
                format!("{} bytes, 8 to 256 are allowed", webhook_secret.len()),
            ));
        }
        let existing = self.state.repo_names.get(name).copied();
        let target = existing.unwrap_or(id);
        if existing.is_none() && self.state.repos.contains(&id) {
            return Err(invalid("id", "belongs to another repository"));
        }
        let before = self.state.repos.get(&target);
        let repo = Repo {
            name: name.clone(),
            clone_url: clone_url.to_owned(),
            webhook_secret: webhook_secret.to_owned(),
            labels: labels.clone(),
            next_number: before.map_or(1, |repo| repo.next_number),
            created_at: before.map_or(self.state.now, |repo| repo.created_at),
        };
        self.state.repos.insert(target, repo);
        self.state.repo_names.insert(name.clone(), target);
        Ok(Reply::Repo { id: target, existed: existing.is_some() })
    }

    pub(super) fn remove_repo(&mut self, id: RepoId) -> Answer {
        let repo = self.state.repos.remove(&id).ok_or_else(|| not_found("repository", id))?;
        self.state.repo_names.remove(&repo.name);
        Ok(Reply::Done)
    }
}
