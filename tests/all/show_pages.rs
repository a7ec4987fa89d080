//! `memtool show` of free pages, page queues and the use of pages.

use crate::common::page_kernel::{
    ANON, DEVICE, ORDERS, PAGE, PAGES, PHYS, POSIX_SHM, PageKernel, RESERVATION, Release, SEGMENTS, SG, SWAP, VNODE,
};
use crate::common::typed_kernel::WriteFiles as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use vmcore_synth::Arch;

const NEW: Release = Release { is_new: true };
const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

/// The pages and wired pages of each use that there is.
fn uses(document: &Value) -> BTreeMap<&str, (u64, u64)> {
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let uses = document["page_use"]["uses"].as_array().unwrap().iter();
    uses.map(|of| (of["use"].as_str().unwrap(), (number(of, "page_count"), number(of, "wired_count"))))
        .filter(|(_, (pages, _))| *pages > 0)
        .collect()
}

fn assert_sum(document: &Value) {
    let sum: u64 = uses(document).values().map(|(pages, _)| pages).sum();
    assert_eq!(sum, 2 * PAGES, "{document:#}");
    assert_eq!(document["page_use"]["page_count"], 2 * PAGES);
}

#[test]
fn free_blocks_are_counted_by_domain_list_order_and_pool() {
    for arch in ARCHITECTURES {
        let mut kernel = PageKernel::new(arch, NEW);
        kernel.free(0, 0, 4);
        kernel.free(0, 32, 1);
        kernel.free(0, 40, 1);
        kernel.free(1, 3, 0);
        let run = kernel.kernel.write().run(&["show", "free-pages", "--json"]).ok();
        let document = run.json();
        let free = &document["free_memory"];
        let domains = free["memory_domains"].as_array().unwrap();
        assert_eq!((&domains[0]["page_count"], &domains[1]["page_count"]), (&json!(20), &json!(1)), "{arch:?}");
        let pools = |domain: &Value| {
            let orders = domain["lists"][0]["orders"].as_array().unwrap().clone();
            orders.into_iter().map(|order| order["pools"].clone()).collect::<Value>()
        };
        assert_eq!(pools(&domains[0]), json!([[0, 0], [2, 0], [0, 0], [0, 0], [1, 0]]), "{arch:?}");
        assert_eq!(domains[0]["lists"].as_array().unwrap().len(), 1);
        assert_eq!(domains[0]["lists"][0]["orders"][4]["block_size"], 16 * PAGE);
        let segment = &free["segments"][1];
        assert_eq!((&segment["start"], &segment["domain"]), (&json!(format!("{:#x}", SEGMENTS[1])), &json!(1)));
        assert_eq!(segment["size"], PAGES * PAGE);
    }
}

#[test]
fn rows_of_free_blocks_are_those_of_the_sysctl() {
    let mut kernel = PageKernel::new(Arch::Amd64, NEW);
    kernel.free(1, 0, 4);
    let run = kernel.kernel.write().run(&["show", "free-pages"]).ok();
    let rows: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(rows.len() as u64, 2 * ORDERS);
    assert_eq!(rows[5], "1\t0\t4\t64K\t1\t0");
}

