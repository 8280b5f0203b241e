//! A persistent ordered map whose content hash is kept as it changes: each changed record's hash leaves and enters a
//! sum, so that equal tables have equal hashes whatever their history, and comparing costs nothing.

use std::hash::{Hash, Hasher};
use std::ops::RangeBounds;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip::SipHasher13;

use crate::tree::Tree;

/// A map of records. Cloning is O(1); the clone shares structure.
#[derive(Debug, Clone)]
pub struct Table<K: Ord, V> {
    map: Tree<K, V>,
    hash: u64,
}

impl<K: Ord + Clone + Hash, V: Clone + Hash> Default for Table<K, V> {
    fn default() -> Self {
        Self { map: Tree::default(), hash: 0 }
    }
}

fn record_hash<K: Hash, V: Hash>(key: &K, value: &V) -> u64 {
    let mut hasher = SipHasher13::new();
    key.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

impl<K: Ord + Clone + Hash, V: Clone + Hash> Table<K, V> {
    /// The record, if there is one.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// The key as the table has it.
    pub fn get_key(&self, key: &K) -> Option<&K> {
        self.map.get_entry(key).map(|(key, _)| key)
    }

    /// True when there is a record.
    pub fn contains(&self, key: &K) -> bool {
        self.map.get(key).is_some()
    }

    /// Puts a record in place of the one before, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.hash = self.hash.wrapping_add(record_hash(&key, &value));
        let old = self.map.insert(key.clone(), value);
        if let Some(old) = &old {
            self.hash = self.hash.wrapping_sub(record_hash(&key, old));
        }
        old
    }

    /// Takes a record out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.map.remove(key)?;
        self.hash = self.hash.wrapping_sub(record_hash(key, &old));
        Some(old)
    }

    /// Changes a record in place; `None` when there is none.
    pub fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let value = self.map.get_mut(key)?;
        let before = record_hash(key, value);
        let result = change(value);
        self.hash = self.hash.wrapping_sub(before).wrapping_add(record_hash(key, value));
        Some(result)
    }

    /// Records in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Records within a range of keys, in order.
    pub fn range<R: RangeBounds<K>>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.map.range(range)
    }

    /// The record of this key, or of the greatest below it.
    pub fn before(&self, key: &K) -> Option<(&K, &V)> {
        self.map.before(key)
    }

    /// The record of the least key.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.map.first()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of all records, independent of the order in which they came.
    pub fn content_hash(&self) -> u64 {
        self.hash
    }
}

impl<K: Ord + Clone + Hash, V: Clone + Hash> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(records: I) -> Self {
        let mut table = Self::default();
        for (key, value) in records {
            table.insert(key, value);
        }
        table
    }
}

impl<K: Serialize + Ord + Clone, V: Serialize + Clone> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut records = serializer.serialize_seq(Some(self.map.len()))?;
        self.map.iter().try_for_each(|record| records.serialize_element(&record))?;
        records.end()
    }
}

impl<'de, K, V> Deserialize<'de> for Table<K, V>
where
    K: Deserialize<'de> + Ord + Clone + Hash,
    V: Deserialize<'de> + Clone + Hash,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<(K, V)>::deserialize(deserializer).map(|records| records.into_iter().collect())
    }
}
