//! `environment` of a job: where it deploys to.

use super::fields::{Dynamic, Located, boolean, get, text};
use crate::template::Template;

/// What a job deploys to.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The environment's name.
    pub name: Located<Dynamic<String>>,
    /// Where it can be looked at.
    pub url: Option<Located<Dynamic<String>>>,
    /// False when no deployment is to be recorded.
    pub deployment: Option<Located<Dynamic<bool>>>,
}

pub(super) fn deployment(template: &Template) -> Option<Deployment> {
    if let Some(name) = text(template) {
        return Some(Deployment { name, url: None, deployment: None });
    }
    Some(Deployment {
        name: text(get(template, "name")?)?,
        url: get(template, "url").and_then(text),
        deployment: get(template, "deployment").and_then(boolean),
    })
}
