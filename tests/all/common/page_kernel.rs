//! A kernel whose types and memory tell of its pages: segments of physical memory with an array of `struct vm_page`, free
//! lists, page queues, reservations, objects and buffers.
//!
//! Sources: `sys/vm/_vm_phys.h`, `vm_page.h`, `vm_pagequeue.h`, `vm_object.h`, `vm_reserv.c`, `sys/sys/buf.h`.

use super::typed_kernel::{Basic, TypedKernel};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

pub const PAGE: u64 = 4096;
/// Pages of a reservation.
pub const RESERVATION: u64 = 64;
/// Orders of free blocks.
pub const ORDERS: u64 = 5;
/// Pages of each of the two segments.
pub const PAGES: u64 = 2 * RESERVATION;
/// Physical addresses at which the segments begin, each in a memory domain.
pub const SEGMENTS: [u64; 2] = [RESERVATION * PAGE, 8 * RESERVATION * PAGE];
/// Values of `enum obj_type`.
pub const SWAP: u64 = 1;
pub const VNODE: u64 = 2;
pub const DEVICE: u64 = 3;
pub const PHYS: u64 = 4;
pub const SG: u64 = 5;
/// `OBJ_ANON`, `OBJ_POSIXSHM`.
pub const ANON: u64 = 0x10;
pub const POSIX_SHM: u64 = 0x2_0000;
/// `VPRC_OBJREF`.
pub const OBJREF: u64 = 0x8000_0000;
/// No page queue.
const PQ_NONE: u64 = 255;
/// `PGA_ENQUEUED`.
const ENQUEUED: u64 = 8;
const QUEUES: [&str; 4] = ["inactive", "active", "laundry", "unswappable"];

/// A kernel as it is being built.
pub struct PageKernel {
    pub kernel: TypedKernel,
    pub page: Type,
    pub domain: Type,
    object: Type,
    reservation: Type,
    /// The arrays of `struct vm_page` of each segment.
    pub pages: [u64; 2],
    /// The arrays of `struct vm_reserv` of each segment.
    reservations: [u64; 2],
}

/// What a kernel's types have that others lack.
#[derive(Clone, Copy)]
pub struct Release {
    /// `ref_count` of pages in place of `wire_count`, queues of pages that are set aside, and reservations: FreeBSD 15.
    pub is_new: bool,
}

