//! Expressions with their values and errors as GitHub's own implementations record them: every case must agree.

mod corpora;

use std::collections::BTreeMap;
use std::fs;

use corpora::corpora;
use serde::Deserialize;
use serde_json::value::RawValue;
use workflow::expression::{Expression, Kind, NoEnvironment, Object, Options, Scope, Value, evaluate};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Deserialize)]
struct Case {
    expr: String,
    contexts: Option<BTreeMap<String, Box<RawValue>>>,
    result: Option<Recorded>,
    err: Option<Recorded>,
}

#[derive(Deserialize, Debug)]
struct Recorded {
    kind: String,
    #[serde(default)]
    value: serde_json::Value,
}

/// The value of a JSON text, with its names in order.
fn from_json(text: &str) -> Result<Value> {
    let scope = Scope { contexts: &["text"], functions: &[] };
    let mut contexts = Object::default();
    contexts.insert("text", Value::text(text));
    let expression = Expression::parse("fromJSON(text)", &scope)?;
    Ok(evaluate(&expression, &contexts, &NoEnvironment, Options { max_memory: usize::MAX / 4 })?)
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Number(value) => (*value).into(),
        Value::String(text) => text.as_ref().into(),
        Value::Array(array) => array.items.iter().map(to_json).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.to_owned(), to_json(value))).collect()
        }
    }
}

/// All numbers as doubles, as expressions have them.
fn as_doubles(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(number) => number.as_f64().into(),
        serde_json::Value::Array(items) => items.iter().map(as_doubles).collect(),
        serde_json::Value::Object(entries) => {
            entries.iter().map(|(k, v)| (k.clone(), as_doubles(v))).collect()
        }
        other => other.clone(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Boolean(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

/// What is different, if anything.
fn disagrees(case: &Case) -> Result<Option<String>> {
    let mut contexts = Object::default();
    let mut names: Vec<&'static str> = Vec::new();
    for (name, value) in case.contexts.iter().flatten() {
        contexts.insert(name, from_json(value.get())?);
        names.push(String::leak(name.clone()));
    }
    let scope = Scope { contexts: Vec::leak(names), functions: &[] };
    let found = Expression::parse(&case.expr, &scope)
        .and_then(|expression| evaluate(&expression, &contexts, &NoEnvironment, Options::default()));
    Ok(match (found, &case.result, &case.err) {
        (Ok(found), Some(wanted), None) => {
            let same_text =
                matches!(&wanted.value, serde_json::Value::String(text) if *found.as_text() == **text);
            let same = to_json(&found) == as_doubles(&wanted.value) || same_text;
            let agrees = kind_of(&found) == wanted.kind && same;
            (!agrees).then(|| format!("is {found:?}, recorded {wanted:?}"))
        }
        (Err(found), None, Some(wanted)) => {
            let kind = match found.kind {
                Kind::Lexing => "lexing",
                Kind::Parsing => "parsing",
                Kind::Evaluation => "evaluation",
            };
            // What is recorded may be only the beginning.
            let same = found.to_string().starts_with(wanted.value.as_str().unwrap_or("?"));
            (kind != wanted.kind || !same).then(|| format!("fails with {kind} {found}, recorded {wanted:?}"))
        }
        (found, ..) => Some(format!("is {found:?}, recorded {:?} {:?}", case.result, case.err)),
    })
}

#[test]
fn every_recorded_expression_agrees() -> Result {
    let Some(corpora) = corpora() else { return Ok(()) };
    let (mut agreed, mut wrong) = (0, Vec::new());
    for file in fs::read_dir(corpora.join("actions-expressions"))? {
        let path = file?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let groups: BTreeMap<String, Vec<Case>> = serde_json::from_str(&fs::read_to_string(&path)?)?;
        for (group, cases) in &groups {
            for case in cases {
                match disagrees(case)? {
                    None => agreed += 1,
                    Some(why) => wrong.push(format!("{} {group}: {}\n  {why}", path.display(), case.expr)),
                }
            }
        }
    }
    println!("{agreed} expressions agree, {} do not", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(agreed > 0);
    Ok(())
}
