//! Caches: kept once, found by scope and key, forgotten when others need their place, and with the node that has them.

use super::members::was_removed;
use super::{Answer, Applying, invalid, not_found};
use crate::{CacheEntry, CacheId, ClusterState, NodeId, Reply, RepoId, limits, shared};

impl Applying<'_> {
    pub(super) fn put_cache(&mut self, repo: RepoId, entry: &CacheEntry, most_bytes: u64) -> Answer {
        if !self.state.repos.contains(&repo) {
            return Err(not_found("repository", repo));
        }
        for (field, text) in [("key", &entry.key), ("scope", &entry.scope)] {
            if text.is_empty() || text.len() > limits::MAX_NAME_BYTES {
                let why = format!("{} bytes, 1 to {} are allowed", text.len(), limits::MAX_NAME_BYTES);
                return Err(invalid(field, why));
            }
        }
        if entry.size > most_bytes {
            let why = format!("{} bytes, the limit of the repository is {most_bytes}", entry.size);
            return Err(invalid("size", why));
        }
        if self.state.removed.contains(&entry.node) {
            return Err(was_removed(entry.node, "keeping a cache"));
        }
        let id = entry.id(repo);
        if !self.state.caches.get(&id).is_some_and(|there| self.state.can_be_had(there)) {
            let now = self.state.now;
            self.state.caches.insert(id, CacheEntry { created_at: now, used_at: now, ..entry.clone() });
            self.make_room(repo, most_bytes);
        }
        Ok(Reply::Done)
    }

    /// The one used longest ago goes first.
    fn make_room(&mut self, repo: RepoId, most_bytes: u64) {
        loop {
            let (mut count, mut bytes, mut oldest) = (0, 0_u64, None);
            for (id, entry) in self.state.caches_of(repo) {
                count += 1;
                bytes = bytes.saturating_add(entry.size);
                let age = (entry.used_at, id.clone());
                if oldest.as_ref().is_none_or(|oldest| age < *oldest) {
                    oldest = Some(age);
                }
            }
            let Some((_, id)) = oldest.filter(|_| count > limits::MAX_CACHES || bytes > most_bytes) else {
                return;
            };
            self.state.caches.remove(&id);
        }
    }

    pub(super) fn use_cache(&mut self, id: &CacheId) -> Answer {
        let now = self.state.now;
        let used = self.state.caches.update(id, |entry| entry.used_at = now);
        used.map(|()| Reply::Done).ok_or_else(|| not_found("cache", &id.2))
    }

    pub(super) fn remove_caches(&mut self, repo: RepoId, scope: &str, key_prefix: &str) -> Answer {
        let wanted =
            |(_, of, key, _): &CacheId| (scope.is_empty() || **of == *scope) && key.starts_with(key_prefix);
        let gone: Vec<_> =
            self.state.caches_of(repo).map(|(id, _)| id.clone()).filter(|id| wanted(id)).collect();
        for id in gone {
            self.state.caches.remove(&id);
        }
        Ok(Reply::Done)
    }

    /// Those whose bytes this node alone had.
    pub(super) fn forget_caches_of(&mut self, node: NodeId) {
        let of_node = self.state.caches.iter().filter(|(_, entry)| entry.node == node);
        let gone: Vec<_> = of_node.map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.state.caches.remove(&id);
        }
    }
}

impl ClusterState {
    /// Whether its bytes can be had: those of a node that is lost cannot, until it is back.
    #[must_use]
    pub fn can_be_had(&self, entry: &CacheEntry) -> bool {
        self.nodes.get(&entry.node).is_some_and(|node| !node.lost)
    }

    /// The caches of a repository.
    pub fn caches_of(&self, repo: RepoId) -> impl Iterator<Item = (&CacheId, &CacheEntry)> {
        let all = self.caches.range((repo, shared(""), shared(""), [0; 32])..);
        all.take_while(move |(id, _)| id.0 == repo)
    }
}
