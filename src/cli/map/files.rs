//! A map as HTML and as SVG.

use super::super::Context;
use super::Arguments;
use memtool::output_file::{self, OutputFile};
use memtool::{Error, Result};
use std::io::Write;
use std::path::Path;
use vmcore::physical_map::PhysicalMap;
use vmcore::physical_map::html::{Page, page};
use vmcore::physical_map::svg::{Drawing, svg};
use vmcore::units::Hex;

/// What pages and drawings are called.
const TITLE: &str = "Physical memory";

/// Checks that the files can be written, before anything is read.
pub fn check(arguments: &Arguments) -> Result<()> {
    let files = [("--html", &arguments.html), ("--svg", &arguments.svg)];
    let named = files.map(|(option, path)| (option, path.as_deref().filter(|path| !is_output(path))));
    output_file::check_all(&named, false)
}

fn is_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Writes the files that are wanted.
pub fn write(context: &mut Context, arguments: &Arguments, map: &PhysicalMap, kind: &str) -> Result<()> {
    let of = match (&arguments.kernel.core, &context.global.machine) {
        (Some(core), _) => core.display().to_string(),
        (None, Some(machine)) => format!("{} (recorded machine)", machine.display()),
        (None, None) => format!("this system ({kind})"),
    };
    if let Some(path) = &arguments.html {
        let facts = vec![("Of", of.clone()), ("Addresses", format!("0x0 to {}", Hex(map.end)))];
        write_file(context, path, &page(map, &Page { title: TITLE.to_owned(), facts, page_size: None }))?;
    }
    if let Some(path) = &arguments.svg {
        let title = format!("{TITLE} of {of}");
        write_file(context, path, &svg(map, Drawing { prefix: "map", title: &title, is_alone: true }))?;
    }
    Ok(())
}

fn write_file(context: &mut Context, path: &Path, text: &str) -> Result<()> {
    if is_output(path) {
        return context.out.bytes(text.as_bytes());
    }
    let output = OutputFile::create(path, false)?;
    output.file().write_all(text.as_bytes()).map_err(|source| Error::io("write", path, source))?;
    output.commit()
}
