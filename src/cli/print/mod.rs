//! `memtool print`: what an expression of a kernel's variables evaluates to, and the elements of lists.

mod document;
mod excerpt;
mod list;

use super::kernel::{KernelArguments, Opened, RootArguments};
use super::{Context, Verdict};
use clap::{ArgGroup, Args, ValueEnum};
use document::{ResultDocument, TypedValue};
use memtool::{Error, Result};
use serde::Serialize;
use std::cell::Cell;
use vmcore::expression::{Evaluated, Problem, Span};
use vmcore::kernel::{Access, Kernel, TypedMemory};
use vmcore::lists::ListKind;
use vmcore::query::{Answer, Choice, PreparedQuery, Query, QueryError, QueryPart, Selection};
use vmcore::units::{Hex, counted, parse_address};
use vmcore::value::text::{NumberForm, TextForm, is_block, lines};
use vmcore::value::{Value, ValueKind, ValueLimits, ValueReader};

/// Elements of a list that are shown unless more are asked for.
const LIMIT: usize = 100_000;

#[derive(Args)]
#[command(
    after_help = "Expressions have the syntax of C; quote them. A variable of a module is MODULE`NAME. Besides, there are $pcpu(CPU), $proc(PID), $thread(TID), $counter(COUNTER), and EXPR@N for N objects from EXPR on. Exit codes: 0 all was printed, 1 the expression is wrong, a list is damaged, or memory cannot be read."
)]
#[command(group = ArgGroup::new("walk").args(["list", "slist", "stailq", "tailq", "rb"]))]
pub struct Arguments {
    /// The expression, such as 'allproc.lh_first->p_pid' or '*(struct proc *)0xfffff80003a4c000'
    #[arg(value_name = "EXPR", allow_negative_numbers = true)]
    expression: String,
    #[command(flatten)]
    pub kernel: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
    /// Levels of structures whose members are printed
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: usize,
    /// Elements of an array, of which equal ones count once
    #[arg(long, value_name = "N", default_value_t = 100)]
    elements: usize,
    /// Bytes of a text or of an array of bytes
    #[arg(short, long, value_name = "SIZE", default_value = "200", value_parser = super::size)]
    length: u64,
    /// Print numbers in this form
    #[arg(long = "as", value_name = "FORM")]
    form: Option<Form>,
    /// Of a variable that each CPU has for itself, print that of this CPU, or 'all'
    #[arg(long, value_name = "N|all", value_parser = cpu)]
    cpu: Option<Choice<u32>>,
    /// Of a variable that each network stack has for itself, print that of this one, or 'all' [default: that of vnet0]
    #[arg(long, value_name = "ADDRESS|all", value_parser = vnet)]
    vnet: Option<Choice<u64>>,
    /// EXPR is a list, or its first element: print its elements, which MEMBER connects, such as p_list or tc_next
    #[arg(long, value_name = "MEMBER")]
    list: Option<String>,
    /// The same of an SLIST
    #[arg(long, value_name = "MEMBER")]
    slist: Option<String>,
    /// The same of an STAILQ
    #[arg(long, value_name = "MEMBER")]
    stailq: Option<String>,
    /// The same of a TAILQ
    #[arg(long, value_name = "MEMBER")]
    tailq: Option<String>,
    /// The same of a red-black tree, in order
    #[arg(long, value_name = "MEMBER")]
    rb: Option<String>,
    /// Print this of each element, such as .p_pid or '$.p_numthreads > 1'
    #[arg(long, value_name = "EXPR", requires = "walk", allow_hyphen_values = true)]
    each: Vec<String>,
    /// Print at most this many elements of the list
    #[arg(long, value_name = "N", default_value_t = LIMIT, requires = "walk")]
    limit: usize,
}

/// The form of numbers.
#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// Decimal
    Decimal,
    /// Hexadecimal
    Hex,
}

impl From<Form> for NumberForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Decimal => Self::Decimal,
            Form::Hex => Self::Hexadecimal,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    expression: &'a str,
    columns: &'a [String],
    results: Vec<ResultDocument<'a>>,
}

fn choice<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>, what: &str) -> Result<Choice<T>, String> {
    if text == "all" {
        return Ok(Choice::All);
    }
    parse(text).map(Choice::One).ok_or_else(|| format!("'{text}' is neither {what} nor 'all'"))
}

fn cpu(text: &str) -> Result<Choice<u32>, String> {
    choice(text, |text| text.parse().ok(), "the number of a CPU")
}

fn vnet(text: &str) -> Result<Choice<u64>, String> {
    choice(text, |text| parse_address(text).ok(), "an address")
}

/// What values are printed with.
struct Printer<'a> {
    typed: TypedMemory<'a>,
    reader: ValueReader<'a>,
    form: TextForm<'a>,
    query: &'a PreparedQuery,
    /// How many values, or parts of them, could not be read.
    failures: Cell<usize>,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    arguments.root.apply(&mut opened.kernel);
    let mut source = opened.load_types_with(context, arguments.root.search()?)?;
    let query = arguments.query();
    let prepared = query.prepare(&mut opened.kernel, &mut source);
    source.take_warnings().iter().for_each(|warning| context.warn(warning));
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return arguments.fail(context, error),
    };
    let printer = arguments.printer(context, &opened.kernel, &prepared)?;
    let mut answers = Vec::new();
    for selection in prepared.selections(printer.typed)? {
        match prepared.answer(printer.typed, selection) {
            Ok(answer) => answers.push((selection, answer)),
            Err(error) => return arguments.fail(context, error),
        }
    }
    let is_whole = list::warn(context, arguments, &answers);
    arguments.print(context, &opened, &printer, &answers)?;
    let failures = printer.failures.get();
    if failures > 0 && prepared.is_list() && !context.out.is_json() {
        context.warn_always(&format!("{} could not be evaluated", counted(failures, "value")));
    }
    Ok(if is_whole && failures == 0 { Verdict::Done } else { Verdict::Failed })
}

