//! The `action.yml` of an action that is made of steps.

use super::scopes::{ACTION_INPUT, ACTION_OUTPUT};
use super::step::STEPS;
use super::{ANY, BOOLEAN, Definition, Form, Mapping, NON_EMPTY, TEXT, may, must};

pub(crate) static ACTION: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    may("name", &TEXT),
    may("author", &TEXT),
    may("description", &TEXT),
    may("branding", &ANY),
    may("inputs", &Definition::of(&[Form::Null, Form::Map(&Mapping::loose(&NON_EMPTY, &INPUT))])),
    may("outputs", &Definition::of(&[Form::Null, Form::Map(&Mapping::loose(&NON_EMPTY, &OUTPUT))])),
    must("runs", &Definition::of(&[Form::Map(&COMPOSITE), Form::Map(&OTHER)])),
]))]);

static INPUT: Definition = Definition::of(&[
    Form::Null,
    Form::Map(&Mapping::of(&[
        may("description", &TEXT),
        may("type", &TEXT),
        may("required", &BOOLEAN),
        may("default", &Definition::within(ACTION_INPUT, &[Form::Text])),
        may("deprecationMessage", &TEXT),
    ])),
]);

static OUTPUT: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    may("description", &TEXT),
    must("value", &Definition::within(ACTION_OUTPUT, &[Form::Text])),
]))]);

static COMPOSITE: Mapping = Mapping::of(&[must("using", &NON_EMPTY), must("steps", &STEPS)]);
static OTHER: Mapping =
    Mapping { properties: &[must("using", &NON_EMPTY)], others: Some((&NON_EMPTY, &ANY)) };
