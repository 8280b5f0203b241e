//! `strategy`: a job in many variants.

use super::fields::{Dynamic, Located, boolean, get, number};
use crate::complaints::Complaints;
use crate::diagnostic::cut;
use crate::template::{Content, Template};

/// How a job is made many.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    /// `matrix`: a map, or the expression that gives one.
    pub matrix: Option<Template>,
    /// Whether one that fails cancels the others; true when it is not said.
    pub fail_fast: Option<Located<Dynamic<bool>>>,
    /// How many run at once.
    pub max_parallel: Option<Located<Dynamic<f64>>>,
    /// All of it, where it is computed as a whole or has keys that are computed.
    pub whole: Option<Template>,
}

pub(super) fn strategy(template: &Template, c: &mut Complaints) -> Strategy {
    let matrix = get(template, "matrix");
    if let Some(Template { content: Content::Map(vectors), .. }) = matrix {
        for (key, value) in vectors {
            let name = key.text().filter(|name| name != "include" && name != "exclude");
            if let (Some(name), Content::List(items)) = (name, &value.content)
                && items.is_empty()
            {
                c.invalid(value.at, format!("Matrix vector '{}' does not contain any values", cut(&name)));
            }
        }
    }
    let has_computed_keys = match &template.content {
        Content::Map(entries) => entries.iter().any(|(key, _)| key.is_dynamic()),
        content => matches!(content, Content::Expression(_)),
    };
    Strategy {
        whole: has_computed_keys.then(|| template.clone()),
        matrix: matrix.cloned(),
        fail_fast: get(template, "fail-fast").and_then(boolean),
        max_parallel: get(template, "max-parallel").and_then(number),
    }
}
