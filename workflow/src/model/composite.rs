//! An action of the repository that is made of steps: its `action.yml`. Rules: GitHub, "Metadata syntax".

use domain::Variables;

use super::fields::{entries, get, plain};
use super::step::{Step, steps};
use crate::compile::{computed, variables};
use crate::complaints::Complaints;
use crate::schema;
use crate::template::{Content, Template};
use crate::yaml;

/// An action made of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    /// What it takes.
    pub inputs: Vec<ActionInput>,
    /// What it tells, as text.
    pub outputs: Variables,
    /// In order.
    pub steps: Vec<Step>,
}

/// What an action takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionInput {
    /// Its name.
    pub name: String,
    /// What it is when it is not given.
    pub default: Option<String>,
}

/// Reads an `action.yml`; what is wrong with it beside.
pub(crate) fn composite(bytes: &[u8]) -> (Option<Composite>, Complaints) {
    let mut c = Complaints::default();
    let node = match yaml::parse(bytes) {
        Ok(node) => node,
        Err(error) => {
            c.add(error);
            return (None, c);
        }
    };
    let mut of_form = Complaints::default();
    let template = schema::read(&node, &schema::ACTION, &mut of_form);
    let Some(runs) = get(&template, "runs") else { return (None, of_form) };
    let using = get(runs, "using").and_then(plain);
    if let Some(using) = using.filter(|using| using.value != "composite") {
        let found = crate::diagnostic::cut(&using.value);
        c.unsupported(using.at, format!("actions that run {found:?} are not supported. Allowed: composite"));
        return (None, c);
    }
    // Only of one that is made of steps the form is known.
    c = of_form;
    computed(&template, &schema::ACTION, &mut c);
    let read =
        get(runs, "steps").map(|node| steps(node, &schema::ACTION_CONDITION, &mut c)).unwrap_or_default();
    for step in &read {
        if let super::step::Action::Run { shell: None, .. } = step.action {
            c.invalid(step.at, "Required property is missing: shell");
        }
    }
    let outputs = get(&template, "outputs").map(outputs).unwrap_or_default();
    (
        Some(Composite {
            inputs: get(&template, "inputs").map(inputs).unwrap_or_default(),
            outputs,
            steps: read,
        }),
        c,
    )
}

fn inputs(template: &Template) -> Vec<ActionInput> {
    let input = |entry: super::fields::Entry<'_>| {
        let single = |node: &Template| {
            let entry = (Template { at: node.at, content: Content::Text("x".to_owned()) }, node.clone());
            let map = Template { at: node.at, content: Content::Map(vec![entry]) };
            variables(Some(&map)).pop().map(|(_, value)| value)
        };
        ActionInput { name: entry.key.to_owned(), default: get(entry.value, "default").and_then(single) }
    };
    entries(template).map(input).collect()
}

fn outputs(template: &Template) -> Variables {
    let output = |entry: super::fields::Entry<'_>| {
        let value = get(entry.value, "value")?;
        let key = Template { at: value.at, content: Content::Text(entry.key.to_owned()) };
        let map = Template { at: value.at, content: Content::Map(vec![(key, value.clone())]) };
        variables(Some(&map)).pop()
    };
    entries(template).filter_map(output).collect()
}
