//! Reads expressions as C writes them (ISO/IEC 9899, 6.5), without assignments, calls and the comma; names of types are in
//! [`type_name`].

mod type_name;

use super::error::{ExpressionError, Problem};
use super::span::Span;
use super::syntax::{Binary, Node, NodeKind, Unary};
use super::token::{Token, TokenKind, tokens};

/// Nodes within each other.
const MAX_HEIGHT: usize = 100;
/// What precedes all of an expression: nothing.
const LOWEST: u8 = 0;

/// Reads an expression. `is_type` says which names are types, without which C cannot be read: `(a)(b)` is a cast, or not.
///
/// # Errors
///
/// It is no expression.
pub fn parse(text: &str, is_type: &dyn Fn(&str) -> bool) -> Result<Node, ExpressionError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, is_type };
    let node = parser.expression()?;
    match parser.peek().kind {
        TokenKind::End => Ok(node),
        TokenKind::Punctuation("=") => Err(parser.error(Problem::Assignment)),
        _ => Err(parser.error(Problem::Expected("an operator or the end"))),
    }
}

/// Reads tokens one after another.
pub(super) struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    /// How many expressions there are around what is read.
    depth: usize,
    pub is_type: &'a dyn Fn(&str) -> bool,
}

/// The end, where there should be one.
static END: Token = Token { kind: TokenKind::End, span: Span::new(0, 0) };

/// An operator with two operands, and how tightly it binds.
fn binary(text: &str) -> Option<(u8, Operator)> {
    use Operator::{Logical, Plain, Several};
    Some(match text {
        "||" => (1, Logical(false)),
        "&&" => (2, Logical(true)),
        "|" => (3, Plain(Binary::Or)),
        "^" => (4, Plain(Binary::ExclusiveOr)),
        "&" => (5, Plain(Binary::And)),
        "==" => (6, Plain(Binary::Equal)),
        "!=" => (6, Plain(Binary::NotEqual)),
        "<" => (7, Plain(Binary::Less)),
        ">" => (7, Plain(Binary::Greater)),
        "<=" => (7, Plain(Binary::LessOrEqual)),
        ">=" => (7, Plain(Binary::GreaterOrEqual)),
        "<<" => (8, Plain(Binary::ShiftLeft)),
        ">>" => (8, Plain(Binary::ShiftRight)),
        // As gdb(1) has it.
        "@" => (9, Several),
        "+" => (10, Plain(Binary::Add)),
        "-" => (10, Plain(Binary::Subtract)),
        "*" => (11, Plain(Binary::Multiply)),
        "/" => (11, Plain(Binary::Divide)),
        "%" => (11, Plain(Binary::Remainder)),
        _ => return None,
    })
}

enum Operator {
    Plain(Binary),
    Logical(bool),
    Several,
}

