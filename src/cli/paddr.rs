//! `memtool paddr`: where the pages of a process lie.

use super::output::Output;
use super::{Context, Verdict, address, pid, seekable, size};
use clap::{ArgGroup, Args};
use memtool::host::{Backing, PageState, Pid, ProcessHost};
use memtool::paddr::{self, Page, Preparation, Run, Runs, Summary};
use memtool::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use vmcore::units::{Hex, counted, exact_size, noun};

#[derive(Args)]
#[command(
    after_help = "Pages that are not locked can move after they were looked up. FreeBSD looks up memtool's own pages only; on Linux, --pid selects any process, and physical addresses require CAP_SYS_ADMIN. With a recorded machine, the process and the places of its pages are generated from the file."
)]
#[command(group = ArgGroup::new("what").required(true).args(["addresses", "file", "alloc"]))]
pub struct Arguments {
    /// Virtual addresses of this process, or of the process given with --pid
    #[arg(value_name = "ADDRESS", value_parser = address)]
    addresses: Vec<u64>,
    /// Look up addresses of this process (Linux)
    #[arg(long, value_name = "PID", value_parser = pid, requires = "addresses", conflicts_with_all = ["file", "alloc"])]
    pid: Option<i32>,
    /// Map a file and report every page of it
    #[arg(long, value_name = "PATH", value_parser = seekable())]
    file: Option<PathBuf>,
    /// First byte of the file to report
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0", conflicts_with_all = ["addresses", "alloc"])]
    offset: u64,
    /// Number of bytes to report [default: to the end of the file]
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["addresses", "alloc"])]
    length: Option<u64>,
    /// Map fresh memory and report every page of it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    alloc: Option<u64>,
    /// Fault in every page before looking it up
    #[arg(long, conflicts_with = "addresses")]
    touch: bool,
    /// Lock the memory so that its pages do not move
    #[arg(long, conflicts_with_all = ["addresses", "file"])]
    lock: bool,
    /// Report runs of pages instead of every page
    #[arg(long)]
    runs: bool,
}

/// A page or a run of pages in JSON.
#[derive(Serialize)]
struct PageDocument {
    address: Hex,
    state: String,
    paddr: Option<Hex>,
    domain: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_count: Option<u64>,
}

impl PageDocument {
    fn new(page: &Page, pages: Option<u64>) -> Self {
        let (paddr, domain) = match page.state {
            PageState::Mapped { paddr, domain } => (Some(Hex(paddr)), domain),
            PageState::Valid | PageState::Invalid => (None, None),
        };
        Self { address: Hex(page.address), state: page.state.name().to_lowercase(), paddr, domain, page_count: pages }
    }
}

#[derive(Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    page_size: u64,
    #[serde(rename = "pages")]
    entries: Vec<PageDocument>,
    summary: Summary,
}

/// Prints pages as they come, or collects them for JSON.
struct Printer<'a> {
    out: &'a mut Output,
    entries: Vec<PageDocument>,
    by_run: bool,
}

impl Printer<'_> {
    fn heading(&mut self) -> Result<()> {
        if self.out.is_json() || !self.out.is_terminal() {
            return Ok(());
        }
        let count = if self.by_run { "   PAGES" } else { "" };
        self.out.line(&format!("{:<18}  {:<7}  {:<18}  {:>6}{count}", "ADDRESS", "STATE", "PHYSICAL", "DOMAIN"))
    }

    fn entry(&mut self, page: &Page, pages: Option<u64>) -> Result<()> {
        let entry = PageDocument::new(page, pages);
        if self.out.is_json() {
            self.entries.push(entry);
            return Ok(());
        }
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let paddr = or_dash(entry.paddr.map(|paddr| paddr.to_string()));
        let domain = or_dash(entry.domain.map(|domain| domain.to_string()));
        let mut line = if self.out.is_terminal() {
            format!("{:<18}  {:<7}  {paddr:<18}  {domain:>6}", entry.address, page.state.name())
        } else {
            format!("{}\t{}\t{paddr}\t{domain}", entry.address, page.state.name())
        };
        if let Some(pages) = pages {
            line += &if self.out.is_terminal() { format!("{pages:>8}") } else { format!("\t{pages}") };
        }
        self.out.line(&line)
    }

    fn run(&mut self, run: &Run, summary: &mut Summary, page_size: u64) -> Result<()> {
        summary.add(run, page_size);
        if self.by_run { self.entry(&run.first, Some(run.pages)) } else { Ok(()) }
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let host = &*context.process_host()?;
    let page_size = host.page_size()?;
    let preparation = Preparation { touch: arguments.touch, lock: arguments.lock };
    let quiet = context.global.quiet;
    let mut printer = Printer { out: &mut context.out, entries: Vec::new(), by_run: arguments.runs };
    let mut summary = Summary::new(page_size);
    if let Some(backing) = backing(arguments, page_size)? {
        let mapping = paddr::prepare(host, &backing, preparation)?;
        let pages = paddr::look_up(host, None, paddr::pages(&*mapping, page_size));
        report(pages, page_size, &mut printer, &mut summary)?;
    } else {
        // All are looked up before the first is printed: a process may end meanwhile.
        let process = arguments.pid.map(Pid::from_raw);
        let pages: Vec<Page> =
            paddr::look_up(host, process, arguments.addresses.iter().copied()).collect::<Result<_>>()?;
        report(pages.into_iter().map(Ok), page_size, &mut printer, &mut summary)?;
    }
    if printer.out.is_json() {
        let entries = std::mem::take(&mut printer.entries);
        let document = Document { pid: arguments.pid, page_size, entries, summary };
        context.out.document("memtool.paddr", host, &document)?;
    } else if !quiet && context.out.is_terminal() {
        print_summary(&mut context.out, host, &summary)?;
    }
    Ok(Verdict::Done)
}

