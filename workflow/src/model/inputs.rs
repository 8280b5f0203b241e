//! Inputs and secrets that a workflow takes when it is asked for or called. Rules: actions/languageservices
//! `workflow-parser/src/model/converter/workflow-dispatch.ts` and `workflow-call.ts`.

use super::fields::{Dynamic, Located, boolean, entries, get, plain, plain_list};
use crate::complaints::Complaints;
use crate::template::{Content, Template};

/// A value that a workflow takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: Located<String>,
    /// What it may be.
    pub kind: InputKind,
    /// Whether it must be given.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<Template>,
    /// What it is for.
    pub description: Option<String>,
}

/// What an input may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputKind {
    /// Text; the default.
    Text,
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// The name of an environment.
    Environment,
    /// One of these.
    Choice(Vec<String>),
}

/// A secret that a called workflow takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    /// Its name.
    pub name: Located<String>,
    /// Whether it must be given.
    pub required: bool,
}

pub(super) fn inputs(template: &Template, c: &mut Complaints) -> Vec<Input> {
    entries(template).map(|entry| input(entry.name(), entry.value, c)).collect()
}

pub(super) fn secrets(template: &Template) -> Vec<Secret> {
    entries(template).map(|entry| Secret { name: entry.name(), required: required(entry.value) }).collect()
}

fn required(template: &Template) -> bool {
    let required = get(template, "required").and_then(boolean);
    required.is_some_and(|required| required.value == Dynamic::Is(true))
}

fn input(name: Located<String>, template: &Template, c: &mut Complaints) -> Input {
    let options = get(template, "options")
        .map(|options| plain_list(options).into_iter().map(|option| option.value).collect::<Vec<_>>());
    let kind = match (get(template, "type").and_then(plain).map(|kind| kind.value).as_deref(), options) {
        (Some("choice"), options) => {
            let options = options.unwrap_or_default();
            if options.is_empty() {
                c.invalid(template.at, "Missing 'options' for choice input");
            }
            InputKind::Choice(options)
        }
        (kind, options) => {
            if options.is_some() {
                c.invalid(template.at, "Input type is not 'choice', but 'options' is defined");
            }
            match kind {
                Some("boolean") => InputKind::Boolean,
                Some("number") => InputKind::Number,
                Some("environment") => InputKind::Environment,
                _ => InputKind::Text,
            }
        }
    };
    let default = get(template, "default").cloned();
    if let Some(default) = &default {
        check_default(&kind, default, c);
    }
    let description = get(template, "description").and_then(plain).map(|text| text.value);
    Input { name, kind, required: required(template), default, description }
}

fn check_default(kind: &InputKind, default: &Template, c: &mut Complaints) {
    let expected = match kind {
        InputKind::Boolean => "BooleanToken",
        InputKind::Number => return,
        _ => "StringToken",
    };
    let found = match &default.content {
        Content::Boolean(_) => "BooleanToken",
        Content::Number(_) => "NumberToken",
        Content::Text(_) => "StringToken",
        _ => return,
    };
    if found != expected {
        let message = "encountered while reading 'input default'. The type";
        c.invalid(default.at, format!("Unexpected type '{found}' {message} '{expected}' was expected."));
    }
}
