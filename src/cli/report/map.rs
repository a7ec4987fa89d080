//! The picture of memory in a report.

use super::super::Context;
use super::super::kernel::Opened;
use super::MAP;
use memtool::physical_map::Collector;
use vmcore::Kernel;
use vmcore::physical_map::LayerName;
use vmcore::report::section::{Block, Section};

/// More memory than each page is looked at of in a report: that takes seconds.
const MAX_SCANNED: u64 = 64 << 30;

/// That of a dump or of the running system, or why there is none.
pub fn section(context: &mut Context, opened: Result<&Opened, &String>) -> Section {
    let collect = |opened: &Opened| {
        let kernel = &opened.kernel;
        let mut collector = Collector::new(&LayerName::ALL);
        let problems = match kernel.memory().dump() {
            Some(dump) => {
                collector.add_dump(dump).map_err(|error| error.to_string())?;
                collector.add_machine_of(kernel).unwrap_or_else(|error| vec![error.to_string()])
            }
            None => {
                let host = context.host();
                host.and_then(|host| collector.add_host(&*host)).map_err(|error| error.to_string())?;
                Vec::new()
            }
        };
        Ok(blocks(collector, kernel, problems))
    };
    let blocks = opened.map_err(String::clone).and_then(collect).unwrap_or_else(|why| vec![Block::Note(why)]);
    Section { id: MAP, title: "Physical memory", blocks }
}

/// The picture with what the kernel knows of free memory, and what is missing.
fn blocks(mut collector: Collector, kernel: &Kernel, problems: Vec<String>) -> Vec<Block> {
    match collector.add_kernel(kernel, MAX_SCANNED) {
        Ok(warnings) => warnings.iter().for_each(|why| collector.set_absent(LayerName::Free, why)),
        Err(error) => collector.set_absent(LayerName::Free, error.to_string()),
    }
    let map = collector.finish();
    let absent = map.absent.iter().find(|absent| absent.name == LayerName::Free);
    let absent = absent.map(|absent| format!("no free memory: {}", absent.why));
    let notes: Vec<Block> = absent.into_iter().chain(problems).map(Block::Note).collect();
    let page_size = kernel.memory().page_size();
    [Block::Map(Box::new(map), Some(page_size))].into_iter().chain(notes).collect()
}
