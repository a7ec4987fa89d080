//! Which sources a map is made from.

use super::super::Context;
use super::super::kernel::{IMAGE, Opened, open_memory};
use super::Arguments;
use memtool::host::{Backing, Pid, ProcessHost, read_process_map};
use memtool::output_file::temporary_directory;
use memtool::paddr::{self, Preparation};
use memtool::physical_map::{Collector, page_layer};
use memtool::process_map::Detail;
use memtool::{Error, Result};
use std::path::Path;
use vmcore::bounds::saturating_usize;
use vmcore::kernel::Access;
use vmcore::physical_map::{Class, Kind, LayerBuilder, LayerName, PhysicalMap};

/// The map, and what JSON says that it is of.
pub fn collect(context: &mut Context, arguments: &Arguments) -> Result<(PhysicalMap, &'static str)> {
    let mut collector = Collector::new(&arguments.wanted());
    let kind = match &arguments.kernel.core {
        Some(core) => from_dump(context, arguments, core, &mut collector)?,
        None => from_system(context, arguments, &mut collector)?,
    };
    collector.set_absent(LayerName::Memory, "the system does not tell which addresses are RAM");
    collector.set_absent(LayerName::Types, "the system has no memory ranges");
    collector.set_absent(LayerName::Dump, "no dump is named with --core");
    collector.set_absent(LayerName::Process, "neither --pid nor --file is given");
    Ok((collector.finish(), kind))
}

fn from_dump(
    context: &mut Context,
    arguments: &Arguments,
    core: &Path,
    collector: &mut Collector,
) -> Result<&'static str> {
    let image = arguments.kernel.image()?;
    let memory = arguments.kernel.open_core(context, core, Access::Read, &temporary_directory())?;
    collector.add_dump(&memory)?;
    let needs_kernel =
        collector.wants(LayerName::Free) || collector.wants(LayerName::Memory) || arguments.pid.is_some();
    if needs_kernel {
        let opened = open_memory(context, core, memory, image);
        add_kernel(context, arguments, opened, collector);
    }
    Ok(IMAGE)
}

fn from_system(context: &mut Context, arguments: &Arguments, collector: &mut Collector) -> Result<&'static str> {
    let has_pages = arguments.pid.is_some() || arguments.file.is_some();
    let host = match context.host() {
        // Linux tells of pages alone.
        Err(Error::NotFreeBsd) if has_pages => None,
        host => Some(host?),
    };
    if let Some(host) = &host {
        collector.add_host(&**host)?;
    }
    let processes = context.process_host()?;
    if let Some(path) = &arguments.file {
        let layer = file_pages(&*processes, path, arguments.touch)?;
        collector.add_layer(layer);
    }
    let is_system_asked = host.is_none() && arguments.pid.is_some_and(|pid| pid != 0);
    if let (Some(pid), true) = (arguments.pid, is_system_asked) {
        collector.add_layer(process_pages(&*processes, Pid::from_raw(pid))?);
    }
    let needs_kernel = collector.wants(LayerName::Free) || arguments.pid.is_some();
    if let Some(host) = host.filter(|_| needs_kernel) {
        // Without its file it has no types.
        let has_file = arguments.kernel.kernel.is_some() || !host.kernel_files()?.is_empty();
        let unknown = || Error::Refused("the file of the running kernel is unknown: give it with --kernel".to_owned());
        let opened = if has_file { arguments.kernel.open(context, Access::Read) } else { Err(unknown()) };
        add_kernel(context, arguments, opened, collector);
    }
    Ok(processes.kind())
}

/// Adds what the kernel's structures tell, or says why they do not.
fn add_kernel(context: &mut Context, arguments: &Arguments, opened: Result<Opened>, collector: &mut Collector) {
    let load = || {
        let mut opened = opened?;
        arguments.root.apply(&mut opened.kernel);
        opened.load_own_or_all_types(context, arguments.root.search()?)?;
        Ok::<_, Error>(opened)
    };
    let opened = match load() {
        Ok(opened) => opened,
        Err(error) => {
            collector.set_absent(LayerName::Free, error.to_string());
            if arguments.pid.is_some() {
                collector.set_absent(LayerName::Process, error.to_string());
            }
            return;
        }
    };
    match collector.add_kernel(&opened.kernel) {
        Ok(warnings) => warnings.iter().for_each(|warning| context.warn(warning)),
        Err(error) => collector.set_absent(LayerName::Free, error.to_string()),
    }
    if arguments.pid.is_some() {
        collector.set_absent(LayerName::Process, "pages of processes are not read from kernels yet");
    }
}

/// The pages of a file.
fn file_pages(host: &dyn ProcessHost, path: &Path, touch: bool) -> Result<LayerBuilder> {
    let metadata = path.metadata().map_err(|source| Error::io("look at", path, source))?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(Error::Refused(format!("{} is not a regular file with contents", path.display())));
    }
    let page_size = host.page_size()?;
    let backing = Backing::File { path: path.to_owned(), offset: 0, length: metadata.len() };
    let mapping = paddr::prepare(host, &backing, Preparation { touch, lock: false })?;
    let pages = paddr::look_up(host, None, paddr::pages(&*mapping, page_size));
    page_layer(path.display().to_string(), page_size, &Kind::new(Class::File, "page of the file"), pages)
}

/// The pages of a process, as the system tells.
fn process_pages(host: &dyn ProcessHost, pid: Pid) -> Result<LayerBuilder> {
    let map = read_process_map(host, pid, Detail::Mappings)?;
    let page_size = host.page_size()?;
    let step = saturating_usize(page_size.max(1));
    let addresses = map.entries.iter().flat_map(|entry| (entry.start..entry.end).step_by(step));
    let pages = paddr::look_up(host, Some(pid), addresses);
    page_layer(format!("process {pid}"), page_size, &Kind::new(Class::Anonymous, "page of the process"), pages)
}
