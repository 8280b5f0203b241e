//! `runs-on`. Rules: actions/languageservices `workflow-parser/src/model/converter/job/runs-on.ts`.

use super::fields::{Dynamic, Located, get, text, text_list};
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::template::{Content, Template};

/// Which machines a job may run on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunsOn {
    /// What the machine must offer, all of it.
    pub labels: Vec<Located<Dynamic<String>>>,
    /// The group of machines.
    pub group: Option<Located<Dynamic<String>>>,
}

pub(super) fn runs_on(template: &Template, c: &mut Complaints) -> RunsOn {
    if !matches!(template.content, Content::Map(_)) {
        return RunsOn { labels: text_list(template), group: None };
    }
    let group = get(template, "group").and_then(text);
    if let Some(Located { at, value: Dynamic::Is(name) }) = &group
        && let Some(why) = refused(name)
    {
        c.invalid(*at, why);
    }
    RunsOn { labels: get(template, "labels").map(text_list).unwrap_or_default(), group }
}

/// A group is a name, or `organization/name` or `enterprise/name`.
fn refused(name: &str) -> Option<String> {
    let shown = cut(name);
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [_] => None,
        ["org" | "organization" | "ent" | "enterprise", ""] => {
            Some(format!("Invalid runs-on group name '{shown}'."))
        }
        ["org" | "organization" | "ent" | "enterprise", _] => None,
        _ => Some(format!(
            "Invalid runs-on group name '{shown}. Please use 'organization/' or 'enterprise/' prefix to target a single runner group.'"
        )),
    }
}
