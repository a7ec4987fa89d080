//! Where pages of files and processes are in physical memory.

use super::Collector;
use crate::error::{Error, Result};
use crate::host::{Backing, PageState, Pid, ProcessHost, read_process_map};
use crate::paddr::{Page, Preparation, look_up, pages, prepare};
use crate::process_map::structures::{StructureMap, read_structures};
use crate::process_map::{Detail, Object};
use ioctl_defs::user::{KVME_TYPE_SWAP, KVME_TYPE_VNODE};
use std::path::Path;
use vmcore::Kernel;
use vmcore::bounds::saturating_usize;
use vmcore::physical_map::{Class, Kind, LayerBuilder, LayerName};
use vmcore::vm::VmObject;

impl Collector {
    /// Takes the pages of a file that are in memory and mapped, after it was mapped; with `touch`, all of them.
    ///
    /// # Errors
    ///
    /// It is no regular file, or cannot be mapped; where its pages are cannot be looked up.
    pub fn add_file(&mut self, host: &dyn ProcessHost, path: &Path, touch: bool) -> Result<()> {
        let metadata = path.metadata().map_err(|source| Error::io("look at", path, source))?;
        if !metadata.is_file() {
            return Err(Error::Refused(format!("{} is not a regular file", path.display())));
        }
        let mut found = Found::default();
        if metadata.len() > 0 {
            let page_size = host.page_size()?;
            let backing = Backing::File { path: path.to_owned(), offset: 0, length: metadata.len() };
            let mapping = prepare(host, &backing, Preparation { touch, lock: false })?;
            for page in look_up(host, None, pages(&*mapping, page_size)) {
                found.add(&page?, page_size, Class::File);
            }
        }
        self.add_layer(found.layer(path.display().to_string(), host.page_size()?));
        Ok(())
    }

    /// Takes the pages of a process, of a system that tells where those of any process are.
    ///
    /// # Errors
    ///
    /// There is no such process, or it may not be looked at.
    pub fn add_process(&mut self, host: &dyn ProcessHost, pid: Pid) -> Result<()> {
        let map = read_process_map(host, pid, Detail::Usage)?;
        let page_size = host.page_size()?;
        let mut found = Found::default();
        // Where nothing is in memory none is looked for: entries can be large.
        let is_resident = |resident: Option<u64>| resident != Some(0);
        let entries = map.entries.iter();
        for entry in entries.filter(|entry| is_resident(entry.usage.map(|usage| usage.resident))) {
            let class = match entry.object {
                Object::Vnode => Class::File,
                Object::Anonymous => Class::Anonymous,
                _ => Class::OtherPage,
            };
            let addresses = (entry.start..entry.end).step_by(saturating_usize(page_size.max(1)));
            for page in look_up(host, Some(pid), addresses) {
                found.add(&page?, page_size, class);
            }
        }
        self.add_layer(found.layer(format!("process {pid}"), page_size));
        Ok(())
    }

    /// Takes the pages of a process, or, for 0, of the kernel's map, of a kernel whose types are loaded. Returns what cannot be
    /// read.
    ///
    /// # Errors
    ///
    /// There is no such process, or its map cannot be read.
    pub fn add_process_of(&mut self, kernel: &Kernel, pid: Pid) -> Result<Vec<String>> {
        let StructureMap { space, .. } = read_structures(kernel, None, pid, false)?;
        let mut found = Found::default();
        let mut problems = space.problems.clone();
        problems.extend(space.physical_pages(kernel.typed()?, |object, physical| {
            found.pages.push((physical, class_of(object)));
        })?);
        self.add_layer(found.layer(format!("process {pid}"), space.page_size));
        Ok(problems)
    }
}

/// What the pages of an object are.
const fn class_of(object: &VmObject) -> Class {
    match object.kvme_type {
        Some(KVME_TYPE_VNODE) => Class::File,
        Some(KVME_TYPE_SWAP) => Class::Anonymous,
        _ => Class::OtherPage,
    }
}

/// Physical addresses of pages, and what they are.
#[derive(Default)]
struct Found {
    pages: Vec<(u64, Class)>,
}

impl Found {
    fn add(&mut self, page: &Page, page_size: u64, class: Class) {
        if let PageState::Mapped { paddr, .. } = page.state {
            self.pages.push((paddr - paddr % page_size.max(1), class));
        }
    }

    /// Each page once, though it may be mapped several times.
    fn layer(mut self, source: String, page_size: u64) -> LayerBuilder {
        self.pages.sort_unstable();
        self.pages.dedup_by_key(|(physical, _)| *physical);
        let mut layer = LayerBuilder::new(LayerName::Process, source);
        for (start, class) in self.pages {
            let text = match class {
                Class::File => "pages of files",
                Class::Anonymous => "anonymous memory",
                _ => "other pages",
            };
            layer.add(start, start.saturating_add(page_size), Kind::new(class, text));
        }
        layer
    }
}
