//! From the bytes of a webhook to its JSON, and what a forge's file makes of it.
//!
//! Must not know how any forge spells its events.

use std::borrow::Cow;

use crate::event::{Person, Repository};
use crate::json::{List, Object};
use crate::{Rejected, What};

/// What a forge's file read from a body.
pub(crate) struct Read {
    pub repository: Repository,
    pub sender: Person,
    /// Never empty.
    pub what: Vec<What>,
}

/// The JSON of a body that may be form-encoded, as GitHub, Gitea, Forgejo and Gogs send it when told to.
pub(crate) fn json<'a>(content_type: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Rejected> {
    const FORM: &str = "application/x-www-form-urlencoded";
    if !content_type.get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM)) {
        return Ok(Cow::Borrowed(body));
    }
    let payload = form_urlencoded::parse(body).find(|(key, _)| key == "payload");
    payload
        .map(|(_, value)| Cow::Owned(value.into_owned().into_bytes()))
        .ok_or_else(|| malformed("a form without the field payload"))
}

pub(crate) fn malformed(why: impl ToString) -> Rejected {
    Rejected::Malformed { why: why.to_string() }
}

pub(crate) fn no_run(reason: impl Into<String>) -> What {
    What::NoRun(reason.into())
}

/// The answer to an event that is neither a push nor a pull request.
pub(crate) fn not_asked_for(event: &str) -> What {
    no_run(format!("no workflow can ask for the event {event:?}: pushes and pull requests are what is read"))
}

/// The answer to an event that should carry a pull request and does not.
pub(crate) fn no_pull_request(event: &str) -> What {
    no_run(format!("the event {event:?} says nothing of the pull request that it is about"))
}

/// The refs of one push, one after the other. What one of several lacks must not cost the others; alone, it is an error of
/// the webhook.
pub(crate) fn several<T: Default>(
    refs: List<Object<T>>,
    read: impl Fn(T) -> Result<What, Rejected>,
) -> Result<Vec<What>, Rejected> {
    let mut all: Vec<_> = refs.items.into_iter().map(|one| read(one.or_empty())).collect();
    if all.len() == 1 {
        return all.remove(0).map(|what| vec![what]);
    }
    if all.is_empty() {
        return Ok(vec![no_run("the push names no ref")]);
    }
    if refs.cut {
        all.push(Ok(no_run(format!("nothing follows from the refs after the first {}", all.len()))));
    }
    Ok(all.into_iter().map(|one| one.unwrap_or_else(|why| no_run(why.to_string()))).collect())
}

/// The beginning of a text of others, for a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
