//! `memtool show`: what a kernel counts and holds, a section at a time, as the command of FreeBSD's shows it.

use super::kernel::{KernelArguments, RootArguments};
use super::output::NarrowHeading;
use super::{Context, Verdict};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use memtool::Result;
use vmcore::inventory::{Inventory, SectionData, SectionName, Source};
use vmcore::kernel::Access;
use vmcore::table::Column;

#[derive(Args)]
#[command(
    after_help = "The kernel's types (CTF) are required, or its debug information. Exit codes: 0 all of the section was shown, 1 part of it cannot be read: warnings say which."
)]
pub struct Arguments {
    /// What is shown
    #[arg(value_name = "SECTION", value_parser = section_names())]
    section: SectionName,
    #[command(flatten)]
    pub kernel: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
}

/// Parses the name of a section.
fn section_names() -> impl TypedValueParser<Value = SectionName> {
    let value = |name: &SectionName| PossibleValue::new(name.name()).help(name.title());
    PossibleValuesParser::new(SectionName::ALL.iter().map(value)).try_map(|text| {
        let found = SectionName::ALL.iter().find(|name| name.name() == text);
        found.copied().ok_or("there is no such section")
    })
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    arguments.root.apply(&mut opened.kernel);
    opened.load_own_or_all_types(context, arguments.root.search()?)?;
    let section = arguments.section;
    let inventory = Inventory(vec![(section, Ok(section.read(&Source::new(&opened.kernel)?)?))]);
    // They are why the command fails.
    for warning in inventory.data().flat_map(SectionData::warnings) {
        context.warn_always(warning);
    }
    if context.out.is_json() {
        context.out.document_of("memtool.show", opened.kind, &inventory)?;
    } else {
        inventory.data().try_for_each(|shown| print(context, shown))?;
    }
    Ok(if inventory.is_whole() { Verdict::Done } else { Verdict::Failed })
}

/// Prints the tables, with an empty line between them; on a terminal each below its caption.
fn print(context: &mut Context, shown: &SectionData) -> Result<()> {
    let mut is_cut = false;
    for (index, table) in shown.tables().iter().enumerate() {
        if index > 0 {
            context.out.line("")?;
        }
        if let Some(caption) = table.caption.as_ref().filter(|_| context.out.is_terminal()) {
            context.out.line(caption)?;
        }
        let heading = |column: &Column| NarrowHeading { text: column.title, is_left: !column.is_number };
        let headings: Vec<_> = table.columns.iter().map(heading).collect();
        is_cut |= context.out.narrow_rows(&headings, &table.rows)?;
    }
    if is_cut {
        context.remark("lines are cut where the terminal ends; --wide shows all of them");
    }
    Ok(())
}
