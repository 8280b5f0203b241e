//! A persistent ordered map, made for what a queue does to it: most records come with the greatest key so far, and
//! millions of them stay.
//!
//! A B+ tree whose nodes are shared by clones and copied when they are changed. Its entries lie in one vector per node,
//! and a node is divided where the new entry goes when that is near its end: keys that come in order leave full nodes
//! behind them, where a division in the middle leaves each half empty for ever.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Entries of a node at most.
const WIDTH: usize = 32;

/// An ordered map. Cloning is O(1); the clone shares structure.
#[derive(Debug, Clone)]
pub(crate) struct Tree<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// A child is behind a key that is not above any in it, and above all in the child before; the first child's does not
    /// count, for whatever is below the others belongs there.
    Branch(Vec<(K, Arc<Node<K, V>>)>),
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.get_entry(key).map(|(_, value)| value)
    }

    pub(crate) fn get_entry(&self, key: &K) -> Option<&(K, V)> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(records) => return find(records, key).ok().map(|at| &records[at]),
                Node::Branch(children) => node = &children[child(children, key)].1,
            }
        }
    }

    /// To be changed in place: what the nodes above it share with clones is copied.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let mut node = Arc::make_mut(&mut self.root);
        loop {
            match node {
                Node::Leaf(records) => {
                    let at = find(records, key).ok()?;
                    return Some(&mut records[at].1);
                }
                Node::Branch(children) => {
                    let at = child(children, key);
                    node = Arc::make_mut(&mut children[at].1);
                }
            }
        }
    }

    /// The entry of the least key.
    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        self.root.first()
    }

    /// The entry of this key, or of the greatest below it.
    pub(crate) fn before(&self, key: &K) -> Option<(&K, &V)> {
        self.root.before(key)
    }

    /// Answers the value that was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (old, right) = Arc::make_mut(&mut self.root).insert(key, value);
        if let Some(right) = right
            && let Some(bound) = self.root.bound()
        {
            let left = (bound, Arc::clone(&self.root));
            self.root = Arc::new(Node::Branch(vec![left, right]));
        }
        self.len += usize::from(old.is_none());
        old
    }

    /// Answers the value that was there. Nothing is copied for a key that is not.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let old = Arc::make_mut(&mut self.root).remove(key)?;
        self.len -= 1;
        while let Node::Branch(children) = &*self.root
            && let [(_, only)] = &children[..]
        {
            self.root = Arc::clone(only);
        }
        Some(old)
    }

    /// In order of the keys.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.root.range(Bound::Unbounded, Bound::Unbounded)
    }

    /// Those within a range of keys, in order.
    pub(crate) fn range<R: RangeBounds<K>>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.root.range(range.start_bound().cloned(), range.end_bound().cloned())
    }
}

/// Entries of a node, in order.
type Entries<'a, K, V> = Box<dyn DoubleEndedIterator<Item = (&'a K, &'a V)> + 'a>;
/// What a node that was full gives up: the node right of it, behind its first key.
type Right<K, V> = Option<(K, Arc<Node<K, V>>)>;

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(records) => records.len(),
            Node::Branch(children) => children.len(),
        }
    }

    /// True for a leaf without room whose keys are all lower.
    fn is_full_below(&self, key: &K) -> bool {
        match self {
            Node::Leaf(records) => {
                records.len() >= WIDTH && records.last().is_some_and(|(last, _)| last < key)
            }
            Node::Branch(_) => false,
        }
    }

    /// What its parent has it behind.
    fn bound(&self) -> Option<K> {
        match self {
            Node::Leaf(records) => records.first().map(|(key, _)| key.clone()),
            Node::Branch(children) => children.first().map(|(key, _)| key.clone()),
        }
    }

    fn first(&self) -> Option<(&K, &V)> {
        match self {
            Node::Leaf(records) => records.first().map(|(key, value)| (key, value)),
            Node::Branch(children) => children.iter().find_map(|(_, child)| child.first()),
        }
    }

    fn before(&self, key: &K) -> Option<(&K, &V)> {
        match self {
            Node::Leaf(records) => {
                let end = records.partition_point(|(other, _)| other <= key);
                records[..end].last().map(|(key, value)| (key, value))
            }
            Node::Branch(children) => {
                children[..=child(children, key)].iter().rev().find_map(|(_, child)| child.before(key))
            }
        }
    }

    fn insert(&mut self, key: K, value: V) -> (Option<V>, Right<K, V>) {
        match self {
            Node::Leaf(records) => match find(records, &key) {
                Ok(at) => (Some(std::mem::replace(&mut records[at].1, value)), None),
                Err(at) => (None, put(records, at, (key, value)).and_then(|right| behind(Node::Leaf(right)))),
            },
            Node::Branch(children) => {
                let mut at = child(children, &key);
                // Between a full leaf and one that has room: to the front of that one.
                if children[at].1.is_full_below(&key)
                    && let Some((first, next)) = children.get_mut(at + 1)
                    && next.len() < WIDTH
                {
                    *first = key.clone();
                    at += 1;
                }
                let (old, right) = Arc::make_mut(&mut children[at].1).insert(key, value);
                let right = right.and_then(|right| put(children, at + 1, right));
                (old, right.and_then(|right| behind(Node::Branch(right))))
            }
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Node::Leaf(records) => {
                let (_, old) = records.remove(find(records, key).ok()?);
                if records.len() < records.capacity() / 2 {
                    records.shrink_to_fit();
                }
                Some(old)
            }
            Node::Branch(children) => {
                let at = child(children, key);
                let old = Arc::make_mut(&mut children[at].1).remove(key);
                if children[at].1.len() < WIDTH / 4 {
                    merge(children, at);
                }
                old
            }
        }
    }

    fn range(&self, from: Bound<K>, to: Bound<K>) -> Entries<'_, K, V> {
        match self {
            Node::Leaf(records) => {
                let first = records.partition_point(|(key, _)| match &from {
                    Bound::Included(from) => key < from,
                    Bound::Excluded(from) => key <= from,
                    Bound::Unbounded => false,
                });
                let end = records.partition_point(|(key, _)| match &to {
                    Bound::Included(to) => key <= to,
                    Bound::Excluded(to) => key < to,
                    Bound::Unbounded => true,
                });
                Box::new(records[first.min(end)..end].iter().map(|(key, value)| (key, value)))
            }
            Node::Branch(children) => {
                let at = |bound: &Bound<K>, open| match bound {
                    Bound::Included(key) | Bound::Excluded(key) => child(children, key),
                    Bound::Unbounded => open,
                };
                let (first, last) = (at(&from, 0), at(&to, children.len() - 1));
                // Only the children at the ends have entries outside.
                let within = children[first.min(last)..=last].iter().enumerate();
                Box::new(within.flat_map(move |(number, (_, child))| {
                    let from = if number == 0 { from.clone() } else { Bound::Unbounded };
                    let to = if first + number == last { to.clone() } else { Bound::Unbounded };
                    child.range(from, to)
                }))
            }
        }
    }
}

