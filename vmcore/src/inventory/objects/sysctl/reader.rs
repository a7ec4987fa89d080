//! Reads the tree of variables, and their values.

use super::handler::{Handler, known_handlers};
use super::{CTLFLAG_TUN, CTLFLAG_VNET, SysctlValue, SysctlVariable, SysctlVariables, ValueSource};
use crate::bounds::{at_most, head, low_u64, saturating_u32};
use crate::error::{Error, Result};
use crate::inventory::objects::kernel_environment::KernelEnvironment;
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::inventory::source::Source;
use crate::kernel::{Kernel, Object};
use crate::text::Name;
use crate::units::Hex;
use std::collections::{HashMap, HashSet};

/// More variables than are plausible.
const MAX_VARIABLES: usize = 1 << 17;
/// Parts of a name: `CTL_MAXNAME`.
const MAX_DEPTH: usize = 24;
/// More bytes than are read of one value.
const MAX_VALUE: usize = 1 << 16;
/// Bytes of all values that are read.
const MAX_VALUES: usize = 1 << 27;
/// More bytes than a description has.
const MAX_DESCRIPTION: usize = 1024;
/// `CTLTYPE`, and `CTLTYPE_NODE`.
const TYPE: u64 = 0xf;
const NODE: u64 = 1;

impl SysctlVariables {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack their tree.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let root = typed.variable("sysctl__children")?;
        let handlers = known_handlers(typed)?;
        let mut reader = Reader::new(typed);
        let environment = KernelEnvironment::read(source);
        let environment = reader.keep(|| "the environment".to_owned(), environment);
        let pairs = environment.into_iter().flat_map(|read| read.variables);
        let environment = pairs.filter_map(|variable| Some((variable.name, variable.value?))).collect();
        let (vnet, hz) = (typed.host_vnet(), reader.variable("hz"));
        let vnet = reader.keep(|| "the network stack of the host".to_owned(), vnet);
        let kernel = source.kernel;
        let mut tree = Tree {
            reader,
            kernel,
            handlers,
            environment,
            vnet,
            hz,
            seen: HashSet::new(),
            variables: Vec::new(),
            bytes_left: MAX_VALUES,
        };
        tree.add_level(&root, &Parent::default())?;
        Ok(Self { variables: tree.variables, warnings: tree.reader.into_warnings() })
    }
}

/// The node that variables are in.
#[derive(Clone, Default)]
struct Parent {
    name: Vec<u8>,
    oid: Vec<i64>,
}

/// The tree as it is being read.
struct Tree<'a> {
    reader: Reader<'a>,
    kernel: &'a Kernel,
    handlers: HashMap<u64, Handler>,
    environment: HashMap<Name, Name>,
    /// The network stack of the host.
    vnet: Option<u64>,
    /// Ticks of the clock in a second.
    hz: Option<u64>,
    /// Structures that were read.
    seen: HashSet<u64>,
    variables: Vec<SysctlVariable>,
    bytes_left: usize,
}

impl<'a> Tree<'a> {
    /// Adds the variables of a node, and those below it. Before FreeBSD 14 they are a list, and now a tree.
    fn add_level(&mut self, children: &Object<'a>, parent: &Parent) -> Result<()> {
        let what = format!("the list of {}", String::from_utf8_lossy(&parent.name));
        let room = MAX_VARIABLES.saturating_sub(self.seen.len());
        let list = match children.has_member("rbh_root") {
            true => self.reader.tree(&what, children, "oid_link", room)?,
            false => self.reader.list(&what, children, "oid_link", room)?,
        };
        for oid in list {
            if !self.seen.insert(oid.address()) {
                return Err(Error::Format(format!("{what} leads back to {}", Hex(oid.address()))));
            }
            let added = oid.fetched().and_then(|oid| self.add(&oid, parent));
            self.reader.keep(|| format!("the variable at {}", Hex(oid.address())), added);
        }
        Ok(())
    }

