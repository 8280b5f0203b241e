//! Workflow files with what GitHub's own readers make of them: accepted or refused as recorded, at the recorded places.
//!
//! A case is a file of parts between lines of `---`: options, the workflow, names and contents of called workflows, and
//! what is recorded, as JSON. `skipped-tests.txt` names those on which GitHub's implementations differ among themselves.

mod corpora;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use corpora::corpora;
use serde_json::Value;
use workflow::model::{Action, Dynamic, Files, Job, Located, Permissions, Work, Workflow, check_calls};
use workflow::{Diagnostic, Kind, lint, read};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Case {
    workflow: String,
    called: BTreeMap<String, Vec<u8>>,
    recorded: Value,
}

impl Files for Case {
    fn file(&self, uses: &str) -> Option<Vec<u8>> {
        self.called.get(uses).cloned()
    }
}

impl Case {
    fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let mut parts = vec![String::new()];
        for line in text.lines() {
            match (line, parts.last_mut()) {
                ("---", _) => parts.push(String::new()),
                (line, Some(part)) => *part += &format!("{line}\n"),
                (_, None) => {}
            }
        }
        let recorded = serde_json::from_str(parts.last().ok_or("no parts")?)?;
        let called = parts.get(2..parts.len() - 1).ok_or("too few parts")?;
        let called =
            called.chunks_exact(2).map(|pair| (pair[0].trim().to_owned(), pair[1].clone().into_bytes()));
        // The end of the line before `---` belongs to it.
        let workflow = parts[1].strip_suffix('\n').unwrap_or_default().to_owned();
        Ok(Self { called: called.collect(), workflow, recorded })
    }

    fn read(&self) -> (Option<Workflow>, Vec<Diagnostic>) {
        let (workflow, mut found) = read(self.workflow.as_bytes());
        if let (Some(workflow), true) = (&workflow, found.is_empty()) {
            found = check_calls(workflow, self, &Permissions::limited());
        }
        found.retain(|one| one.kind == Kind::Invalid);
        (workflow, found)
    }

    /// What is different from what is recorded, if anything.
    fn disagrees(&self) -> Option<String> {
        let (workflow, found) = self.read();
        let shown = || found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let errors = self.recorded["errors"].as_array();
        let Some(errors) = errors.filter(|errors| !errors.is_empty()) else {
            if !found.is_empty() {
                return Some(format!("is refused: {:?}", shown()));
            }
            let jobs = self.recorded["jobs"].as_array()?;
            return differs(&workflow?.jobs, jobs);
        };
        let recorded: Vec<_> = errors.iter().map(|error| place_and_words(text(&error["Message"]))).collect();
        let agrees = |one: &Diagnostic, (place, words): &(Option<(usize, usize)>, &str)| {
            // What is recorded is cut where it is long.
            let words = words.strip_suffix("[...]").map_or(*words, |words| &words[..words.len().min(300)]);
            place.is_none_or(|place| place == (one.line, one.column)) && one.message.contains(words)
        };
        let all = recorded.iter().all(|wanted| found.iter().any(|one| agrees(one, wanted)));
        let only = found.iter().all(|one| recorded.iter().any(|wanted| agrees(one, wanted)));
        (!all || !only).then(|| format!("found {:#?}\nrecorded {recorded:#?}", shown()))
    }
}

/// `file (Line: 6, Col: 14): words`, or `file: words`.
fn place_and_words(message: &str) -> (Option<(usize, usize)>, &str) {
    let place = message.split_once(" (Line: ").and_then(|(_, rest)| {
        let (place, words) = rest.split_once("): ")?;
        let (line, column) = place.split_once(", Col: ")?;
        Some(((line.parse().ok()?, column.parse().ok()?), words))
    });
    match place {
        Some((place, words)) => (Some(place), words),
        None => (None, message.split_once(": ").map_or(message, |(_, words)| words)),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The text or the expression of a recorded value, with or without its place.
fn recorded_text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        value => value["lit"].as_str().or(value["expr"].as_str()).unwrap_or_default(),
    }
}