/// Where a record is, or where it belongs.
fn find<K: Ord, V>(records: &[(K, V)], key: &K) -> Result<usize, usize> {
    match records.last() {
        // As most that come are.
        Some((last, _)) if last < key => Err(records.len()),
        _ => records.binary_search_by(|(other, _)| other.cmp(key)),
    }
}

/// The child that has a key, if any has: the first has what is below all.
fn child<K: Ord, C>(children: &[(K, C)], key: &K) -> usize {
    match children {
        [_, .., (last, _)] if last <= key => children.len() - 1,
        _ => children[1..].partition_point(|(first, _)| first <= key),
    }
}

/// A node as its parent has it.
fn behind<K: Ord + Clone, V: Clone>(node: Node<K, V>) -> Right<K, V> {
    Some((node.bound()?, Arc::new(node)))
}

/// Puts an entry in its place. Where there is no room, the entries from there or from the middle on are given up.
fn put<T>(entries: &mut Vec<T>, at: usize, entry: T) -> Option<Vec<T>> {
    if entries.len() < WIDTH {
        if entries.len() == entries.capacity() {
            entries.reserve_exact(WIDTH - entries.len());
        }
        entries.insert(at, entry);
        return None;
    }
    let cut = if at >= WIDTH / 4 * 3 { at } else { WIDTH / 2 };
    let mut right = Vec::with_capacity(WIDTH);
    right.extend(entries.drain(cut..));
    entries.shrink_to_fit();
    match at.checked_sub(cut) {
        Some(at) => right.insert(at, entry),
        None => entries.insert(at, entry),
    }
    Some(right)
}

/// Joins a child that has few entries with a neighbour, if both fit into one node.
fn merge<K: Ord + Clone, V: Clone>(children: &mut Vec<(K, Arc<Node<K, V>>)>, at: usize) {
    let fits = |left: usize| {
        let pair = children.get(left..left + 2)?;
        (pair[0].1.len() + pair[1].1.len() <= WIDTH).then_some(left)
    };
    if let Some(left) = fits(at).or_else(|| fits(at.checked_sub(1)?)) {
        let (_, right) = children.remove(left + 1);
        match (Arc::make_mut(&mut children[left].1), Arc::unwrap_or_clone(right)) {
            (Node::Leaf(left), Node::Leaf(right)) => append(left, right),
            (Node::Branch(left), Node::Branch(right)) => append(left, right),
            _ => unreachable!("neighbours are of one kind"),
        }
    }
}

