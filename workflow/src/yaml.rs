//! YAML as a tree with positions, read within limits: size, depth, number of values; keys once; no aliases, so that no
//! file grows when it is read.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::Diagnostic;

/// Largest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Most characters of a complaint.
const MAX_MESSAGE: usize = 500;
/// Most values in a file.
const MAX_VALUES: usize = 20_000;

/// A place in the file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub line: usize,
    pub column: usize,
}

impl At {
    /// What it says may quote the file, so it is cut: a complaint stays one that a person reads.
    pub(crate) fn says(self, message: impl Into<String>) -> Diagnostic {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
        }
        Diagnostic { line: self.line, column: self.column, message }
    }
}

impl From<&Marker> for At {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub at: At,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Text as written, and whether it was plain (a plain `true` is a boolean, a quoted one is text).
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub at: At,
    pub text: String,
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// Reads one document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, Diagnostic> {
    let start = At { line: 1, column: 1 };
    if bytes.len() > MAX_BYTES {
        return Err(start.says(format!("the file has {} bytes, the limit is {MAX_BYTES}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        At { line, column: 1 }.says("the file is not UTF-8")
    })?;
    let mut reader = Reader { events: Parser::new_from_str(text), values: 0 };
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Err(at.says("the file is empty")),
            first => {
                let node = reader.node(first, at, 0)?;
                return reader.end().map(|()| node);
            }
        }
    }
}

struct Reader<'input> {
    events: Parser<'input, saphyr_parser::StrInput<'input>>,
    values: usize,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, At), Diagnostic> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, At::from(&span.start))),
            Some(Err(error)) => {
                Err(At::from(error.marker()).says(format!("not valid YAML: {}", error.info())))
            }
            None => Err(At { line: 1, column: 1 }.says("the file ends too early")),
        }
    }

    fn end(&mut self) -> Result<(), Diagnostic> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, at) => return Err(at.says("a second document; a workflow file has one")),
            }
        }
    }

    fn node(&mut self, event: Event<'input>, at: At, depth: usize) -> Result<Node, Diagnostic> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(at.says(format!("more than {MAX_VALUES} values in the file")));
        }
        if depth > MAX_DEPTH {
            return Err(at.says(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => return Err(at.says("aliases are not supported; write the value out")),
            other => return Err(at.says(format!("unexpected {other:?}"))),
        };
        if anchor != 0 || tag {
            return Err(at.says("anchors and tags are not supported; write the value out"));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            _ => self.map(depth)?,
        };
        Ok(Node { at, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::BTreeMap::new();
        loop {
            let (text, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(text, ..), at) => (text.into_owned(), at),
                (_, at) => return Err(at.says("a key must be text")),
            };
            if let Some(first) = seen.insert(text.clone(), at.line) {
                return Err(at.says(format!("the key {text:?} is here twice, first in line {first}")));
            }
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            entries.push((Key { at, text }, value));
        }
    }
}