fn own_text(found: &Located<Dynamic<String>>) -> &str {
    match &found.value {
        Dynamic::Is(text) => text,
        Dynamic::Computed(expression) => expression.text(),
    }
}

/// Whether the jobs that were read are those that are recorded: their ids, needs, conditions and steps.
fn differs(found: &[Job], recorded: &[Value]) -> Option<String> {
    if found.len() != recorded.len() {
        return Some(format!("has {} jobs, recorded {}", found.len(), recorded.len()));
    }
    let mut facts = Vec::new();
    for (job, recorded) in found.iter().zip(recorded) {
        facts.push((job.id.value.as_str(), recorded_text(&recorded["id"])));
        let name = job.name.as_ref().map_or(job.id.value.as_str(), own_text);
        facts.push((name, recorded_text(&recorded["name"])));
        facts.push((job.condition.as_ref()?.expression.text(), recorded_text(&recorded["if"])));
        for (i, need) in job.needs.iter().enumerate() {
            facts.push((&need.value, recorded_text(&recorded["needs"][i])));
        }
        let Work::Steps(work) = &job.work else {
            facts.push(("reusableWorkflowJob", text(&recorded["type"])));
            continue;
        };
        for (i, step) in work.steps.iter().enumerate() {
            let recorded = &recorded["steps"][i];
            facts.push((&step.id, text(&recorded["id"])));
            facts.push((step.condition.as_ref()?.expression.text(), recorded_text(&recorded["if"])));
            match &step.action {
                Action::Run { script, .. } => facts.push((own_text(script), recorded_text(&recorded["run"]))),
                Action::Uses { action, .. } => facts.push((&action.value, recorded_text(&recorded["uses"]))),
                _ => {}
            }
        }
    }
    facts
        .iter()
        .find(|(found, recorded)| found != recorded)
        .map(|(a, b)| format!("has {a:?}, recorded {b:?}"))
}

#[test]
fn every_file_is_read_as_recorded() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let folder = corpora.join("actions-workflow-reader");
    let skipped = fs::read_to_string(folder.join("skipped-tests.txt"))?;
    let skipped: Vec<_> = skipped.lines().map(str::trim).collect();
    let (mut agreed, mut also, mut wrong, mut differing) = (0, 0, Vec::new(), Vec::new());
    for file in fs::read_dir(&folder)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_none_or(|e| e != "yml") {
            continue;
        }
        let disagrees = Case::open(&path).map_err(|e| format!("{name}: {e}"))?.disagrees();
        match (disagrees, skipped.contains(&name.as_str())) {
            (None, false) => agreed += 1,
            (None, true) => also += 1,
            (Some(_), true) => differing.push(name),
            (Some(why), false) => wrong.push(format!("{name}: {why}")),
        }
    }
    differing.sort();
    println!("{agreed} files are read as recorded, {} are not", wrong.len());
    println!(
        "of those that GitHub's implementations skip, {also} are, {} are not: {differing:?}",
        differing.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(agreed > 0);
    Ok(())
}

/// Files that are right: read, or refused only for what is not supported here.
#[test]
fn what_is_a_workflow_for_others_is_one_here() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let (mut runnable, mut unsupported) = (0, 0);
    for file in fs::read_dir(corpora.join("workflow-schema-valid"))? {
        let path = file?.path();
        if path.extension().is_none_or(|e| e != "yml" && e != "yaml") {
            continue;
        }
        let bytes = fs::read(&path)?;
        let (workflow, found) = read(&bytes);
        assert!(workflow.is_some() && found.is_empty(), "{}: {found:?}", path.display());
        match lint(&bytes, &workflow::NoFiles) {
            Ok(_) => runnable += 1,
            Err(found) => {
                let stated =
                    |one: &Diagnostic| one.kind == Kind::Unsupported && one.line > 0 && one.column > 0;
                assert!(!found.is_empty() && found.iter().all(stated), "{}: {found:?}", path.display());
                unsupported += 1;
            }
        }
    }
    println!(
        "{} files are read: {runnable} can be run, {unsupported} ask for what is not supported",
        runnable + unsupported
    );
    assert!(runnable + unsupported > 0);
    Ok(())
}
