//! Containers: a job's own and its services.

use super::scopes::{CREDENTIALS, JOB, RUNNER};
use super::{Definition, Form, Mapping, NON_EMPTY, NON_EMPTY_LIST, Property, TEXT, may};

pub(crate) static CONTAINER: Definition =
    Definition::within(JOB, &[Form::Text, Form::Map(&Mapping::of(&KEYS))]);

pub(crate) static SERVICES: Definition =
    Definition::within(JOB, &[Form::Map(&Mapping::loose(&NON_EMPTY, &SERVICE))]);

static SERVICE: Definition = Definition::of(&[
    Form::NonEmpty,
    Form::Map(&Mapping::of(&[
        may("image", &NON_EMPTY),
        may("options", &TEXT),
        may("env", &ENV),
        may("ports", &NON_EMPTY_LIST),
        may("volumes", &NON_EMPTY_LIST),
        may("credentials", &LOGIN),
        may("entrypoint", &TEXT),
        may("command", &TEXT),
    ])),
]);

static KEYS: [Property; 6] = [
    may("image", &NON_EMPTY),
    may("options", &TEXT),
    may("env", &ENV),
    may("ports", &NON_EMPTY_LIST),
    may("volumes", &NON_EMPTY_LIST),
    may("credentials", &LOGIN),
];

static ENV: Definition =
    Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &Definition::within(RUNNER, &[Form::Text])))]);

static LOGIN: Definition = Definition::within(
    CREDENTIALS,
    &[Form::Map(&Mapping::of(&[may("username", &NON_EMPTY), may("password", &NON_EMPTY)]))],
);
