//! The webhook that anyone may send: `{"ref", "after", "before"?, "sender"?, "message"?, "repository"?}`, signed as Standard
//! Webhooks says.
//!
//! Its fields are ours, so one that is not known is a mistake of whoever writes it, and is refused.

use serde::Deserialize;

use crate::body::{Read, malformed, shown};
use crate::event::{Commit, Event, Person, Repository};
use crate::json::Text;
use crate::refs::{self, CommitId};
use crate::{Rejected, What};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "ref")]
    git_ref: String,
    after: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    sender: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    repository: String,
}

pub(crate) fn read(json: &[u8]) -> Result<Read, Rejected> {
    let body: Body = serde_json::from_slice(json).map_err(malformed)?;
    if !body.before.is_empty() && CommitId::read(&body.before) == CommitId::Unknown {
        let found = shown(&body.before);
        return Err(malformed(format!("before is {found:?}, expected 40 or 64 hexadecimal digits")));
    }
    let what = refs::moved(&body.git_ref, &body.before, &body.after)?.map_or_else(
        |other| other,
        |mut push| {
            push.head = Some(Commit::new(&Text::from(&*body.message), Person::default()));
            What::Event(Event::Push(push))
        },
    );
    Ok(Read {
        repository: Repository { name: Text::from(&*body.repository).into_string(), ..Repository::default() },
        sender: Person::new(&body.sender, ""),
        what: vec![what],
    })
}