impl PageKernel {
    /// All pages are wired and belong to no object.
    pub fn new(arch: Arch, release: Release) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let page = define_page(&mut kernel, release);
        let domain = define_domain(&mut kernel, page, release);
        let (object, reservation) = (define_object(&mut kernel), define_reservation(&mut kernel, page));
        define_segments(&mut kernel, page, release);
        let size = kernel.types.size_of(page);
        let pages = SEGMENTS.map(|_| kernel.allocate_pages(size * PAGES));
        let each = kernel.types.size_of(reservation);
        let reservations = SEGMENTS.map(|_| kernel.allocate_pages(each * (PAGES / RESERVATION)));
        let mut all = Self { kernel, page, domain, object, reservation, pages, reservations };
        all.fill(release);
        all
    }

    fn fill(&mut self, release: Release) {
        for (segment, start) in SEGMENTS.into_iter().enumerate() {
            let path = |member: &str| format!("[{segment}].{member}");
            let kernel = &mut self.kernel;
            kernel.set_variable("vm_phys_segs", &path("start"), start);
            kernel.set_variable("vm_phys_segs", &path("end"), start + PAGES * PAGE);
            kernel.set_variable("vm_phys_segs", &path("first_page"), self.pages[segment]);
            kernel.set_variable("vm_phys_segs", &path("domain"), segment as u64);
            if release.is_new {
                kernel.set_variable("vm_phys_segs", &path("first_reserv"), self.reservations[segment]);
            }
            kernel.set_variable("phys_avail", &format!("[{}]", 2 * segment), start);
            kernel.set_variable("phys_avail", &format!("[{}]", 2 * segment + 1), start + PAGES * PAGE);
            for index in 0..PAGES {
                self.set(segment, index, "order", ORDERS);
                self.set(segment, index, if release.is_new { "a.queue" } else { "queue" }, PQ_NONE);
                self.set(segment, index, if release.is_new { "ref_count" } else { "wire_count" }, 1_u64);
            }
            for (queue, name) in QUEUES.iter().enumerate() {
                let name = self.kernel.string(&format!("vm {name} pagequeue"));
                self.kernel.set_variable("vm_dom", &format!("[{segment}].vmd_pagequeues[{queue}].pq_name"), name);
            }
        }
        for (name, value) in [("vm_phys_nsegs", 2), ("vm_nfreelists", 1), ("vm_ndomains", 2)] {
            self.kernel.set_variable(name, "", value);
        }
        self.kernel.set_variable("vm_cnt", "v_page_count", 2 * PAGES);
    }

    /// Where the structure of a page is.
    pub fn address(&self, segment: usize, index: u64) -> u64 {
        self.pages[segment] + index * self.kernel.types.size_of(self.page)
    }

    /// Sets a member of a page.
    pub fn set(&mut self, segment: usize, index: u64, path: &str, value: impl Into<i128>) {
        let address = self.address(segment, index);
        self.kernel.set(address, self.page, path, value);
    }

    /// Makes pages those of an object.
    pub fn give(&mut self, segment: usize, pages: std::ops::Range<u64>, object: u64) {
        for index in pages {
            self.set(segment, index, "object", object);
            self.set(segment, index, "ref_count", OBJREF);
        }
    }

    /// Has nobody refer to pages.
    pub fn release(&mut self, segment: usize, pages: std::ops::Range<u64>) {
        pages.for_each(|index| self.set(segment, index, "ref_count", 0_u64));
    }

    /// Puts pages into a queue.
    pub fn enqueue(&mut self, segment: usize, pages: std::ops::Range<u64>, queue: u64) {
        for index in pages {
            self.set(segment, index, "a.queue", queue);
            self.set(segment, index, "a.flags", ENQUEUED);
        }
    }

    /// Makes pages from one on a free block of an order, in the kernel's count too.
    pub fn free(&mut self, segment: usize, index: u64, order: u64) {
        self.release(segment, index..index + (1 << order));
        self.set(segment, index, "order", order);
        let path = format!("[{segment}][0][0][{order}].lcnt");
        let (address, of) = self.kernel.variable_of("vm_phys_free_queues");
        let at = self.kernel.address_of(address, of, &path);
        let count = self.kernel.number(at, 4) + 1;
        self.kernel.set(address, of, &path, count);
    }

    /// An object of a type, with flags.
    pub fn object(&mut self, of: u64, flags: u64) -> u64 {
        let address = self.kernel.allocate(self.object);
        self.kernel.set(address, self.object, "type", of);
        self.kernel.set(address, self.object, "flags", flags);
        address
    }

    /// Reserves the pages of a reservation for an object, of which the first so many are in use.
    pub fn reserve(&mut self, segment: usize, index: u64, object: u64, in_use: u32) {
        let address = self.reservations[segment] + index * self.kernel.types.size_of(self.reservation);
        let first = self.address(segment, index * RESERVATION);
        self.kernel.set(address, self.reservation, "object", object);
        self.kernel.set(address, self.reservation, "pages", first);
        let (used, bits) = ((1_u128 << in_use) - 1, 8 * self.kernel.arch.word() as u64);
        for word in 0..RESERVATION / bits {
            let value = (used >> (word * bits)) & ((1 << bits) - 1);
            self.kernel.set(address, self.reservation, &format!("popmap[{word}]"), value.cast_signed());
        }
    }

    /// Puts pages into the only buffer.
    pub fn buffer(&mut self, pages: &[u64]) {
        let Basic { int, character, pointer, .. } = self.kernel.basic;
        let none = self.kernel.types.array(pointer, 0);
        let before = self.kernel.types.array(character, 40);
        let header = self.kernel.types.record("buf", &[("b_data", before), ("b_npages", int), ("b_pages", none)]);
        for (name, value) in [("nbuf", 1), ("maxbcachebuf", 16 * PAGE)] {
            self.kernel.variable(name, int);
            self.kernel.set_variable(name, "", value);
        }
        let word = self.kernel.arch.word() as u64;
        let at = self.kernel.allocate_pages(self.kernel.types.size_of(header) + 16 * word);
        self.kernel.set(at, header, "b_npages", pages.len() as u64);
        let list = self.kernel.address_of(at, header, "b_pages");
        for (index, page) in (0..).zip(pages) {
            self.kernel.write_pointer(list + index * word, *page);
        }
        self.kernel.variable("buf", pointer);
        self.kernel.set_variable("buf", "", at);
    }
}

fn define_page(kernel: &mut TypedKernel, release: Release) -> Type {
    let Basic { unsigned_char, unsigned_short, unsigned_int, unsigned_long_long: wide, pointer, .. } = kernel.basic;
    let types = &mut kernel.types;
    let page = types.reserve();
    let link = types.pointer(page);
    let queue = types.record("", &[("tqe_next", link), ("tqe_prev", pointer)]);
    let links = types.union_of("", &[("q", queue)]);
    let mut members = vec![("plinks", links), ("object", pointer), ("pindex", wide), ("phys_addr", wide)];
    if release.is_new {
        let parts = [("flags", unsigned_short), ("queue", unsigned_char), ("act_count", unsigned_char)];
        let state = types.record("", &parts);
        members.extend([("ref_count", unsigned_int), ("busy_lock", unsigned_int), ("a", state)]);
    } else {
        members.extend([("wire_count", unsigned_int), ("queue", unsigned_char)]);
    }
    members.extend([("order", unsigned_char), ("flags", unsigned_char)]);
    if release.is_new {
        members.extend([("valid", unsigned_char), ("dirty", unsigned_char)]);
    }
    types.at(page).record("vm_page", &members)
}