    fn add(&mut self, oid: &Object<'a>, parent: &Parent) -> Result<()> {
        let part = oid.member("oid_name")?.string(MAX_NAME)?;
        let part = part.ok_or_else(|| Error::Format("it has no name".to_owned()))?;
        let separator: &[u8] = if parent.name.is_empty() { b"" } else { b"." };
        let mut own = Parent { name: [&parent.name, separator, &part].concat(), oid: parent.oid.clone() };
        own.oid.push(oid.member("oid_number")?.signed()?);
        let kind = oid.member("oid_kind")?.unsigned()?;
        let handler = oid.member("oid_handler")?.unsigned()?;
        if kind & TYPE != NODE || handler != 0 {
            let variable = self.variable(oid, &own, (kind, handler));
            self.variables.push(variable);
        }
        if kind & TYPE == NODE && handler == 0 {
            if own.oid.len() >= MAX_DEPTH {
                return Err(Error::Format("it is below too many others".to_owned()));
            }
            return self.add_level(&oid.member("oid_children")?, &own);
        }
        Ok(())
    }

    fn variable(&mut self, oid: &Object<'a>, own: &Parent, (kind, handler): (u64, u64)) -> SysctlVariable {
        let name = Name::from(&*own.name);
        let mut text = |member: &str, limit: usize| {
            let text = oid.member(member).and_then(|text| text.string(limit));
            self.reader.keep(|| format!("{member} of {name}"), text).flatten().map(Name::from)
        };
        let (format, description) = (text("oid_fmt", MAX_NAME), text("oid_descr", MAX_DESCRIPTION));
        let known = self.handlers.get(&handler).copied();
        let mut variable = SysctlVariable {
            address: oid.address(),
            oid: own.oid.clone(),
            kind,
            format,
            description,
            handler: Some(handler).filter(|handler| *handler != 0),
            handler_name: self.kernel.name_of(handler).filter(|_| handler != 0),
            source: if handler == 0 { ValueSource::Nothing } else { ValueSource::Handler },
            value_address: None,
            value: None,
            initial_value: None,
            environment_value: self.environment.get(&name).filter(|_| kind & CTLFLAG_TUN != 0).cloned(),
            name,
        };
        if let Some(known) = known {
            let arguments =
                oid.member("oid_arg1").and_then(|first| Ok((first.unsigned()?, oid.member("oid_arg2")?.integer()?)));
            let arguments = self.reader.keep(|| format!("the value of {}", variable.name), arguments);
            let Some(arguments) = arguments else { return variable };
            let read = self.read_value(arguments, known, &mut variable);
            variable.value = self.reader.keep(|| format!("the value of {}", variable.name), read).flatten();
            let read = self.read_initial_value(arguments, known, kind);
            let what = || format!("the initial value of {}", variable.name);
            variable.initial_value = self.reader.keep(what, read).flatten();
        }
        variable
    }

    fn read_value(
        &mut self,
        (first, second): (u64, i128),
        handler: Handler,
        variable: &mut SysctlVariable,
    ) -> Result<Option<SysctlValue>> {
        variable.source = match handler {
            Handler::Counter | Handler::Counters => ValueSource::Counter,
            Handler::PerCpu(_) => ValueSource::PerCpu,
            _ if first == 0 => ValueSource::Constant,
            _ => ValueSource::Variable,
        };
        if let Handler::PerCpu(size) = handler {
            variable.value_address = Some(first);
            return self.sum_of_cpus(first, self.size(size)).map(Some);
        }
        if first == 0 {
            return Ok(self.constant(handler, second, variable.kind));
        }
        let Some(at) = self.address(first, variable.kind)? else { return Ok(None) };
        variable.value_address = Some(at);
        match handler {
            Handler::Text => self.text(at, second).map(|text| Some(SysctlValue::Text(text))),
            Handler::Counter => self.counters(at, 1, variable),
            Handler::Counters => self.counters(at, second, variable),
            _ => {
                let Some(size) = self.size_of(handler, second) else { return Ok(None) };
                let bytes = self.bytes(at, size)?;
                Ok(self.decode(handler, &bytes, variable.kind))
            }
        }
    }

