//! Reads names of types as C writes them (ISO/IEC 9899, 6.7.7): `struct proc *`, `unsigned long`, `int (*)[4]`.

use super::Parser;
use crate::expression::error::{ExpressionError, Problem};
use crate::expression::syntax::{BaseType, Basic, Derivation, Named, TypeName};
use crate::expression::token::{Literal, TokenKind};
use crate::types::Tag;

/// Pointers, arrays and functions in one name.
const MAX_DERIVATIONS: usize = 16;
const QUALIFIERS: [&str; 4] = ["const", "volatile", "restrict", "_Atomic"];
const BASIC: [&str; 9] = ["void", "_Bool", "bool", "char", "short", "int", "long", "signed", "unsigned"];
const TAGS: [(&str, Tag); 3] = [("struct", Tag::Structure), ("union", Tag::Union), ("enum", Tag::Enumeration)];

/// Whether a word can only be part of a type's name.
pub(super) fn is_keyword(word: &str) -> bool {
    QUALIFIERS.contains(&word) || BASIC.contains(&word) || TAGS.iter().any(|(keyword, _)| *keyword == word)
}

/// Keywords of a basic type, counted.
#[derive(Default)]
struct Keywords {
    signed: bool,
    unsigned: bool,
    longs: u8,
    /// What is none of these.
    word: Option<&'static str>,
    int: bool,
}

impl Keywords {
    /// Takes one more; `false` if it does not go with the others.
    fn add(&mut self, keyword: &'static str) -> bool {
        match keyword {
            "signed" => !std::mem::replace(&mut self.signed, true),
            "unsigned" => !std::mem::replace(&mut self.unsigned, true),
            "int" => !std::mem::replace(&mut self.int, true),
            "long" => {
                self.longs += 1;
                self.longs <= 2
            }
            word => self.word.replace(word).is_none(),
        }
    }

    /// The type that they name.
    fn basic(&self) -> Option<Basic> {
        let is_signed = !self.unsigned;
        let has_sign = self.signed || self.unsigned;
        if self.signed && self.unsigned {
            return None;
        }
        Some(match (self.word, self.longs, self.int) {
            (None, 0, _) => Basic::Int { is_signed },
            (None, 1, _) => Basic::Long { is_signed },
            (None, _, _) => Basic::LongLong { is_signed },
            (Some("short"), 0, _) => Basic::Short { is_signed },
            (Some("char"), 0, false) if has_sign => Basic::Byte { is_signed },
            (Some("char"), 0, false) => Basic::Character,
            (Some("void"), 0, false) if !has_sign => Basic::Void,
            (Some("_Bool" | "bool"), 0, false) if !has_sign => Basic::Boolean,
            _ => return None,
        })
    }
}

impl Parser<'_> {
    /// Whether the token behind so many others begins the name of a type.
    pub(super) fn begins_type(&self, tokens: usize) -> bool {
        match self.peek_behind(tokens) {
            TokenKind::Name { name, module } => (module.is_none() && is_keyword(name)) || (self.is_type)(name),
            _ => false,
        }
    }

    /// Reads the name of a type.
    pub(super) fn type_name(&mut self) -> Result<TypeName, ExpressionError> {
        let start = self.peek().span;
        let base = self.base_type()?;
        let derivations = self.declarator()?;
        if derivations.len() > MAX_DERIVATIONS {
            return Err(ExpressionError::new(start.to(self.last_span()), Problem::TooDeep));
        }
        Ok(TypeName { span: start.to(self.last_span()), base, derivations })
    }

    fn base_type(&mut self) -> Result<BaseType, ExpressionError> {
        self.skip_qualifiers();
        let base = match self.peek().kind.clone() {
            TokenKind::Name { module: None, name } if TAGS.iter().any(|(keyword, _)| *keyword == name) => {
                let tag = TAGS.iter().find(|(keyword, _)| *keyword == name).map_or(Tag::Structure, |(_, tag)| *tag);
                self.next();
                BaseType::Tagged(tag, self.named("the name of a type")?)
            }
            TokenKind::Name { module: None, name } if BASIC.contains(&&*name) => BaseType::Basic(self.basic()?),
            _ => BaseType::Typedef(self.named("a type")?),
        };
        self.skip_qualifiers();
        Ok(base)
    }

    fn named(&mut self, what: &'static str) -> Result<Named, ExpressionError> {
        match self.peek().kind.clone() {
            TokenKind::Name { module, name } => Ok(Named { module, name, span: self.next().span }),
            _ => Err(self.error(Problem::Expected(what))),
        }
    }

    fn basic(&mut self) -> Result<Basic, ExpressionError> {
        let start = self.peek().span;
        let mut keywords = Keywords::default();
        loop {
            self.skip_qualifiers();
            let TokenKind::Name { module: None, name } = &self.peek().kind else { break };
            let Some(keyword) = BASIC.into_iter().find(|keyword| keyword == name) else { break };
            if !keywords.add(keyword) {
                return Err(self.error(Problem::Expected("the end of the type")));
            }
            self.next();
        }
        let wrong = ExpressionError::new(start.to(self.last_span()), Problem::Expected("a type of C"));
        keywords.basic().ok_or(wrong)
    }

    fn skip_qualifiers(&mut self) {
        while matches!(&self.peek().kind, TokenKind::Name { module: None, name } if QUALIFIERS.contains(&&**name)) {
            self.next();
        }
    }

    /// What is behind the base of a type: asterisks, then what is in parentheses, then arrays and functions. What is in
    /// parentheses is made last.
    fn declarator(&mut self) -> Result<Vec<Derivation>, ExpressionError> {
        let mut derivations = Vec::new();
        while self.accept("*") {
            derivations.push(Derivation::Pointer);
            self.skip_qualifiers();
        }
        let is_grouped = self.is_at("(") && matches!(self.peek_behind(1), TokenKind::Punctuation("*" | "(" | "["));
        let inner = if is_grouped {
            self.next();
            let inner = self.nested(Self::declarator)?;
            self.expect(")", "')'")?;
            inner
        } else {
            Vec::new()
        };
        let mut suffixes = Vec::new();
        loop {
            if self.accept("[") {
                suffixes.push(self.array()?);
            } else if self.is_at("(") {
                self.parameters()?;
                suffixes.push(Derivation::Function);
            } else {
                break;
            }
        }
        // `[2][3]` is two arrays of three.
        derivations.extend(suffixes.into_iter().rev());
        derivations.extend(inner);
        Ok(derivations)
    }

    fn array(&mut self) -> Result<Derivation, ExpressionError> {
        let count = match self.peek().kind {
            TokenKind::Integer(Literal { value, .. }) => {
                self.next();
                Some(value)
            }
            _ => None,
        };
        self.expect("]", "']'")?;
        Ok(Derivation::Array(count))
    }

    /// What a function takes is of no account here: it is skipped.
    fn parameters(&mut self) -> Result<(), ExpressionError> {
        let mut open = 0_usize;
        loop {
            match self.peek().kind {
                TokenKind::Punctuation("(") => open += 1,
                TokenKind::Punctuation(")") => open = open.saturating_sub(1),
                TokenKind::End => return Err(self.error(Problem::Expected("')'"))),
                _ => {}
            }
            self.next();
            if open == 0 {
                return Ok(());
            }
        }
    }
}