impl Arguments {
    /// How the elements of a list are connected, and by which member.
    fn walk(&self) -> Option<(ListKind, &str)> {
        let all = [
            (ListKind::Any, &self.list),
            (ListKind::Slist, &self.slist),
            (ListKind::Stailq, &self.stailq),
            (ListKind::Tailq, &self.tailq),
            (ListKind::Tree, &self.rb),
        ];
        all.into_iter().find_map(|(kind, member)| Some((kind, member.as_deref()?)))
    }

    fn query(&self) -> Query<'_> {
        Query {
            expression: &self.expression,
            list: self.walk(),
            each: self.each.iter().map(String::as_str).collect(),
            limit: self.limit,
            cpu: self.cpu,
            vnet: self.vnet,
        }
    }

    fn printer<'a>(&self, context: &Context, kernel: &'a Kernel, query: &'a PreparedQuery) -> Result<Printer<'a>> {
        let typed = kernel.typed()?;
        let bytes = usize::try_from(self.length).map_err(|_| Error::Usage("--length is too large".to_owned()))?;
        let limits = ValueLimits { depth: self.depth, elements: self.elements, bytes };
        let numbers = self.form.map(NumberForm::from).unwrap_or_default();
        let form = TextForm { types: typed.types, numbers, width: context.out.width() };
        let reader = ValueReader::new(kernel.names(), limits);
        Ok(Printer { typed, reader, form, query, failures: Cell::new(0) })
    }

    /// Says what is wrong with the question, and where in it.
    fn fail(&self, context: &mut Context, error: QueryError) -> Result<Verdict> {
        match error {
            QueryError::Independent(_) => return Err(Error::Usage(error.to_string())),
            QueryError::Other(error) => return Err(error.into()),
            QueryError::Expression(QueryPart::Expression, error) => {
                context.print_failure(&error.to_string())?;
                excerpt::print(&self.expression, error.span);
            }
            QueryError::Expression(QueryPart::Each(index), error) => {
                context.print_failure(&format!("--each: {error}"))?;
                self.each.get(index).inspect(|text| excerpt::print(text, error.span));
            }
            QueryError::List(error) => context.print_failure(&error.to_string())?,
        }
        Ok(Verdict::Failed)
    }

    /// Prints a value; one of which nothing can be read is an error of the expression.
    fn print_value(
        &self,
        context: &mut Context,
        printer: &Printer<'_>,
        selection: Selection,
        found: &Evaluated<'_>,
    ) -> Result<()> {
        let value = printer.read(found);
        let ValueKind::Unreadable(fault) = value.kind else { return printer.print(context, selection, found, &value) };
        context.print_failure(&format!("{}{}", label(selection), Problem::Unreadable(fault)))?;
        excerpt::print(&self.expression, Span::new(0, self.expression.len()));
        Ok(())
    }

    fn print(
        &self,
        context: &mut Context,
        opened: &Opened,
        printer: &Printer<'_>,
        answers: &[(Selection, Answer<'_>)],
    ) -> Result<()> {
        if context.out.is_json() {
            let results = answers.iter().map(|answer| ResultDocument::new(printer, answer)).collect();
            let document = Document { expression: &self.expression, columns: &self.each, results };
            return context.out.document_of("memtool.print", opened.kind, &document);
        }
        if answers.iter().any(|(_, answer)| matches!(answer, Answer::List(_))) && !self.each.is_empty() {
            return list::print_table(context, printer, &self.each, answers);
        }
        for (selection, answer) in answers {
            match answer {
                Answer::Value(found) => self.print_value(context, printer, *selection, found)?,
                Answer::List(walk) => list::print_elements(context, printer, *selection, walk)?,
            }
        }
        Ok(())
    }
}

/// What a processor and a network stack are called before a value.
fn label(selection: Selection) -> String {
    let cpu = selection.cpu.map(|cpu| format!("CPU {cpu}: "));
    let vnet = selection.vnet.map(|vnet| format!("vnet {}: ", Hex(vnet)));
    [cpu, vnet].into_iter().flatten().collect()
}

impl<'a> Printer<'a> {
    /// A value, of which it is counted whether it could be read.
    fn read(&self, found: &Evaluated<'_>) -> Value {
        let value = self.reader.evaluated(self.typed, found);
        if !value.is_whole() {
            self.fail();
        }
        value
    }

    fn fail(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
    }

    fn typed_value(&self, found: &Evaluated<'_>) -> TypedValue {
        TypedValue::new(self.typed, found, &self.read(found))
    }

    fn print(&self, context: &mut Context, selection: Selection, found: &Evaluated<'_>, value: &Value) -> Result<()> {
        let mut before = label(selection);
        if is_block(value)
            && let Evaluated::Object(object) = found
        {
            // What C would write for it, so that it can be asked for again.
            let pointer = self.typed.types.declare(object.type_id(), "*");
            before.push_str(&format!("*({pointer}){} = ", Hex(object.address())));
        }
        for line in lines(value, self.form, &before) {
            context.out.line(&line)?;
        }
        Ok(())
    }
}
