//! Dumps of kernels with as many processes and threads as wanted, which are written one by one.

#[path = "../../tests/all/common/process_kernel.rs"]
mod process_kernel;
/// Where the module above expects them.
mod typed_kernel {
    pub use vmcore_synth::typed_kernel::{Basic, TypedKernel};
}

use process_kernel::ProcessKernel;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore_synth::ctf::Type;
use vmcore_synth::typed_kernel::TypedKernel;
use vmcore_synth::{Arch, Stack};

const PAGE: u64 = 4096;
/// Where the kernel's own memory ends; threads and processes are behind it, each in a page.
const FIRST: u64 = 64 << 20;
/// What a thread was in, from `fork_trampoline` on.
const CALLS: [&str; 9] = [
    "fork_trampoline",
    "fork_exit",
    "worker",
    "taskqueue_run",
    "wait",
    "_sleep",
    "sleepq_wait",
    "mi_switch",
    "sched_switch",
];

/// How many there are, and where.
pub struct Plan {
    /// Bytes of memory, all of it in the dump.
    pub size: u64,
    pub processes: u64,
    pub threads_of_each: u64,
    /// Pages that lie together, before the next ones so many bytes on.
    pub together: u64,
    pub stride: u64,
}

impl Plan {
    fn threads(&self) -> u64 {
        self.processes * self.threads_of_each
    }

    /// Where a page for a structure is in physical memory: all threads, and then all processes.
    fn physical(&self, number: u64) -> u64 {
        FIRST + number / self.together * self.stride + number % self.together * PAGE
    }
}

/// A kernel that is being written.
struct Writer<'a> {
    plan: &'a Plan,
    kernel: ProcessKernel,
    direct_map: u64,
    file: File,
    /// Where the page at [`FIRST`] is in it.
    pages_at: u64,
    functions: Vec<u64>,
}

/// Writes the dump and the kernel's image; tells how many bytes come before the dump's pages.
pub fn make(dump: &Path, image: &Path, plan: &Plan) -> io::Result<u64> {
    let mut kernel = ProcessKernel::new(Arch::Amd64);
    let signature = None;
    let functions = CALLS.map(|name| kernel.kernel.function_of_size(name, signature, 256)).to_vec();
    let spec = &mut kernel.kernel.dump;
    spec.dump_avail = vec![(0, plan.size)];
    let direct_map = spec.direct_map.base;
    spec.direct_map.end = direct_map + plan.size;
    let all = direct_map + plan.physical(plan.threads());
    kernel.kernel.set_variable("allproc", "lh_first", all);
    fs::write(image, kernel.kernel.image())?;
    let mut front = kernel.kernel.dump();
    // The pages of the kernel's own are the first in the bitmap and in the file.
    let bitmap = kernel.kernel.dump.parts().bitmap;
    front[bitmap.start..bitmap.end][(FIRST / PAGE / 8) as usize..].fill(0xff);
    let mut file = File::create(dump)?;
    file.write_all(&front)?;
    let pages_at = front.len() as u64;
    file.set_len(pages_at + plan.size - FIRST)?;
    let mut writer = Writer { plan, kernel, direct_map, file, pages_at, functions };
    for number in 0..plan.threads() {
        writer.thread(number)?;
    }
    for number in 0..plan.processes {
        writer.process(number)?;
    }
    Ok(pages_at)
}

/// Puts a number into a member.
fn set(kernel: &TypedKernel, page: &mut [u8], of: Type, path: &str, value: impl Into<i128>) {
    kernel.types.set(page, of, path, value.into());
}

impl Writer<'_> {
    /// The address of a thread.
    fn thread_at(&self, number: u64) -> u64 {
        self.direct_map + self.plan.physical(number)
    }

    fn process_at(&self, number: u64) -> u64 {
        self.thread_at(self.plan.threads() + number)
    }

    fn write(&self, address: u64, page: &[u8]) -> io::Result<()> {
        self.file.write_all_at(page, self.pages_at + (address - self.direct_map - FIRST))
    }

    /// Its structure, its stack, and above that the registers that it saved.
    fn thread(&mut self, number: u64) -> io::Result<()> {
        const PCB: usize = PAGE as usize - 512;
        const STACK: usize = 2048;
        let (of, address) = (self.kernel.types.thread, self.thread_at(number));
        let each = self.plan.threads_of_each;
        let (process, index) = (self.process_at(number / each), number % each);
        let next = if index + 1 < each { self.thread_at(number + 1) } else { 0 };
        let kernel = &self.kernel.kernel;
        let link = kernel.types.offset_of(of, "td_plist.tqe_next");
        let back = match index {
            0 => process + kernel.types.offset_of(self.kernel.types.process, "p_threads.tqh_first"),
            _ => self.thread_at(number - 1) + link,
        };
        let mut page = vec![0; PAGE as usize];
        let values: [(&str, i128); 8] = [
            ("td_tid", i128::from(100_000 + number)),
            ("td_state", 2),
            ("td_oncpu", -1),
            ("td_pri_class", 3),
            ("td_proc", process.into()),
            ("td_plist.tqe_next", next.into()),
            ("td_plist.tqe_prev", back.into()),
            ("td_pcb", i128::from(address) + PCB as i128),
        ];
        values.into_iter().for_each(|(path, value)| set(kernel, &mut page, of, path, value));
        kernel.types.set_text(&mut page, of, "td_name", &format!("worker {number}"));
        let mut stack = Stack::new(Arch::Amd64, kernel.dump.order, address + STACK as u64, PCB - STACK);
        for function in &self.functions[..CALLS.len() - 1] {
            stack.call_and_enter(function + 0x40);
        }
        // The registers that sched_switch saved: amd64's struct pcb begins with r15 to r12, rbp, rsp, rbx and rip.
        let registers = [0, 0, 0, 0, stack.fp, stack.sp, 0, self.functions[CALLS.len() - 1] + 0x40];
        page[STACK..PCB].copy_from_slice(&stack.bytes);
        page[PCB..PCB + 64].copy_from_slice(&registers.map(u64::to_le_bytes).concat());
        self.write(address, &page)
    }

    fn process(&mut self, number: u64) -> io::Result<()> {
        let (of, address) = (self.kernel.types.process, self.process_at(number));
        let each = self.plan.threads_of_each;
        let next = if number + 1 < self.plan.processes { self.process_at(number + 1) } else { 0 };
        let (first, last) = (self.thread_at(number * each), self.thread_at(number * each + each - 1));
        let kernel = &self.kernel.kernel;
        let back = match number {
            0 => kernel.variable_of("allproc").0,
            _ => self.process_at(number - 1) + kernel.types.offset_of(of, "p_list.le_next"),
        };
        let link = kernel.types.offset_of(self.kernel.types.thread, "td_plist.tqe_next");
        let mut page = vec![0; PAGE as usize];
        let values: [(&str, i128); 9] = [
            ("p_pid", number.into()),
            ("p_state", 1),
            ("p_ucred", self.kernel.credentials.into()),
            ("p_sysent", self.kernel.vector.into()),
            ("p_list.le_next", next.into()),
            ("p_list.le_prev", back.into()),
            ("p_threads.tqh_first", first.into()),
            ("p_threads.tqh_last", i128::from(last + link)),
            ("p_numthreads", each.into()),
        ];
        values.into_iter().for_each(|(path, value)| set(kernel, &mut page, of, path, value));
        kernel.types.set_text(&mut page, of, "p_comm", &format!("daemon{number}"));
        self.write(address, &page)
    }
}
