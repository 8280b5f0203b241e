//! The `action.yml` of an action that is made of steps. Rules: GitHub, "Metadata syntax"; actions/runner `action_yaml.json`, by which
//! GitHub itself reads it: other keys may stand at its top and in an input.

use super::scopes::{ACTION_CONDITION, ACTION_INPUT, ACTION_OUTPUT, ACTION_STEP};
use super::{ANY, Definition, Form, Mapping, NON_EMPTY, Property, TEXT, may, must};

pub(crate) static ACTION: Definition = Definition::of(&[Form::Map(&Mapping {
    properties: &[
        may("name", &TEXT),
        may("description", &TEXT),
        may("inputs", &Definition::of(&[Form::Null, Form::Map(&Mapping::loose(&NON_EMPTY, &INPUT))])),
        may("outputs", &Definition::of(&[Form::Null, Form::Map(&Mapping::loose(&NON_EMPTY, &OUTPUT))])),
        must("runs", &Definition::of(&[Form::Map(&COMPOSITE), Form::Map(&OTHER)])),
    ],
    others: Some((&NON_EMPTY, &ANY)),
})]);

static INPUT: Definition = Definition::of(&[
    Form::Null,
    Form::Map(&Mapping {
        properties: &[may("default", &Definition::within(ACTION_INPUT, &[Form::Text]))],
        others: Some((&NON_EMPTY, &ANY)),
    }),
]);

static OUTPUT: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    may("description", &TEXT),
    must("value", &Definition::within(ACTION_OUTPUT, &[Form::Text])),
]))]);

static COMPOSITE: Mapping = Mapping::of(&[must("using", &NON_EMPTY), must("steps", &STEPS)]);
static OTHER: Mapping =
    Mapping { properties: &[must("using", &NON_EMPTY)], others: Some((&NON_EMPTY, &ANY)) };

static STEPS: Definition =
    Definition::of(&[Form::List(&Definition::of(&[Form::Map(&RUN), Form::Map(&USES)]))]);
static IN_STEP: Definition = Definition::within(ACTION_STEP, &[Form::Text]);
static TEXTS: Definition = Definition::within(ACTION_STEP, &[Form::Map(&Mapping::loose(&NON_EMPTY, &TEXT))]);

const NAME: Property = may("name", &IN_STEP);
const ID: Property = may("id", &NON_EMPTY);
const IF: Property = may("if", &Definition::within(ACTION_CONDITION, &[Form::Text]));
const CONTINUE: Property = may("continue-on-error", &Definition::within(ACTION_STEP, &[Form::Boolean]));
const ENV: Property = may("env", &TEXTS);

static RUN: Mapping = Mapping::of(&[
    NAME,
    ID,
    IF,
    must("run", &IN_STEP),
    ENV,
    CONTINUE,
    may("working-directory", &IN_STEP),
    may("shell", &IN_STEP),
]);

static USES: Mapping =
    Mapping::of(&[NAME, ID, IF, must("uses", &NON_EMPTY), CONTINUE, may("with", &TEXTS), ENV]);
