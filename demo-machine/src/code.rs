//! The kernel's functions, and stacks of threads that are in them.

use crate::function::Function;
use crate::kernel::{Demo, PAGE};
use crate::module;
use vmcore_synth::{Arch, Endianness, Stack, Trap};

/// The functions, in the order of the kernel's code.
const FUNCTIONS: &str = "btext fork_trampoline Xfast_syscall fast_syscall_common calltrap Xtimerint cpu_switch savectx \
    amd64_syscall trap trap_pfault trap_fatal cpu_idle cpu_idle_acpi cpustop_handler ipi_stop_handler tsc_read \
    kern_clock_nanosleep sys_nanosleep kern_wait6 sys_wait4 kern_select sys_select seltdwait kern_poll sys_poll \
    kqueue_kevent kern_kevent sys_kevent kern_sigsuspend sys_sigsuspend kern_ioctl sys_ioctl vn_ioctl soo_ioctl \
    kern_readv sys_read dofileread devfs_read_f ttydev_read ttydisc_read tty_wait ifioctl ifhwioctl if_clone_create \
    fork_exit ithread_loop ithread_execute_handlers intr_event_execute_handlers swi_sched softclock \
    softclock_call_cc softclock_thread taskqueue_thread_loop gtaskqueue_thread_loop cam_doneq_thread xpt_scanner_thread \
    sched_switch mi_switch sched_idletd sleepq_wait sleepq_timedwait sleepq_catch_signals sleepq_wait_sig \
    sleepq_timedwait_sig _sleep msleep_spin_sbt _cv_wait _cv_wait_sig _cv_timedwait_sig_sbt _sx_xlock_hard \
    _sx_slock_hard __mtx_lock_sleep turnstile_wait panic vpanic kern_reboot doadump vm_pageout vm_pageout_worker \
    vm_pageout_laundry_worker uma_reclaim_worker buf_daemon vnlru_proc sched_sync g_run_events g_io_schedule_up \
    g_io_schedule_down swapper scheduler start_init audit_worker if_get_counter_default copyin copyout uiomove \
    malloc free uma_zalloc_arg uma_zfree_arg sysctl_handle_int sysctl_handle_long sysctl_handle_string \
    sysctl_handle_opaque sysctl_handle_bool sysctl_handle_64 sysctl_handle_counter_u64 sysctl_kern_proc mi_startup \
    vfs_mountroot namei lookup vn_open tcp_input tcp_output udp_input ip_input ip_output ether_input ether_output \
    sosend_generic soreceive_generic sbwait soo_poll linker_load_module loadav \
    iflib_timer sleepq_timeout tcp_timer_enter lim_cb etext";

/// Those of a source file alone.
const STATIC: [&str; 14] = [
    "fast_syscall_common",
    "trap_pfault",
    "trap_fatal",
    "cpu_idle_acpi",
    "doadump",
    "seltdwait",
    "ithread_loop",
    "softclock_thread",
    "vm_pageout",
    "vm_pageout_worker",
    "vm_pageout_laundry_worker",
    "buf_daemon",
    "vnlru_proc",
    "sched_sync",
];

/// Bytes of a kernel's stack.
const STACK: u64 = 4 * PAGE;

/// How a thread came to be in the kernel.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// It is one of the kernel's own.
    Kernel,
    /// A system call of this number.
    Call(u64),
}

/// A stack that was made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The lowest address of the stack.
    pub base: u64,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
}

impl Demo {
    pub fn define_code(&mut self) {
        for name in FUNCTIONS.split_whitespace() {
            let size = Function::new(name, 0).size;
            let address = self.kernel.function_of_size(name, None, size);
            if STATIC.contains(&name) {
                self.kernel.make_local();
            }
            let function = Function::new(name, address);
            self.kernel.write_bytes(address, &function.code());
            self.functions.insert(name.to_owned(), function);
        }
        self.functions.extend(module::functions());
        for (address, bytes) in module::memory() {
            self.kernel.load(address, bytes);
        }
    }

    pub fn function(&self, name: &str) -> Function {
        *self.functions.get(name).unwrap_or_else(|| panic!("no function is called {name}"))
    }

    /// A new stack with calls of these functions, the first one the outermost. A name with `!` behind it is interrupted by a
    /// page fault of a null pointer's member; the handler comes next.
    pub fn stack(&mut self, from: From, calls: &[&str]) -> Made {
        let base = self.kernel.allocate_pages(STACK);
        // The pcb is at the end.
        let mut stack = Stack::new(Arch::Amd64, Endianness::Little, base, (STACK - 0x400) as usize);
        let mut calls = calls.iter().copied();
        let mut function = match from {
            From::Kernel => "fork_trampoline",
            From::Call(number) => {
                let entry = self.function("fast_syscall_common").after_call;
                stack.trap(Trap { pc: 0x8_2109_4b3a, from_user: true, call: number, entry, ..Trap::default() });
                calls.next().expect("a system call has a handler")
            }
        };
        for name in calls {
            if let Some(interrupted) = function.strip_suffix('!') {
                let (pc, entry) = (self.function(interrupted).after_call, self.function("calltrap").after_call);
                for (name, register) in [("fault sp", stack.sp), ("fault fp", stack.fp)] {
                    self.known.insert(name.to_owned(), register);
                }
                // T_PAGEFLT.
                stack.trap(Trap { pc, number: 12, address: 0x18, entry, ..Trap::default() });
            } else {
                stack.call_and_enter(self.function(function).after_call);
            }
            function = name;
        }
        self.kernel.write_bytes(base, &stack.bytes);
        Made { base, pc: self.function(function).after_call, sp: stack.sp, fp: stack.fp }
    }

    /// Where a thread's own `struct pcb` is.
    pub fn own_pcb(&self, made: Made) -> u64 {
        made.base + STACK - 0x200
    }

    /// Writes registers into a `struct pcb`.
    pub fn save_registers(&mut self, pcb: u64, made: Made) {
        let values = [("pcb_rip", made.pc), ("pcb_rsp", made.sp), ("pcb_rbp", made.fp)];
        values.into_iter().for_each(|(member, value)| self.set(pcb, "pcb", member, value));
    }
}
