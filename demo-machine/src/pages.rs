//! Physical memory: segments with a `struct vm_page` of each page, who has it, and the free lists.

use crate::kernel::{Demo, PAGE};
use crate::page_owners::{Page, Zone};
use std::collections::BTreeMap;

/// Segments, each in a memory domain.
pub const SEGMENTS: [(u64, u64, u64); 5] = [
    (0x1000, 0x9_f000, 0),
    (0x10_3000, 0x3c0_0000, 0),
    (0x3e0_0000, 0x800_0000, 0),
    (0x800_0000, 0xfee_0000, 1),
    (0x1_0000_0000, 0x1_0800_0000, 1),
];
/// Where the kernel is, and what it took before it could allocate pages.
const KERNEL_END: u64 = 0x154_0000;
/// The end of its page tables and other memory that is always wired.
const WIRED_END: u64 = 0x1c0_0000;
/// `busy_lock` of a page that nobody changes, and of one that nobody has.
const VPB_UNBUSIED: u32 = 1;
const VPB_FREED: u32 = 0xffff_fffe;
/// Orders of free blocks; the number of them is no order.
const ORDERS: u32 = 13;
/// `VPRC_OBJREF`: an object has the page.
const OF_OBJECT: u32 = 0x8000_0000;
/// No queue; otherwise the number of one.
const PQ_NONE: u8 = 255;
pub const INACTIVE: u8 = 0;
pub const ACTIVE: u8 = 1;
const LAUNDRY: u8 = 2;
/// `PGA_ENQUEUED`.
const ENQUEUED: u16 = 8;
/// `OBJT_VNODE`.
const VNODE: i128 = 2;

/// The physical addresses that pages of a zone are taken from.
const ZONES: [(Zone, u64, u64); 3] = [
    (Zone::Low, 0x500_0000, 0x5c0_0000),
    (Zone::High, 0x900_0000, 0xb00_0000),
    (Zone::Above, 0x1_0200_0000, 0x1_0400_0000),
];

/// Files that many pages are of, which no process maps.
const CACHED: [(&str, u64, u64, u8); 4] = [
    ("/usr/local/www/photos.tar", 0x300_0000, 0x3c0_0000, INACTIVE),
    ("/var/db/pkg/local.sqlite", 0x800_0000, 0x860_0000, INACTIVE),
    ("/var/log/httpd-access.log", 0x860_0000, 0x880_0000, LAUNDRY),
    ("/usr/local/www/index.db", 0x1_0000_0000, 0x1_0100_0000, ACTIVE),
];

impl Demo {
    /// Makes room for the structures.
    pub fn start_pages(&mut self) {
        let size = self.size_of("vm_page");
        self.pages.arrays =
            SEGMENTS.map(|(start, end, _)| self.kernel.allocate_pages((end - start) / PAGE * size)).to_vec();
        self.pages.next = ZONES.iter().map(|(zone, start, _)| (*zone, *start)).collect();
        let first = self.pages.arrays[0];
        self.set_variable("vm_page_array", "", first);
        for (index, (start, end, domain)) in SEGMENTS.into_iter().enumerate() {
            let array = self.pages.arrays[index];
            let members = [("start", start), ("end", end), ("first_page", array), ("domain", domain)];
            for (member, value) in members {
                self.set_variable("vm_phys_segs", &format!("[{index}].{member}"), value);
            }
        }
        let total: u64 = SEGMENTS.iter().map(|(start, end, _)| (end - start) / PAGE).sum();
        for (name, value) in
            [("vm_phys_nsegs", SEGMENTS.len() as u64), ("vm_nfreelists", 2), ("vm_page_array_size", total)]
        {
            self.set_variable(name, "", value);
        }
        let [first, second, rest @ ..] = SEGMENTS.map(|(start, end, _)| (start, end));
        let available = [first, (KERNEL_END, second.1)].into_iter().chain(rest);
        for (index, address) in available.flat_map(|(start, end)| [start, end]).enumerate() {
            self.set_variable("phys_avail", &format!("[{index}]"), address);
        }
    }

