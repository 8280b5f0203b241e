//! The secrets that a job's steps are given: those of the repository, opened, unless its commits are of somebody who may not
//! push there.
//!
//! Must not know how steps get them, nor how they are masked.

use std::collections::BTreeMap;

use domain::{ClusterState, Event, RepoId};

use crate::vault::{Purpose, Unopened, Vault};

/// A secret that a job cannot be given. Never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret {name} of {repo} cannot be opened: {source}")]
pub struct Unavailable {
    /// Its name.
    pub name: String,
    /// Its repository's name.
    pub repo: String,
    /// Why.
    pub source: Unopened,
}

/// Name and value of the secrets for a job of this event. None for commits of a fork, and for repositories that are gone.
///
/// # Errors
/// [`Unavailable`], of the first one: a job that runs without a secret fails where nobody looks for the cause.
pub fn secrets(
    vault: &Vault,
    state: &ClusterState,
    repo: RepoId,
    event: &Event,
) -> Result<BTreeMap<String, String>, Unavailable> {
    let Some(record) = state.repos.get(&repo).filter(|_| !event.from_fork) else {
        return Ok(BTreeMap::new());
    };
    let of = record.name.as_str();
    let open = |(name, sealed): (&str, &domain::Sealed)| {
        let value = vault.open(of, Purpose::Jobs(name), &sealed.0);
        let unavailable = |source| Unavailable { name: name.to_owned(), repo: of.to_owned(), source };
        Ok((name.to_owned(), value.map_err(unavailable)?))
    };
    state.secrets_of(repo).map(open).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use domain::{Access, Command, Entry, EventKind, Labels, Reply, Sealed, Timestamp};

    use super::*;

    type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    fn vault(key: &str) -> Result<Vault> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), key.repeat(64))?;
        Ok(Vault::read(file.path())?)
    }

    #[test]
    fn a_repositorys_own_jobs_are_given_its_secrets_and_a_forks_are_given_none() -> Result {
        let (vault, mut state) = (vault("a")?, ClusterState::default());
        let mut index = 0;
        let mut apply = |command| {
            index += 1;
            state.apply(index, &Entry { at: Timestamp(1), command }).0
        };
        for (id, name) in [(1, "app"), (2, "other")] {
            let put = Command::PutRepo {
                id: RepoId(id),
                name: name.parse()?,
                clone_url: "https://example.com/x".to_owned(),
                webhook_secret: Sealed(vec![0].into()),
                labels: Labels::default(),
                access: Access::default(),
                approve_forks: true,
                over: None,
            };
            assert!(matches!(apply(put), Reply::Repo { .. }));
        }
        for (repo, of, name, value) in
            [(1, "app", "A", "1"), (1, "app", "B_2", "two\nlines"), (2, "other", "A", "not it")]
        {
            let value = Sealed(vault.seal(of, Purpose::Jobs(name), value)?.into());
            let put = Command::PutSecret { repo: RepoId(repo), name: name.to_owned(), value };
            assert_eq!(apply(put), Reply::Done);
        }
        let push = Event::of(EventKind::Push);
        let given = secrets(&vault, &state, RepoId(1), &push)?;
        let wanted = [("A", "1"), ("B_2", "two\nlines")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(given, BTreeMap::from(wanted));
        let fork = Event { from_fork: true, ..Event::of(EventKind::PullRequest) };
        assert!(secrets(&vault, &state, RepoId(1), &fork)?.is_empty());
        assert!(secrets(&vault, &state, RepoId(3), &push)?.is_empty());
        let error = secrets(&self::vault("b")?, &state, RepoId(1), &push).unwrap_err().to_string();
        assert!(error.contains("the secret A of app") && error.contains("secrets.key_file"), "{error}");
        Ok(())
    }
}
