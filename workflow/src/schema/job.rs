//! Jobs: those with steps, and those that call another workflow.

use super::container::{CONTAINER, SERVICES};
use super::scopes::{
    JOB as IN_JOB, JOB_CONDITION, JOB_DEFAULTS, JOB_SECRETS, NEEDS as AFTER_NEEDS, RUNNER, RUNNER_NO_SECRETS,
};
use super::step::STEPS;
use super::workflow::{CONCURRENCY, DEFAULTS_RUN, PERMISSIONS};
use super::{
    ANY, ANY_LIST, BOOLEAN, Definition, Form, Mapping, NON_EMPTY, NON_EMPTY_ONE_OR_MORE, NUMBER, Property,
    TEXT, may, must,
};

/// Troupe's own key of a job.
pub(crate) const EXTENSION: &str = "x-troupe";

pub(crate) static JOB: Definition = Definition::of(&[Form::Map(&WITH_STEPS), Form::Map(&CALL)]);

static WITH_STEPS: Mapping = Mapping::of(&[
    may("needs", &NON_EMPTY_ONE_OR_MORE),
    may("if", &CONDITION),
    may("strategy", &STRATEGY),
    may("name", &NAME),
    must("runs-on", &RUNS_ON),
    may("timeout-minutes", &MINUTES),
    may("cancel-timeout-minutes", &MINUTES),
    may("continue-on-error", &Definition::within(IN_JOB, &[Form::Boolean])),
    may("container", &CONTAINER),
    may("services", &SERVICES),
    may("env", &Definition::within(JOB_SECRETS, &[Form::Map(&Mapping::loose(&NON_EMPTY, &TEXT))])),
    may("environment", &ENVIRONMENT),
    may("permissions", &PERMISSIONS),
    may("concurrency", &JOB_CONCURRENCY),
    may("outputs", &OUTPUTS),
    may("defaults", &DEFAULTS),
    may("steps", &STEPS),
    may("snapshot", &SNAPSHOT),
    may(EXTENSION, &Definition::of(&[Form::Foreign])),
]);

static CALL: Mapping = Mapping::of(&[
    may("name", &NAME),
    must("uses", &NON_EMPTY),
    may("with", &Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &INPUT))])),
    may("secrets", &SECRETS),
    may("needs", &NON_EMPTY_ONE_OR_MORE),
    may("if", &CONDITION),
    may("permissions", &PERMISSIONS),
    may("concurrency", &JOB_CONCURRENCY),
    may("strategy", &STRATEGY),
]);

static CONDITION: Definition = Definition::within(JOB_CONDITION, &[Form::Text]);
static NAME: Definition = Definition::within(IN_JOB, &[Form::Text]);
static MINUTES: Definition = Definition::within(IN_JOB, &[Form::Number]);
static JOB_CONCURRENCY: Definition = Definition::within(IN_JOB, &[Form::NonEmpty, Form::Map(&CONCURRENCY)]);

static INPUT: Definition = Definition::within(IN_JOB, &[Form::Text, Form::Boolean, Form::Number]);
static SECRET: Definition = Definition::within(JOB_SECRETS, &[Form::Text, Form::Boolean, Form::Number]);
static SECRETS: Definition =
    Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &SECRET)), Form::Words(&["inherit"])]);

static RUNS_ON: Definition = Definition::within(
    IN_JOB,
    &[
        Form::NonEmpty,
        Form::List(&NON_EMPTY),
        Form::Map(&Mapping::of(&[may("group", &NON_EMPTY), may("labels", &NON_EMPTY_ONE_OR_MORE)])),
    ],
);

pub(super) static STRATEGY: Definition = Definition::within(
    AFTER_NEEDS,
    &[Form::Map(&Mapping::of(&[
        may("fail-fast", &BOOLEAN),
        may("max-parallel", &NUMBER),
        may("matrix", &Definition::of(&[Form::Map(&MATRIX)])),
    ]))],
);

static MATRIX: Mapping = Mapping { properties: &MATRIX_KEYS, others: Some((&NON_EMPTY, &ANY_LIST)) };
static MATRIX_KEYS: [Property; 2] = [may("include", &COMBINATIONS), may("exclude", &COMBINATIONS)];
static COMBINATIONS: Definition = Definition::of(&[Form::List(&COMBINATION)]);
static COMBINATION: Definition = Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &ANY))]);

static ENVIRONMENT: Definition = Definition::within(
    IN_JOB,
    &[
        Form::Text,
        Form::Map(&Mapping::of(&[
            must("name", &TEXT),
            may("url", &Definition::within(RUNNER_NO_SECRETS, &[Form::Text])),
            may("deployment", &BOOLEAN),
        ])),
    ],
);

static OUTPUTS: Definition =
    Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &Definition::within(RUNNER, &[Form::Text])))]);

static DEFAULTS: Definition = Definition::of(&[Form::Map(&Mapping::of(&[may(
    "run",
    &Definition::within(JOB_DEFAULTS, &[Form::Map(&DEFAULTS_RUN)]),
)]))]);

static SNAPSHOT: Definition = Definition::of(&[
    Form::NonEmpty,
    Form::Map(&Mapping::of(&[
        must("image-name", &NON_EMPTY),
        may("if", &Definition::within(IN_JOB, &[Form::Text])),
        may("version", &NON_EMPTY),
    ])),
]);
