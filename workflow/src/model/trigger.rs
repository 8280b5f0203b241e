//! `on`: what starts a workflow. Rules: actions/languageservices `workflow-parser/src/model/converter/events.ts`.

use chrono_tz::Tz;

use super::cron::cron;
use super::fields::{Located, entries, get, keys, plain, plain_list};
use super::inputs::{Input, Secret, inputs, secrets};
use crate::complaints::Complaints;
use crate::diagnostic::{cut, nearest};
use crate::template::{Content, Template};

/// An event that starts a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The event's name, as `push`.
    pub event: Located<String>,
    /// Kinds of it, as `opened`; empty for the usual ones.
    pub types: Vec<Located<String>>,
    /// Branches.
    pub branches: Patterns,
    /// Tags.
    pub tags: Patterns,
    /// Files that changed.
    pub paths: Patterns,
    /// Names of workflows, of `workflow_run`.
    pub workflows: Vec<Located<String>>,
    /// Times, of `schedule`.
    pub schedules: Vec<Schedule>,
    /// Inputs, of `workflow_dispatch` and `workflow_call`.
    pub inputs: Vec<Input>,
    /// Secrets, of `workflow_call`.
    pub secrets: Vec<Secret>,
    /// Outputs, of `workflow_call`.
    pub outputs: Option<Template>,
    /// The keys that are there, with their places.
    pub keys: Vec<Located<String>>,
}

/// A filter in its two forms; none where the key is not there. [`crate::Filter`] reads the patterns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patterns {
    /// Only these.
    pub only: Option<Vec<Located<String>>>,
    /// All but these.
    pub ignored: Option<Vec<Located<String>>>,
}

/// A time at which a workflow runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Minute, hour, day, month, weekday.
    pub cron: Located<String>,
    /// The zone it is meant in; UTC when it is not said.
    pub timezone: Option<Located<String>>,
}

pub(super) fn triggers(template: &Template, c: &mut Complaints) -> Vec<Trigger> {
    match &template.content {
        Content::Map(_) => entries(template).map(|entry| trigger(entry.name(), entry.value, c)).collect(),
        _ => {
            let nothing = Template { at: template.at, content: Content::Null };
            plain_list(template).into_iter().map(|event| trigger(event, &nothing, c)).collect()
        }
    }
}

fn trigger(event: Located<String>, template: &Template, c: &mut Complaints) -> Trigger {
    let list = |key: &str| get(template, key).map(plain_list);
    let patterns = |key: &str| Patterns { only: list(key), ignored: list(&format!("{key}-ignore")) };
    Trigger {
        types: list("types").unwrap_or_default(),
        branches: patterns("branches"),
        tags: patterns("tags"),
        paths: patterns("paths"),
        workflows: list("workflows").unwrap_or_default(),
        schedules: if event.value == "schedule" { schedules(template, c) } else { Vec::new() },
        inputs: get(template, "inputs").map(|node| inputs(node, c)).unwrap_or_default(),
        secrets: get(template, "secrets").map(secrets).unwrap_or_default(),
        outputs: get(template, "outputs").cloned(),
        keys: keys(template),
        event,
    }
}

fn schedules(template: &Template, c: &mut Complaints) -> Vec<Schedule> {
    let Content::List(items) = &template.content else { return Vec::new() };
    let mut read = Vec::new();
    for item in items {
        let Some(times) = get(item, "cron").and_then(plain) else { continue };
        if cron(&times.value).is_none() {
            let message =
                "Invalid cron expression. Expected format: '* * * * *' (minute hour day month weekday)";
            c.invalid(times.at, message);
        }
        let timezone = get(item, "timezone").and_then(plain);
        if let Some(zone) = timezone.as_ref().filter(|zone| zone.value.parse::<Tz>().is_err()) {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let near = nearest(names, &zone.value).map(|near| format!(" Did you mean {near:?}?"));
            let (shown, near) = (cut(&zone.value), near.unwrap_or_default());
            let expected = "expected a name of the IANA database, as Europe/Berlin";
            c.invalid(zone.at, format!("the timezone {shown:?} is not known, {expected}.{near}"));
        }
        read.push(Schedule { cron: times, timezone });
    }
    read
}
