//! The functions that every expression may call. Rules: GitHub, "Functions"; actions/languageservices
//! `expressions/src/funcs/`.

use super::ast::Node;
use super::error::Error;
use super::evaluate::{Evaluator, Memory, items};
use super::json;
use super::value::{Value, fold_case};

/// Calls a function by its name in lower case; the number of arguments was checked when it was read.
pub(crate) fn call(evaluator: &mut Evaluator<'_>, name: &str, arguments: &[Node]) -> Result<Value, Error> {
    if name == "case" {
        return case(evaluator, arguments);
    }
    let values = evaluator.all_of(arguments)?;
    match (name, values.as_slice()) {
        ("contains", [of, item]) => Ok(Value::Boolean(contains(of, item))),
        ("startswith", [text, start]) => Ok(Value::Boolean(folded(text, start, |a, b| a.starts_with(b)))),
        ("endswith", [text, end]) => Ok(Value::Boolean(folded(text, end, |a, b| a.ends_with(b)))),
        ("format", [pattern, arguments @ ..]) => format(&pattern.as_text(), arguments, &evaluator.memory),
        ("join", [of, rest @ ..]) => join(of, rest.first(), &evaluator.memory),
        ("tojson", [value]) => {
            json::print(value, evaluator.memory.left()).map(Value::text).ok_or_else(Memory::exceeded)
        }
        ("fromjson", [text]) => from_json(&text.as_text()),
        _ => Err(Error::evaluation(format!("Unrecognized function: '{name}'"))),
    }
}

/// Only the predicates up to the first that is true are computed, and its value.
fn case(evaluator: &mut Evaluator<'_>, arguments: &[Node]) -> Result<Value, Error> {
    let (pairs, otherwise) = arguments.as_chunks::<2>();
    for [predicate, value] in pairs {
        match evaluator.value(predicate)? {
            Value::Boolean(true) => return evaluator.value(value),
            Value::Boolean(false) => {}
            _ => return Err(Error::evaluation("case predicate must evaluate to a boolean value")),
        }
    }
    otherwise.first().map_or(Ok(Value::Null), |otherwise| evaluator.value(otherwise))
}

fn contains(of: &Value, item: &Value) -> bool {
    match items(of) {
        Some(array) => array.items.iter().any(|one| item.equals(one)),
        None => folded(of, item, |a, b| a.contains(b)),
    }
}

/// Compares two texts without case; arrays and objects are none.
fn folded(text: &Value, part: &Value, compare: fn(&str, &str) -> bool) -> bool {
    text.is_primitive()
        && part.is_primitive()
        && compare(&fold_case(&text.as_text()), &fold_case(&part.as_text()))
}

fn join(of: &Value, separator: Option<&Value>, memory: &Memory) -> Result<Value, Error> {
    if of.is_primitive() {
        return Ok(Value::String(of.as_text()));
    }
    let Some(array) = items(of) else { return Ok(Value::text("")) };
    let separator = separator.filter(|value| value.is_primitive()).map(Value::as_text);
    let separator = separator.as_deref().unwrap_or(",");
    let mut joined = String::new();
    for (i, item) in array.items.iter().enumerate() {
        if i > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item.as_text());
        if joined.len() > memory.left() {
            return Err(Memory::exceeded());
        }
    }
    Ok(Value::text(joined))
}

fn from_json(text: &str) -> Result<Value, Error> {
    if text.trim().is_empty() {
        return Err(Error::evaluation("empty input"));
    }
    let because = |why| Error::evaluation(format!("Error parsing JSON when evaluating fromJson: {why}"));
    json::parse(text).map_err(because)
}

/// `{0}` is the first argument, `{{` and `}}` are braces.
fn format(pattern: &str, arguments: &[Value], memory: &Memory) -> Result<Value, Error> {
    let invalid = || Error::evaluation(format!("The following format string is invalid: {pattern}"));
    let (mut out, mut rest) = (String::new(), pattern);
    while let Some(brace) = rest.find(['{', '}']) {
        out.push_str(&rest[..brace]);
        let (kind, after) = rest[brace..].split_at(1);
        rest = if let Some(after) = after.strip_prefix(kind) {
            out.push_str(kind);
            after
        } else {
            let (number, after) = after.split_once('}').filter(|_| kind == "{").ok_or_else(invalid)?;
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(invalid());
            }
            let argument = number.parse().ok().and_then(|number: usize| arguments.get(number));
            let Some(argument) = argument else {
                let what = "The following format string references more arguments than were supplied";
                return Err(Error::evaluation(format!("{what}: {pattern}")));
            };
            out.push_str(&argument.as_text());
            after
        };
        if out.len() > memory.left() {
            return Err(Memory::exceeded());
        }
    }
    out.push_str(rest);
    Ok(Value::text(out))
}
