//! Where members are reached: as the membership has it, or where a member says that it is by now.
//!
//! A connection looks here each time it is opened: Raft goes on with the connections it has when an address changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::NodeAddress;

/// Addresses by id. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    /// As the membership has them.
    written: BTreeMap<u64, String>,
    /// As members said, where that differs.
    announced: BTreeMap<u64, String>,
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the membership says now. What a member announced is forgotten once it is written, or the member
    /// is none any more.
    pub(crate) fn learn<'a>(&self, members: impl Iterator<Item = (&'a u64, &'a NodeAddress)>) {
        let mut pages = self.lock();
        pages.written = members.map(|(id, node)| (*id, node.cluster_addr.clone())).collect();
        let Pages { written, announced } = &mut *pages;
        announced.retain(|id, addr| written.get(id).is_some_and(|known| known != addr));
    }

    /// A member says where it is.
    pub(crate) fn announce(&self, id: u64, addr: &str) {
        let mut pages = self.lock();
        match pages.written.get(&id) {
            Some(known) if known == addr => {
                pages.announced.remove(&id);
            }
            Some(_) => {
                pages.announced.insert(id, addr.to_owned());
            }
            None => {}
        }
    }

    /// What was announced and is not written.
    pub(crate) fn announced(&self) -> BTreeMap<u64, String> {
        self.lock().announced.clone()
    }

    /// Where a member is, for all that is known here.
    pub(crate) fn find(&self, id: u64) -> Option<String> {
        let pages = self.lock();
        pages.announced.get(&id).or_else(|| pages.written.get(&id)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_counts_until_it_is_written() {
        let book = Book::default();
        let members = |addr: &str| {
            BTreeMap::from([(1, NodeAddress { name: "n".to_owned(), cluster_addr: addr.to_owned() })])
        };
        book.announce(1, "new");
        assert_eq!(book.find(1), None);
        book.learn(members("old").iter());
        assert_eq!(book.find(1).as_deref(), Some("old"));
        book.announce(1, "new");
        assert_eq!((book.find(1).as_deref(), book.announced().len()), (Some("new"), 1));
        book.learn(members("old").iter());
        assert_eq!(book.find(1).as_deref(), Some("new"));
        book.learn(members("new").iter());
        assert_eq!((book.find(1).as_deref(), book.announced().len()), (Some("new"), 0));
        book.announce(1, "old");
        book.announce(1, "new");
        assert_eq!(book.announced().len(), 0);
        book.learn(BTreeMap::new().iter());
        assert_eq!(book.find(1), None);
    }
}