fn append<T>(left: &mut Vec<T>, right: Vec<T>) {
    left.reserve_exact(right.len());
    left.extend(right);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Nodes at the lowest level, and entries in all of them; every level is checked for order and width.
    fn leaves(node: &Node<u16, u32>, lowest: Option<u16>) -> (usize, usize) {
        match node {
            Node::Leaf(records) => {
                assert!(records.len() <= WIDTH && records.capacity() <= WIDTH);
                assert!(records.is_sorted_by(|a, b| a.0 < b.0));
                assert!(
                    records.first().is_none_or(|(first, _)| lowest.is_none_or(|lowest| lowest <= *first))
                );
                (1, records.len())
            }
            Node::Branch(children) => {
                assert!(!children.is_empty() && children.len() <= WIDTH);
                assert!(children[1..].is_sorted_by(|a, b| a.0 < b.0));
                children.iter().enumerate().fold((0, 0), |(nodes, records), (at, (key, child))| {
                    let found = leaves(child, if at == 0 { lowest } else { Some(*key) });
                    (nodes + found.0, records + found.1)
                })
            }
        }
    }

    #[test]
    fn keys_in_order_fill_the_nodes() {
        let (mut one, mut two) = (Tree::default(), Tree::default());
        for key in 0..3200_u16 {
            one.insert(key, 0_u32);
            // As of two proposers whose clocks differ a little.
            two.insert(key ^ 3, 0);
        }
        assert_eq!(leaves(&one.root, None), (100, 3200));
        let (nodes, records) = leaves(&two.root, None);
        assert!(nodes <= 115 && records == 3200, "{nodes} nodes for {records} records");
    }

    #[test]
    fn what_leaves_gives_room_back() {
        let mut tree: Tree<u16, u32> = Tree::default();
        for key in 0..5000 {
            tree.insert(key, 0);
        }
        let before = tree.clone();
        for key in (0..5000).filter(|key| key % 50 != 0) {
            tree.remove(&key);
        }
        let (nodes, records) = leaves(&tree.root, None);
        assert_eq!((records, tree.len()), (100, 100));
        assert!(nodes <= 12, "{nodes} nodes for 100 records");
        for key in 0..5000 {
            tree.remove(&key);
        }
        assert_eq!((leaves(&tree.root, None), tree.iter().count()), ((1, 0), 0));
        assert_eq!(before.iter().map(|(key, _)| *key).collect::<Vec<_>>(), (0..5000).collect::<Vec<_>>());
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So many keys in order from here on.
        Insert(u16, u16),
        Remove(u16, u16),
        Update(u16),
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..2000_u16;
        prop_oneof![
            4 => (key.clone(), 1..200_u16).prop_map(|(first, count)| Step::Insert(first, count)),
            2 => (key.clone(), 1..100_u16).prop_map(|(first, count)| Step::Insert(first, 1 + count / 50)),
            4 => (key.clone(), 1..200_u16).prop_map(|(first, count)| Step::Remove(first, count)),
            2 => key.prop_map(Step::Update),
            1 => Just(Step::Clone),
        ]
    }

    proptest! {
        #[test]
        fn it_is_as_the_map_of_the_standard_library(
            steps in prop::collection::vec(step(), 1..80),
            questions in prop::collection::vec((0..2200_u16, 0..2200_u16), 20),
        ) {
            let (mut tree, mut model, mut clones) = (Tree::default(), BTreeMap::new(), Vec::new());
            for (number, step) in (0_u32..).zip(steps) {
                match step {
                    Step::Insert(first, count) => for key in first..first + count {
                        prop_assert_eq!(tree.insert(key, number), model.insert(key, number));
                    },
                    Step::Remove(first, count) => for key in first..first + count {
                        prop_assert_eq!(tree.remove(&key), model.remove(&key));
                    },
                    Step::Update(key) => {
                        prop_assert_eq!(tree.get_mut(&key).map(|value| *value += 1), model.get_mut(&key).map(|value| *value += 1));
                    }
                    Step::Clone => clones.push((tree.clone(), model.clone())),
                }
                prop_assert_eq!(leaves(&tree.root, None).1, model.len());
            }
            clones.push((tree, model));
            for (tree, model) in clones {
                prop_assert_eq!(tree.len(), model.len());
                prop_assert!(tree.iter().eq(model.iter()));
                prop_assert!(tree.iter().rev().eq(model.iter().rev()));
                for (low, high) in &questions {
                    let (low, high) = (low.min(high), low.max(high));
                    prop_assert_eq!(tree.get(low), model.get(low));
                    prop_assert_eq!(tree.first(), model.first_key_value());
                    prop_assert_eq!(tree.before(low), model.range(..=low).next_back());
                    prop_assert!(tree.range(low..=high).eq(model.range(low..=high)));
                    prop_assert!(tree.range(low..high).rev().eq(model.range(low..high).rev()));
                    prop_assert!(tree.range(..low).rev().eq(model.range(..low).rev()));
                    prop_assert!(tree.range(high..).eq(model.range(high..)));
                    let inside = (Bound::Excluded(*low), Bound::Unbounded);
                    prop_assert!(tree.range(inside).eq(model.range(inside)));
                }
            }
        }
    }
}
