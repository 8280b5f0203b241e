//! Secrets of repositories, as whoever took them in has sealed them.

use super::{Answer, Applying, invalid, not_found};
use crate::{Refusal, Reply, RepoId, Sealed, limits, shared};

/// # Errors
/// No name of a secret or variable.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let fine = |(place, c): (usize, char)| match c {
        'A'..='Z' | '_' => true,
        '0'..='9' => place > 0,
        _ => false,
    };
    if (1..=255).contains(&name.len()) && name.chars().enumerate().all(fine) {
        return Ok(());
    }
    Err(invalid("name", "1 to 255 upper-case letters, digits and _ are allowed, not first a digit"))
}

impl Applying<'_> {
    pub(super) fn put_secret(&mut self, repo: RepoId, name: &str, value: &Sealed) -> Answer {
        if !self.state.repos.contains(&repo) {
            return Err(not_found("repository", repo));
        }
        check_name(name)?;
        if value.0.len() > limits::MAX_SEALED_BYTES {
            let why =
                format!("{} bytes when sealed, the limit is {}", value.0.len(), limits::MAX_SEALED_BYTES);
            return Err(invalid("value", why));
        }
        let id = (repo, shared(name));
        let count = self.state.secrets_of(repo).count();
        if count >= limits::MAX_SECRETS && !self.state.secrets.contains(&id) {
            return Err(invalid("name", format!("there are {count} secrets, which is the limit")));
        }
        self.state.secrets.insert(id, value.clone());
        Ok(Reply::Done)
    }

    pub(super) fn remove_secret(&mut self, repo: RepoId, name: &str) -> Answer {
        let gone = self.state.secrets.remove(&(repo, shared(name)));
        gone.map(|_| Reply::Done).ok_or_else(|| not_found("secret", name))
    }

    pub(super) fn forget_secrets(&mut self, repo: RepoId) {
        let names: Vec<_> = self.state.secrets_of(repo).map(|(name, _)| shared(name)).collect();
        for name in names {
            self.state.secrets.remove(&(repo, name));
        }
    }
}

impl crate::ClusterState {
    /// The secrets of a repository, by name.
    pub fn secrets_of(&self, repo: RepoId) -> impl Iterator<Item = (&str, &Sealed)> {
        let all = self.secrets.range((repo, shared(""))..);
        all.take_while(move |((of, _), _)| *of == repo).map(|((_, name), value)| (&**name, value))
    }
}
