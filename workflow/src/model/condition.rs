//! `if` of a job or a step. Rules: GitHub, "Using conditions"; actions/languageservices
//! `workflow-parser/src/model/converter/if-condition.ts`.

use crate::complaints::Complaints;
use crate::diagnostic::At;
use crate::expression::{Expression, Scope};
use crate::schema::explained;
use crate::template::{Content, Template};

/// When a job or a step runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Where it stands; the beginning of the file for one that is left out.
    pub at: At,
    /// What is to be true. It always asks how it went so far: `success() && ( )` was put around what did not.
    pub expression: Expression,
    /// As the file says it, without `${{ }}`.
    pub written: String,
}

/// The condition of what has none: `success()`.
pub(super) fn without(scope: &Scope) -> Option<Condition> {
    let expression = Expression::parse(SUCCESS, scope).ok()?;
    Some(Condition { at: At::START, expression, written: SUCCESS.to_owned() })
}

const SUCCESS: &str = "success()";

pub(super) fn condition(template: &Template, scope: &Scope, c: &mut Complaints) -> Option<Condition> {
    let written = match &template.content {
        Content::Expression(expression) => expression.text().to_owned(),
        _ => template.text()?.trim().to_owned(),
    };
    let parsed = match written.as_str() {
        "" => Expression::parse(SUCCESS, scope),
        written => Expression::parse(written, scope).and_then(|expression| {
            if expression.asks_for_status() {
                return Ok(expression);
            }
            Expression::parse(&format!("{SUCCESS} && ({written})"), scope)
        }),
    };
    match parsed {
        Ok(expression) => Some(Condition { at: template.at, expression, written }),
        Err(error) => {
            c.invalid(template.at, explained(&error, scope));
            None
        }
    }
}
