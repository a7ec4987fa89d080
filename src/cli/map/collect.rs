//! Which sources a map is made from.

use super::super::Context;
use super::super::kernel::{IMAGE, Opened, open_memory};
use super::Arguments;
use memtool::host::Pid;
use memtool::output_file::temporary_directory;
use memtool::physical_map::Collector;
use memtool::{Error, Result};
use std::path::Path;
use vmcore::kernel::Access;
use vmcore::physical_map::{LayerName, PhysicalMap};

/// A map.
pub struct Collected {
    /// The map.
    pub map: PhysicalMap,
    /// What JSON says that it is of.
    pub kind: &'static str,
    /// Whether the dump that it is of is not damaged.
    pub is_whole: bool,
}

pub fn collect(context: &mut Context, arguments: &Arguments) -> Result<Collected> {
    let mut collector = Collector::new(&arguments.wanted());
    let mut is_whole = true;
    let kind = match &arguments.kernel.core {
        Some(core) => {
            is_whole = from_dump(context, arguments, core, &mut collector)?;
            IMAGE
        }
        None => from_system(context, arguments, &mut collector)?,
    };
    collector.set_absent(LayerName::Memory, "the system does not tell which addresses are RAM");
    collector.set_absent(LayerName::Types, "the system has no memory ranges");
    collector.set_absent(LayerName::Dump, "no dump is named with --core");
    collector.set_absent(LayerName::Process, "neither --pid nor --file is given");
    let map = collector.finish();
    if let Some(core) = arguments.kernel.core.as_ref().filter(|_| !is_whole && map.end == 0) {
        return Err(Error::Refused(format!(
            "{}: so little of the dump is there that nothing can be drawn",
            core.display()
        )));
    }
    Ok(Collected { map, kind, is_whole })
}

/// Returns whether the dump is not damaged.
fn from_dump(context: &mut Context, arguments: &Arguments, core: &Path, collector: &mut Collector) -> Result<bool> {
    let image = arguments.kernel.image()?;
    let memory = arguments.kernel.open_core(context, core, Access::Read, &temporary_directory())?;
    let is_whole = memory.inspection().damage.is_empty();
    collector.add_dump(&memory)?;
    let layers = [LayerName::Free, LayerName::Memory, LayerName::Types];
    if layers.into_iter().any(|name| collector.wants(name)) || arguments.pid.is_some() {
        let opened = open_memory(context, core, memory, image);
        add_kernel(context, arguments, opened, collector);
    }
    Ok(is_whole)
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
        collector.add_file(&*processes, path, arguments.touch)?;
    }
    match arguments.pid.filter(|_| host.is_none()) {
        Some(0) => collector.set_absent(LayerName::Process, "Linux does not tell where its kernel's pages are"),
        Some(pid) => collector.add_process(&*processes, Pid::from_raw(pid))?,
        None => {}
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
            collector.set_absent(LayerName::Types, error.to_string());
            collector.set_absent(LayerName::Free, error.to_string());
            if arguments.pid.is_some() {
                collector.set_absent(LayerName::Process, error.to_string());
            }
            return;
        }
    };
    if arguments.kernel.core.is_some() {
        match collector.add_machine_of(&opened.kernel) {
            Ok(warnings) => warnings.iter().for_each(|warning| context.warn(warning)),
            Err(error) => collector.set_absent(LayerName::Types, error.to_string()),
        }
    }
    match collector.add_kernel(&opened.kernel, u64::MAX) {
        Ok(warnings) => warnings.iter().for_each(|warning| context.warn(warning)),
        Err(error) => collector.set_absent(LayerName::Free, error.to_string()),
    }
    if let Some(pid) = arguments.pid.map(Pid::from_raw) {
        match collector.add_process_of(&opened.kernel, pid) {
            Ok(problems) => problems.iter().for_each(|problem| context.warn(problem)),
            Err(error) => collector.set_absent(LayerName::Process, error.to_string()),
        }
    }
}
