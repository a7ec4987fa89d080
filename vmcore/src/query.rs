//! Questions to a kernel's memory: an expression, for one or all processors and network stacks, or for each element of a list.
//! All that is wrong with a question is found before memory is read.

use crate::error::{Error, Result};
use crate::expression::{Environment, Evaluated, Expression, ExpressionError};
use crate::kernel::{Kernel, TypedMemory};
use crate::lists::{ListError, ListKind, ListPlan, Walk};
use crate::types::StorageSource;
use std::fmt;

/// A question to a kernel's memory.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The expression.
    pub expression: &'a str,
    /// If it is a list's head or an element: how elements are connected, and the member that connects them.
    pub list: Option<(ListKind, &'a str)>,
    /// Expressions of each element of the list.
    pub each: Vec<&'a str>,
    /// Elements of the list, at most.
    pub limit: usize,
    /// Which processor is meant.
    pub cpu: Option<Choice<u32>>,
    /// Which network stack is meant, by its address; the host's, if none is said.
    pub vnet: Option<Choice<u64>>,
}

/// One of several, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<T> {
    /// This one.
    One(T),
    /// All of them.
    All,
}

/// A part of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryPart {
    /// [`Query::expression`].
    Expression,
    /// One of [`Query::each`].
    Each(usize),
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// An expression is wrong.
    Expression(QueryPart, ExpressionError),
    /// It is not the list that it should be.
    List(ListError),
    /// A processor or network stack was chosen, and the expression is of none.
    Independent(&'static str),
    /// Something else.
    Other(Error),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(_, error) => error.fmt(f),
            Self::List(error) => error.fmt(f),
            Self::Independent(what) => write!(f, "the expression is the same for each {what}: none can be chosen"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A processor and a network stack that an expression is evaluated for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selection {
    /// The processor.
    pub cpu: Option<u32>,
    /// The address of the network stack.
    pub vnet: Option<u64>,
}

/// A question whose names and types are known.
#[derive(Debug, Clone)]
pub struct PreparedQuery {
    expression: Expression,
    plan: Option<ListPlan>,
    each: Vec<Expression>,
    limit: usize,
    cpu: Option<Choice<u32>>,
    vnet: Option<Choice<u64>>,
}

/// An answer.
pub enum Answer<'a> {
    /// The value of the expression.
    Value(Evaluated<'a>),
    /// The elements of the list.
    List(Walk),
}

impl Query<'_> {
    /// Finds what the names of a question stand for in a kernel whose types are loaded; see [`Expression::compile_with`].
    ///
    /// # Errors
    ///
    /// It means nothing in this kernel.
    pub fn prepare(&self, kernel: &mut Kernel, storage: &mut dyn StorageSource) -> Result<PreparedQuery, QueryError> {
        let wrong = |part| move |error| QueryError::Expression(part, error);
        let expression = Expression::compile_with(kernel, self.expression, None, storage);
        let expression = expression.map_err(wrong(QueryPart::Expression))?;
        let types = kernel.typed()?.types;
        let plan = self.list.map(|(kind, path)| ListPlan::new(types, expression.type_id(), kind, path));
        let plan = plan.transpose().map_err(QueryError::List)?;
        let element = plan.as_ref().map(|plan| plan.element);
        let mut each = Vec::new();
        for (index, text) in self.each.iter().enumerate() {
            let expression = Expression::compile_with(kernel, text, element, storage);
            each.push(expression.map_err(wrong(QueryPart::Each(index)))?);
        }
        let prepared = PreparedQuery { expression, plan, each, limit: self.limit, cpu: self.cpu, vnet: self.vnet };
        prepared.check()?;
        Ok(prepared)
    }
}

impl PreparedQuery {
    /// Whether it is about the elements of a list.
    pub fn is_list(&self) -> bool {
        self.plan.is_some()
    }

    fn all(&self) -> impl Iterator<Item = &Expression> {
        std::iter::once(&self.expression).chain(&self.each)
    }

    fn check(&self) -> Result<(), QueryError> {
        if self.cpu.is_some() && !self.all().any(Expression::is_per_cpu) {
            return Err(QueryError::Independent("CPU"));
        }
        if self.vnet.is_some() && !self.all().any(Expression::is_per_vnet) {
            return Err(QueryError::Independent("network stack"));
        }
        Ok(())
    }

    /// The processors and network stacks that the expression is evaluated for.
    ///
    /// # Errors
    ///
    /// All are wanted, and which there are cannot be read.
    pub fn selections(&self, typed: TypedMemory<'_>) -> Result<Vec<Selection>> {
        let cpus = match self.cpu {
            None => vec![None],
            Some(Choice::One(cpu)) => vec![Some(cpu)],
            Some(Choice::All) => typed.cpus()?.into_iter().map(Some).collect(),
        };
        let vnets = match self.vnet {
            None => vec![None],
            Some(Choice::One(vnet)) => vec![Some(vnet)],
            Some(Choice::All) => typed.vnets()?.into_iter().map(Some).collect(),
        };
        let with_vnets = |cpu: Option<u32>| vnets.iter().map(move |vnet| Selection { cpu, vnet: *vnet });
        Ok(cpus.into_iter().flat_map(with_vnets).collect())
    }

    /// The answer for a processor and a network stack.
    ///
    /// # Errors
    ///
    /// The expression cannot be evaluated, or the head of the list cannot be read.
    pub fn answer<'a>(&self, typed: TypedMemory<'a>, selection: Selection) -> Result<Answer<'a>, QueryError> {
        let found = self.expression.evaluate(&environment(typed, selection));
        let found = found.map_err(|error| QueryError::Expression(QueryPart::Expression, error))?;
        let Some(plan) = &self.plan else { return Ok(Answer::Value(found)) };
        let start = match &found {
            Evaluated::Object(object) if plan.is_pointer => object.unsigned()?,
            Evaluated::Object(object) | Evaluated::Several(object, _) => object.address(),
            Evaluated::Number { value, .. } => crate::bounds::low_u64(value.cast_unsigned()),
        };
        Ok(Answer::List(plan.walk(typed, start, self.limit)?))
    }

    /// How many expressions there are of each element; without any it is the element itself that is meant.
    pub fn column_count(&self) -> usize {
        self.each.len()
    }

    /// What the expressions of an element of the list evaluate to, or the element itself.
    pub fn element<'a>(
        &self,
        typed: TypedMemory<'a>,
        selection: Selection,
        address: u64,
    ) -> Vec<Result<Evaluated<'a>, ExpressionError>> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let element = typed.object(address, plan.element);
        if self.each.is_empty() {
            return vec![Ok(Evaluated::Object(element))];
        }
        let mut environment = environment(typed, selection);
        environment.element = Some(element);
        self.each.iter().map(|expression| expression.evaluate(&environment)).collect()
    }
}

fn environment(typed: TypedMemory<'_>, selection: Selection) -> Environment<'_> {
    let mut environment = Environment::new(typed);
    (environment.cpu, environment.vnet) = (selection.cpu, selection.vnet);
    environment
}
