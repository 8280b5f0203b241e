//! Text to tokens. Rules: actions/languageservices `expressions/src/lexer.ts`.

use super::error::{Error, Kind};
use super::{MAX_LENGTH, number};

/// A token, and the byte where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub what: What,
    /// As written; of a text what it says, without its quotes.
    pub shown: &'a str,
    pub at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Dot,
    Star,
    Not,
    NotEqual,
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    And,
    Or,
    Number(f64),
    Text(String),
    Name,
    True,
    False,
    Null,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
}

/// All tokens of a text.
pub(crate) fn lex(text: &str) -> Result<Vec<Token<'_>>, Error> {
    // A text has at least as many bytes as UTF-16 units.
    if text.len() > MAX_LENGTH && text.encode_utf16().count() > MAX_LENGTH {
        let message = format!("Exceeded max expression length {MAX_LENGTH}");
        return Err(Error::without_place(Kind::Lexing, message));
    }
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    while let Some(c) = lexer.peek() {
        lexer.token(c)?;
    }
    Ok(lexer.tokens)
}

impl<'a> Lexer<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn token(&mut self, c: char) -> Result<(), Error> {
        let one = |this: &mut Self, what| this.push(what, 1);
        match c {
            '(' => one(self, What::LeftParen),
            ')' => one(self, What::RightParen),
            '[' => one(self, What::LeftBracket),
            ']' => one(self, What::RightBracket),
            ',' => one(self, What::Comma),
            '*' => one(self, What::Star),
            '.' if self.follows_a_value() => one(self, What::Dot),
            '.' | '-' | '+' | '0'..='9' => return self.number(),
            '!' => self.maybe_equal(What::Not, What::NotEqual),
            '>' => self.maybe_equal(What::Greater, What::GreaterEqual),
            '<' => self.maybe_equal(What::Less, What::LessEqual),
            '=' => return self.twice("==", What::Equal),
            '&' => return self.twice("&&", What::And),
            '|' => return self.twice("||", What::Or),
            '\'' => return self.quoted(),
            c if c.is_whitespace() => self.at += c.len_utf8(),
            _ => return self.name(),
        }
        Ok(())
    }

    fn push(&mut self, what: What, bytes: usize) {
        let shown = &self.text[self.at..self.at + bytes];
        self.tokens.push(Token { what, shown, at: self.at });
        self.at += bytes;
    }

    fn follows_a_value(&self) -> bool {
        let last = self.tokens.last().map(|token| &token.what);
        matches!(last, Some(What::Name | What::RightBracket | What::RightParen | What::Star))
    }

    fn maybe_equal(&mut self, alone: What, equal: What) {
        if self.text[self.at + 1..].starts_with('=') { self.push(equal, 2) } else { self.push(alone, 1) }
    }

    fn twice(&mut self, wanted: &str, what: What) -> Result<(), Error> {
        if self.text[self.at..].starts_with(wanted) {
            self.push(what, wanted.len());
            return Ok(());
        }
        Err(self.unexpected(self.word(false)))
    }

    fn number(&mut self) -> Result<(), Error> {
        let bytes = self.word(true);
        let value = number::parse(&self.text[self.at..self.at + bytes]);
        if value.is_nan() {
            return Err(self.unexpected(bytes));
        }
        self.push(What::Number(value), bytes);
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), Error> {
        let rest = &self.text[self.at + 1..];
        let (mut value, mut from) = (String::new(), 0);
        while let Some(quote) = rest[from..].find('\'').map(|found| from + found) {
            value.push_str(&rest[from..quote]);
            if !rest[quote + 1..].starts_with('\'') {
                let token = Token { what: What::Text(value), shown: &rest[..quote], at: self.at };
                self.tokens.push(token);
                self.at += quote + 2;
                return Ok(());
            }
            value.push('\'');
            from = quote + 2;
        }
        Err(self.unexpected(self.text.len() - self.at))
    }

    fn name(&mut self) -> Result<(), Error> {
        let bytes = self.word(false);
        let word = &self.text[self.at..self.at + bytes];
        let after_dot = matches!(self.tokens.last(), Some(Token { what: What::Dot, .. }));
        let what = match word {
            "true" if !after_dot => What::True,
            "false" if !after_dot => What::False,
            "null" if !after_dot => What::Null,
            "NaN" if !after_dot => What::Number(f64::NAN),
            "Infinity" if !after_dot => What::Number(f64::INFINITY),
            _ if is_name(word) => What::Name,
            _ => return Err(self.unexpected(bytes)),
        };
        self.push(what, bytes);
        Ok(())
    }

    /// Bytes of the word that begins here: its first character, whatever it is, and all up to the next boundary.
    fn word(&self, dots: bool) -> usize {
        let rest = &self.text[self.at..];
        let boundary = |c: char| {
            matches!(c, '(' | '[' | ')' | ']' | ',' | '!' | '>' | '<' | '=' | '&' | '|')
                || (c == '.' && !dots)
                || c.is_whitespace()
        };
        let end = rest.char_indices().skip(1).find(|(_, c)| boundary(*c));
        end.map_or(rest.len(), |(at, _)| at)
    }

    fn unexpected(&self, bytes: usize) -> Error {
        let word = &self.text[self.at..self.at + bytes];
        Error::at(Kind::Lexing, format!("Unexpected symbol: '{word}'"), self.text, self.at)
    }
}

/// Letters, digits, `_` and `-`, a letter or `_` first.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
