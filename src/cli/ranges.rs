//! `memtool ranges`: list, explain and change memory range attributes.

use super::output::Output;
use super::{Context, Verdict, address, help, size};
use clap::{ArgGroup, Args, Subcommand, ValueEnum, builder::PossibleValue};
use memtool::host::Host;
use memtool::memory_map::MemoryMap;
use memtool::range_change::{self, Mode, Outcome, Update};
use memtool::ranges::default_type::{Basis, Defaults};
use memtool::ranges::effective::{self, Effective, Explanation};
use memtool::ranges::join::{self, Joined};
use memtool::ranges::rules::{Rules, Table};
use memtool::ranges::{CacheType, Descriptor, Owner, flag_names};
use memtool::{Error, Result};
use serde::Serialize;
use vmcore::units::Hex;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArguments,
}

#[derive(Subcommand)]
enum Command {
    /// List memory ranges
    List(ListArguments),
    /// Set a range, or change an existing one
    #[command(visible_alias = "set")]
    Update(UpdateArguments),
    /// Remove a range, or all ranges of an owner
    #[command(visible_alias = "clear")]
    Remove(RemoveArguments),
    /// Explain which ranges cover an address and which cache type results
    Explain(ExplainArguments),
    /// Show the manual page, or the options of a command
    Help(help::Arguments),
}

/// The name of the command.
const NAME: &str = "ranges";

impl Arguments {
    /// What `ranges help` is to describe.
    pub fn help(&self) -> Option<help::Arguments> {
        match &self.command {
            Some(Command::Help(arguments)) => Some(arguments.below(NAME)),
            _ => None,
        }
    }

    /// See [`super::Command::text_only`].
    pub fn text_only(&self) -> Option<(&'static str, &'static str)> {
        let list = match &self.command {
            Some(Command::List(list)) => list,
            None => &self.list,
            _ => return None,
        };
        list.memcontrol.then_some(("--memcontrol", "its lines are text"))
    }
}

#[derive(Args)]
struct ListArguments {
    /// Also show inactive ranges
    #[arg(short, long)]
    all: bool,
    /// Show only the ranges of this owner
    #[arg(short, long)]
    owner: Option<Owner>,
    /// Print memcontrol(8)'s lines
    #[arg(long)]
    memcontrol: bool,
    /// Do not join adjacent ranges with the same attributes
    #[arg(long)]
    no_join: bool,
}

#[derive(Args)]
struct UpdateArguments {
    /// Physical base address: a multiple of the length
    #[arg(short, long, value_name = "ADDRESS", value_parser = address)]
    base: u64,
    /// Length: a power of two, at least 4k
    #[arg(short, long, alias = "len", value_name = "SIZE", value_parser = size)]
    length: u64,
    /// Cache type
    #[arg(short = 't', long = "type", value_name = "TYPE", required_unless_present = "attribute")]
    cache: Option<CacheArgument>,
    /// The same as --type
    #[arg(value_name = "ATTRIBUTE", conflicts_with = "cache")]
    attribute: Option<CacheArgument>,
    /// Owner of the range, at most 7 bytes
    #[arg(short, long, default_value = "user", value_parser = non_empty_owner)]
    owner: Owner,
    /// Also change RAM, or a range of unknown type
    #[arg(short, long)]
    force: bool,
    /// Check the change and show it, but do not make it
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).args(["base", "owner"]))]
struct RemoveArguments {
    /// Physical base address of the range
    #[arg(short, long, value_name = "ADDRESS", value_parser = address, requires = "length")]
    base: Option<u64>,
    /// Its length
    #[arg(short, long, alias = "len", value_name = "SIZE", value_parser = size, requires = "base")]
    length: Option<u64>,
    /// Remove all active ranges of this owner that are not fixed
    #[arg(short, long, conflicts_with_all = ["base", "length"], value_parser = non_empty_owner)]
    owner: Option<Owner>,
    /// Check the change and show it, but do not make it
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Args)]
struct ExplainArguments {
    /// A physical address
    #[arg(value_parser = address)]
    address: u64,
}

/// [`CacheType`] as clap takes it.
#[derive(Clone, Copy)]
struct CacheArgument(CacheType);

