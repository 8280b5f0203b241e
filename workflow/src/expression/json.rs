//! JSON to values and back, as `fromJSON` and `toJSON` need it: names keep their order, numbers are exact, depth is
//! limited.

use std::collections::HashMap;

use super::number;
use super::value::{Array, Object, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 100;

/// Reads a text that is one JSON value; in words what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at < text.len() { Err(reader.refused()) } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn refused(&self) -> String {
        match self.rest().chars().next() {
            Some(c) => format!("unexpected {c:?} at byte {}", self.at),
            None => "unexpected end".to_owned(),
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.space();
        match self.rest().bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("true") => Ok(Value::Boolean(true)),
            _ if self.take("false") => Ok(Value::Boolean(false)),
            _ if self.take("null") => Ok(Value::Null),
            _ => Err(self.refused()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take("]") {
            return Ok(Value::array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take("]") {
                return Ok(Value::array(items));
            }
            if !self.take(",") {
                return Err(self.refused());
            }
        }
    }

    /// Of the same name twice the last value counts, as in every reader of JSON.
    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        if self.take("}") {
            return Ok(Value::object(entries));
        }
        loop {
            self.space();
            if !self.rest().starts_with('"') {
                return Err(self.refused());
            }
            let name = self.string()?;
            if !self.take(":") {
                return Err(self.refused());
            }
            let value = self.value(depth + 1)?;
            match places.get(&name) {
                Some(at) => entries[*at].1 = value,
                None => {
                    places.insert(name.clone(), entries.len());
                    entries.push((name, value));
                }
            }
            if self.take("}") {
                return Ok(Value::object(entries));
            }
            if !self.take(",") {
                return Err(self.refused());
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let end = self.rest().find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let word = &self.rest()[..end.unwrap_or(self.rest().len())];
        let digits = word.strip_prefix('-').unwrap_or(word);
        let (mantissa, _) = digits.split_at(digits.find(['e', 'E']).unwrap_or(digits.len()));
        let (whole, decimals) = mantissa.split_once('.').map_or((mantissa, None), |(a, b)| (a, Some(b)));
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        let value = number::parse(word);
        if value.is_nan() || whole.is_empty() || leading_zero || decimals == Some("") {
            return Err(self.refused());
        }
        self.at += word.len();
        Ok(Value::Number(value))
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut read = String::new();
        loop {
            let plain =
                self.rest().find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(self.rest().len());
            read.push_str(&self.rest()[..plain]);
            self.at += plain;
            match self.rest().bytes().next() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(read);
                }
                Some(b'\\') => {
                    let c = self.escape()?;
                    read.push(c);
                }
                _ => return Err(self.refused()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(letter) = self.rest().as_bytes().get(1).copied() else {
            return Err("unexpected end".to_owned());
        };
        let plain = match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.refused()),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, two of them for what is beyond 16 bits; half a pair is the replacement character.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.unit()?;
        if !(0xD800..0xDC00).contains(&first) || !self.rest().starts_with("\\u") {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        let second = self.unit()?;
        if (0xDC00..0xE000).contains(&second) {
            let both = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.at = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.rest().get(2..6).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(unit) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return Err(self.refused());
        };
        self.at += 6;
        Ok(unit)
    }
}

/// Writes a value as `JSON.stringify` does with two spaces; gives up, with nothing, past this many bytes.
pub(crate) fn print(value: &Value, most: usize) -> Option<String> {
    let mut writer = Writer { out: String::new(), most };
    writer.value(value, 0)?;
    Some(writer.out)
}

struct Writer {
    out: String,
    most: usize,
}

impl Writer {
    fn put(&mut self, text: &str) -> Option<()> {
        self.out.push_str(text);
        (self.out.len() <= self.most).then_some(())
    }

    fn line(&mut self, depth: usize) -> Option<()> {
        self.put("\n")?;
        (0..depth).try_for_each(|_| self.put("  "))
    }

    fn value(&mut self, value: &Value, depth: usize) -> Option<()> {
        match value {
            Value::Null => self.put("null"),
            Value::Boolean(value) => self.put(if *value { "true" } else { "false" }),
            Value::Number(value) if !value.is_finite() => self.put("null"),
            Value::Number(value) => self.put(&number::exact(*value)),
            Value::String(text) => self.string(text),
            Value::Array(array) => self.array(array, depth),
            Value::Object(object) => self.object(object, depth),
        }
    }

    fn array(&mut self, array: &Array, depth: usize) -> Option<()> {
        if array.items.is_empty() {
            return self.put("[]");
        }
        for (i, item) in array.items.iter().enumerate() {
            self.put(if i == 0 { "[" } else { "," })?;
            self.line(depth + 1)?;
            self.value(item, depth + 1)?;
        }
        self.line(depth)?;
        self.put("]")
    }

    fn object(&mut self, object: &Object, depth: usize) -> Option<()> {
        if object.is_empty() {
            return self.put("{}");
        }
        for (i, (name, value)) in object.iter().enumerate() {
            self.put(if i == 0 { "{" } else { "," })?;
            self.line(depth + 1)?;
            self.string(name)?;
            self.put(": ")?;
            self.value(value, depth + 1)?;
        }
        self.line(depth)?;
        self.put("}")
    }

    fn string(&mut self, text: &str) -> Option<()> {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c < ' ' => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.out.push(c),
            }
        }
        self.put("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> Option<String> {
        print(&parse(text).ok()?, 10_000)
    }

    #[test]
    fn what_is_read_is_written_again() {
        for (text, wanted) in [
            (" {} ", "{}"),
            ("[ ]", "[]"),
            ("[1,-0.5,1e3,-0]", "[\n  1,\n  -0.5,\n  1000,\n  0\n]"),
            (r#"{"b":null,"a":{"x":true}}"#, "{\n  \"b\": null,\n  \"a\": {\n    \"x\": true\n  }\n}"),
            (r#""\u00e9\ud83d\ude00\n\u0001\/""#, "\"é😀\\n\\u0001/\""),
            (r#"{"a":1,"b":2,"a":3}"#, "{\n  \"a\": 3,\n  \"b\": 2\n}"),
            (r#""\ud800x""#, "\"\u{fffd}x\""),
        ] {
            assert_eq!(again(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{a:1}",
            "{\"a\"}",
            "01",
            "1.",
            ".5",
            "+1",
            "'a'",
            "\"\n\"",
            "\"\\x\"",
            "nul",
            "1 2",
            "\"\\u12g4\"",
            "NaN",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&deep(100)).is_ok() && parse(&deep(200)).is_err() && parse(&deep(1_000_000)).is_err());
    }

    #[test]
    fn writing_stops_at_the_limit() {
        assert!(print(&Value::text("x".repeat(100)), 50).is_none());
    }
}