    /// What a variable is when the kernel starts, by the file that it is from.
    fn read_initial_value(
        &mut self,
        (at, second): (u64, i128),
        handler: Handler,
        kind: u64,
    ) -> Result<Option<SysctlValue>> {
        // Of another kernel's file it would be that of another variable.
        let files = self.kernel.names().address_files().filter(|_| self.kernel.mismatch().is_none());
        let Some((table, at)) = files.and_then(|files| files.table_at(at)) else { return Ok(None) };
        if handler == Handler::Text {
            let text = table.initial_contents(at, text_limit(second).saturating_add(1))?;
            self.spend(text.as_ref().map_or(0, Vec::len))?;
            let text = text.and_then(|text| Some(head(&text, text.iter().position(|byte| *byte == 0)?).to_vec()));
            return Ok(text.map(SysctlValue::Text));
        }
        let Some(size) = self.size_of(handler, second) else { return Ok(None) };
        self.spend(at_most(size, MAX_VALUE))?;
        let bytes = table.initial_contents(at, at_most(size, MAX_VALUE))?;
        let bytes = bytes.filter(|bytes| bytes.len() as u64 == size);
        Ok(bytes.and_then(|bytes| self.decode(handler, &bytes, kind)))
    }

    /// Of how many bytes in memory a function makes a value.
    fn size_of(&self, handler: Handler, second: i128) -> Option<u64> {
        match handler {
            Handler::Number(size) => Some(self.size(size)),
            Handler::Boolean => Some(1),
            Handler::Milliseconds => Some(4),
            Handler::Opaque => u64::try_from(second).ok().filter(|size| *size <= MAX_VALUE as u64),
            Handler::Text | Handler::Counter | Handler::Counters | Handler::PerCpu(_) => None,
        }
    }

    /// What a function makes of bytes.
    fn decode(&self, handler: Handler, bytes: &[u8], kind: u64) -> Option<SysctlValue> {
        let numbers = match handler {
            Handler::Number(size) => self.numbers(bytes, self.size(size), kind),
            Handler::Boolean => vec![i128::from(bytes != [0])],
            Handler::Milliseconds => {
                let hz = self.hz.filter(|hz| *hz > 0)?;
                vec![self.numbers(bytes, 4, 2).first()? * 1000 / i128::from(hz)]
            }
            Handler::Opaque => match self.size_of_each(kind) {
                Some(each) => self.numbers(bytes, each, kind),
                None => return Some(SysctlValue::Bytes(bytes.to_vec())),
            },
            Handler::Text | Handler::Counter | Handler::Counters | Handler::PerCpu(_) => return None,
        };
        Some(SysctlValue::Numbers(numbers))
    }

    /// What a function has without a variable.
    fn constant(&self, handler: Handler, number: i128, kind: u64) -> Option<SysctlValue> {
        let number = match handler {
            Handler::Number(size) => of_size(low_u64(number.cast_unsigned()), self.size(size), kind),
            Handler::Boolean => (number != 0).into(),
            _ => return None,
        };
        Some(SysctlValue::Numbers(vec![number]))
    }

    /// Where a variable is: of one that each network stack has, that of the host's.
    fn address(&self, address: u64, kind: u64) -> Result<Option<u64>> {
        if kind & CTLFLAG_VNET == 0 {
            return Ok(Some(address));
        }
        let Some(vnet) = self.vnet else { return Ok(None) };
        if !self.reader.typed.is_per_vnet(address)? {
            return Err(Error::Format(format!("no network stack has a variable at {}", Hex(address))));
        }
        self.reader.typed.per_vnet_address(address, vnet).map(Some)
    }

    /// 0 stands for the bytes of a pointer.
    fn size(&self, size: u64) -> u64 {
        if size == 0 { self.reader.typed.memory.word_size() as u64 } else { size }
    }

    /// Counts bytes of values that are read.
    fn spend(&mut self, size: usize) -> Result<()> {
        let spent = || Error::Format("there are more bytes of values than are read".to_owned());
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or_else(spent)?;
        Ok(())
    }

