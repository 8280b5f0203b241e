//! `on`: the events that start a workflow, and what each may be asked for. Rules: GitHub, "Events that trigger workflows".

use super::scopes::{RUN_NAME, WORKFLOW_OUTPUT};
use super::{
    BOOLEAN, Definition, Form, Mapping, NON_EMPTY, NON_EMPTY_LIST, NON_EMPTY_ONE_OR_MORE, Property, TEXT,
    TEXT_LIST, may, must,
};

pub(crate) static ON: Definition =
    Definition::of(&[Form::Words(&NAMES), Form::List(&NAME), Form::Map(&Mapping::of(&EVENTS))]);
static NAME: Definition = Definition::of(&[Form::Words(&NAMES)]);

/// The names of all events.
static NAMES: [&str; EVENTS.len()] = {
    let mut names = [""; EVENTS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = EVENTS[i].name;
        i += 1;
    }
    names
};

/// An event without anything to ask for.
static NOTHING: Definition = Definition::of(&[Form::Null]);

/// An event that may be nothing, or a map with these keys.
macro_rules! event {
    ($($key:expr),* $(,)?) => {{
        static KEYS: Mapping = Mapping::of(&[$($key),*]);
        static EVENT: Definition = Definition::of(&[Form::Null, Form::Map(&KEYS)]);
        &EVENT
    }};
}

/// `types`: one of these words, or a list of them.
macro_rules! types {
    ($($word:literal)*) => {{
        static WORD: Definition = Definition::of(&[Form::Words(&[$($word),*])]);
        static TYPES: Definition = Definition::of(&[Form::Words(&[$($word),*]), Form::List(&WORD)]);
        may("types", &TYPES)
    }};
}

/// A filter: one pattern, or a list of them.
const fn filter(name: &'static str) -> Property {
    may(name, &NON_EMPTY_ONE_OR_MORE)
}

const EVENTS: [Property; 37] = [
    may("branch_protection_rule", event!(types!("created" "edited" "deleted"))),
    may("check_run", event!(types!("completed" "created" "rerequested" "requested_action"))),
    may("check_suite", event!(types!("completed"))),
    may("create", &NOTHING),
    may("delete", &NOTHING),
    may("deployment", &NOTHING),
    may("deployment_status", &NOTHING),
    may(
        "discussion",
        event!(types!("created" "edited" "deleted" "transferred" "pinned" "unpinned" "labeled" "unlabeled"
        "locked" "unlocked" "category_changed" "answered" "unanswered")),
    ),
    may("discussion_comment", event!(types!("created" "edited" "deleted"))),
    may("fork", &NOTHING),
    may("gollum", &NOTHING),
    may("image_version", event!(types!("created" "ready" "deleted"), filter("names"), filter("versions"))),
    may("issue_comment", event!(types!("created" "edited" "deleted"))),
    may(
        "issues",
        event!(types!("opened" "edited" "deleted" "transferred" "pinned" "unpinned" "closed" "reopened"
        "assigned" "unassigned" "labeled" "unlabeled" "locked" "unlocked" "milestoned" "demilestoned" "field_added"
        "field_removed" "typed" "untyped")),
    ),
    may("label", event!(types!("created" "edited" "deleted"))),
    may("merge_group", event!(types!("checks_requested"), filter("branches"), filter("branches-ignore"))),
    may("milestone", event!(types!("created" "closed" "opened" "edited" "deleted"))),
    may("page_build", &NOTHING),
    may("project", event!(types!("created" "closed" "reopened" "edited" "deleted"))),
    may("project_card", event!(types!("created" "moved" "converted" "edited" "deleted"))),
    may("project_column", event!(types!("created" "updated" "moved" "deleted"))),
    may("public", &NOTHING),
    may("pull_request", &PULL_REQUEST),
    may("pull_request_comment", event!(types!("created" "edited" "deleted"))),
    may("pull_request_review", event!(types!("submitted" "edited" "dismissed"))),
    may("pull_request_review_comment", event!(types!("created" "edited" "deleted"))),
    may("pull_request_target", &PULL_REQUEST),
    may(
        "push",
        event!(
            filter("branches"),
            filter("branches-ignore"),
            filter("tags"),
            filter("tags-ignore"),
            filter("paths"),
            filter("paths-ignore")
        ),
    ),
    may("registry_package", event!(types!("published" "updated"))),
    may(
        "release",
        event!(types!("published" "unpublished" "created" "edited" "deleted" "prereleased" "released")),
    ),
    may("repository_dispatch", event!(may("types", &NON_EMPTY_LIST))),
    may("schedule", &SCHEDULE),
    may("status", &NOTHING),
    may("watch", event!(types!("started"))),
    may("workflow_call", &WORKFLOW_CALL),
    may("workflow_dispatch", &WORKFLOW_DISPATCH),
    may(
        "workflow_run",
        event!(
            types!("requested" "completed" "in_progress"),
            filter("workflows"),
            filter("branches"),
            filter("branches-ignore")
        ),
    ),
];

static PULL_REQUEST: Definition = Definition::of(&[
    Form::Null,
    Form::Map(&Mapping::of(&[
        types!("assigned" "unassigned" "labeled" "unlabeled" "opened" "edited" "closed" "reopened" "synchronize"
            "converted_to_draft" "locked" "unlocked" "enqueued" "dequeued" "milestoned" "demilestoned"
            "ready_for_review" "review_requested" "review_request_removed" "auto_merge_enabled"
            "auto_merge_disabled" "stacked"),
        filter("branches"),
        filter("branches-ignore"),
        filter("paths"),
        filter("paths-ignore"),
    ])),
]);

static SCHEDULE: Definition = Definition::of(&[Form::List(&Definition::of(&[Form::Map(&Mapping::of(&[
    must("cron", &NON_EMPTY),
    may("timezone", &NON_EMPTY),
]))]))]);

static INPUT_DEFAULT: [Form; 3] = [Form::Text, Form::Boolean, Form::Number];

static WORKFLOW_CALL: Definition = Definition::of(&[
    Form::Null,
    Form::Map(&Mapping::of(&[
        may("inputs", &Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &CALL_INPUT))])),
        may("secrets", &Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &CALL_SECRET))])),
        may("outputs", &Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &CALL_OUTPUT))])),
    ])),
]);

static CALL_INPUT: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    may("description", &TEXT),
    must("type", &Definition::of(&[Form::Words(&["string", "boolean", "number"])])),
    may("required", &BOOLEAN),
    may("default", &Definition::within(RUN_NAME, &INPUT_DEFAULT)),
]))]);

static CALL_SECRET: Definition = Definition::of(&[
    Form::Null,
    Form::Map(&Mapping::of(&[may("description", &TEXT), may("required", &BOOLEAN)])),
]);

static CALL_OUTPUT: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    may("description", &TEXT),
    must("value", &Definition::within(WORKFLOW_OUTPUT, &[Form::Text])),
]))]);

static WORKFLOW_DISPATCH: Definition = Definition::of(&[
    Form::Null,
    Form::Map(&Mapping::of(&[may(
        "inputs",
        &Definition::of(&[Form::Map(&Mapping::loose(&NON_EMPTY, &DISPATCH_INPUT))]),
    )])),
]);

static DISPATCH_INPUT: Definition = Definition::of(&[Form::Map(&Mapping::of(&[
    may("description", &TEXT),
    may("type", &Definition::of(&[Form::Words(&["string", "boolean", "number", "environment", "choice"])])),
    may("required", &BOOLEAN),
    may("default", &Definition::of(&INPUT_DEFAULT)),
    may("options", &TEXT_LIST),
]))]);
