//! Tokens into a syntax tree.

use std::sync::Arc;

use super::{
    Function,
    lex::{Lexer, Token},
    syntax::{Comparison, Key, Literal, Node, NodeKind, Span, Step},
};

/// The longest source, in bytes. Source: `MaxLength` of `actions/runner`.
pub const LIMIT_SOURCE: usize = 21_000;

/// The deepest nesting. Source: `MaxDepth` of `actions/runner`.
pub const LIMIT_DEPTH: usize = 50;

/// Why a text is no expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// Where it is wrong.
    pub span: Span,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// There is nothing.
    #[error("expected an expression, found nothing")]
    Empty,
    /// The text is too long.
    #[error("the expression is longer than {LIMIT_SOURCE} bytes")]
    TooLong,
    /// It nests too deeply.
    #[error("the expression nests deeper than {LIMIT_DEPTH} levels")]
    TooDeep,
    /// No token starts with this character.
    #[error("unexpected character `{}`", .0.escape_default())]
    Character(char),
    /// A string is not closed.
    #[error("the string is not closed")]
    OpenString,
    /// This is no number.
    #[error("`{0}` is not a number")]
    Number(String),
    /// Something else should stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// There is no such function.
    #[error("unknown function `{0}`")]
    UnknownFunction(String),
    /// A call has too few or too many arguments.
    #[error("`{name}` takes {expected}, found {found}")]
    Arity {
        /// The function.
        name: &'static str,
        /// How many it takes.
        expected: String,
        /// How many were given.
        found: usize,
    },
    /// `${{` without `}}`.
    #[error("`${{{{` is not closed by `}}}}`")]
    OpenTemplate,
}

/// Parses an expression, without `${{` and `}}`.
///
/// # Errors
///
/// Fails where `source` is no expression, is longer than [`LIMIT_SOURCE`] bytes, or nests deeper than [`LIMIT_DEPTH`].
pub fn parse(source: &str) -> Result<Node, ParseError> {
    let whole = Span::new(0, source.len());
    if source.len() > LIMIT_SOURCE {
        return Err(ParseError { span: whole, kind: ParseErrorKind::TooLong });
    }
    let mut lexer = Lexer::new(source);
    let (token, span) = lexer.next()?;
    if token == Token::End {
        return Err(ParseError { span: whole, kind: ParseErrorKind::Empty });
    }
    let mut parser = Parser { lexer, token, span, depth: 0 };
    let Tall { node, .. } = parser.or()?;
    match parser.token {
        Token::End => Ok(node),
        _ => Err(parser.expected("an operator or the end")),
    }
}

/// A node and the levels it has, itself included.
struct Tall {
    node: Node,
    height: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    span: Span,
    /// How many calls deep the parser is.
    depth: usize,
}

type Parsed = Result<Tall, ParseError>;