    fn bytes(&mut self, at: u64, size: u64) -> Result<Vec<u8>> {
        let size = at_most(size, MAX_VALUE);
        self.spend(size)?;
        let mut bytes = vec![0; size];
        self.reader.typed.memory.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Numbers of so many bytes each, with their sign if their type has one.
    fn numbers(&self, bytes: &[u8], size: u64, kind: u64) -> Vec<i128> {
        let order = self.reader.typed.memory.order();
        let each = bytes.chunks_exact(at_most(size, 8).max(1));
        each.map(|bytes| of_size(order.number(bytes), size, kind)).collect()
    }

    /// A text in room for so many bytes, the last of which is a NUL; 0 if it ends with a NUL only.
    fn text(&mut self, at: u64, room: i128) -> Result<Vec<u8>> {
        let limit = text_limit(room);
        let text = self.reader.typed.memory.string(at, limit)?;
        let text = head(&text, limit).to_vec();
        self.spend(text.len())?;
        Ok(text)
    }

    /// Of how many bytes each number is that several are; `None` of a structure.
    fn size_of_each(&self, kind: u64) -> Option<u64> {
        Some(match kind & TYPE {
            2 | 6 | 0xe | 0xf => 4,
            4 | 9 => 8,
            7 | 8 => self.size(0),
            0xa | 0xc => 1,
            0xb | 0xd => 2,
            _ => return None,
        })
    }

    /// The values of counters, to which there are pointers from an address on.
    fn counters(&mut self, at: u64, count: i128, variable: &SysctlVariable) -> Result<Option<SysctlValue>> {
        let typed = self.reader.typed;
        let Some(pointer) = typed.types.lookup(None, "counter_u64_t").first().copied() else { return Ok(None) };
        let Some(count) = u64::try_from(count).ok().filter(|count| *count <= MAX_VALUE as u64 / 8) else {
            return Ok(None);
        };
        let mut values = Vec::new();
        for index in 0..count {
            let counter = typed.object(at.wrapping_add(index.wrapping_mul(self.size(0))), pointer);
            let value = self.reader.counter(&format_args!("the counter {}", variable.name), Ok(counter));
            let Some(value) = value else { return Ok(None) };
            values.extend(self.numbers(&typed.memory.order().bytes_of_u64(value), 8, variable.kind));
        }
        Ok(Some(SysctlValue::Numbers(values)))
    }

    fn sum_of_cpus(&mut self, address: u64, size: u64) -> Result<SysctlValue> {
        let typed = self.reader.typed;
        if !typed.is_per_cpu(address)? {
            return Err(Error::Format(format!("no CPU has a variable at {}", Hex(address))));
        }
        let mut sum = 0_i128;
        for cpu in typed.cpus()? {
            let at = typed.per_cpu_address(address, cpu)?;
            let bytes = self.bytes(at, size)?;
            sum = self.numbers(&bytes, size, 4).iter().fold(sum, |sum, number| sum.wrapping_add(*number));
        }
        Ok(SysctlValue::Numbers(vec![sum]))
    }
}

/// Bytes of a text in room for so many, the last of which is a NUL; as many as are read if it ends with a NUL only.
fn text_limit(room: i128) -> usize {
    match u64::try_from(room) {
        Ok(0) | Err(_) => MAX_VALUE,
        Ok(room) => at_most(room - 1, MAX_VALUE),
    }
}

/// The lower bytes of a number, with their sign if their type has one.
fn of_size(number: u64, size: u64, kind: u64) -> i128 {
    // CTLTYPE_INT, S64, LONG, S8, S16 and S32.
    let is_signed = matches!(kind & TYPE, 2 | 4 | 7 | 0xc | 0xd | 0xe);
    let shift = 64_u32.saturating_sub(saturating_u32(size.saturating_mul(8)));
    let shifted = number.wrapping_shl(shift);
    if is_signed { shifted.cast_signed().wrapping_shr(shift).into() } else { shifted.wrapping_shr(shift).into() }
}
