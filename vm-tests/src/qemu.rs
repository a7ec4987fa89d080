//! QEMU: its arguments, start and stop. The guest's first serial port is its standard input and output.

use crate::architecture::{Architecture, Disks};
use crate::arguments::Accelerator;
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The virtual machine that is wanted.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The QEMU program.
    pub program: OsString,
    /// What it is a machine of.
    pub architecture: Architecture,
    /// The processor's model; `None` for one that will do.
    pub cpu: Option<&'a str>,
    /// Firmware other than QEMU's own.
    pub firmware: Option<&'a Path>,
    /// The CD to boot, if any.
    pub cdrom: Option<&'a Path>,
    /// The disk to boot, if any, or one beside the CD.
    pub image: Option<&'a Path>,
    /// The disk with the cases, which is not written to.
    pub cases: &'a Path,
    /// The disk for results.
    pub results: &'a Path,
    /// The spare disk for crash dumps, if any.
    pub spare: Option<&'a Path>,
    /// The folder for QEMU's temporary files: what the guest writes on the disk it boots goes there.
    pub temporary: &'a Path,
    /// How the guest is run.
    pub accelerator: Accelerator,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub processors: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// Further arguments.
    pub further: &'a [OsString],
}

/// Where the host's disk is full, the guest is told of an error. Else QEMU would stop it without a word.
const FULL: &str = "werror=report";

/// A disk of the guest's, by its place among the others.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// What boots: devices come to life in this order.
    First,
    Cases,
    Results,
    Spare,
}

/// QEMU's name of the SATA controller.
const SATA: &str = "sata";

/// A QEMU that runs; it is ended when this is dropped.
pub struct Running {
    child: Child,
    messages: PathBuf,
}

impl Machine<'_> {
    /// Starts it. What QEMU has to say goes to the file `messages`.
    pub fn start(&self, messages: &Path) -> Result<(Running, ChildStdout, ChildStdin)> {
        let stderr = File::create(messages).map_err(Error::file("write", messages))?;
        let mut child = Command::new(&self.program)
            .args(self.arguments()?)
            .env("TMPDIR", self.temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| Error::Program(format!("cannot start {}: {error}", self.program.display())))?;
        let streams = child.stdout.take().zip(child.stdin.take());
        let running = Running { child, messages: messages.to_owned() };
        match streams {
            Some((stdout, stdin)) => Ok((running, stdout, stdin)),
            None => Err(Error::Program("QEMU was started without streams".to_owned())),
        }
    }

    fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(self.architecture.without_defaults());
        add(&["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]);
        // Of several accelerators QEMU takes the first that works.
        let accelerators: &[&str] = match self.accelerator {
            Accelerator::Auto if kvm_is_likely(self.architecture) => &["-accel", "kvm", "-accel", "tcg"],
            Accelerator::Auto | Accelerator::Tcg => &["-accel", "tcg"],
            Accelerator::Kvm => &["-accel", "kvm"],
        };
        add(accelerators);
        add(self.architecture.machine(self.firmware.is_some()));
        if let Some(cpu) = self.cpu.or(self.architecture.cpu(accelerators.contains(&"kvm"))) {
            add(&["-cpu", cpu]);
        }
        add(&["-m", &self.memory.to_string(), "-smp", &self.processors.to_string()]);
        if self.nodes > 1 {
            for node in 0..self.nodes {
                let (memory, processors) =
                    (share(self.memory, self.nodes, node), share(self.processors, self.nodes, node));
                let id = format!("node{node}");
                let size = memory.len();
                add(&["-object", &format!("memory-backend-ram,id={id},size={size}M")]);
                let cpus = match processors.end.checked_sub(1) {
                    Some(last) if !processors.is_empty() => format!(",cpus={}-{last}", processors.start),
                    _ => String::new(),
                };
                add(&["-numa", &format!("node,nodeid={node},memdev={id}{cpus}")]);
            }
        }
        if let Some(firmware) = self.firmware {
            arguments.extend([self.architecture.firmware_option().into(), firmware.into()]);
        }
        if let Disks::Sata { bus } = self.architecture.disks() {
            arguments.extend(["-device".into(), format!("ich9-ahci,id={SATA},bus={bus}").into()]);
        }
        if let Some(cdrom) = self.cdrom {
            arguments.extend(drive(cdrom, disk_format(cdrom)?, "none,id=cdrom,media=cdrom,readonly=on"));
            arguments.extend(self.architecture.cd_drive().iter().map(OsString::from));
        }
        // Devices come to life in the order of their arguments: whatever boots must be the first disk.
        if let Some(image) = self.image {
            arguments.extend(self.disk(Place::First, image, disk_format(image)?, &format!("snapshot=on,{FULL}")));
        }
        arguments.extend(self.further.iter().cloned());
        arguments.extend(self.disk(Place::Cases, self.cases, "raw", self.architecture.disks().unchanged()));
        arguments.extend(self.disk(Place::Results, self.results, "raw", FULL));
        if let Some(spare) = self.spare {
            arguments.extend(self.disk(Place::Spare, spare, "raw", FULL));
        }
        Ok(arguments)
    }

    /// The arguments for a disk.
    fn disk(&self, place: Place, file: &Path, format: &str, options: &str) -> Vec<OsString> {
        match self.architecture.disks() {
            Disks::Virtio => drive(file, format, &format!("virtio,index={},{options}", place.virtio())).into(),
            Disks::Sata { .. } => {
                let port = place.sata();
                let mut arguments: Vec<_> = drive(file, format, &format!("none,id=disk{port},{options}")).into();
                arguments.extend(["-device".into(), format!("ide-hd,drive=disk{port},bus={SATA}.{port}").into()]);
                arguments
            }
        }
    }
}

