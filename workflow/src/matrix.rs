//! `strategy.matrix`: the combinations that a job runs in. Rules: GitHub, "Running variations of jobs in a workflow".
//!
//! Must not know: where the values come from, how a job is run.

use std::sync::Arc;

use crate::expression::{Object, Value};

/// Most jobs that a matrix makes; GitHub's.
pub const MAX_COMBINATIONS: usize = 256;
/// Most combinations that are looked at before `exclude` takes some out.
const MAX_LOOKED_AT: usize = 20_000;

/// A matrix that makes no jobs that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is no map, or a vector of it no list.
    #[error("{0} must be {1}")]
    Form(String, &'static str),
    /// A vector has no values, so that there would be no job.
    #[error("Matrix vector '{0}' does not contain any values")]
    Empty(String),
    /// It makes too many.
    #[error("the matrix makes {made} jobs, the limit is {limit}")]
    Large {
        /// How many; at least.
        made: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Nothing is left of it.
    #[error("the matrix makes no job: exclude takes all of them out")]
    Nothing,
}

/// The combinations of a matrix, in order: the last vector changes first.
///
/// `exclude` takes out what has all its values. Each of `include` is added to the combinations whose own values it does
/// not change (what another `include` added, it may change); what fits nowhere is a combination by itself, to which
/// nothing is added any more.
///
/// # Errors
/// [`Invalid`].
pub fn combinations(matrix: &Value) -> Result<Vec<Arc<Object>>, Invalid> {
    let Value::Object(matrix) = matrix else {
        return Err(Invalid::Form("matrix".to_owned(), "a map"));
    };
    let mut vectors: Vec<(&str, &[Value])> = Vec::new();
    for (name, value) in matrix.iter().filter(|(name, _)| !is(name, "include") && !is(name, "exclude")) {
        let values = list(name, value)?;
        if values.is_empty() {
            return Err(Invalid::Empty(name.to_owned()));
        }
        vectors.push((name, values));
    }
    let excluded = maps("exclude", matrix)?;
    let included = maps("include", matrix)?;
    let mut made = product(&vectors)?;
    made.retain(|one| !excluded.iter().any(|exclude| has_all(one, exclude)));
    let own: Vec<&str> = vectors.iter().map(|(name, _)| *name).collect();
    let mut alone = Vec::new();
    for include in included {
        let mut fits = false;
        for one in made.iter_mut().filter(|one| keeps_own(one, include, &own)) {
            fits = true;
            *one = merged(one, include, &own);
        }
        if !fits {
            alone.push(include.clone());
        }
    }
    made.extend(alone);
    match made.len() {
        0 => Err(Invalid::Nothing),
        made if made > MAX_COMBINATIONS => Err(Invalid::Large { made, limit: MAX_COMBINATIONS }),
        _ => Ok(made.into_iter().map(Arc::new).collect()),
    }
}

fn is(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

fn list<'a>(name: &str, value: &'a Value) -> Result<&'a [Value], Invalid> {
    match value {
        Value::Array(array) => Ok(&array.items),
        _ => Err(Invalid::Form(format!("matrix.{name}"), "a list")),
    }
}

/// The maps of `include` or `exclude`.
fn maps<'a>(name: &str, matrix: &'a Object) -> Result<Vec<&'a Object>, Invalid> {
    let Some(value) = matrix.get(name) else { return Ok(Vec::new()) };
    let map = |item: &'a Value| match item {
        Value::Object(object) => Ok(object.as_ref()),
        _ => Err(Invalid::Form(format!("each of matrix.{name}"), "a map")),
    };
    list(name, value)?.iter().map(map).collect()
}

/// Every value of each vector with every value of the others; nothing when there are no vectors.
fn product(vectors: &[(&str, &[Value])]) -> Result<Vec<Object>, Invalid> {
    if vectors.is_empty() {
        return Ok(Vec::new());
    }
    let count = vectors.iter().fold(1_usize, |count, (_, values)| count.saturating_mul(values.len()));
    if count > MAX_LOOKED_AT {
        return Err(Invalid::Large { made: count, limit: MAX_COMBINATIONS });
    }
    let combination = |index: usize| {
        let mut rest = index;
        let mut picked: Vec<_> = vectors
            .iter()
            .rev()
            .map(|(name, values)| {
                let value = &values[rest % values.len()];
                rest /= values.len();
                (*name, value.clone())
            })
            .collect();
        picked.reverse();
        let mut object = Object::default();
        picked.into_iter().for_each(|(name, value)| object.insert(name, value));
        object
    };
    Ok((0..count).map(combination).collect())
}

/// True when the combination has every value that is named.
fn has_all(one: &Object, named: &Object) -> bool {
    named.iter().all(|(name, value)| one.get(name).is_some_and(|own| same(own, value)))
}

/// True when adding would change none of the values that the matrix itself gave.
fn keeps_own(one: &Object, include: &Object, own: &[&str]) -> bool {
    let mut named = include.iter().filter(|(name, _)| own.iter().any(|own| is(own, name)));
    named.all(|(name, value)| one.get(name).is_some_and(|own| same(own, value)))
}

fn merged(one: &Object, include: &Object, own: &[&str]) -> Object {
    let mut merged = Object::default();
    for (name, value) in one.iter() {
        let added = include.get(name).filter(|_| !own.iter().any(|own| is(own, name)));
        merged.insert(name, added.unwrap_or(value).clone());
    }
    include.iter().for_each(|(name, value)| merged.insert(name, value.clone()));
    merged
}

/// Values are the same as `==` has it; lists and maps, when all in them is.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && has_all(a, b),
        (a, b) => a.equals(b),
    }
}

/// What people see behind a job's name: the values of its combination, as `(ubuntu-latest, 12)`; those of lists and maps
/// one by one.
#[must_use]
pub fn shown(combination: &Object) -> String {
    fn collect(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::Array(array) => array.items.iter().for_each(|item| collect(item, texts)),
            Value::Object(object) => object.iter().for_each(|(_, value)| collect(value, texts)),
            value => texts.push(value.as_text().to_string()),
        }
    }
    let mut texts = Vec::new();
    combination.iter().for_each(|(_, value)| collect(value, &mut texts));
    texts.retain(|text| !text.is_empty());
    format!("({})", texts.join(", "))
}