impl Operator {
    fn node(self, left: Box<Node>, right: Box<Node>) -> NodeKind {
        match self {
            Self::Plain(operator) => NodeKind::Binary(operator, left, right),
            Self::Logical(is_and) => NodeKind::Logical { is_and, left, right },
            Self::Several => NodeKind::Several(left, right),
        }
    }
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&END)
    }

    pub(super) fn peek_behind(&self, tokens: usize) -> &TokenKind {
        self.tokens.get(self.at.saturating_add(tokens)).map_or(&END.kind, |token| &token.kind)
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = self.at.saturating_add(1);
        token
    }

    /// Where what was read last is.
    pub(super) fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(END.span, |token| token.span)
    }

    pub(super) fn is_at(&self, text: &str) -> bool {
        matches!(self.peek().kind, TokenKind::Punctuation(found) if found == text)
    }

    /// Reads a token if it is this one.
    pub(super) fn accept(&mut self, text: &str) -> bool {
        let is_there = self.is_at(text);
        if is_there {
            self.next();
        }
        is_there
    }

    pub(super) fn expect(&mut self, text: &str, what: &'static str) -> Result<(), ExpressionError> {
        if self.accept(text) { Ok(()) } else { Err(self.error(Problem::Expected(what))) }
    }

    /// An error at the next token.
    pub(super) fn error(&self, problem: Problem) -> ExpressionError {
        ExpressionError::new(self.peek().span, problem)
    }

    pub(super) fn name(&mut self, what: &'static str) -> Result<(String, Span), ExpressionError> {
        match self.peek().kind.clone() {
            TokenKind::Name { module: None, name } => Ok((name, self.next().span)),
            _ => Err(self.error(Problem::Expected(what))),
        }
    }

    fn node(&self, start: Span, kind: NodeKind) -> Result<Node, ExpressionError> {
        let span = start.to(self.last_span());
        let height = children(&kind).map(|child| child.height).max().unwrap_or(0) + 1;
        let node = Node { span, kind, height };
        if height > MAX_HEIGHT { Err(ExpressionError::new(span, Problem::TooDeep)) } else { Ok(node) }
    }

    /// Something that is one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ExpressionError>,
    ) -> Result<T, ExpressionError> {
        if self.depth >= MAX_HEIGHT {
            return Err(self.error(Problem::TooDeep));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    /// `a ? b : c`, which binds least.
    pub(super) fn expression(&mut self) -> Result<Node, ExpressionError> {
        self.nested(|parser| {
            let start = parser.peek().span;
            let condition = parser.operators(LOWEST)?;
            if !parser.accept("?") {
                return Ok(condition);
            }
            let then = parser.expression()?;
            parser.expect(":", "':' and what holds otherwise")?;
            let otherwise = parser.expression()?;
            parser.node(start, NodeKind::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise)))
        })
    }

    /// Operands with operators between them that bind more tightly than one.
    fn operators(&mut self, limit: u8) -> Result<Node, ExpressionError> {
        let start = self.peek().span;
        let mut left = self.nested(Self::unary)?;
        while let TokenKind::Punctuation(text) = self.peek().kind
            && let Some((precedence, operator)) = binary(text).filter(|(precedence, _)| *precedence > limit)
        {
            self.next();
            let right = self.nested(|parser| parser.operators(precedence))?;
            left = self.node(start, operator.node(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, ExpressionError> {
        let start = self.peek().span;
        let kind = match &self.peek().kind {
            TokenKind::Punctuation(text) => match *text {
                "*" => self.operand(NodeKind::Dereference)?,
                "&" => self.operand(NodeKind::AddressOf)?,
                "+" => self.operand(|operand| NodeKind::Unary(Unary::Plus, operand))?,
                "-" => self.operand(|operand| NodeKind::Unary(Unary::Minus, operand))?,
                "~" => self.operand(|operand| NodeKind::Unary(Unary::Complement, operand))?,
                "!" => self.operand(|operand| NodeKind::Unary(Unary::Not, operand))?,
                // `&&a` is no operator here.
                "(" if self.begins_type(1) => {
                    self.next();
                    let name = self.type_name()?;
                    self.expect(")", "')' behind the type")?;
                    NodeKind::Cast(name, Box::new(self.nested(Self::unary)?))
                }
                _ => return self.postfix(),
            },
            TokenKind::Name { module: None, name } if name == "sizeof" => self.size_of()?,
            _ => return self.postfix(),
        };
        self.node(start, kind)
    }

    fn operand(&mut self, kind: impl FnOnce(Box<Node>) -> NodeKind) -> Result<NodeKind, ExpressionError> {
        self.next();
        Ok(kind(Box::new(self.nested(Self::unary)?)))
    }

    fn size_of(&mut self) -> Result<NodeKind, ExpressionError> {
        self.next();
        if !(self.is_at("(") && self.begins_type(1)) {
            return Ok(NodeKind::SizeOf(Box::new(self.nested(Self::unary)?)));
        }
        self.next();
        let name = self.type_name()?;
        self.expect(")", "')' behind the type")?;
        Ok(NodeKind::SizeOfType(name))
    }

    fn offset_of(&mut self) -> Result<NodeKind, ExpressionError> {
        self.expect("(", "offsetof(TYPE, MEMBER)")?;
        let name = self.type_name()?;
        self.expect(",", "',' and a member")?;
        let mut path = vec![self.name("a member's name")?];
        while self.accept(".") {
            path.push(self.name("a member's name")?);
        }
        self.expect(")", "')' behind the member")?;
        Ok(NodeKind::OffsetOf(name, path))
    }

    /// An operand with what is behind it: members and indices.
    fn postfix(&mut self) -> Result<Node, ExpressionError> {
        let start = self.peek().span;
        let mut node = self.primary()?;
        loop {
            let kind = if self.accept(".") {
                self.member(node, false)?
            } else if self.accept("->") {
                self.member(node, true)?
            } else if self.accept("[") {
                let index = self.expression()?;
                self.expect("]", "']' behind the index")?;
                NodeKind::Index(Box::new(node), Box::new(index))
            } else if self.is_at("(") {
                return Err(self.error(Problem::Call));
            } else {
                return Ok(node);
            };
            node = self.node(start, kind)?;
        }
    }

    fn member(&mut self, of: Node, through_pointer: bool) -> Result<NodeKind, ExpressionError> {
        let (name, name_span) = self.name("a member's name")?;
        Ok(NodeKind::Member { of: Box::new(of), name, name_span, through_pointer })
    }

    fn primary(&mut self) -> Result<Node, ExpressionError> {
        let start = self.peek().span;
        let kind = match self.peek().kind.clone() {
            TokenKind::Integer(literal) => {
                self.next();
                NodeKind::Integer(literal)
            }
            TokenKind::Name { module: None, name } if name == "offsetof" => {
                self.next();
                self.offset_of()?
            }
            TokenKind::Name { module, name } => {
                if self.begins_type(0) && type_name::is_keyword(&name) {
                    return Err(self.error(Problem::Expected("a value: a type stands in parentheses, before one")));
                }
                self.next();
                NodeKind::Name { module, name }
            }
            TokenKind::Dollar(name) if name.is_empty() => {
                self.next();
                NodeKind::Element
            }
            TokenKind::Dollar(name) => {
                self.next();
                self.special(name)?
            }
            // Before what is read next there is nothing: it is the element's.
            TokenKind::Punctuation("." | "->") => {
                return Ok(Node { span: Span::new(start.start, start.start), kind: NodeKind::Element, height: 1 });
            }
            TokenKind::Punctuation("(") => {
                self.next();
                let inner = self.expression()?;
                self.expect(")", "')'")?;
                return Ok(Node { span: start.to(self.last_span()), ..inner });
            }
            TokenKind::Punctuation(_) | TokenKind::End => return Err(self.error(Problem::Expected("a value"))),
        };
        self.node(start, kind)
    }

    fn special(&mut self, name: String) -> Result<NodeKind, ExpressionError> {
        let argument = if self.accept("(") {
            let argument = self.expression()?;
            self.expect(")", "')'")?;
            Some(Box::new(argument))
        } else {
            None
        };
        Ok(NodeKind::Special { name, argument })
    }
}

/// The nodes that a node consists of.
fn children(kind: &NodeKind) -> impl Iterator<Item = &Node> {
    use NodeKind as K;
    let found: [Option<&Node>; 3] = match kind {
        K::Integer(_) | K::Name { .. } | K::Element | K::SizeOfType(_) | K::OffsetOf(..) => [None; 3],
        K::Special { argument, .. } => [argument.as_deref(), None, None],
        K::Member { of, .. } => [Some(of), None, None],
        K::Dereference(a) | K::AddressOf(a) | K::Unary(_, a) | K::Cast(_, a) | K::SizeOf(a) => [Some(a), None, None],
        K::Index(a, b) | K::Binary(_, a, b) | K::Several(a, b) => [Some(a), Some(b), None],
        K::Logical { left, right, .. } => [Some(left), Some(right), None],
        K::Conditional(a, b, c) => [Some(a), Some(b), Some(c)],
    };
    found.into_iter().flatten()
}
