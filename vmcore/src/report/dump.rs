//! What a report says of the dump that it is made of.

use crate::dump::{Container, Content, Damage, InfoFile, Inspection, TextFile};
use crate::kerneldump::{Compression, Header};
use crate::messages::MessageBuffer;
use crate::units::{exact_size, utc_of_unix};

/// A dump, as it was found.
#[derive(Debug, Clone)]
pub struct DumpSummary {
    /// What it is called in the report.
    pub name: String,
    /// What it is: `minidump, amd64 version 3`.
    pub description: String,
    /// Its bytes where it is, perhaps compressed.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// What it lies in.
    pub place: Container,
    /// The kernel's header. A dump in a file of its own has none: savecore(8) writes what is in it into an `info` file.
    pub header: Option<Header>,
    /// What savecore(8) has written of that header.
    pub info: Option<InfoFile>,
    /// The files of a text dump.
    pub files: Vec<TextFile>,
    /// Why nothing can be read in it.
    pub problem: Option<String>,
    /// What is wrong with it.
    pub damage: Vec<Damage>,
    /// What was not looked at.
    pub limits: Vec<Damage>,
    /// What may be wrong.
    pub warnings: Vec<String>,
    /// The messages that it has beside the kernel's memory.
    pub messages: Option<MessageBuffer>,
    /// Bytes of a page.
    pub page_size: Option<u64>,
}

impl DumpSummary {
    /// What an inspection found.
    pub fn new(name: &str, inspection: &Inspection) -> Self {
        let Inspection { location, compression, damage, limits, warnings, content, .. } = inspection;
        let minidump = match content {
            Content::Minidump(facts) => Some(facts),
            _ => None,
        };
        Self {
            name: name.to_owned(),
            description: inspection.description(),
            size: location.end - location.start,
            compression: *compression,
            place: location.place,
            header: location.header.clone(),
            info: None,
            files: Vec::new(),
            problem: inspection.problem(),
            damage: damage.clone(),
            limits: limits.clone(),
            warnings: warnings.clone(),
            messages: minidump.filter(|facts| !facts.message_buffer.is_empty()).map(|facts| facts.messages()),
            page_size: minidump.map(|facts| facts.header.page_size.into()),
        }
    }

    /// With what savecore(8) has written of its header.
    #[must_use]
    pub fn with_info(self, info: Option<InfoFile>) -> Self {
        Self { info, ..self }
    }

    /// With the files of a text dump.
    #[must_use]
    pub fn with_files(self, files: Vec<TextFile>) -> Self {
        let messages = files.iter().find(|file| file.name == *"msgbuf.txt");
        let messages = messages.map(|file| MessageBuffer::from_text(file.bytes.clone()).cut_off(file.missing));
        Self { messages, files, ..self }
    }

    /// The name of the host.
    pub fn host(&self) -> Option<String> {
        let header = self.header.as_ref().map(|header| header.hostname.to_string());
        header.or_else(|| self.saved("Hostname")).filter(|host| !host.is_empty())
    }

    /// The version of the kernel.
    pub fn version(&self) -> Option<String> {
        let header = self.header.as_ref().map(|header| header.version_string.to_string());
        header.or_else(|| self.info.as_ref()?.version()).or_else(|| self.file("version.txt"))
    }

    /// What the kernel panicked with; empty if it is known that it did not.
    pub fn panic(&self) -> Option<String> {
        let header = self.header.as_ref().map(|header| header.panic_string.to_string());
        let panic = header.or_else(|| self.saved("Panic String")).or_else(|| self.file("panic.txt"));
        panic.map(|panic| panic.trim().to_owned())
    }

    /// The architecture, as the kernel calls it.
    pub fn architecture(&self) -> Option<String> {
        let header = self.header.as_ref().map(|header| header.architecture.clone());
        header.or_else(|| self.saved("Architecture"))
    }

    /// When it was dumped, as savecore(8) tells it: in the time zone of the system that saved it.
    pub fn saved_time(&self) -> Option<String> {
        self.saved("Dumptime")
    }

    fn saved(&self, field: &str) -> Option<String> {
        self.info.as_ref()?.field(field).map(str::to_owned)
    }

    fn file(&self, name: &str) -> Option<String> {
        let file = self.files.iter().find(|file| file.name == *name)?;
        Some(String::from_utf8_lossy(&file.bytes).trim().to_owned())
    }

    /// Whether it was read without fault.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.limits.is_empty() && self.problem.is_none()
    }

    /// Its bytes, and how it is compressed.
    pub fn length(&self) -> String {
        let size = exact_size(self.size.into());
        match self.compression {
            Compression::None => size,
            compression => format!("{size} after {}", compression.name()),
        }
    }
}

/// What a header says, for people.
pub fn header_facts(header: &Header) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("header", format!("{}, version {}", header.kind, header.version)),
        ("architecture", format!("{}, version {}", header.architecture, header.architecture_version)),
    ];
    if !header.hostname.is_empty() {
        facts.push(("host", header.hostname.to_string()));
    }
    facts.push(("kernel", header.version_string.to_string()));
    facts.push(("dumped", utc_of_unix(header.dump_time)));
    if !header.panic_string.is_empty() {
        facts.push(("panic", header.panic_string.to_string()));
    }
    facts.push(("blocks", format!("{} bytes; {} of data in {}", header.block_size, header.dump_length, header.extent)));
    if header.key_size > 0 {
        facts.push(("key", format!("{} bytes", header.key_size)));
    }
    facts
}
