//! Inputs of workflows: what was given, checked and brought to its type. Rules: GitHub, "Providing inputs".

use domain::{Event, EventKind, limits};

use crate::contexts::payload;
use crate::diagnostic::{Diagnostic, cut, nearest};
use crate::expression::{NoEnvironment, Object, Value, to_json};
use crate::model::{Input, InputKind, Trigger, Workflow};
use crate::read;
use crate::template::Template;

/// Most bytes of all inputs together; GitHub's.
const MAX_BYTES: usize = 65_535;

/// The inputs of a run that was asked for by hand; null for other events. The error names the input and what is expected.
pub(super) fn of_event(workflow: &Workflow, event: &Event) -> Result<Value, String> {
    if event.kind != EventKind::WorkflowDispatch {
        return Ok(Value::Null);
    }
    let given = match payload(event) {
        Value::Object(payload) => payload.get("inputs").cloned().unwrap_or(Value::Null),
        _ => Value::Null,
    };
    let given = match given {
        Value::Object(given) => given,
        _ => Default::default(),
    };
    let takes = workflow.on.iter().find(|trigger| trigger.event.value == "workflow_dispatch");
    let takes = takes.map(|trigger| trigger.inputs.as_slice()).unwrap_or_default();
    checked(takes, &given, &Object::default())
}

/// A dispatch as its workflow takes it: `github.event.inputs` has all inputs, those that were not given, too, as texts. Any other event,
/// and one whose inputs are wrong, is as it was: who makes a run of it is told why.
#[must_use]
pub fn with_inputs(event: Event, workflow: &[u8]) -> Event {
    let filled = || {
        let workflow = read(workflow).0?;
        let Value::Object(inputs) = of_event(&workflow, &event).ok()? else { return None };
        let texts = inputs.iter().map(|(name, value)| (name.to_owned(), Value::text(&*value.as_text())));
        let Value::Object(payload) = payload(&event) else { return None };
        // The first of a name is kept.
        let others = payload.iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let filled = [("inputs".to_owned(), Value::object(texts))].into_iter().chain(others);
        to_json(&Value::object(filled), limits::MAX_PAYLOAD_BYTES)
    };
    match filled() {
        Some(payload) => Event { payload, ..event },
        None => event,
    }
}

/// The inputs of a called workflow.
pub(super) fn of_call(
    trigger: &Trigger,
    with: Option<&Template>,
    contexts: &Object,
) -> Result<Value, Diagnostic> {
    let at = with.map_or(trigger.event.at, |with| with.at);
    let given = match with {
        None => Value::Null,
        Some(with) => {
            with.resolve(contexts, &NoEnvironment).map_err(|(at, error)| at.invalid(error.to_string()))?
        }
    };
    let given = match given {
        Value::Object(given) => given,
        _ => Default::default(),
    };
    checked(&trigger.inputs, &given, contexts).map_err(|why| at.invalid(why))
}

fn checked(takes: &[Input], given: &Object, contexts: &Object) -> Result<Value, String> {
    let names: Vec<_> = takes.iter().map(|input| input.name.value.as_str()).collect();
    for (name, _) in given.iter() {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            let near = nearest(names.iter().copied(), name);
            let hint = near.map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
            let allowed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(format!(
                "inputs.{}: the workflow takes no such input.{hint} Allowed: {allowed}",
                cut(name)
            ));
        }
    }
    let (mut made, mut bytes) = (Object::default(), 0);
    for input in takes {
        let name = input.name.value.as_str();
        let value = match (given.get(name), &input.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(
                default
                    .resolve(contexts, &NoEnvironment)
                    .map_err(|(_, error)| format!("inputs.{name}: {error}"))?,
            ),
            (None, None) if input.required => {
                return Err(format!("inputs.{name}: it is required and not given"));
            }
            (None, None) => None,
        };
        let value = typed(&input.kind, value).map_err(|why| format!("inputs.{name}: {why}"))?;
        bytes += name.len() + value.as_text().len();
        if bytes > MAX_BYTES {
            return Err(format!("inputs: more than {MAX_BYTES} bytes in all"));
        }
        made.insert(name, value);
    }
    Ok(Value::Object(made.into()))
}

/// The value as its type has it; of one that is not given, what the type has for nothing.
fn typed(kind: &InputKind, value: Option<Value>) -> Result<Value, String> {
    let text = value.as_ref().map(|value| value.as_text().to_string());
    let shown = || cut(text.as_deref().unwrap_or_default());
    match (kind, &value) {
        (_, Some(Value::Array(_) | Value::Object(_))) => {
            Err("it is a list or a map, expected one value".to_owned())
        }
        (InputKind::Boolean, None) => Ok(Value::Boolean(false)),
        (InputKind::Boolean, Some(_)) => match text.as_deref() {
            Some("true") => Ok(Value::Boolean(true)),
            Some("false" | "") => Ok(Value::Boolean(false)),
            _ => Err(format!("it is {:?}, expected true or false", shown())),
        },
        (InputKind::Number, None) => Ok(Value::Number(0.0)),
        (InputKind::Number, Some(value)) => match value.as_number() {
            number if number.is_finite() => Ok(Value::Number(number)),
            _ => Err(format!("it is {:?}, expected a number", shown())),
        },
        (InputKind::Choice(options), None) => Ok(Value::text(options.first().map_or("", String::as_str))),
        (InputKind::Choice(options), Some(_)) => match text.as_ref().filter(|text| options.contains(text)) {
            Some(text) => Ok(Value::text(text)),
            None => Err(format!("it is {:?}, expected one of {}", shown(), options.join(", "))),
        },
        (InputKind::Text | InputKind::Environment, _) => Ok(Value::text(text.unwrap_or_default())),
    }
}
