//! Tokens to a tree, with what is allowed where it stands. Rules: actions/languageservices `expressions/src/parser.ts`.

use std::sync::Arc;

use super::MAX_DEPTH;
use super::ast::{Comparison, Expression, Node};
use super::error::{Error, Kind, Unknown};
use super::lexer::{Token, What, lex};
use super::scope::{EVERYWHERE, Scope};
use super::value::Value;

impl Expression {
    /// Reads an expression, without `${{` and `}}`. The empty one is null.
    ///
    /// # Errors
    /// What is no expression, names what the scope does not have, or is over [`super::MAX_DEPTH`] or
    /// [`super::MAX_LENGTH`].
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, Error> {
        let tokens = lex(text)?;
        let mut parser = Parser { text, tokens: &tokens, at: 0, depth: 0, scope };
        let root = if tokens.is_empty() { Node::Literal(Value::Null) } else { parser.whole()? };
        Ok(Self { text: Arc::from(text.trim()), root: Arc::new(root) })
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    scope: &'a Scope,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Node, Error> {
        let node = self.expression()?;
        match self.peek() {
            None => Ok(node),
            Some(token) => Err(self.unexpected(token)),
        }
    }

    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, what: &What) -> bool {
        let found = self.peek().is_some_and(|token| token.what == *what);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, what: &What) -> Result<(), Error> {
        if self.take(what) { Ok(()) } else { Err(self.unexpected_here()) }
    }

    /// Reads one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.enter()?;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(Error::without_place(Kind::Parsing, format!("Exceeded max expression depth {MAX_DEPTH}")))
    }

    fn expression(&mut self) -> Result<Node, Error> {
        self.deeper(|parser| {
            parser
                .logical(&What::Or, Node::Or, |parser| parser.logical(&What::And, Node::And, Self::equality))
        })
    }

    /// One operand, or some with this operator between them.
    fn logical(
        &mut self,
        operator: &What,
        make: fn(Vec<Node>) -> Node,
        operand: fn(&mut Self) -> Result<Node, Error>,
    ) -> Result<Node, Error> {
        let first = operand(self)?;
        if self.peek().is_none_or(|token| token.what != *operator) {
            return Ok(first);
        }
        self.deeper(|parser| {
            let mut operands = vec![first];
            while parser.take(operator) {
                operands.push(operand(parser)?);
            }
            Ok(make(operands))
        })
    }

    fn equality(&mut self) -> Result<Node, Error> {
        let operators = [(What::Equal, Comparison::Equal), (What::NotEqual, Comparison::NotEqual)];
        self.comparisons(&operators, |parser| {
            let operators = [
                (What::Greater, Comparison::Greater),
                (What::GreaterEqual, Comparison::GreaterEqual),
                (What::Less, Comparison::Less),
                (What::LessEqual, Comparison::LessEqual),
            ];
            parser.comparisons(&operators, Self::unary)
        })
    }

    /// Operands with any of these operators between them, from left to right.
    fn comparisons(
        &mut self,
        operators: &[(What, Comparison)],
        operand: fn(&mut Self) -> Result<Node, Error>,
    ) -> Result<Node, Error> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some((_, comparison)) = operators.iter().find(|(what, _)| self.take(what)) {
            rest.push((*comparison, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Node::Compare(Box::new(first), rest) })
    }

    fn unary(&mut self) -> Result<Node, Error> {
        if self.take(&What::Not) {
            return self.deeper(|parser| Ok(Node::Not(Box::new(parser.unary()?))));
        }
        let depth = self.depth;
        let node = self.indexed();
        // A failure ends the reading, so that the depth no longer matters then.
        self.depth = depth;
        node
    }

    /// A value, and what is asked of it with `.` and `[]`; each goes one level deeper.
    fn indexed(&mut self) -> Result<Node, Error> {
        let (mut node, can_be_indexed) = self.value()?;
        if !can_be_indexed {
            return Ok(node);
        }
        loop {
            if self.take(&What::LeftBracket) {
                let index = if self.take(&What::Star) { None } else { Some(self.expression()?) };
                self.expect(&What::RightBracket)?;
                self.enter()?;
                node = index_of(node, index);
            } else if self.take(&What::Dot) {
                self.enter()?;
                let Some(name) = self.peek() else { return Err(self.unexpected_here()) };
                let index = match &name.what {
                    What::Star => None,
                    What::Name => Some(Node::Literal(Value::text(name.shown))),
                    _ => return Err(self.unexpected(name)),
                };
                self.at += 1;
                node = index_of(node, index);
            } else {
                return Ok(node);
            }
        }
    }

    /// A value, and whether something can be asked of it: not of a literal.
    fn value(&mut self) -> Result<(Node, bool), Error> {
        let Some(token) = self.peek() else { return Err(self.unexpected_here()) };
        self.at += 1;
        let literal = match &token.what {
            What::True => Value::Boolean(true),
            What::False => Value::Boolean(false),
            What::Null => Value::Null,
            What::Number(value) => Value::Number(*value),
            What::Text(value) => Value::text(value),
            What::LeftParen => {
                let node = self.expression()?;
                self.expect(&What::RightParen)?;
                return Ok((node, true));
            }
            What::Name if self.take(&What::LeftParen) => return Ok((self.call(token)?, true)),
            What::Name if self.scope.has_context(token.shown) => {
                return Ok((Node::Context(token.shown.to_owned()), true));
            }
            What::Name => {
                let unknown = Some(Unknown::Context(token.shown.to_owned()));
                return Err(Error { unknown, ..self.refused("Unrecognized named-value", token) });
            }
            _ => return Err(self.unexpected(token)),
        };
        Ok((Node::Literal(literal), false))
    }

    fn call(&mut self, name: &Token<'_>) -> Result<Node, Error> {
        let mut arguments = Vec::new();
        if !self.take(&What::RightParen) {
            loop {
                arguments.push(self.expression()?);
                if self.take(&What::RightParen) {
                    break;
                }
                self.expect(&What::Comma)?;
            }
        }
        self.check_call(name, arguments.len())?;
        Ok(Node::Call(name.shown.to_ascii_lowercase(), arguments))
    }

    fn check_call(&self, name: &Token<'_>, arguments: usize) -> Result<(), Error> {
        let mut known = EVERYWHERE.iter().chain(self.scope.functions);
        let Some(function) = known.find(|known| known.name.eq_ignore_ascii_case(name.shown)) else {
            let unknown = Some(Unknown::Function(name.shown.to_owned()));
            return Err(Error { unknown, ..self.refused("Unrecognized function", name) });
        };
        if arguments < function.least {
            return Err(self.refused("Too few parameters supplied", name));
        }
        if arguments > function.most {
            return Err(self.refused("Too many parameters supplied", name));
        }
        if function.name == "case" && arguments.is_multiple_of(2) {
            let what = "Even number of parameters supplied, requires an odd number of parameters";
            return Err(self.refused(what, name));
        }
        Ok(())
    }

    fn refused(&self, what: &str, token: &Token<'_>) -> Error {
        Error::at(Kind::Parsing, format!("{what}: '{}'", token.shown), self.text, token.at)
    }

    fn unexpected(&self, token: &Token<'_>) -> Error {
        self.refused("Unexpected symbol", token)
    }

    /// The token that is here; at the end, the last one, after which something is missing.
    fn unexpected_here(&self) -> Error {
        match (self.peek(), self.tokens.last()) {
            (Some(token), _) => self.unexpected(token),
            (None, Some(last)) => self.refused("Unexpected end of expression", last),
            (None, None) => Error::without_place(Kind::Parsing, "Unexpected end of expression"),
        }
    }
}

fn index_of(node: Node, index: Option<Node>) -> Node {
    match index {
        None => Node::All(Box::new(node)),
        Some(index) => Node::Index(Box::new(node), Box::new(index)),
    }
}
