//! Steps of a job. Those that run in the background, wait and are parallel came in 2026.

use super::scopes::{STEP, STEP_CONDITION};
use super::{BOOLEAN, Definition, Form, Mapping, NON_EMPTY, NON_EMPTY_ONE_OR_MORE, TEXT, may, must};

pub(crate) static STEPS: Definition = Definition::of(&[Form::List(&ITEM)]);

static ITEM: Definition = Definition::of(&[
    Form::Map(&RUN),
    Form::Map(&USES),
    Form::Map(&WAIT),
    Form::Map(&WAIT_ALL),
    Form::Map(&CANCEL),
    Form::Map(&PARALLEL),
]);

static NAME: Definition = Definition::within(STEP, &[Form::Text]);
static IN_STEP: Definition = Definition::within(STEP, &[Form::Text]);
static CONDITION: Definition = Definition::within(STEP_CONDITION, &[Form::Text]);
static CONTINUE: Definition = Definition::within(STEP, &[Form::Boolean]);
static TIMEOUT: Definition = Definition::within(STEP, &[Form::Number]);
static TEXTS: Definition = Definition::within(STEP, &[Form::Map(&Mapping::loose(&NON_EMPTY, &TEXT))]);

static RUN: Mapping = Mapping::of(&[
    may("name", &NAME),
    may("id", &NON_EMPTY),
    may("if", &CONDITION),
    may("timeout-minutes", &TIMEOUT),
    must("run", &IN_STEP),
    may("continue-on-error", &CONTINUE),
    may("env", &TEXTS),
    may("working-directory", &IN_STEP),
    may("shell", &NON_EMPTY),
    may("background", &BOOLEAN),
]);

static USES: Mapping = Mapping::of(&[
    may("name", &NAME),
    may("id", &NON_EMPTY),
    may("if", &CONDITION),
    may("continue-on-error", &CONTINUE),
    may("timeout-minutes", &TIMEOUT),
    must("uses", &NON_EMPTY),
    may("with", &TEXTS),
    may("env", &TEXTS),
    may("background", &BOOLEAN),
]);

static WAIT: Mapping = Mapping::of(&[
    may("name", &NAME),
    may("id", &NON_EMPTY),
    may("continue-on-error", &CONTINUE),
    must("wait", &NON_EMPTY_ONE_OR_MORE),
]);

static WAIT_ALL: Mapping = Mapping::of(&[
    may("name", &NAME),
    may("id", &NON_EMPTY),
    may("continue-on-error", &CONTINUE),
    must("wait-all", &Definition::of(&[Form::Null, Form::Boolean])),
]);

static CANCEL: Mapping = Mapping::of(&[
    may("name", &NAME),
    may("id", &NON_EMPTY),
    may("continue-on-error", &CONTINUE),
    must("cancel", &NON_EMPTY),
]);

static PARALLEL: Mapping = Mapping::of(&[must("parallel", &STEPS)]);