impl ValueEnum for CacheArgument {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [CacheArgument; 5] = {
            let [a, b, c, d, e] = CacheType::ALL;
            [CacheArgument(a), CacheArgument(b), CacheArgument(c), CacheArgument(d), CacheArgument(e)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

fn non_empty_owner(text: &str) -> Result<Owner, String> {
    if text.is_empty() {
        return Err("an owner has at least one byte".to_owned());
    }
    text.parse().map_err(|error: memtool::ranges::OwnerError| error.to_string())
}

pub fn run(context: &mut Context, arguments: Arguments) -> Result<Verdict> {
    match arguments.command {
        None => list(context, &arguments.list),
        Some(Command::List(list_arguments)) => list(context, &list_arguments),
        Some(Command::Explain(explain_arguments)) => explain(context, explain_arguments.address),
        Some(Command::Update(update_arguments)) => update(context, update_arguments),
        Some(Command::Remove(remove_arguments)) => remove(context, remove_arguments),
        Some(Command::Help(help_arguments)) => help::run(context, &help_arguments.below(NAME)),
    }
}

/// A range, or joined ranges, in JSON.
#[derive(Serialize)]
struct RangeDocument {
    base: Hex,
    length: String,
    size: u128,
    #[serde(rename = "type")]
    cache: &'static str,
    flags: Vec<String>,
    owner: String,
    range_count: usize,
}

impl From<&Joined> for RangeDocument {
    fn from(joined: &Joined) -> Self {
        let size = joined.end - u128::from(joined.base);
        Self {
            base: Hex(joined.base),
            length: format!("{size:#x}"),
            size,
            cache: cache_name(&joined.first),
            flags: flag_names(joined.first.flags),
            owner: joined.first.owner.as_str().to_owned(),
            range_count: joined.count,
        }
    }
}

impl From<&Descriptor> for RangeDocument {
    fn from(descriptor: &Descriptor) -> Self {
        Self::from(&Joined::single(descriptor))
    }
}

fn cache_name(descriptor: &Descriptor) -> &'static str {
    descriptor.cache().map_or("unknown", CacheType::name)
}

#[derive(Serialize)]
struct ListDocument {
    ranges: Vec<RangeDocument>,
    variable_slot_count: usize,
    free_slot_count: usize,
}

fn list(context: &mut Context, arguments: &ListArguments) -> Result<Verdict> {
    let host = &*context.host()?;
    let table = host.range_table()?;
    let wanted = |range: &&Descriptor| {
        (arguments.all || range.is_active()) && arguments.owner.as_ref().is_none_or(|owner| range.owner == *owner)
    };
    let descriptors = table.descriptors().iter().filter(wanted);
    if arguments.memcontrol {
        for descriptor in descriptors {
            context.out.line(&descriptor.memcontrol_line())?;
        }
        return Ok(Verdict::Done);
    }
    let joined = if arguments.no_join { descriptors.map(Joined::single).collect() } else { join::join(descriptors) };
    let variable = table.descriptors().iter().skip(table.fixed_count());
    let free_slots = variable.clone().filter(|range| !range.is_active()).count();
    let variable_slots = variable.count();
    if context.out.is_json() {
        let ranges = joined.iter().map(RangeDocument::from).collect();
        let document = ListDocument { ranges, variable_slot_count: variable_slots, free_slot_count: free_slots };
        context.out.document("memtool.ranges", host, &document)?;
        return Ok(Verdict::Done);
    }
    let terminal = context.out.is_terminal();
    let rows: Vec<Vec<String>> = joined.iter().map(|range| row(&context.out, range)).collect();
    context.out.rows(&["BASE", "END", "SIZE", "TYPE", "FLAGS", "OWNER"], &rows)?;
    if terminal && !context.global.quiet {
        let whose = context.out.remark_on(host.kind());
        context.out.line("")?;
        context.out.line(&format!("{free_slots} of {variable_slots} variable ranges are free{whose}"))?;
    }
    Ok(Verdict::Done)
}

/// On a terminal sizes and flags are short; in plain lines they are exact.
fn row(out: &Output, range: &Joined) -> Vec<String> {
    let length = range.end - u128::from(range.base);
    let flags = flag_names(range.first.flags);
    let attributes: Vec<String> = flags.into_iter().filter(|name| *name != cache_name(&range.first)).collect();
    let flags = if out.is_terminal() { short_flags(&range.first, &attributes) } else { attributes.join(",") };
    let flags = if flags.is_empty() { "-".to_owned() } else { flags };
    vec![
        Hex(range.base).to_string(),
        format!("{:#x}", range.end),
        out.size(length),
        cache_name(&range.first).to_owned(),
        flags,
        range.first.owner.to_string(),
    ]
}

/// `fixed` for the three flags that fixed ranges have, `firmware` for what firmware set, and `inactive` where
/// it is.
fn short_flags(range: &Descriptor, names: &[String]) -> String {
    let mut short: Vec<&str> = Vec::new();
    if range.is_fixed() {
        short.push("fixed");
    }
    if !range.is_active() {
        short.push("inactive");
    }
    for name in names {
        match name.as_str() {
            "active" | "unknown" => {}
            "fixed-base" | "fixed-length" | "fixed-active" if range.is_fixed() => {}
            "set-by-firmware" => short.push("firmware"),
            other => short.push(other),
        }
    }
    short.join(" ")
}

#[derive(Serialize)]
struct ExplainDocument {
    address: Hex,
    effective: Effective,
    why: String,
    default: Option<DefaultEntry>,
    covering: Vec<Covering>,
    /// Not known where there is no memory map.
    ram: Option<bool>,
    domain: Option<u32>,
    reserved: Option<String>,
}

/// The type that holds where no range is, in JSON.
#[derive(Serialize)]
struct DefaultEntry {
    #[serde(rename = "type")]
    cache: Option<CacheType>,
    basis: Basis,
}

#[derive(Serialize)]
struct Covering {
    index: usize,
    decides: bool,
    #[serde(flatten)]
    range: RangeDocument,
}

fn explain(context: &mut Context, address: u64) -> Result<Verdict> {
    let host = &*context.host()?;
    let table = host.range_table()?;
    let map = host.memory_map();
    let explanation = effective::explain(&table, address);
    if explanation.covering.is_empty() && u128::from(address) >= table.physical_end() {
        return Err(Error::Refused(format!(
            "{} is beyond {:#x}, where the processor's physical addresses end",
            Hex(address),
            table.physical_end()
        )));
    }
    let (default, why) = explain_default(host, &table, map.as_ref().ok(), &explanation, address).unzip();
    let why = why.unwrap_or_else(|| explanation.why.clone());
    if context.out.is_json() {
        let covering = explanation.covering.iter().enumerate();
        let document = ExplainDocument {
            address: Hex(address),
            effective: explanation.effective,
            why,
            default,
            covering: covering
                .map(|(place, (index, range))| Covering {
                    index: *index,
                    decides: place < explanation.deciding,
                    range: RangeDocument::from(*range),
                })
                .collect(),
            ram: map.as_ref().ok().map(|map| map.segment_at(address).is_some()),
            domain: map.as_ref().ok().and_then(|map| map.segment_at(address)?.domain),
            reserved: map.as_ref().ok().and_then(|map| reserved_at(map, address)),
        };
        context.out.document("memtool.range-explanation", host, &document)?;
        return Ok(Verdict::Done);
    }
    context.out.line(&format!("{}: {}: {why}", Hex(address), explanation.effective.name()))?;
    for (place, (index, range)) in explanation.covering.iter().enumerate() {
        let kind = if range.is_fixed() { "fixed" } else { "variable" };
        let ignored = if place < explanation.deciding { "" } else { ", without effect here" };
        context.out.line(&format!("  {kind} range {index}: {range}{ignored}"))?;
    }
    let place = match &map {
        Ok(map) => place(map, address),
        Err(error) => format!("whether it is RAM is unknown: {error}"),
    };
    let whose = context.out.remark_on(host.kind());
    context.out.line(&format!("  {place}{whose}"))?;
    Ok(Verdict::Done)
}

/// The default type where it holds, with all that is known of it; on powerpc it is no matter of ranges.
fn explain_default(
    host: &dyn Host,
    table: &Table,
    map: Option<&MemoryMap>,
    explanation: &Explanation<'_>,
    address: u64,
) -> Option<(DefaultEntry, String)> {
    if explanation.effective != Effective::Default || table.rules() != Rules::X86 {
        return None;
    }
    let registers = host.processor_registers();
    let defaults = Defaults::find(registers.as_ref().ok(), table, map);
    let default = defaults.at(address);
    let name = default.cache.map_or("not known", CacheType::name);
    let mut why = match default.basis {
        Basis::Processor => format!("{}, {name}: {}", explanation.why, default.why),
        Basis::Inferred => format!("{}, most likely {name}: {}", explanation.why, default.why),
        Basis::Unknown => format!("{}, {name}: {}", explanation.why, default.why),
    };
    if let (Err(error), Basis::Inferred | Basis::Unknown) = (registers, default.basis) {
        why = format!("{why} ({error})");
    }
    Some((DefaultEntry { cache: default.cache, basis: default.basis }, why))
}

fn reserved_at(map: &MemoryMap, address: u64) -> Option<String> {
    map.reserved.iter().find(|range| (range.start..range.end).contains(&address)).map(|range| range.kind.clone())
}

fn place(map: &MemoryMap, address: u64) -> String {
    match (map.segment_at(address), reserved_at(map, address)) {
        (Some(segment), _) => match segment.domain {
            Some(domain) => format!("RAM in domain {domain}"),
            None => "RAM, domain unknown".to_owned(),
        },
        (None, Some(kind)) => format!("not RAM: {kind} ({})", map.source.name()),
        (None, None) => format!("not RAM, and not listed in {}", map.source.name()),
    }
}

#[derive(Serialize)]
struct ChangeDocument {
    dry_run: bool,
    changes: Vec<ChangeEntry>,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct ChangeEntry {
    index: usize,
    before: RangeDocument,
    after: RangeDocument,
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Apply }
}

fn update(context: &mut Context, arguments: UpdateArguments) -> Result<Verdict> {
    let cache = arguments.cache.or(arguments.attribute).ok_or_else(|| Error::Usage("give --type".to_owned()))?;
    let host = &*context.host()?;
    let update = Update {
        base: arguments.base,
        length: arguments.length,
        cache: cache.0,
        owner: arguments.owner,
        force: arguments.force,
    };
    let mode = mode(arguments.dry_run);
    let outcome = range_change::update(host, &update, mode)?;
    show_changes(context, host, mode, &[outcome], Vec::new())
}

fn remove(context: &mut Context, arguments: RemoveArguments) -> Result<Verdict> {
    let host = &*context.host()?;
    let mode = mode(arguments.dry_run);
    match (arguments.owner, arguments.base, arguments.length) {
        (Some(owner), ..) => {
            let (mut outcomes, mut errors) = (Vec::new(), Vec::new());
            for result in range_change::remove_owner(host, &owner, mode)? {
                match result {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(error) => errors.push(error.to_string()),
                }
            }
            show_changes(context, host, mode, &outcomes, errors)
        }
        (None, Some(base), Some(length)) => {
            let outcome = range_change::remove(host, base, length, mode)?;
            show_changes(context, host, mode, &[outcome], Vec::new())
        }
        _ => Err(Error::Usage("give --base and --length, or --owner".to_owned())),
    }
}

fn show_changes(
    context: &mut Context,
    host: &dyn Host,
    mode: Mode,
    outcomes: &[Outcome],
    errors: Vec<String>,
) -> Result<Verdict> {
    for warning in outcomes.iter().flat_map(|outcome| &outcome.warnings) {
        context.warn(warning);
    }
    for error in &errors {
        context.print_failure(error)?;
    }
    let all_done = errors.is_empty();
    let differences = || outcomes.iter().flat_map(|outcome| &outcome.differences);
    if context.out.is_json() {
        let document = ChangeDocument {
            dry_run: mode == Mode::DryRun,
            changes: differences()
                .map(|difference| ChangeEntry {
                    index: difference.index,
                    before: RangeDocument::from(&difference.before),
                    after: RangeDocument::from(&difference.after),
                })
                .collect(),
            errors,
        };
        context.out.document("memtool.range-change", host, &document)?;
    } else if !context.global.quiet {
        let verb = if mode == Mode::DryRun { "would change" } else { "changed" };
        for difference in differences() {
            let (before, after) = (shown(&difference.before), shown(&difference.after));
            context.out.line(&format!("range {} {verb}: {before} -> {after}", difference.index))?;
        }
        if all_done && differences().next().is_none() {
            context.out.line("nothing to change: the table is already so")?;
        }
    }
    let changed = mode == Mode::Apply && differences().next().is_some();
    let is_lost = changed && context.global.save_machine.is_none();
    if is_lost && !context.out.remark_on(host.kind()).is_empty() {
        context.remark("the recorded machine was changed in memory only; --save-machine FILE saves the change");
    }
    Ok(if all_done { Verdict::Done } else { Verdict::Failed })
}

fn shown(range: &Descriptor) -> String {
    if range.is_active() { range.to_string() } else { "inactive".to_owned() }
}