#[test]
fn counts_that_make_no_sense_are_not_known() {
    let mut kernel = PageKernel::new(Arch::Amd64, NEW);
    kernel.kernel.set_variable("vm_phys_free_queues", "[0][0][1][2].lcnt", -1);
    let run = kernel.kernel.write().run(&["show", "free-pages", "--json"]).exits(1);
    assert!(run.stderr.contains("pool 1 of free list 0 of domain 0 has -1 blocks of order 2"), "{}", run.stderr);
    let free = &run.json()["free_memory"];
    assert_eq!(free["memory_domains"][0]["lists"][0]["orders"][2]["pools"], json!([0, null]));
    assert_eq!(
        (&free["memory_domains"][0]["page_count"], &free["memory_domains"][1]["page_count"]),
        (&Value::Null, &json!(0))
    );
    for (name, value, why) in [
        ("vm_ndomains", 5, "vm_ndomains is 5, more than there is room for"),
        ("vm_nfreelists", 3, "vm_nfreelists is 3, more than there is room for"),
        ("vm_phys_nsegs", -1, "vm_phys_nsegs is 4294967295, more than there is room for"),
    ] {
        let mut kernel = PageKernel::new(Arch::Amd64, NEW);
        kernel.kernel.set_variable(name, "", value);
        let run = kernel.kernel.write().run(&["show", "free-pages"]).exits(1);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

#[test]
fn page_queues_and_thresholds_are_those_of_each_domain() {
    for arch in ARCHITECTURES {
        let mut kernel = PageKernel::new(arch, NEW);
        for (path, value) in [
            ("[1].vmd_page_count", 128),
            ("[1].vmd_free_count", 64),
            ("[1].vmd_pagequeues[1].pq_cnt", 12),
            ("[1].vmd_pagequeues[1].pq_pdpages", 34),
            ("[1].vmd_free_target", 56),
            ("[1].vmd_pageout_wanted", 1),
            ("[1].vmd_laundry_request", 2),
        ] {
            kernel.kernel.set_variable("vm_dom", path, value);
        }
        let document = kernel.kernel.write().run(&["show", "page-queues", "--json"]).ok().json();
        let domain = &document["page_queues"]["memory_domains"][1];
        assert_eq!((&domain["page_count"], &domain["free_count"]), (&json!(128), &json!(64)), "{arch:?}");
        assert_eq!(domain["queues"][1], json!({"queue": "active", "page_count": 12, "scanned_count": 34}));
        assert_eq!(domain["thresholds"]["free_target"], 56);
        // Its structure has no such member.
        assert_eq!(domain["thresholds"]["free_severe"], Value::Null);
        assert_eq!((&domain["is_wanted"], &domain["is_waited_for"]), (&json!(true), &Value::Null));
        assert_eq!(domain["laundry_request"], "VM_LAUNDRY_SHORTFALL");
        assert_eq!(document["page_queues"]["page_daemon"]["wakeup_count"], Value::Null);
    }
}

#[test]
fn what_of_a_page_queue_cannot_be_so_is_not_known() {
    let mut kernel = PageKernel::new(Arch::Amd64, NEW);
    kernel.kernel.set_variable("vm_dom", "[0].vmd_pagequeues[0].pq_cnt", -3);
    kernel.kernel.set_variable("vm_dom", "[0].vmd_laundry_request", 9);
    let unmapped = kernel.kernel.unmapped();
    kernel.kernel.set_variable("vm_dom", "[0].vmd_pagequeues[1].pq_name", unmapped);
    let run = kernel.kernel.write().run(&["show", "page-queues", "--json"]).exits(1);
    let document = run.json();
    let domain = &document["page_queues"]["memory_domains"][0];
    assert_eq!((&domain["queues"][0]["page_count"], &domain["queues"][1]["queue"]), (&Value::Null, &Value::Null));
    assert_eq!(domain["laundry_request"], Value::Null);
    assert_eq!(document["warnings"].as_array().unwrap().len(), 3, "{document:#}");
}

#[test]
fn each_page_is_counted_once_by_who_holds_it() {
    for arch in ARCHITECTURES {
        let mut kernel = PageKernel::new(arch, NEW);
        let store = kernel.kernel.variable_of("kernel_object_store").0;
        let stacks = kernel.object(PHYS, 0);
        kernel.kernel.set_variable("kstack_object", "", stacks);
        let all = [
            (SWAP, ANON),
            (SWAP, POSIX_SHM),
            (SWAP, 0),
            (VNODE, 0),
            (DEVICE, 0),
            (PHYS, 0),
            (PHYS, POSIX_SHM),
            (SG, 0),
            (6, 0),
            (9, 0),
        ];
        let objects = all.map(|(of, flags)| kernel.object(of, flags));
        kernel.give(0, 0..2, store);
        kernel.give(0, 2..3, stacks);
        for (index, object) in (0..).zip(objects) {
            kernel.give(0, 4 + 4 * index..8 + 4 * index, object);
        }
        // A page of the file is in a buffer, and wired.
        kernel.set(0, 16, "ref_count", 0x8000_0001_u64);
        let buffered = kernel.address(0, 16);
        kernel.buffer(&[buffered]);
        kernel.enqueue(0, 4..7, 1);
        // Free, reserved, set aside, kept by a CPU; the last page was not available.
        kernel.free(1, 16, 4);
        kernel.reserve(1, 1, objects[0], 60);
        kernel.give(1, RESERVATION..RESERVATION + 60, objects[0]);
        kernel.release(1, RESERVATION + 60..RESERVATION + 64);
        kernel.release(1, 0..4);
        let aside = kernel.address(1, 0);
        kernel.set(1, 0, "ref_count", 2_u64);
        kernel.kernel.set_variable("vm_dom", "[1].vmd_nofreeq.tqh_first", aside);
        kernel.kernel.set_variable("phys_avail", "[0]", SEGMENTS[0] + PAGE);
        kernel.release(0, 0..1);
        kernel.set(0, 0, "object", 0);
        kernel.set(0, 3, "flags", 2);

        let document = kernel.kernel.write().run(&["show", "page-use", "--json"]).exits(0).json();
        assert_sum(&document);
        let expected = BTreeMap::from([
            ("startup", (1, 0)),
            ("kernel", (1, 0)),
            ("kernel-stack", (1, 0)),
            ("fictitious", (1, 1)),
            ("anonymous", (64, 0)),
            ("shared", (8, 0)),
            ("swappable", (4, 0)),
            ("buffer", (1, 1)),
            ("file", (3, 0)),
            ("device", (4, 0)),
            ("physical", (4, 0)),
            ("scatter-gather", (4, 0)),
            ("other", (8, 0)),
            ("free", (16, 0)),
            ("reserved", (4, 0)),
            ("set-aside", (3, 0)),
            ("unreferenced", (1, 0)),
            ("wired", (PAGES - 44 + PAGES - 84, PAGES - 44 + PAGES - 84)),
        ]);
        assert_eq!(uses(&document), expected, "{arch:?}");
        let anonymous = document["page_use"]["uses"].as_array().unwrap().iter().find(|of| of["use"] == "anonymous");
        assert_eq!(anonymous.unwrap()["queues"][1], json!({"queue": "active", "page_count": 3}));
        assert_eq!(document["page_use"]["unavailable_count"], 1);
        assert_eq!(document["page_use"]["zone_page_count"], Value::Null, "this kernel has no zones");
        let domains = document["page_use"]["memory_domains"].as_array().unwrap();
        let pages = |domain: usize| -> u64 {
            let uses = domains[domain]["uses"].as_array().unwrap();
            uses.iter().map(|of| of["page_count"].as_u64().unwrap()).sum()
        };
        assert_eq!((pages(0), pages(1), domains.len()), (PAGES, PAGES, 2));
        assert_eq!(document["page_use"]["v_page_count"], 2 * PAGES);
    }
}

#[test]
fn kernels_without_reference_counts_of_pages_do_not_tell_anonymous_memory() {
    let mut kernel = PageKernel::new(Arch::Amd64, Release { is_new: false });
    let object = kernel.object(SWAP, ANON);
    kernel.set(0, 5, "object", object);
    kernel.set(0, 5, "wire_count", 0_u64);
    kernel.set(0, 5, "queue", 0_u64);
    let document = kernel.kernel.write().run(&["show", "page-use", "--json"]).ok().json();
    assert_sum(&document);
    assert_eq!(uses(&document), BTreeMap::from([("swappable", (1, 0)), ("wired", (2 * PAGES - 1, 2 * PAGES - 1))]));
    let swappable = document["page_use"]["uses"].as_array().unwrap().iter().find(|of| of["use"] == "swappable");
    assert_eq!(swappable.unwrap()["queues"][0]["page_count"], 1);
}

#[test]
fn damaged_pages_are_counted_once_too() {
    let mut kernel = PageKernel::new(Arch::Amd64, NEW);
    // A free block that ends behind its segment, objects that cannot be read, a queue that leads back to itself.
    kernel.release(0, PAGES - 1..PAGES);
    kernel.set(0, PAGES - 1, "order", ORDERS - 1);
    let unmapped = kernel.kernel.unmapped();
    kernel.give(0, 4..6, unmapped);
    let aside = kernel.address(1, 0);
    kernel.kernel.set_variable("vm_dom", "[1].vmd_nofreeq.tqh_first", aside);
    kernel.set(1, 0, "plinks.q.tqe_next", aside);
    // A block that an object has is none.
    let object = kernel.object(SWAP, ANON);
    kernel.give(1, 8..9, object);
    kernel.set(1, 8, "order", 3);
    let run = kernel.kernel.write().run(&["show", "page-use", "--json"]).exits(1);
    let document = run.json();
    assert_sum(&document);
    let uses = uses(&document);
    assert_eq!((uses["free"], uses["other"], uses["anonymous"]), ((1, 0), (2, 0), (1, 0)));
    for why in ["ends behind its segment", "the object at", "the pages set aside cannot be read: a list leads back to"]
    {
        assert!(run.stderr.contains(why), "{why}: {}", run.stderr);
    }
    assert_eq!(document["warnings"].as_array().unwrap().len(), 3, "{document:#}");
}

#[test]
fn pages_whose_structures_are_not_in_the_dump_are_unreadable() {
    let mut kernel = PageKernel::new(Arch::Amd64, NEW);
    let second = kernel.pages[1] + PAGE;
    kernel.kernel.omit(second);
    let size = kernel.kernel.types.size_of(kernel.page);
    let run = kernel.kernel.write().run(&["show", "page-use", "--json"]).exits(1);
    let document = run.json();
    assert_sum(&document);
    // Those of which the page has a part.
    let (first, last) = (PAGE / size, (2 * PAGE).div_ceil(size).min(PAGES));
    assert_eq!(uses(&document)["unreadable"], (last - first, 0), "{document:#}");
}

#[test]
fn kernels_that_do_not_tell_of_pages_are_refused() {
    use crate::common::typed_kernel::TypedKernel;
    let dump = TypedKernel::new(Arch::Amd64).write();
    for (section, why) in [
        ("free-pages", "has no symbol vm_phys_free_queues"),
        ("page-queues", "has no symbol vm_dom"),
        ("page-use", "the kernel's types have no struct vm_page"),
    ] {
        let run = dump.run(&["show", section]).exits(1);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}