fn define_domain(kernel: &mut TypedKernel, page: Type, release: Release) -> Type {
    let Basic { int, unsigned_int, unsigned_long_long: wide, string, pointer, .. } = kernel.basic;
    let types = &mut kernel.types;
    let link = types.pointer(page);
    let list = types.record("pglist", &[("tqh_first", link), ("tqh_last", pointer)]);
    let members = [("pq_pl", list), ("pq_cnt", int), ("pq_name", string), ("pq_pdpages", wide)];
    let queue = types.record("vm_pagequeue", &members);
    let queues = types.array(queue, 4);
    let values = [("VM_LAUNDRY_IDLE", 0), ("VM_LAUNDRY_BACKGROUND", 1), ("VM_LAUNDRY_SHORTFALL", 2)];
    let request = types.enumeration("", 4, &values);
    let mut members = vec![
        ("vmd_pagequeues", queues),
        ("vmd_page_count", unsigned_int),
        ("vmd_free_count", unsigned_int),
        ("vmd_free_target", unsigned_int),
        ("vmd_free_min", unsigned_int),
        ("vmd_pageout_wanted", int),
    ];
    if release.is_new {
        members.extend([("vmd_laundry_request", request), ("vmd_nofreeq", list)]);
    }
    let domain = types.record("vm_domain", &members);
    let domains = types.array(domain, 4);
    kernel.variable("vm_dom", domains);
    let count = kernel.types.record("vmmeter", &[("v_page_count", unsigned_int)]);
    kernel.variable("vm_cnt", count);
    domain
}

fn define_object(kernel: &mut TypedKernel) -> Type {
    let Basic { int, unsigned_char, unsigned_int, unsigned_long_long: wide, pointer, .. } = kernel.basic;
    let names =
        [("OBJT_SWAP", 1), ("OBJT_VNODE", 2), ("OBJT_DEVICE", 3), ("OBJT_PHYS", 4), ("OBJT_SG", 5), ("OBJT_DEAD", 6)];
    kernel.types.enumeration("obj_type", 4, &names);
    let members = [
        ("type", unsigned_char),
        ("flags", unsigned_int),
        ("ref_count", unsigned_int),
        ("shadow_count", int),
        ("resident_page_count", int),
        ("size", wide),
        ("backing_object", pointer),
        ("backing_object_offset", wide),
        ("handle", pointer),
    ];
    let object = kernel.types.record("vm_object", &members);
    kernel.variable("kernel_object_store", object);
    let link = kernel.types.pointer(object);
    kernel.variable("kstack_object", link);
    object
}

fn define_reservation(kernel: &mut TypedKernel, page: Type) -> Type {
    let Basic { unsigned_short, unsigned_long, pointer, .. } = kernel.basic;
    let words = u32::try_from(RESERVATION / 8 / kernel.arch.word() as u64).unwrap();
    let (bits, link) = (kernel.types.array(unsigned_long, words), kernel.types.pointer(page));
    let members = [("object", pointer), ("pages", link), ("popcnt", unsigned_short), ("popmap", bits)];
    kernel.types.record("vm_reserv", &members)
}

fn define_segments(kernel: &mut TypedKernel, page: Type, release: Release) {
    let Basic { int, unsigned_long_long: wide, pointer, .. } = kernel.basic;
    let types = &mut kernel.types;
    let link = types.pointer(page);
    let list = types.record("vm_freelist", &[("tqh_first", link), ("tqh_last", pointer), ("lcnt", int)]);
    let orders = types.array(list, u32::try_from(ORDERS).unwrap());
    let pools = types.array(orders, 2);
    let lists = types.array(pools, 2);
    let queues = types.array(lists, 4);
    let to_pools = types.pointer(pools);
    let mut members =
        vec![("start", wide), ("end", wide), ("first_page", link), ("domain", int), ("free_queues", to_pools)];
    if release.is_new {
        members.push(("first_reserv", pointer));
    }
    let segment = types.record("vm_phys_seg", &members);
    let (segments, ranges) = (types.array(segment, 4), types.array(wide, 8));
    kernel.variable("vm_phys_free_queues", queues);
    kernel.variable("vm_phys_segs", segments);
    kernel.variable("phys_avail", ranges);
    for name in ["vm_phys_nsegs", "vm_nfreelists", "vm_ndomains"] {
        kernel.variable(name, int);
    }
}
