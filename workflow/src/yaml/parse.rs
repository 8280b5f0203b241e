//! Events of the YAML library to a tree, within limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{Key, MAX_BYTES, MAX_DEPTH, MAX_VALUES, Node, Plain, Scalar, Value};
use crate::diagnostic::{At, Diagnostic, cut};

impl From<&Marker> for At {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// Reads one document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, Diagnostic> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has too many bytes, the limit is {MAX_BYTES}");
        return Err(At::START.unsupported(message));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        At { line, column: 1 }.invalid("the file is not UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').collect();
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        lines,
        values: 0,
        anchored: HashMap::new(),
        last: 1,
        looked: (At::START, 0),
    };
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Err(at.invalid("the file is empty")),
            first => {
                let node = reader.node(first, at, 0)?;
                return reader.end().map(|()| node.node);
            }
        }
    }
}

struct Reader<'input> {
    events: Parser<'input, StrInput<'input>>,
    lines: Vec<&'input str>,
    values: usize,
    anchored: HashMap<usize, Measured>,
    /// The line where the last event ended.
    last: usize,
    /// The place that was looked at last, and how many bytes of its line are before it: the next one is behind it, as a rule.
    looked: (At, usize),
}

/// A node and its size, so that an alias can be refused before it is copied.
#[derive(Clone)]
struct Measured {
    node: Node,
    values: usize,
    height: usize,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, At), Diagnostic> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                let at = self.place(&event, &span);
                self.last = span.end.line();
                Ok((event, at))
            }
            Some(Err(error)) => {
                Err(At::from(error.marker()).invalid(format!("not valid YAML: {}", error.info())))
            }
            None => Err(At::START.invalid("the file ends too early")),
        }
    }

    /// Where a person would say that the value begins. The library says of a value that is left out where its colon is,
    /// and of a block of lines where its first line is.
    fn place(&mut self, event: &Event<'_>, span: &Span) -> At {
        let at = At::from(&span.start);
        match event {
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                let lines = (self.last..=at.line).rev();
                lines.filter_map(|line| block_header(line, self.lines.get(line - 1)?)).next().unwrap_or(at)
            }
            Event::Scalar(text, ..) if text.is_empty() && span.start == span.end => {
                let colon = self.rest_of_line(at).is_some_and(|rest| rest.starts_with(':'));
                At { column: at.column + usize::from(colon), ..at }
            }
            _ => at,
        }
    }

    /// What stands in a line from a place on.
    fn rest_of_line(&mut self, at: At) -> Option<&'input str> {
        let line: &'input str = self.lines.get(at.line - 1)?;
        let (column, bytes) = match self.looked {
            (before, bytes) if before.line == at.line && before.column <= at.column => (before.column, bytes),
            _ => (1, 0),
        };
        let rest = line.get(bytes..)?;
        let skipped: usize = rest.chars().take(at.column - column).map(char::len_utf8).sum();
        self.looked = (at, bytes + skipped);
        rest.get(skipped..)
    }

    fn end(&mut self) -> Result<(), Diagnostic> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, at) => return Err(at.invalid("a second document; a workflow file has one")),
            }
        }
    }

    /// Counts values and looks at the depth, before anything of that size is made.
    fn count(&mut self, at: At, values: usize, depth: usize) -> Result<(), Diagnostic> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(at.unsupported(format!("more than {MAX_VALUES} values in the file")));
        }
        if depth > MAX_DEPTH {
            return Err(
                at.invalid(format!("Maximum object depth exceeded: nested deeper than {MAX_DEPTH} levels"))
            );
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'input>, at: At, depth: usize) -> Result<Measured, Diagnostic> {
        let anchor = match &event {
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _) => *anchor,
            Event::Alias(anchor) => return self.alias(*anchor, at, depth),
            other => return Err(at.invalid(format!("unexpected {other:?}"))),
        };
        self.count(at, 1, depth)?;
        let before = self.values;
        let (value, height) = match event {
            Event::Scalar(text, style, _, tag) => {
                (Value::Scalar(scalar(&text, style, tag.as_deref(), at)?), 0)
            }
            Event::SequenceStart(_, tag) => {
                refuse_tag(tag.as_deref(), "seq", at)?;
                self.list(depth)?
            }
            Event::MappingStart(_, tag) => {
                refuse_tag(tag.as_deref(), "map", at)?;
                self.map(depth)?
            }
            other => return Err(at.invalid(format!("unexpected {other:?}"))),
        };
        let measured = Measured { node: Node { at, value }, values: self.values - before + 1, height };
        if anchor != 0 {
            self.anchored.insert(anchor, measured.clone());
        }
        Ok(measured)
    }

    /// A copy of what the anchor is at. It keeps its place: that is where it can be mended.
    fn alias(&mut self, anchor: usize, at: At, depth: usize) -> Result<Measured, Diagnostic> {
        let Some(measured) = self.anchored.get(&anchor) else {
            return Err(at.invalid("the alias stands within what it stands for"));
        };
        let (values, height) = (measured.values, measured.height);
        self.count(at, values, depth + height)?;
        self.anchored.get(&anchor).cloned().ok_or_else(|| at.invalid("the alias stands for nothing"))
    }

    fn list(&mut self, depth: usize) -> Result<(Value, usize), Diagnostic> {
        let (mut items, mut height) = (Vec::new(), 0);
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok((Value::List(items), height)),
                (event, at) => {
                    let item = self.node(event, at, depth + 1)?;
                    height = height.max(item.height + 1);
                    items.push(item.node);
                }
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Value, usize), Diagnostic> {
        let (mut entries, mut height) = (Vec::new(), 0);
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok((Value::Map(entries), height)),
                (Event::Scalar(text, style, 0, tag), at) => {
                    Key { at, text: scalar(&text, style, tag.as_deref(), at)?.as_text() }
                }
                (_, at) => return Err(at.invalid("a key must be text, without an anchor")),
            };
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            height = height.max(value.height + 1);
            entries.push((key, value.node));
        }
    }
}