impl Arguments {
    /// See [`super::Command::check`].
    pub fn check(&self) -> Result<(), String> {
        match [("--alloc", self.alloc), ("--length", self.length)].iter().find(|(_, size)| *size == Some(0)) {
            Some((option, _)) => Err(format!("{option} 0: nothing to look up")),
            None => Ok(()),
        }
    }
}

/// What is to be mapped, if anything.
fn backing(arguments: &Arguments, page_size: u64) -> Result<Option<Backing>> {
    if let Some(path) = &arguments.file {
        return file_backing(path, arguments, page_size).map(Some);
    }
    match arguments.alloc {
        Some(length) => Ok(Some(Backing::Anonymous { length })),
        None => Ok(None),
    }
}

fn file_backing(path: &Path, arguments: &Arguments, page_size: u64) -> Result<Backing> {
    let metadata = path.metadata().map_err(|source| Error::io("look at", path, source))?;
    if !metadata.is_file() {
        return Err(Error::Refused(format!("{} is not a regular file", path.display())));
    }
    let remaining = metadata.len().saturating_sub(arguments.offset);
    let length = arguments.length.unwrap_or(remaining).min(remaining);
    if length == 0 {
        return Err(Error::Refused(format!(
            "{} has {}, none of them in the requested part",
            path.display(),
            counted(metadata.len(), "byte")
        )));
    }
    let offset = arguments.offset & !(page_size - 1);
    Ok(Backing::File { path: path.to_owned(), offset, length: length + (arguments.offset - offset) })
}

fn report(
    mut pages: impl Iterator<Item = Result<Page>>,
    page_size: u64,
    printer: &mut Printer<'_>,
    summary: &mut Summary,
) -> Result<()> {
    let mut runs = Runs::new(page_size);
    // No heading over nothing.
    let first = pages.next().transpose()?;
    printer.heading()?;
    for page in first.map(Ok).into_iter().chain(pages) {
        let page = page?;
        if !printer.by_run {
            printer.entry(&page, None)?;
        }
        if let Some(run) = runs.push(page) {
            printer.run(&run, summary, page_size)?;
        }
    }
    match runs.finish() {
        Some(run) => printer.run(&run, summary, page_size),
        None => Ok(()),
    }
}

fn print_summary(out: &mut Output, host: &dyn ProcessHost, summary: &Summary) -> Result<()> {
    let whose = out.remark_on(host.kind());
    let superpage =
        format!("of {} could map these pages in their present place", exact_size(summary.superpage_size.into()));
    let mut lines = vec![(summary.pages, noun(&summary.pages, "page") + whose)];
    let states = [
        (summary.mapped, "MAPPED: a page is mapped there"),
        (summary.valid, "VALID: a map entry covers it, but no page is mapped now"),
        (summary.invalid, "INVALID: nothing is mapped there"),
    ];
    lines.extend(states.into_iter().filter(|(count, _)| *count > 0).map(|(count, words)| (count, words.to_owned())));
    lines.extend(summary.domains.by_domain.iter().map(|(domain, count)| (*count, format!("in domain {domain}"))));
    if summary.domains.unknown_domain > 0 {
        lines.push((summary.domains.unknown_domain, "whose domain the kernel does not report".to_owned()));
    }
    if summary.mapped > 0 {
        let (runs, longest, superpages) = (summary.contiguous_runs, summary.longest_run, summary.possible_superpages);
        lines.push((runs, noun(&runs, "run") + " of physically contiguous pages"));
        lines.push((longest, noun(&longest, "page") + " in the longest run"));
        lines.push((superpages, format!("{} {superpage}", noun(&superpages, "superpage"))));
    }
    out.line("")?;
    for (count, words) in lines {
        out.line(&format!("{count:>10} {words}"))?;
    }
    Ok(())
}
