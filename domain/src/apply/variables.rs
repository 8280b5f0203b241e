//! Variables of repositories (`vars`): no secrets.

use std::sync::Arc;

use super::secrets::check_name;
use super::{Answer, Applying, invalid, not_found};
use crate::{ClusterState, Reply, RepoId, limits, shared};

impl Applying<'_> {
    pub(super) fn put_variable(&mut self, repo: RepoId, name: &str, value: &str) -> Answer {
        if !self.state.repos.contains(&repo) {
            return Err(not_found("repository", repo));
        }
        check_name(name)?;
        let others = || self.state.variables_of(repo).filter(|(known, _)| *known != name);
        let count = others().count();
        if count >= limits::MAX_VARIABLES {
            return Err(invalid("name", format!("there are {count} variables, which is the limit")));
        }
        let bytes = value.len() + others().map(|(_, value)| value.len()).sum::<usize>();
        for (what, bytes, limit) in [
            ("it has", value.len(), limits::MAX_VARIABLE_BYTES),
            ("those of the repository have", bytes, limits::MAX_VARIABLES_BYTES),
        ] {
            if bytes > limit {
                return Err(invalid("value", format!("{what} {bytes} bytes, the limit is {limit}")));
            }
        }
        self.state.variables.insert((repo, shared(name)), shared(value));
        Ok(Reply::Done)
    }

    pub(super) fn remove_variable(&mut self, repo: RepoId, name: &str) -> Answer {
        let gone = self.state.variables.remove(&(repo, shared(name)));
        gone.map(|_| Reply::Done).ok_or_else(|| not_found("variable", name))
    }

    pub(super) fn forget_variables(&mut self, repo: RepoId) {
        let names: Vec<Arc<str>> = self.state.variables_of(repo).map(|(name, _)| shared(name)).collect();
        for name in names {
            self.state.variables.remove(&(repo, name));
        }
    }
}

impl ClusterState {
    /// The variables of a repository, by name.
    pub fn variables_of(&self, repo: RepoId) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.range((repo, shared(""))..);
        all.take_while(move |((of, _), _)| *of == repo).map(|((_, name), value)| (&**name, &**value))
    }
}
