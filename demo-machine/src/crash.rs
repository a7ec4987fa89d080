//! The crash: what a panic changes in memory, and the swap device with the dump.

use crate::kernel::{CPUS, Demo, VERSION};
use crate::messages;
use crate::story::TOOL_THREAD;
use vmcore_synth::{Arch, Compression, DumpDevice, KernelDumpHeader};

/// The message of the panic.
const PANIC: &str = "page fault";
/// Bytes of the message buffer, and `MSG_MAGIC`.
const MESSAGES: u64 = 98_232;
const MAGIC: u64 = 0x06_3062;
/// MiB of the dump, which the messages in it tell.
const DUMPED: u64 = 16;
/// Bytes of the device, and of a sector.
pub const DEVICE: u64 = 32 << 20;
const SECTOR: u64 = 512;

impl Demo {
    pub fn panic(&mut self) {
        self.set_text_variable("panicbuf", PANIC);
        let text = self.variable("panicbuf");
        for (name, value) in [("panicstr", i128::from(text)), ("dumptid", TOOL_THREAD.into()), ("dumping", 1)] {
            self.set_variable(name, "", value);
        }
        // All CPUs but the one that dumps.
        self.set_variable("stopped_cpus", "__bits[0]", (1_u64 << (CPUS - 1)) - 1);
        let fault = self.function("demo_ring_reset").after_call;
        let said =
            messages::of_boot() + &messages::of_crash(fault, self.known["fault sp"], self.known["fault fp"], DUMPED);
        let mut buffer = said.into_bytes();
        let written = buffer.len() as u64;
        buffer.resize(MESSAGES as usize, 0);
        // struct msgbuf is right behind the messages.
        let size = self.size_of("msgbuf");
        let at = self.kernel.allocate_pages(MESSAGES + size);
        self.kernel.write_bytes(at, &buffer);
        let header = at + MESSAGES;
        for (member, value) in [("msg_ptr", at), ("msg_magic", MAGIC), ("msg_size", MESSAGES), ("msg_wseq", written)] {
            self.set(header, "msgbuf", member, value);
        }
        self.set_variable("msgbufp", "", header);
        self.kernel.dump.message_buffer = buffer;
    }
}

/// The swap device, with the dump at its end.
pub fn device(demo: &Demo) -> Vec<u8> {
    let dump = demo.kernel.dump();
    assert_eq!(dump.len() as u64 >> 20, DUMPED, "MiB of the dump");
    let header = KernelDumpHeader {
        dump_time: demo.now() as u64,
        hostname: "demo".to_owned(),
        version_string: VERSION.to_owned(),
        panic_string: PANIC.to_owned(),
        compression: Compression::None,
        ..KernelDumpHeader::example(Arch::Amd64, 4, dump.len() as u64)
    };
    DumpDevice { size: DEVICE, ..DumpDevice::example(header, SECTOR, &dump) }.build()
}