    /// The structure of a page.
    fn page_at(&self, physical: u64) -> u64 {
        let segment = SEGMENTS.iter().position(|(start, end, _)| (*start..*end).contains(&physical));
        let segment = segment.expect("RAM that the kernel manages");
        self.pages.arrays[segment] + (physical - SEGMENTS[segment].0) / PAGE * self.size_of("vm_page")
    }

    /// Gives a page of a zone to an object: its physical address.
    pub fn take_page(&mut self, zone: Zone, object: u64, number: u64) -> u64 {
        let next = self.pages.next.get_mut(&zone).expect("a zone");
        let physical = *next;
        *next += PAGE;
        assert!(ZONES.iter().any(|of| of.0 == zone && physical < of.2), "no page is left");
        self.pages.used.insert(physical, Page { object, number, references: OF_OBJECT, queue: ACTIVE });
        physical
    }

    /// Has the next pages of a zone begin with a superpage.
    pub fn align_pages(&mut self, zone: Zone) {
        let next = self.pages.next.get_mut(&zone).expect("a zone");
        *next = next.next_multiple_of(2 << 20);
    }

    /// An object with these pages, ascending: numbers and physical addresses.
    pub fn find_pages(&mut self, object: u64, pages: &[(u64, u64)]) {
        let number = self.at(0, "vm_page", "pindex");
        let leaves: Vec<(u64, u64)> = pages.iter().map(|(index, at)| (*index, self.page_at(*at) + number)).collect();
        let node = self.types.of("pctrie_node");
        let root = self.kernel.trie(node, &leaves);
        self.set(object, "vm_object", "rtree.rt_trie.pt_root", root);
        self.set(object, "vm_object", "resident_page_count", pages.len() as i128);
    }

    /// Has the kernel's own pages, and those of files that are only cached.
    fn fill_memory(&mut self) {
        for (path, start, end, queue) in CACHED {
            let vnode = self.file(path, 1);
            let pages = (end - start) / PAGE;
            let members = [("type", VNODE), ("ref_count", 1), ("size", pages.into()), ("handle", vnode.into())];
            let object = self.add("vm_object", &members);
            self.set(object, "vm_object", "resident_page_count", pages);
            for physical in (start..end).step_by(PAGE as usize) {
                let page = Page { object, number: 0, references: OF_OBJECT, queue };
                self.pages.used.insert(physical, page);
            }
        }
        let object = self.variable("kernel_object_store");
        let stacks = self.add("vm_object", &[("type", 4), ("ref_count", 1)]);
        self.set_variable("kstack_object", "", stacks);
        // This is the end of what is allocated.
        let end = self.kernel.allocate_pages(PAGE);
        let end = self.kernel.physical(end);
        let (first, _, _) = SEGMENTS[2];
        assert!(end <= ZONES[0].1, "the kernel's objects need more room");
        for (start, end, object, references) in [
            (SEGMENTS[1].0, KERNEL_END, 0, 0),
            (KERNEL_END, WIRED_END, 0, 1),
            (first, first + 0x40 * PAGE, stacks, OF_OBJECT | 1),
            (first + 0x40 * PAGE, end, object, OF_OBJECT | 1),
        ] {
            for physical in (start..end).step_by(PAGE as usize) {
                let page = Page { object, number: 0, references, queue: PQ_NONE };
                self.pages.used.insert(physical, page);
            }
        }
    }

