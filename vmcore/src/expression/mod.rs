//! Expressions of a kernel's variables, in C, by the kernel's own types: read, checked and evaluated.
//!
//! [`Expression::compile`] finds what names stand for and of which type everything is, so that an expression can be evaluated
//! for each processor, network stack or element of a list. Errors tell the part of the text that they are about.
//!
//! | after C | |
//! | --- | --- |
//! | operands | integers, characters, variables, functions, enumerators, `(`…`)` |
//! | postfix | `a.b`, `a->b`, `a[b]` |
//! | prefix | `*`, `&`, `+`, `-`, `~`, `!`, casts, `sizeof`, `offsetof(TYPE, MEMBER)` |
//! | binary | `*` `/` `%`; `+` `-`; `@`; `<<` `>>`; `<` `>` `<=` `>=`; `==` `!=`; `&`; `^`; `\|`; `&&`; `\|\|`; `?:` |
//! | besides C | ``MODULE`NAME``, `$pcpu(CPU)`, `$proc(PID)`, `$thread(TID)`, `$counter(COUNTER)`, `$` (the element of a list) |
//!
//! Source: ISO/IEC 9899 (C), 6.3 and 6.5; `@` is that of gdb(1), the names of modules are before a backquote as in dtrace(1).
//!
//! ```no_run
//! use std::path::Path;
//! use vmcore::Kernel;
//! use vmcore::expression::{Environment, Evaluated, Expression};
//! use vmcore::types::ctf::CtfTypes;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
//! kernel.load_types(&mut CtfTypes::default())?;
//! let expression = Expression::compile(&mut kernel, "$proc(1)->p_vmspace->vm_map.size / 1024", None)?;
//! if let Evaluated::Number { value, .. } = expression.evaluate(&Environment::new(kernel.typed()?))? {
//!     println!("{value}");
//! }
//! # Ok(())
//! # }
//! ```

mod arithmetic;
mod code;
mod compile;
mod error;
mod evaluate;
mod names;
mod parser;
mod span;
mod storage;
mod syntax;
mod token;
mod types;

pub use error::{ExpressionError, Problem};
pub use evaluate::{Environment, Evaluated};
pub use span::Span;

use crate::error::Error;
use crate::kernel::Kernel;
use crate::types::{NoStorage, StorageSource, TypeId};
use code::{Code, Uses};

/// An expression whose names and types are known.
#[derive(Debug, Clone)]
pub struct Expression {
    code: Code,
    uses: Uses,
}

impl Expression {
    /// Reads an expression of a kernel, whose types are loaded; if it is of the elements of a list, with their type.
    ///
    /// # Errors
    ///
    /// It is no expression, or one that means nothing in this kernel. The kernel's types were not loaded.
    pub fn compile(kernel: &mut Kernel, text: &str, element: Option<TypeId>) -> Result<Self, ExpressionError> {
        Self::compile_with(kernel, text, element, &mut NoStorage)
    }

    /// As [`Self::compile`]; who may tell the values of variables of which there is a byte that stands for them, is asked if
    /// such a variable is in the expression.
    ///
    /// # Errors
    ///
    /// Those of [`Self::compile`].
    pub fn compile_with(
        kernel: &mut Kernel,
        text: &str,
        element: Option<TypeId>,
        storage: &mut dyn StorageSource,
    ) -> Result<Self, ExpressionError> {
        let whole = Span::new(0, text.len());
        let failed = |error: Error| ExpressionError::new(whole, error.into());
        let (names, types) = kernel.names_and_types().map_err(failed)?;
        let node = parser::parse(text, &|name| !types.lookup(None, name).is_empty())?;
        let (code, uses) = compile::compile(&node, types, names, storage, element)?;
        Ok(Self { code, uses })
    }

    /// Evaluates it.
    ///
    /// # Errors
    ///
    /// Memory that it is of cannot be read; it divides by 0, or shifts a number by more bits than it has; or it is of a
    /// processor, a network stack or an element, and none is chosen.
    pub fn evaluate<'a>(&self, environment: &Environment<'a>) -> Result<Evaluated<'a>, ExpressionError> {
        environment.evaluate(&self.code)
    }

    /// The type of what it evaluates to; with `@`, of each object.
    pub fn type_id(&self) -> TypeId {
        match &self.code {
            Code::Place(place) | Code::Several(place, _) => place.type_id,
            Code::Value(value) => value.type_id,
        }
    }

    /// All of it.
    pub fn span(&self) -> Span {
        match &self.code {
            Code::Place(place) => place.span,
            Code::Value(value) => value.span,
            Code::Several(place, count) => place.span.to(count.span),
        }
    }

    /// Whether it depends on a processor that is chosen for it.
    pub fn is_per_cpu(&self) -> bool {
        self.uses.cpu
    }

    /// Whether it depends on a network stack that is chosen for it.
    pub fn is_per_vnet(&self) -> bool {
        self.uses.vnet
    }
}