impl Parser<'_> {
    fn advance(&mut self) -> Result<(Token, Span), ParseError> {
        let (token, span) = self.lexer.next()?;
        Ok((std::mem::replace(&mut self.token, token), std::mem::replace(&mut self.span, span)))
    }

    fn expected(&self, what: &'static str) -> ParseError {
        ParseError { span: self.span, kind: ParseErrorKind::Expected(what) }
    }

    fn take(&mut self, token: &Token, what: &'static str) -> Result<Span, ParseError> {
        if self.token == *token { self.advance().map(|(_, span)| span) } else { Err(self.expected(what)) }
    }

    fn too_deep(span: Span) -> ParseError {
        ParseError { span, kind: ParseErrorKind::TooDeep }
    }

    fn node(span: Span, kind: NodeKind, below: usize) -> Parsed {
        if below >= LIMIT_DEPTH {
            return Err(Self::too_deep(span));
        }
        Ok(Tall { node: Node { span, kind }, height: below + 1 })
    }

    /// Runs `inner` one level deeper.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= LIMIT_DEPTH {
            return Err(Self::too_deep(self.span));
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Parsed {
        self.chain(&Token::Or, Self::and, NodeKind::Or, |kind| match kind {
            NodeKind::Or(operands) => Ok(operands),
            other => Err(other),
        })
    }

    fn and(&mut self) -> Parsed {
        self.chain(&Token::And, Self::equality, NodeKind::And, |kind| match kind {
            NodeKind::And(operands) => Ok(operands),
            other => Err(other),
        })
    }

    /// Parses operands joined by `operator`, as one node whatever their number and grouping: both are associative.
    fn chain(
        &mut self,
        operator: &Token,
        operand: fn(&mut Self) -> Parsed,
        make: fn(Vec<Node>) -> NodeKind,
        split: fn(NodeKind) -> Result<Vec<Node>, NodeKind>,
    ) -> Parsed {
        let first = operand(self)?;
        if self.token != *operator {
            return Ok(first);
        }
        let mut span = first.node.span;
        let mut below = 0;
        let mut operands = Vec::new();
        let mut add = |Tall { node, height }: Tall| {
            span = span.to(node.span);
            match split(node.kind) {
                Ok(inner) => {
                    below = below.max(height - 1);
                    operands.extend(inner);
                }
                Err(kind) => {
                    below = below.max(height);
                    operands.push(Node { span: node.span, kind });
                }
            }
        };
        add(first);
        while self.token == *operator {
            self.advance()?;
            add(operand(self)?);
        }
        Self::node(span, make(operands), below)
    }

    fn equality(&mut self) -> Parsed {
        self.comparisons(Self::relation, |c| matches!(c, Comparison::Equal | Comparison::NotEqual))
    }

    fn relation(&mut self) -> Parsed {
        self.comparisons(Self::unary, |c| !matches!(c, Comparison::Equal | Comparison::NotEqual))
    }

    fn comparisons(&mut self, operand: fn(&mut Self) -> Parsed, ours: fn(Comparison) -> bool) -> Parsed {
        let mut left = operand(self)?;
        while let Token::Compare(comparison) = self.token
            && ours(comparison)
        {
            self.advance()?;
            let right = operand(self)?;
            let (span, below) = (left.node.span.to(right.node.span), left.height.max(right.height));
            let (left_node, right) = (Box::new(left.node), Box::new(right.node));
            left = Self::node(span, NodeKind::Compare { comparison, left: left_node, right }, below)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        if self.token != Token::Not {
            return self.access();
        }
        let (_, start) = self.advance()?;
        let operand = self.deeper(Self::unary)?;
        Self::node(start.to(operand.node.span), NodeKind::Not(Box::new(operand.node)), operand.height)
    }

    fn access(&mut self) -> Parsed {
        let base = self.primary()?;
        let (mut span, mut below) = (base.node.span, base.height);
        let mut path = Vec::new();
        loop {
            let dotted = match self.token {
                Token::Dot => true,
                Token::OpenIndex => false,
                _ => break,
            };
            let (_, start) = self.advance()?;
            let (key, end) = if dotted { self.property()? } else { self.index(&mut below)? };
            path.push(Step { span: start.to(end), key });
            span = span.to(end);
        }
        if path.is_empty() {
            return Ok(base);
        }
        // Steps into steps, as in `(a.b).c`, are one path.
        match base.node.kind {
            NodeKind::Access { base: inner, path: mut steps } => {
                steps.append(&mut path);
                Self::node(span, NodeKind::Access { base: inner, path: steps }, below.max(1) - 1)
            }
            kind => {
                let base = Box::new(Node { span: base.node.span, kind });
                Self::node(span, NodeKind::Access { base, path }, below)
            }
        }
    }

    fn property(&mut self) -> Result<(Key, Span), ParseError> {
        match &mut self.token {
            Token::Star => Ok((Key::Wildcard, self.advance()?.1)),
            Token::Word(word) => {
                let key = Key::Property(std::mem::take(word).into());
                Ok((key, self.advance()?.1))
            }
            _ => Err(self.expected("a property name or `*` after `.`")),
        }
    }

    fn index(&mut self, below: &mut usize) -> Result<(Key, Span), ParseError> {
        let key = if self.token == Token::Star {
            self.advance()?;
            Key::Wildcard
        } else {
            let index = self.deeper(Self::or)?;
            match index.node.kind {
                NodeKind::Literal(Literal::String(text)) => Key::Property(text),
                _ => {
                    *below = (*below).max(index.height);
                    Key::Index(Box::new(index.node))
                }
            }
        };
        Ok((key, self.take(&Token::CloseIndex, "`]`")?))
    }

    fn primary(&mut self) -> Parsed {
        let literal = match &mut self.token {
            Token::Number(number) => Literal::Number(*number),
            Token::String(text) => Literal::String(std::mem::take(text).into()),
            Token::Word(word) => {
                let word = std::mem::take(word);
                return self.word(&word);
            }
            Token::Open => return self.group(),
            Token::End => return Err(self.expected("an operand before the end")),
            _ => return Err(self.expected("a value, a name or a call")),
        };
        let (_, span) = self.advance()?;
        Self::node(span, NodeKind::Literal(literal), 0)
    }

    fn group(&mut self) -> Parsed {
        let (_, start) = self.advance()?;
        let mut inner = self.deeper(Self::or)?;
        inner.node.span = start.to(self.take(&Token::Close, "`)`")?);
        Ok(inner)
    }

    fn word(&mut self, word: &str) -> Parsed {
        let (_, span) = self.advance()?;
        if self.token == Token::Open {
            return self.call(word, span);
        }
        let literal = match word {
            "null" => Literal::Null,
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            "NaN" => Literal::Number(f64::NAN),
            "Infinity" => Literal::Number(f64::INFINITY),
            name => return Self::node(span, NodeKind::Name(Arc::from(name)), 0),
        };
        Self::node(span, NodeKind::Literal(literal), 0)
    }

    fn call(&mut self, name: &str, start: Span) -> Parsed {
        let Some(function) = Function::find(name) else {
            return Err(ParseError { span: start, kind: ParseErrorKind::UnknownFunction(name.to_owned()) });
        };
        self.advance()?;
        let mut arguments = Vec::new();
        let mut below = 0;
        while self.token != Token::Close {
            if !arguments.is_empty() {
                self.take(&Token::Comma, "`,` or `)`")?;
            }
            let argument = self.deeper(Self::or)?;
            below = below.max(argument.height);
            arguments.push(argument.node);
        }
        let (_, end) = self.advance()?;
        let span = start.to(end);
        check_arity(function, arguments.len()).map_err(|kind| ParseError { span, kind })?;
        Self::node(span, NodeKind::Call { function, arguments }, below)
    }
}

fn check_arity(function: Function, found: usize) -> Result<(), ParseErrorKind> {
    let (least, most) = function.arity();
    let odd = function != Function::Case || found % 2 == 1;
    if (least..=most).contains(&found) && odd {
        return Ok(());
    }
    let expected = match (function, least, most) {
        (Function::Case, ..) => "pairs of a condition and a value, and one value more".to_owned(),
        (_, 0, 0) => "no arguments".to_owned(),
        (_, 1, 1) => "1 argument".to_owned(),
        (_, least, most) if least == most => format!("{least} arguments"),
        (_, least, most) => format!("{least} to {most} arguments"),
    };
    Err(ParseErrorKind::Arity { name: function.name(), expected, found })
}
