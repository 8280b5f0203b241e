//! Lists that come in pages, fetched by cursor until there are as many entries as were asked for.
//!
//! Must not know what is listed.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Client, Failure, table};
use crate::api::page::Page;

/// Entries of one page at most, as the API allows.
const PAGE: u32 = 500;

/// How many entries are wanted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Limit {
    /// Entries at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// The first entries of a list that pass the filters: `{"items": [...], "next": cursor or null}`.
///
/// # Errors
/// [`Failure`].
pub async fn fetch(
    client: &Client,
    path: &str,
    filters: &[(&str, Option<&str>)],
    Limit { limit }: Limit,
) -> Result<Value, Failure> {
    let mut items = Vec::<Value>::new();
    let mut next = None::<String>;
    loop {
        let wanted = (limit - items.len() as u32).min(PAGE).to_string();
        let mut query = vec![("limit", wanted.as_str())];
        query.extend(filters.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
        query.extend(next.as_deref().map(|cursor| ("cursor", cursor)));
        let answer = client.send(Method::GET, path, |request| request.query(&query)).await?;
        let page: Page<Value> = client.read(answer).await?;
        let empty = page.items.is_empty();
        items.extend(page.items);
        items.truncate(limit as usize);
        next = page.next;
        if next.is_none() || empty || items.len() >= limit as usize {
            return Ok(json!({ "items": items, "next": next }));
        }
    }
}

/// What a list shows of each entry.
pub struct Show<'a, T> {
    /// What the entries are, as in "no runs".
    pub noun: &'a str,
    /// Headings.
    pub columns: &'a [&'a str],
    /// An entry's cells.
    pub row: &'a dyn Fn(T) -> Vec<String>,
}

impl<T: DeserializeOwned> Show<'_, T> {
    /// Shows a list, and says beside it when there is none, or more.
    ///
    /// # Errors
    /// [`Failure::Output`], or [`Failure::BadAnswer`].
    pub fn list(&self, client: &Client, list: Value, json: bool) -> Result<(), Failure> {
        if json {
            table::pretty(&list)?;
        }
        let more = !list["next"].is_null();
        let count = list["items"].as_array().map_or(0, Vec::len);
        if !json {
            let page: Page<T> =
                serde_json::from_value(list).map_err(|error| client.bad(error.to_string()))?;
            if page.items.is_empty() {
                table::say(&format!("no {}", self.noun));
            } else {
                table::table(self.columns, page.items.into_iter().map(self.row))?;
            }
        }
        if more {
            table::say(&format!("there are more than these {count}; --limit N shows N"));
        }
        Ok(())
    }
}
