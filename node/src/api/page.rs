//! Pages of a list: `limit` from 1 to 500, and `cursor`, the last id of the page before.
//!
//! Must not know what is listed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::request::Request;

/// Entries of a page, when nobody says how many.
pub const DEFAULT: usize = 50;
/// Entries of a page, at most.
pub const MAX: usize = 500;

/// What page is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<K> {
    /// Entries at most.
    pub limit: usize,
    /// The last id of the page before.
    pub cursor: Option<K>,
}

impl<K: std::str::FromStr<Err: std::fmt::Display>> Wanted<K> {
    /// From the query.
    ///
    /// # Errors
    /// `Invalid`, naming `limit` or `cursor`.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let limit = request.param::<usize>("limit")?.unwrap_or(DEFAULT);
        if !(1..=MAX).contains(&limit) {
            return Err(Problem::invalid("limit", format!("{limit} is not within 1 to {MAX}")));
        }
        Ok(Self { limit, cursor: request.param("cursor")? })
    }
}

/// One page.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// The cursor of the next page; none when this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Takes a page's worth from entries that follow the cursor.
    pub fn take<K: std::fmt::Display>(limit: usize, mut entries: impl Iterator<Item = (K, T)>) -> Self {
        let (mut items, mut last) = (Vec::new(), None);
        for (key, item) in entries.by_ref().take(limit) {
            last = Some(key);
            items.push(item);
        }
        let more = entries.next().is_some();
        Self { items, next: last.filter(|_| more).map(|key| key.to_string()) }
    }
}
