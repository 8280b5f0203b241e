//! Scalars of a file: `${{ }}` within them, and whether they are what a definition asks for. Rules:
//! actions/languageservices `workflow-parser/src/templates/template-reader.ts`.

use super::{Definition, Form};
use crate::complaints::Complaints;
use crate::diagnostic::{At, nearest};
use crate::expression::{Error, Expression, MAX_LENGTH, Scope, Unknown};
use crate::template::{Content, Template};
use crate::yaml::{Plain, Scalar, number_text};

const OPEN: &str = "${{";
const INSERT: &str = "insert";

/// Longest part of a value that a complaint shows, in characters.
pub(super) fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Reads a scalar as what its type is; of text, the expressions in it.
pub(super) fn read(scalar: &Scalar, at: At, scope: Scope, complaints: &mut Complaints) -> Template {
    let content = match scalar.plain {
        Plain::Null => Content::Null,
        Plain::Boolean(value) => Content::Boolean(value),
        Plain::Number(value) => Content::Number(value),
        Plain::Text => return read_text(&scalar.text, at, scope, complaints),
    };
    Template { at, content }
}

/// Reads text with the expressions in it. When one of them is wrong, it is complained about and the text stays as it is.
pub(crate) fn read_text(text: &str, at: At, scope: Scope, complaints: &mut Complaints) -> Template {
    let as_it_is = || Template { at, content: Content::Text(text.to_owned()) };
    if !text.contains(OPEN) {
        return as_it_is();
    }
    let Ok(parts) = split(text) else {
        let message = "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was not found.";
        complaints.invalid(at, message);
        return as_it_is();
    };
    // Put together they would be too long in any case: the many are not looked at one by one.
    let inside =
        parts.iter().map(|part| if let Part::Inside(inside) = part { inside.chars().count() } else { 0 });
    if parts.len() > 1 && inside.sum::<usize>() > MAX_LENGTH {
        complaints.invalid(at, format!("Exceeded max expression length {MAX_LENGTH}"));
        return as_it_is();
    }
    let (mut read, mut wrong) = (Vec::new(), false);
    for part in &parts {
        match part {
            Part::Text(text) => read.push(Part::Text(text)),
            Part::Inside(inside) => match inner(inside, scope) {
                Ok(Inner::Insert) if parts.len() > 1 => {
                    complaints.invalid(at, "The directive 'insert' is not allowed in this context. Directives are not supported for expressions that are embedded within a string. Directives are only supported when the entire value is an expression.");
                    return as_it_is();
                }
                Ok(Inner::Insert) => return Template { at, content: Content::Insert },
                Ok(Inner::Expression(expression)) if parts.len() == 1 => {
                    return Template { at, content: alone(expression) };
                }
                Ok(Inner::Expression(_)) => read.push(Part::Inside(inside.trim())),
                Err(message) => {
                    complaints.invalid(at, message);
                    wrong = true;
                }
            },
        }
    }
    if wrong {
        return as_it_is();
    }
    match Expression::parse(&put_together(&read), &scope) {
        Ok(expression) => Template { at, content: Content::Expression(expression) },
        Err(error) => {
            complaints.invalid(at, error.to_string());
            as_it_is()
        }
    }
}

/// A piece of a text with expressions.
enum Part<'a> {
    Text(&'a str),
    /// What is between `${{` and `}}`.
    Inside(&'a str),
}

/// Takes a text apart; an expression that is not closed is an error.
fn split(text: &str) -> Result<Vec<Part<'_>>, ()> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(open) = rest.find(OPEN) {
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        let inside = &rest[open + OPEN.len()..];
        let close = closing(inside).ok_or(())?;
        parts.push(Part::Inside(&inside[..close]));
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Where the `}}` is that closes an expression: not within a text of it.
fn closing(inside: &str) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            b'}' if !quoted && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
    }
    None
}

enum Inner {
    Insert,
    Expression(Expression),
}

/// What is between `${{` and `}}`; in words what is wrong with it.
fn inner(inside: &str, scope: Scope) -> Result<Inner, String> {
    let inside = inside.trim();
    if inside.is_empty() {
        return Err("An expression was expected".to_owned());
    }
    if let Some(rest) =
        inside.strip_prefix(INSERT).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    {
        return match rest.split_whitespace().count() {
            0 => Ok(Inner::Insert),
            count => Err(format!(
                "Exactly 0 parameter(s) were expected following the directive 'insert'. Actual parameter count: {count}"
            )),
        };
    }
    Expression::parse(inside, &scope).map(Inner::Expression).map_err(|error| explained(&error, &scope))
}

