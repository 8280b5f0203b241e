//! Calls of other workflows: whether the called one takes what it is given. Rules: actions/languageservices
//! `workflow-parser/src/model/converter/referencedWorkflow.ts`, `job/inputs.ts` and `job/secrets.ts`.
//!
//! Must not know: where the called files come from; [`Files`] does.

use std::collections::HashSet;

use super::fields::{Dynamic, entries};
use super::job::{Call, Job, Secrets, Work};
use super::permissions::{Level, Permissions};
use super::workflow::Workflow;
use crate::complaints::Complaints;
use crate::diagnostic::{Diagnostic, Kind, cut};
use crate::library::{Library, Used};

/// Where the files of called workflows and of actions come from.
pub trait Files {
    /// The file that `uses` of a job names, or one of the repository by its path, which then begins with `./`; none when there
    /// is none, or it is too large.
    fn file(&self, uses: &str) -> Option<Vec<u8>>;
}

/// Deepest nesting of workflows, the first included; GitHub's.
const MAX_LEVELS: usize = 10;
/// Most files that are called, those within called workflows included; GitHub's.
const MAX_FILES: usize = 50;
/// Most calls that are followed.
const MAX_CALLS: usize = 256;

/// What is wrong with the calls of a workflow: what is called is not there, is itself wrong, takes something else, or asks
/// for more than the caller may do. So it is for the calls within what is called; they are complained about at the call
/// that leads there.
///
/// `permissions` are those of the repository, for callers that do not say.
#[must_use]
pub fn check_calls(workflow: &Workflow, files: &dyn Files, permissions: &Permissions) -> Vec<Diagnostic> {
    calls(workflow, &Used::new(&Library::new(files)), permissions)
}

/// As [`check_calls`], of which the files are noted.
pub(crate) fn calls(workflow: &Workflow, files: &Used<'_>, permissions: &Permissions) -> Vec<Diagnostic> {
    let mut c = Complaints::default();
    Calls { files, called: HashSet::new(), followed: 0 }.check(workflow, permissions, 1, &mut c);
    c.sorted()
}

struct Calls<'a> {
    files: &'a Used<'a>,
    /// The words of `uses` that were followed.
    called: HashSet<String>,
    followed: usize,
}

impl Calls<'_> {
    /// Checks the calls of a workflow at this level, the first being 1.
    fn check(&mut self, workflow: &Workflow, permissions: &Permissions, level: usize, c: &mut Complaints) {
        for job in &workflow.jobs {
            let Work::Call(call) = &job.work else { continue };
            let at = call.workflow.at;
            if level >= MAX_LEVELS {
                c.invalid(at, format!("workflows call each other more than {MAX_LEVELS} levels deep"));
                return;
            }
            self.followed += 1;
            if self.followed > MAX_CALLS {
                c.unsupported(at, format!("more than {MAX_CALLS} calls of other workflows"));
                return;
            }
            self.called.insert(call.workflow.value.clone());
            if self.called.len() > MAX_FILES {
                c.invalid(at, format!("more than {MAX_FILES} files are called"));
                return;
            }
            let Some(read) = self.files.workflow(&call.workflow.value) else {
                c.invalid(at, "Unable to find reusable workflow");
                continue;
            };
            let (called, wrong) = &*read;
            let mut found = wrong.clone();
            if let Some(called) = called.as_ref().filter(|_| wrong.is_empty()) {
                check(call, called, c);
                let allowed =
                    job.permissions.as_ref().or(workflow.permissions.as_ref()).unwrap_or(permissions);
                check_permissions(job, call, called, allowed, c);
                let mut within = Complaints::default();
                self.check(called, allowed, level + 1, &mut within);
                found = within.sorted();
            }
            if let Some(first) = found.first() {
                let message = format!("Error from called workflow {}:{first}", cut(&call.workflow.value));
                match first.kind {
                    Kind::Invalid => c.invalid(at, message),
                    Kind::Unsupported => c.unsupported(at, message),
                }
            }
        }
    }
}

fn check(call: &Call, called: &Workflow, c: &mut Complaints) {
    let at = call.workflow.at;
    let Some(takes) = called.on.iter().find(|trigger| trigger.event.value == "workflow_call") else {
        c.invalid(at, "workflow_call key is not defined in the referenced workflow.");
        return;
    };
    let inputs: Vec<_> = takes.inputs.iter().map(|one| (one.name.value.as_str(), one.required)).collect();
    let given: Vec<_> = call.with.iter().flat_map(entries).collect();
    compare(&inputs, &given, ("Input", "input"), call, c);
    let secrets: Vec<_> = takes.secrets.iter().map(|one| (one.name.value.as_str(), one.required)).collect();
    let given: Vec<_> = match &call.secrets {
        // All of them are passed, whatever they are.
        Secrets::Inherit => return,
        Secrets::Nothing => Vec::new(),
        Secrets::Given(given) => entries(given).collect(),
    };
    compare(&secrets, &given, ("Secret", "secret"), call, c);
}

/// What is called may do what its caller may, and no more.
fn check_permissions(job: &Job, call: &Call, called: &Workflow, allowed: &Permissions, c: &mut Complaints) {
    let workflow = cut(&call.workflow.value);
    let mut complain = |who: String, asked: &Permissions| {
        let beyond = asked.beyond(allowed);
        if beyond.is_empty() {
            return;
        }
        let list = |level: fn(&(&str, Level, Level)) -> Level| {
            let shown = beyond.iter().map(|one| format!("{}: {}", one.0, level(one).as_str()));
            shown.collect::<Vec<_>>().join(", ")
        };
        let (asked, allowed) = (list(|one| one.1), list(|one| one.2));
        let message = format!("Error calling workflow '{workflow}'. The {who} is requesting '{asked}'");
        c.invalid(job.id.at, format!("{message}, but is only allowed '{allowed}'."));
    };
    if let Some(asked) = &called.permissions {
        complain(format!("workflow '{workflow}'"), asked);
    }
    for nested in &called.jobs {
        if let Some(asked) = &nested.permissions {
            let name = match nested.name.as_ref().map(|name| &name.value) {
                Some(Dynamic::Is(name)) => name,
                _ => &nested.id.value,
            };
            complain(format!("nested job '{}'", cut(name)), asked);
        }
    }
}

/// What must be given is, and what is given is taken. Names have no case.
fn compare(
    taken: &[(&str, bool)],
    given: &[super::fields::Entry<'_>],
    (capital, word): (&str, &str),
    call: &Call,
    c: &mut Complaints,
) {
    let given_names: HashSet<_> = given.iter().map(|entry| entry.key.to_ascii_lowercase()).collect();
    for (name, _) in taken.iter().filter(|(_, required)| *required) {
        if !given_names.contains(&name.to_ascii_lowercase()) {
            let message = format!("{capital} {} is required, but not provided while calling.", cut(name));
            c.invalid(call.workflow.at, message);
        }
    }
    let taken_names: HashSet<_> = taken.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    for entry in given.iter().filter(|entry| !taken_names.contains(&entry.key.to_ascii_lowercase())) {
        let name = cut(entry.key);
        let message = format!("Invalid {word}, {name} is not defined in the referenced workflow.");
        c.invalid(entry.value.at, message);
    }
}
