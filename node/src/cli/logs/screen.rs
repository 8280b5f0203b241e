//! Output of jobs made safe for a terminal: colours stay, everything else that steers a terminal does not.
//!
//! Must not know where output comes from. Only for terminals: files and pipes get every byte as it was written.

use super::super::table::steers;

/// A sequence of colours longer than this is none.
const MAX_COLOURS: usize = 64;

/// Where in an escape sequence the last character was.
#[derive(Debug, Default)]
enum At {
    /// In none.
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, with its parameters so far; none when it cannot be one of colours.
    Control(Option<String>),
    /// In a string for the terminal (a title, a link, a picture), which BEL, ESC \ or the end of the line ends.
    Words,
}

/// Takes bytes in pieces of any size and gives text that is safe to write to a terminal.
#[derive(Debug, Default)]
pub struct Screen {
    at: At,
    /// The beginning of a character whose rest is still to come.
    partial: Vec<u8>,
    coloured: bool,
    /// The last line is not ended.
    open: bool,
}

impl Screen {
    /// What is to be written for these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.partial);
        let mut out = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().for_each(|c| self.character(c, &mut out));
            let bad = chunk.invalid();
            if bad.is_empty() {
                continue;
            }
            // Only at the very end may the rest of a character still come.
            let at_end = bad.as_ptr_range().end == bytes.as_ptr_range().end;
            if at_end && std::str::from_utf8(bad).is_err_and(|error| error.error_len().is_none()) {
                self.partial = bad.to_vec();
            } else {
                self.character('\u{fffd}', &mut out);
            }
        }
        out
    }

    /// What ends the output: nothing half written, no colour left on, and the cursor at the beginning of a line.
    pub fn end(&mut self) -> String {
        let mut out = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.character('\u{fffd}', &mut out);
        }
        self.at = At::Text;
        if std::mem::take(&mut self.coloured) {
            out.push_str("\u{1b}[0m");
        }
        if std::mem::take(&mut self.open) {
            out.push('\n');
        }
        out
    }

    fn character(&mut self, c: char, out: &mut String) {
        match std::mem::take(&mut self.at) {
            At::Text => self.text(c, out),
            At::Escape => match c {
                '[' => self.at = At::Control(Some(String::new())),
                ']' | 'P' | 'X' | '^' | '_' => self.at = At::Words,
                '\n' | '\u{1b}' => self.text(c, out),
                _ => {}
            },
            At::Control(so_far) => self.control(so_far, c, out),
            At::Words => match c {
                '\u{7}' | '\u{9c}' => {}
                '\n' | '\u{1b}' => self.text(c, out),
                _ => self.at = At::Words,
            },
        }
    }

    fn control(&mut self, so_far: Option<String>, c: char, out: &mut String) {
        match (c, so_far) {
            ('0'..='9' | ';' | ':', Some(so_far)) if so_far.len() < MAX_COLOURS => {
                self.at = At::Control(Some(so_far + c.encode_utf8(&mut [0; 4])));
            }
            ('m', Some(colours)) => {
                self.coloured = true;
                out.push_str(&format!("\u{1b}[{colours}m"));
            }
            (' '..='?', _) => self.at = At::Control(None),
            ('\n' | '\u{1b}', _) => self.text(c, out),
            _ => {}
        }
    }

    fn text(&mut self, c: char, out: &mut String) {
        match c {
            '\u{1b}' => {
                self.at = At::Escape;
                return;
            }
            '\u{9b}' => {
                self.at = At::Control(Some(String::new()));
                return;
            }
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => {
                self.at = At::Words;
                return;
            }
            '\n' | '\r' | '\t' => out.push(c),
            c if steers(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
        self.open = c != '\n';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut screen = Screen::default();
        let text: String = pieces.iter().map(|piece| screen.push(piece)).collect();
        text + &screen.end()
    }

    #[test]
    fn colours_and_text_stay() {
        for text in ["plain\n", "tab\tand\rback\n", "grün 漢字 🎭\n", "\u{1b}[1;31mred\u{1b}[0m\u{1b}[0m\n"]
        {
            let all = shown(&[text.as_bytes()]);
            assert_eq!(all.strip_suffix("\u{1b}[0m").unwrap_or(&all).trim_end(), text.trim_end());
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(shown(&bytes), all, "cut anywhere, it is the same");
        }
    }

    #[test]
    fn what_steers_a_terminal_does_not_get_there() {
        for (bytes, expected) in [
            (&b"\x1b]0;title\x07after\n"[..], "after\n"),
            (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\\n", "link\n"),
            (b"\x1b[2J\x1b[1;1Hgone\n", "gone\n"),
            (b"\x1b[?1049h\x1b[6n\x1bcx\n", "x\n"),
            (b"\x1bPq#0;2\x1b\\sixel\n", "sixel\n"),
            (b"\xc2\x9b2J\xc2\x9d0;t\x07c1\n", "c1\n"),
            (b"a\0b\x08c\x7f\n", "a\u{fffd}b\u{fffd}c\u{fffd}\n"),
            (b"\xff\xfe bad\n", "\u{fffd}\u{fffd} bad\n"),
            ("\u{202e}txt.exe\u{2066}\n".as_bytes(), "\u{fffd}txt.exe\u{fffd}\n"),
            // A string that is never ended hides no more than its line.
            (b"\x1b]0;never ended\nnext\n", "\nnext\n"),
            (b"\x1b[999999999999999999999999999999999999999999999999999999999999999999999999mx\n", "x\n"),
        ] {
            assert_eq!(shown(&[bytes]), expected, "{bytes:?}");
            let cut: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(shown(&cut), expected, "cut: {bytes:?}");
        }
    }

    #[test]
    fn an_end_is_tidy() {
        assert_eq!(shown(&[b"no newline"]), "no newline\n");
        assert_eq!(shown(&[b"\x1b[31mred"]), "\u{1b}[31mred\u{1b}[0m\n");
        assert_eq!(shown(&[b"cut \xe2\x82"]), "cut \u{fffd}\n");
        assert_eq!(shown(&[b"\x1b[3"]), "");
        assert_eq!(shown(&[]), "");
    }
}
