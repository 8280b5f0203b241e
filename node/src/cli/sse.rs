//! Server-sent events, read from bytes as they come (WHATWG HTML, "Server-sent events").
//!
//! Must not know connections or what events mean.

/// One event may not be longer than a run with all its jobs can be.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id, when it has one.
    pub id: Option<String>,
    /// Its kind; empty when it names none.
    pub kind: String,
    /// Its data, lines joined by `\n`.
    pub data: String,
}

/// An event of more bytes than any of this API's has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MAX_EVENT_BYTES} bytes")]
pub struct TooLong;

/// Makes events of bytes.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// What is before is consumed.
    begin: usize,
    /// No line ends between `begin` and here.
    searched: usize,
    /// The event whose lines are coming.
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole event, when all of it has come.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn next(&mut self) -> Result<Option<Event>, TooLong> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line.as_str(), ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => self.event.kind = value.to_owned(),
                "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
                "data" => {
                    if self.has_data {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                    self.has_data = true;
                }
                // Comments keep the connection alive; other fields are not for us.
                _ => {}
            }
            if self.event.data.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
        }
        if self.bytes.len() - self.begin > MAX_EVENT_BYTES { Err(TooLong) } else { Ok(None) }
    }

    /// The next whole line without its end.
    fn line(&mut self) -> Option<String> {
        let Some(length) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + length;
        let line = &self.bytes[self.begin..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = String::from_utf8_lossy(line).into_owned();
        (self.begin, self.searched) = (end + 1, end + 1);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ":\n\nevent:output\ndata:YQ==\nid:1\n\nevent: end\r\ndata:\r\n\r\nretry:5\n\ndata: x\ndata:\ndata:y\n\nevent:cut";

    fn event(id: Option<&str>, kind: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), kind: kind.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let expected =
            [event(Some("1"), "output", "YQ=="), event(None, "end", ""), event(None, "", "x\n\ny")];
        for size in 1..=STREAM.len() {
            let (mut parser, mut found) = (Parser::default(), Vec::new());
            for part in STREAM.as_bytes().chunks(size) {
                parser.push(part);
                while let Some(event) = parser.next().unwrap() {
                    found.push(event);
                }
            }
            assert_eq!(found, expected, "in pieces of {size} bytes");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut lines = Parser::default();
        let line = format!("data:{}\n", "x".repeat(1 << 20));
        let refused = (0..5).any(|_| {
            lines.push(line.as_bytes());
            lines.next() == Err(TooLong)
        });
        assert!(refused);
        let mut one = Parser::default();
        one.push(&vec![b'x'; MAX_EVENT_BYTES + 1]);
        assert_eq!(one.next(), Err(TooLong));
    }
}