impl Place {
    /// The index of a virtio disk, behind those that further arguments may have.
    fn virtio(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Cases => 15,
            Self::Results => 16,
            Self::Spare => 17,
        }
    }

    /// The port of the SATA controller, which has six.
    fn sata(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Cases => 1,
            Self::Results => 2,
            Self::Spare => 3,
        }
    }
}

impl Running {
    /// Ends it, and tells what it had to say.
    pub fn stop(mut self) -> String {
        self.kill();
        read(&self.messages)
    }

    /// Whether what it has said so far is about KVM's not working.
    pub fn blames_kvm(&self) -> bool {
        read(&self.messages).to_lowercase().contains("kvm")
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The error with which the machine stands still, without QEMU ending, by what QEMU wrote to `messages`.
pub fn standstill(messages: &Path) -> Option<Error> {
    let text = read(messages);
    let line =
        text.lines().find(|line| ["KVM internal error", "kvm run failed"].iter().any(|sign| line.contains(sign)))?;
    Some(Error::Machine(line.to_owned()))
}

fn read(messages: &Path) -> String {
    fs::read(messages).map(|text| String::from_utf8_lossy(&text).trim().to_owned()).unwrap_or_default()
}

/// Whether it makes sense to ask for KVM.
fn kvm_is_likely(architecture: Architecture) -> bool {
    cfg!(target_os = "linux")
        && architecture.is_native()
        && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// What one of `parts` gets of a whole.
fn share(whole: u32, parts: u32, part: u32) -> std::ops::Range<u32> {
    let border = |part: u32| u32::try_from(u64::from(whole) * u64::from(part) / u64::from(parts)).unwrap_or(whole);
    border(part)..border(part + 1)
}

/// The arguments for a drive: the options are its interface and what follows.
fn drive(file: &Path, format: &str, options: &str) -> [OsString; 2] {
    // What stands before a colon would be a protocol, if there were no slash before it.
    let file = Path::new(".").join(file);
    // A comma within a value is doubled.
    let mut argument = OsString::from("file=");
    let name = file.as_os_str().to_string_lossy();
    if name.contains(',') {
        argument.push(name.replace(',', ",,"));
    } else {
        argument.push(&file);
    }
    argument.push(format!(",format={format},if={options}"));
    ["-drive".into(), argument]
}

/// An image's format by its first bytes, so that a guest cannot pretend another one. Fails for what is no image.
pub fn disk_format(image: &Path) -> Result<&'static str> {
    let unusable = |why| Error::Program(format!("{} {why}", image.display()));
    let kind = fs::metadata(image).map_err(Error::file("read", image))?.file_type();
    if !(kind.is_file() || kind.is_block_device() || kind.is_char_device()) {
        return Err(unusable("is not an image: neither a file nor a device"));
    }
    let mut start = Vec::new();
    File::open(image).and_then(|file| file.take(8).read_to_end(&mut start)).map_err(Error::file("read", image))?;
    Ok(match start.as_slice() {
        [] => return Err(unusable("is empty")),
        [b'Q', b'F', b'I', 0xfb, ..] => "qcow2",
        [b'K', b'D', b'M', b'V', ..] => "vmdk",
        b"conectix" => "vpc",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(unusable("is compressed; unpack it first, with xz -d")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(unusable("is compressed; unpack it first, with zstd -d")),
        [0x1f, 0x8b, ..] => return Err(unusable("is compressed; unpack it first, with gzip -d")),
        _ => "raw",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(machine: &Machine) -> String {
        let words: Vec<_> = machine.arguments().unwrap().into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ")
    }

    fn machine<'a>(image: Option<&'a Path>, further: &'a [OsString]) -> Machine<'a> {
        Machine {
            program: "qemu".into(),
            architecture: Architecture::Amd64,
            cpu: None,
            firmware: None,
            cdrom: None,
            image,
            cases: Path::new("/d/cases,1"),
            results: Path::new("/d/results"),
            spare: Some(Path::new("/d/spare")),
            temporary: Path::new("/d"),
            accelerator: Accelerator::Tcg,
            memory: 1000,
            processors: 3,
            nodes: 2,
            further,
        }
    }

    #[test]
    fn memory_and_processors_are_dealt_out() {
        let text = arguments(&machine(None, &[]));
        assert!(text.contains("-m 1000 -smp 3 "), "{text}");
        assert!(text.contains("id=node0,size=500M -numa node,nodeid=0,memdev=node0,cpus=0-0 "), "{text}");
        assert!(text.contains("id=node1,size=500M -numa node,nodeid=1,memdev=node1,cpus=1-2 "), "{text}");
        let text = arguments(&Machine { processors: 1, memory: 101, ..machine(None, &[]) });
        assert!(text.contains("id=node0,size=50M -numa node,nodeid=0,memdev=node0 "), "{text}");
        assert!(text.contains("id=node1,size=51M -numa node,nodeid=1,memdev=node1,cpus=0-0 "), "{text}");
    }

    #[test]
    fn what_boots_comes_before_the_disk_with_the_cases() {
        let image = tempfile::NamedTempFile::new().unwrap();
        fs::write(image.path(), b"QFI\xfb____").unwrap();
        let further = ["-kernel".into(), "k".into()];
        let text = arguments(&machine(Some(image.path()), &further));
        let order = "index=0,snapshot=on,werror=report -kernel k -drive file=/d/cases,,1,format=raw,";
        assert!(text.contains(&format!("format=qcow2,if=virtio,{order}")), "{text}");
    }

    #[test]
    fn disks_of_a_sata_controller_have_ports_in_the_same_order() {
        let image = tempfile::NamedTempFile::new().unwrap();
        fs::write(image.path(), b"disk").unwrap();
        let machine = Machine { architecture: Architecture::Powerpc64, nodes: 1, ..machine(Some(image.path()), &[]) };
        let text = arguments(&machine);
        assert!(text.contains(" -machine powernv9 -m 1000 -smp 3 -device ich9-ahci,id=sata,bus=pcie.0 "), "{text}");
        let image = format!("file={},format=raw", image.path().display());
        for (file, port, options) in [
            (image.as_str(), 0, "snapshot=on,werror=report"),
            ("file=/d/cases,,1,format=raw", 1, "snapshot=on"),
            ("file=/d/results,format=raw", 2, "werror=report"),
            ("file=/d/spare,format=raw", 3, "werror=report"),
        ] {
            let disk = format!(
                " -drive {file},if=none,id=disk{port},{options} -device ide-hd,drive=disk{port},bus=sata.{port}"
            );
            assert!(text.contains(&disk), "{disk} in {text}");
        }
        assert!(!text.contains("virtio") && !text.contains("-nodefaults"), "{text}");
    }

    #[test]
    fn a_full_disk_of_the_host_is_an_error_in_the_guest() {
        let text = arguments(&machine(None, &[]));
        for disk in ["results,format=raw,if=virtio,index=16", "spare,format=raw,if=virtio,index=17"] {
            assert!(text.contains(&format!("file=/d/{disk},werror=report")), "{text}");
        }
    }

    #[test]
    fn a_colon_in_a_name_makes_no_protocol() {
        let argument = |name| drive(Path::new(name), "raw", "virtio")[1].to_string_lossy().into_owned();
        assert_eq!(argument("a:b.img"), "file=./a:b.img,format=raw,if=virtio");
        assert_eq!(argument("/a:b,c.img"), "file=/a:b,,c.img,format=raw,if=virtio");
    }

    #[test]
    fn a_cd_is_booted_and_the_firmware_is_taken() {
        let cdrom = tempfile::NamedTempFile::new().unwrap();
        fs::write(cdrom.path(), b"CD").unwrap();
        let machine = |architecture| Machine {
            architecture,
            cdrom: Some(cdrom.path()),
            firmware: Some(Path::new("/f")),
            ..machine(None, &[])
        };
        let text = arguments(&machine(Architecture::Amd64));
        let drive = format!(
            " -bios /f -drive file={},format=raw,if=none,id=cdrom,media=cdrom,readonly=on -device ide-cd,drive=cdrom,bootindex=0 ",
            cdrom.path().display()
        );
        assert!(text.contains(&drive) && !text.contains("-vga"), "{text}");
        let text = arguments(&machine(Architecture::Aarch64));
        assert!(text.contains(" -machine virt,gic-version=max -cpu cortex-a72 ") && !text.contains("-vga"), "{text}");
        assert!(text.contains(" -device virtio-scsi-pci -device scsi-cd,drive=cdrom,bootindex=0 "), "{text}");
        let text = arguments(&machine(Architecture::Riscv64));
        assert!(text.contains(" -machine virt -m ") && text.contains(" -kernel /f "), "{text}");
        let text = arguments(&Machine { nodes: 1, ..machine(Architecture::Powerpc64) });
        assert!(text.contains(" -bios /f -device ich9-ahci,id=sata,bus=pcie.0 -drive "), "{text}");
        assert!(text.contains(",media=cdrom,readonly=on -device ide-cd,drive=cdrom,bus=sata.5 "), "{text}");
        let text = arguments(&Machine { cpu: Some("max,la57=off"), ..machine(Architecture::Aarch64) });
        assert!(text.contains(" -machine virt,gic-version=max -cpu max,la57=off -m "), "{text}");
    }

    #[test]
    fn a_compressed_image_is_refused() {
        let image = tempfile::NamedTempFile::new().unwrap();
        fs::write(image.path(), b"\xfd7zXZ\0\0\0").unwrap();
        assert!(disk_format(image.path()).unwrap_err().to_string().contains("xz -d"));
    }
}