/// What is wrong with an expression, with what there is instead of a name that is not there.
pub(crate) fn explained(error: &Error, scope: &Scope) -> String {
    hint(error, scope).map_or_else(|| error.to_string(), |hint| format!("{error}. {hint}"))
}

/// What was probably meant, and what there is, where a name is not.
fn hint(error: &Error, scope: &Scope) -> Option<String> {
    let (name, known): (_, Vec<_>) = match error.unknown.as_ref()? {
        Unknown::Context(name) => (name, scope.contexts.to_vec()),
        Unknown::Function(name) => (name, scope.function_names().collect()),
    };
    let near = nearest(known.iter().copied(), name).map(|near| format!("Did you mean {near:?}? "));
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Some(format!("{}Allowed here: {known}", near.unwrap_or_default()))
}

/// An expression that is all of a value; one that is only a text is that text, as in `${{ '${{' }}`.
fn alone(expression: Expression) -> Content {
    let literal = expression.literal_text().filter(|_| expression.text().starts_with('\''));
    match literal {
        Some(text) => Content::Text(text.to_owned()),
        None => Content::Expression(expression),
    }
}

/// The expression that puts a text together: `a-${{ b }}` is `format('a-{0}', b)`.
fn put_together(parts: &[Part<'_>]) -> String {
    let (mut format, mut arguments, mut count) = (String::new(), String::new(), 0);
    for part in parts {
        match part {
            Part::Text(text) => {
                format.push_str(&text.replace('\'', "''").replace('{', "{{").replace('}', "}}"));
            }
            Part::Inside(inside) => {
                format.push_str(&format!("{{{count}}}"));
                arguments.push_str(", ");
                arguments.push_str(inside);
                count += 1;
            }
        }
    }
    format!("format('{format}'{arguments})")
}

/// Complains when a scalar is not what is defined; gives it as what it was taken for.
pub(super) fn check(
    template: Template,
    definition: &'static Definition,
    scope: Scope,
    complaints: &mut Complaints,
) -> Template {
    let at = template.at;
    match &template.content {
        Content::Expression(_) if scope.is_empty() => {
            complaints.invalid(at, "A template expression is not allowed in this context");
            template
        }
        Content::Expression(_) => template,
        Content::Insert => {
            complaints.invalid(at, "Unexpected value '${{ insert }}'");
            template
        }
        content if definition.forms.iter().any(|form| fits(form, content)) => template,
        _ => {
            let text = template.text().unwrap_or_default();
            let content = Content::Text(text);
            if definition.forms.iter().any(|form| fits(form, &content)) {
                return Template { at, content };
            }
            complaints.invalid(at, unexpected(&content, definition));
            template
        }
    }
}

fn fits(form: &Form, content: &Content) -> bool {
    match (form, content) {
        (Form::Null, Content::Null)
        | (Form::Boolean, Content::Boolean(_))
        | (Form::Number, Content::Number(_))
        | (Form::Text, Content::Text(_)) => true,
        (Form::NonEmpty, Content::Text(text)) => !text.is_empty(),
        (Form::Words(words), Content::Text(text)) => words.contains(&text.as_str()),
        _ => false,
    }
}

fn unexpected(content: &Content, definition: &Definition) -> String {
    let text = match content {
        Content::Text(text) => short(text),
        Content::Number(number) => number_text(*number),
        _ => String::new(),
    };
    let message = format!("Unexpected value '{text}'");
    let words = definition.forms.iter().find_map(|form| match form {
        Form::Words(words) => Some(*words),
        _ => None,
    });
    let expected = definition.forms.iter().find_map(|form| match form {
        Form::Boolean => Some("true or false"),
        Form::Number => Some("a number"),
        Form::NonEmpty => Some("text"),
        Form::Map(_) => Some("a map"),
        Form::List(_) => Some("a list"),
        _ => None,
    });
    match (words, expected) {
        (Some(words), _) => {
            let hint = nearest(words.iter().copied(), &text).map(|near| format!(" Did you mean {near:?}?"));
            format!("{message}.{} Allowed: {}", hint.unwrap_or_default(), words.join(", "))
        }
        (None, Some(expected)) => format!("{message}, expected {expected}"),
        (None, None) => message,
    }
}
