//! The bytes of a container.

use super::{Builder, COMPRESSED, Definition, Described, HEADER, HEADER_SIZE, MAGIC, Type, kinds};
use crate::set;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::collections::BTreeMap;
use std::io::Write;

/// What is behind the header, as it grows.
struct Writer<'a> {
    builder: &'a Builder,
    bytes: Vec<u8>,
    strings: Vec<u8>,
    offsets: BTreeMap<String, u32>,
}

impl Builder {
    /// The container.
    pub fn build(&self) -> Vec<u8> {
        let mut writer = Writer { builder: self, bytes: Vec::new(), strings: vec![0], offsets: BTreeMap::new() };
        let order = self.spec.order;
        let mut header = vec![0; HEADER_SIZE];
        let mut put = |name: &str, value: usize| set(&mut header, HEADER, order, name, value as u64);
        put("cth_magic", MAGIC.into());
        put("cth_version", self.spec.version.into());
        put("cth_flags", if self.spec.compressed { COMPRESSED.into() } else { 0 });
        if let Some((label, name)) = self.spec.parent {
            put("cth_parlabel", writer.string(label) as usize);
            put("cth_parname", writer.string(name) as usize);
        }
        put("cth_lbloff", 0);
        let label = writer.string(self.spec.label);
        let last = self.id(Type { number: self.types.len() as u32, is_parents: false });
        writer.word(label);
        writer.word(last);
        put("cth_objtoff", writer.bytes.len());
        self.objects.iter().for_each(|of| writer.id(of.unwrap_or(Type::UNTYPED)));
        put("cth_funcoff", writer.bytes.len());
        self.functions.iter().for_each(|of| writer.function(of.as_ref()));
        writer.bytes.resize(writer.bytes.len().next_multiple_of(4), 0);
        put("cth_typeoff", writer.bytes.len());
        self.types.iter().for_each(|of| writer.described(of));
        put("cth_stroff", writer.bytes.len());
        put("cth_strlen", writer.strings.len());
        let Writer { mut bytes, strings, .. } = writer;
        bytes.extend(strings);
        if self.spec.compressed {
            let mut stream = ZlibEncoder::new(Vec::new(), Compression::default());
            stream.write_all(&bytes).expect("memory has room");
            bytes = stream.finish().expect("memory has room");
        }
        header.extend(bytes);
        header
    }

    /// The number of a type, as it is written.
    fn id(&self, of: Type) -> u32 {
        let bit = if self.spec.version == 2 { 1 << 15 } else { 1 << 31 };
        assert!(of.number < bit, "there are too many types");
        if self.spec.parent.is_some() && !of.is_parents && of.number != 0 { of.number | bit } else { of.number }
    }

    fn is_old(&self) -> bool {
        self.spec.version == 2
    }
}

impl Writer<'_> {
    fn number(&mut self, value: u64, size: usize) {
        self.bytes.extend(self.builder.spec.order.bytes(value, size));
    }

    fn word(&mut self, value: u32) {
        self.number(value.into(), 4);
    }

    /// Numbers that took 2 bytes before version 3.
    fn half(&mut self, value: u32) {
        self.number(value.into(), if self.builder.is_old() { 2 } else { 4 });
    }

    fn id(&mut self, of: Type) {
        self.half(self.builder.id(of));
    }

    /// Where a string is.
    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(offset) = self.builder.spec.external_names.get(text) {
            return offset | 1 << 31;
        }
        let Self { strings, offsets, .. } = self;
        *offsets.entry(text.to_owned()).or_insert_with(|| {
            let at = strings.len() as u32;
            strings.extend(text.bytes().chain([0]));
            at
        })
    }

    /// Kind, whether it is found by name, and how much follows.
    fn info(&mut self, kind: u32, is_root: bool, count: usize) {
        let (kind_at, root_at, limit) = if self.builder.is_old() { (11, 10, 1 << 10) } else { (26, 25, 1 << 24) };
        assert!(count < limit, "version {} has room for fewer than {count}", self.builder.spec.version);
        self.half(kind << kind_at | u32::from(is_root) << root_at | count as u32);
    }

    fn function(&mut self, of: Option<&(Type, Vec<Type>)>) {
        let Some((returns, parameters)) = of else { return self.info(kinds::UNKNOWN, false, 0) };
        self.info(kinds::FUNCTION, true, parameters.len());
        self.id(*returns);
        parameters.iter().for_each(|of| self.id(*of));
    }

    /// The head of a type that tells its size.
    fn sized(&mut self, size: u64) {
        let sentinel = if self.builder.is_old() { 0xffff } else { 0xffff_ffff };
        if size < sentinel {
            return self.half(size as u32);
        }
        self.half(sentinel as u32);
        self.word((size >> 32) as u32);
        self.word(size as u32);
    }

    fn described(&mut self, described: &Described) {
        let Described { name, is_root, definition } = described;
        let name = self.string(name);
        self.word(name);
        let mut info = |kind, count| self.info(kind, *is_root, count);
        match definition {
            Definition::Reserved => panic!("a type was reserved and not defined"),
            Definition::Integer { size, encoding, offset, bits } => {
                info(kinds::INTEGER, 0);
                self.sized(*size);
                self.word(u32::from(*encoding) << 24 | u32::from(*offset) << 16 | u32::from(*bits));
            }
            Definition::Float { size, encoding } => {
                info(kinds::FLOAT, 0);
                self.sized(*size);
                self.word((u32::from(*encoding) << 24) | (8 * *size as u32));
            }
            Definition::Array { element, index, count } => {
                info(kinds::ARRAY, 0);
                self.sized(0);
                self.id(*element);
                self.id(*index);
                self.word(*count);
            }
            Definition::Function { returns, parameters } => {
                info(kinds::FUNCTION, parameters.len());
                self.id(*returns);
                parameters.iter().for_each(|of| self.id(*of));
                if self.builder.is_old() && parameters.len() % 2 == 1 {
                    self.half(0);
                }
            }
            Definition::Aggregate { is_union, size, members } => {
                info(if *is_union { kinds::UNION } else { kinds::STRUCT }, members.len());
                self.sized(*size);
                members.iter().for_each(|member| self.member(member, *size));
            }
            Definition::Enumeration { size, values } => {
                info(kinds::ENUM, values.len());
                self.sized(*size);
                for (name, value) in values {
                    let name = self.string(name);
                    self.word(name);
                    self.word(value.cast_unsigned());
                }
            }
            Definition::Forward(kind) => {
                info(kinds::FORWARD, 0);
                self.half(*kind);
            }
            Definition::Reference(kind, of) => {
                info(*kind, 0);
                self.id(*of);
            }
        }
    }

    fn member(&mut self, (name, of, offset): &(String, Type, u64), size: u64) {
        let name = self.string(name);
        self.word(name);
        self.id(*of);
        let large = if self.builder.is_old() { 1 << 13 } else { 1 << 29 };
        if size < large {
            return self.half(*offset as u32);
        }
        if self.builder.is_old() {
            self.half(0);
        }
        self.word((offset >> 32) as u32);
        self.word(*offset as u32);
    }
}