    /// Writes the structures of all pages, and what is counted of them.
    pub fn finish_pages(&mut self) {
        self.fill_memory();
        let size = self.size_of("vm_page") as usize;
        let place = |member: &str| self.at(0, "vm_page", member) as usize;
        let places =
            ["object", "pindex", "phys_addr", "ref_count", "a.flags", "a.queue", "order", "segind", "busy_lock"]
                .map(place);
        let mut free: Vec<(u64, u32, u64)> = Vec::new();
        let mut counts = [[0_u64; 4]; 2];
        for (segment, (start, end, domain)) in SEGMENTS.into_iter().enumerate() {
            let mut array = vec![0; (end - start) as usize / PAGE as usize * size];
            let mut physical = start;
            while physical < end {
                let at = ((physical - start) / PAGE) as usize * size;
                let used = self.pages.used.get(&physical).copied();
                let order = if used.is_some() { ORDERS } else { self.free_order(physical, end) };
                let page = used.unwrap_or(Page { object: 0, number: 0, references: 0, queue: PQ_NONE });
                if used.is_none() {
                    free.push((physical, order, domain));
                    counts[domain as usize][3] += 1 << order;
                } else if page.queue != PQ_NONE {
                    counts[domain as usize][page.queue as usize] += 1;
                }
                let flags = if page.queue == PQ_NONE { 0 } else { ENQUEUED };
                let busy = if page.object == 0 && page.references == 0 { VPB_FREED } else { VPB_UNBUSIED };
                let values: [&[u8]; 9] = [
                    &page.object.to_le_bytes(),
                    &page.number.to_le_bytes(),
                    &physical.to_le_bytes(),
                    &page.references.to_le_bytes(),
                    &flags.to_le_bytes(),
                    &[page.queue],
                    &[order as u8],
                    &[segment as u8],
                    &busy.to_le_bytes(),
                ];
                for (place, bytes) in places.into_iter().zip(values) {
                    array[at + place..at + place + bytes.len()].copy_from_slice(bytes);
                }
                // Those behind the first page of a free block are not initialised until they are used.
                physical += if used.is_some() { PAGE } else { PAGE << order };
            }
            self.kernel.write_bytes(self.pages.arrays[segment], &array);
        }
        self.link_free(&free);
        self.count_queues(counts);
    }

    /// The order of the largest free block that begins at a page.
    fn free_order(&self, physical: u64, end: u64) -> u32 {
        let next = self.pages.used.range(physical..).next().map_or(end, |(next, _)| *next).min(end);
        (0..ORDERS)
            .rev()
            .find(|order| {
                let length = PAGE << order;
                physical.is_multiple_of(length) && physical + length <= next
            })
            .expect("a page is free")
    }

    fn link_free(&mut self, free: &[(u64, u32, u64)]) {
        let (lists, of) = self.kernel.variable_of("vm_phys_free_queues");
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (physical, order, domain) in free.iter().copied() {
            let list = u64::from(physical < 1 << 32);
            let path = format!("[{domain}][{list}][0][{order}]");
            let head = self.kernel.address_of(lists, of, &format!("{path}.pl"));
            let page = self.page_at(physical);
            self.push(head, true, ("vm_page", "plinks.q"), page);
            *counts.entry(path).or_default() += 1;
        }
        for (path, count) in counts {
            self.kernel.set(lists, of, &format!("{path}.lcnt"), count);
        }
    }

    /// What domains count of their pages.
    fn count_queues(&mut self, counts: [[u64; 4]; 2]) {
        for (domain, [inactive, active, laundry, free]) in counts.into_iter().enumerate() {
            let pages = SEGMENTS.iter().filter(|segment| segment.2 == domain as u64);
            let pages: u64 = pages.map(|(start, end, _)| (end - start) / PAGE).sum();
            let taken = if domain == 0 { (KERNEL_END - SEGMENTS[1].0) / PAGE } else { 0 };
            self.set_variable("vm_dom", &format!("[{domain}].vmd_page_count"), pages - taken);
            self.set_variable("vm_dom", &format!("[{domain}].vmd_free_count"), free);
            for (queue, count) in [inactive, active, laundry].into_iter().enumerate() {
                self.set_variable("vm_dom", &format!("[{domain}].vmd_pagequeues[{queue}].pq_cnt"), count);
            }
        }
        let wired = self.pages.used.values().filter(|page| page.references & !OF_OBJECT != 0).count();
        let total: u64 = SEGMENTS.iter().map(|(start, end, _)| (end - start) / PAGE).sum();
        self.set_variable("vm_cnt", "v_page_count", total - (KERNEL_END - SEGMENTS[1].0) / PAGE);
        self.wired = wired as u64;
    }
}
