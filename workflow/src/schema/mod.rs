//! The schema of workflow files: which keys there are, what stands at each, and what its expressions may name.
//!
//! It is data: tables of [`Definition`]s, one file for each part of a workflow, and one reader for all of them. The facts
//! are those of GitHub's documentation ("Workflow syntax", "Contexts reference", "Events that trigger workflows"), checked
//! against actions/languageservices `workflow-parser/src/workflow-v1.0.json`.
//!
//! Must not know: what is supported here, what a value means to a runner.

mod action;
mod container;
mod events;
mod job;
mod read;
mod scalar;
mod scopes;
mod step;
mod wholes;
mod workflow;

pub(crate) use action::ACTION;
pub(crate) use read::read;
pub(crate) use scalar::{explained, read_text};
pub(crate) use scopes::JOB_CONDITION;
pub(crate) use scopes::{ACTION_CONDITION, JOB_SECRETS, STEP_CONDITION, WORKFLOW_OUTPUT};

use crate::expression::Scope;

/// What may stand in one place.
pub(crate) struct Definition {
    /// What expressions here may name; none when that is as around it. Where it is empty, they are not allowed.
    pub scope: Option<Scope>,
    /// Any of these.
    pub forms: &'static [Form],
}

pub(crate) enum Form {
    Null,
    Boolean,
    Number,
    /// Text; a number, a boolean or nothing is taken as text.
    Text,
    /// Text with at least one letter.
    NonEmpty,
    /// One of these words.
    Words(&'static [&'static str]),
    List(&'static Definition),
    Map(&'static Mapping),
    /// What is read elsewhere.
    Foreign,
}

pub(crate) struct Mapping {
    pub properties: &'static [Property],
    /// What other keys, and their values, may be; none when there are no other keys.
    pub others: Option<(&'static Definition, &'static Definition)>,
}

pub(crate) struct Property {
    pub name: &'static str,
    pub definition: &'static Definition,
    pub required: bool,
}

impl Definition {
    /// In the scope around it.
    pub(crate) const fn of(forms: &'static [Form]) -> Self {
        Self { scope: None, forms }
    }

    pub(crate) const fn within(scope: Scope, forms: &'static [Form]) -> Self {
        Self { scope: Some(scope), forms }
    }
}

impl Mapping {
    pub(crate) const fn of(properties: &'static [Property]) -> Self {
        Self { properties, others: None }
    }

    /// Keys that the file chooses.
    pub(crate) const fn loose(key: &'static Definition, value: &'static Definition) -> Self {
        Self { properties: &[], others: Some((key, value)) }
    }

    pub(crate) fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name == name)
    }
}

/// A key that may be there.
pub(crate) const fn may(name: &'static str, definition: &'static Definition) -> Property {
    Property { name, definition, required: false }
}

/// A key that must be there.
pub(crate) const fn must(name: &'static str, definition: &'static Definition) -> Property {
    Property { name, definition, required: true }
}

pub(crate) static TEXT: Definition = Definition::of(&[Form::Text]);
pub(crate) static NON_EMPTY: Definition = Definition::of(&[Form::NonEmpty]);
pub(crate) static BOOLEAN: Definition = Definition::of(&[Form::Boolean]);
pub(crate) static NUMBER: Definition = Definition::of(&[Form::Number]);
/// One text, or a list of them.
pub(crate) static NON_EMPTY_ONE_OR_MORE: Definition =
    Definition::of(&[Form::List(&NON_EMPTY), Form::NonEmpty]);
pub(crate) static NON_EMPTY_LIST: Definition = Definition::of(&[Form::List(&NON_EMPTY)]);
pub(crate) static TEXT_LIST: Definition = Definition::of(&[Form::List(&TEXT)]);
/// Whatever YAML can say.
pub(crate) static ANY: Definition = Definition::of(&[
    Form::Null,
    Form::Boolean,
    Form::Number,
    Form::Text,
    Form::List(&ANY),
    Form::Map(&ANY_MAP),
]);
static ANY_MAP: Mapping = Mapping::loose(&TEXT, &ANY);
pub(crate) static ANY_LIST: Definition = Definition::of(&[Form::List(&ANY)]);
pub(crate) use wholes::{Whole, wholes};
/// The file itself.
pub(crate) use workflow::WORKFLOW;

#[cfg(test)]
mod tests;