/// The place of `|` or `>` in a line that ends with the header of a block of lines.
fn block_header(line: usize, text: &str) -> Option<At> {
    let is_header = |at: usize| {
        let rest = text[at + 1..].trim_start_matches(['+', '-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
        let comment = rest.trim_start();
        comment.is_empty() || (comment.starts_with('#') && comment.len() < rest.len())
    };
    let begins = |at: usize| at == 0 || text[..at].ends_with([' ', '\t']);
    let at = text.match_indices(['|', '>']).map(|(at, _)| at).find(|at| begins(*at) && is_header(*at))?;
    Some(At { line, column: text[..at].chars().count() + 1 })
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: At) -> Result<Scalar, Diagnostic> {
    let plain = match tag {
        None if style == ScalarStyle::Plain => Plain::of(text),
        None => Plain::Text,
        // `!` alone makes it text.
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Plain::Text,
        Some(tag) => {
            let name = core_name(tag).ok_or_else(|| unknown_tag(tag, at))?;
            Plain::tagged(name, text).ok_or_else(|| {
                let (text, At { line, column }) = (cut(text), at);
                let of = format!("invalid for the type '{CORE}{name}'");
                at.invalid(format!("The value '{text}' on line {line} and column {column} is {of}"))
            })?
        }
    };
    Ok(Scalar { text: text.to_owned(), plain })
}

/// What the tags of YAML's core schema begin with.
const CORE: &str = "tag:yaml.org,2002:";

/// The name of a tag of the core schema, written short (`!!int`) or whole.
fn core_name(tag: &Tag) -> Option<&str> {
    match tag.handle.as_str() {
        CORE => Some(&tag.suffix),
        "" => tag.suffix.strip_prefix(CORE),
        _ => None,
    }
}

fn refuse_tag(tag: Option<&Tag>, own: &str, at: At) -> Result<(), Diagnostic> {
    match tag {
        Some(tag) if core_name(tag) != Some(own) => Err(unknown_tag(tag, at)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, at: At) -> Diagnostic {
    let shown = cut(&tag.to_string());
    at.invalid(format!("the tag {shown:?} is not known; !!str, !!int, !!float, !!bool and !!null are"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(String, usize, usize)> {
        fn walk(node: &Node, found: &mut Vec<(String, usize, usize)>) {
            match &node.value {
                Value::Scalar(scalar) => found.push((scalar.text.clone(), node.at.line, node.at.column)),
                Value::List(items) => items.iter().for_each(|item| walk(item, found)),
                Value::Map(entries) => entries.iter().for_each(|(_, value)| walk(value, found)),
            }
        }
        let mut found = Vec::new();
        walk(&parse(text.as_bytes()).unwrap(), &mut found);
        found
    }

    #[test]
    fn values_begin_where_a_person_would_say() {
        let text =
            "a:\nb: |-  # | not this\n\n  x\n\nc: {d: , e}\nf:\n  # a comment\n  - >2\n    y\n  - 'z'\n";
        let found = places(text);
        let found: Vec<_> =
            found.iter().map(|(text, line, column)| (text.as_str(), *line, *column)).collect();
        assert_eq!(found[0], ("", 1, 3));
        assert_eq!(found[1], ("\nx", 2, 4));
        assert_eq!(found[2], ("", 6, 7));
        assert_eq!(found[4].1, 9);
        assert_eq!(found[4].2, 5);
        assert_eq!(found[5], ("z", 11, 5));
    }

    #[test]
    fn values_that_are_left_out_have_their_places_in_a_long_line() {
        let found = places("{é: , ü: x, b: , c, d: }\n");
        let columns: Vec<_> = found.iter().map(|(_, line, column)| (*line, *column)).collect();
        assert_eq!(columns, [(1, 4), (1, 10), (1, 15), (1, 19), (1, 23)]);
    }

    #[test]
    fn aliases_are_what_they_stand_for_within_the_limits() {
        assert_eq!(places("a: &x [1, {b: 2}]\nc: *x\n").len(), 4);
        let bomb: String = (0..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
            format!("{text}a{}: &a{} [*a{i}, *a{i}]\n", i + 1, i + 1)
        });
        let deep: String = (0..60)
            .fold("a0: &a0 [x]\n".to_owned(), |text, i| format!("{text}a{}: &a{} [*a{i}]\n", i + 1, i + 1));
        for (text, wanted) in [
            (bomb.as_str(), "more than 20000 values"),
            ("? &a b\n: c\n", "a key must be text"),
            (&deep, "nested deeper than 50 levels"),
            ("a: &a [*a]\n", "within what it stands for"),
            ("a: *b\n", "not valid YAML"),
            (
                "a: !!int x\n",
                "The value 'x' on line 1 and column 4 is invalid for the type 'tag:yaml.org,2002:int'",
            ),
            ("a: !mine x\n", "is not known"),
            ("a: !!set {x}\n", "is not known"),
            ("[a]: b\n", "a key must be text"),
            ("a: b\n---\nc: d\n", "a second document"),
        ] {
            let found = parse(text.as_bytes()).unwrap_err();
            assert!(found.message.contains(wanted), "{text}: {found}");
        }
    }
}
