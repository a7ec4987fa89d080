//! What the network's protocols counted, as `netstat -s` shows it, of each network stack.
//!
//! Sources: `VNET_PCPUSTAT_DEFINE` in `sys/net/vnet.h` and its uses, the structures that end in `stat` in `sys/netinet`,
//! `sys/netinet6`, `sys/net/if_arp.h` and `sys/netipsec`, `usr.bin/netstat/main.c`.

use super::counter_array::{CounterValue, NamedCounter, read_counters};
use super::protocol_sentences::{self as sentences, Sentences, with_number};
use super::stacks::NetworkStack;
use crate::error::Result;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left, right};
use serde::{Serialize, Serializer};

/// More network stacks than counters are read of: each has some thousand.
const MAX_STACKS: usize = 1 << 10;

/// A protocol whose counters the kernel may have.
#[derive(Debug, PartialEq, Eq)]
struct Protocol {
    /// Its name in netstat(1).
    name: &'static str,
    /// The array of counters, which each network stack has for itself.
    variable: &'static str,
    /// The structure that names them.
    structure: &'static str,
    sentences: Sentences,
}

const fn protocol(
    name: &'static str,
    variable: &'static str,
    structure: &'static str,
    sentences: Sentences,
) -> Protocol {
    Protocol { name, variable, structure, sentences }
}

/// In the order of netstat(1).
static PROTOCOLS: [Protocol; 18] = [
    protocol("tcp", "tcpstat", "tcpstat", sentences::TCP),
    protocol("udp", "udpstat", "udpstat", sentences::UDP),
    protocol("divert", "divstat", "divstat", sentences::DIVERT),
    protocol("ip", "ipstat", "ipstat", sentences::IP),
    protocol("icmp", "icmpstat", "icmpstat", sentences::ICMP),
    protocol("igmp", "igmpstat", "igmpstat", sentences::IGMP),
    protocol("arp", "arpstat", "arpstat", sentences::ARP),
    protocol("ipsec", "ipsec4stat", "ipsecstat", sentences::IPSEC),
    protocol("ah", "ahstat", "ahstat", sentences::AH),
    protocol("esp", "espstat", "espstat", sentences::ESP),
    protocol("ipcomp", "ipcompstat", "ipcompstat", sentences::IPCOMP),
    protocol("pim", "pimstat", "pimstat", sentences::PIM),
    protocol("carp", "carpstats", "carpstats", sentences::CARP),
    protocol("ip6", "ip6stat", "ip6stat", sentences::IP6),
    protocol("icmp6", "icmp6stat", "icmp6stat", sentences::ICMP6),
    protocol("ipsec6", "ipsec6stat", "ipsecstat", sentences::IPSEC),
    protocol("rip6", "rip6stat", "rip6stat", sentences::RIP6),
    protocol("pfkey", "pfkeystat", "pfkeystat", sentences::PFKEY),
];

/// What the protocols of a network stack counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StackCounters {
    /// The network stack.
    #[serde(flatten)]
    pub stack: NetworkStack,
    /// The protocols that the kernel has, in the order of netstat(1).
    #[serde(serialize_with = "by_name")]
    pub protocols: Vec<ProtocolCounters>,
}

/// What a protocol counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolCounters {
    protocol: &'static Protocol,
    /// Its counters, in the order of the structure that names them.
    pub counters: Vec<NamedCounter>,
}

/// Counters of protocols, of all network stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Protocols {
    /// The network stacks.
    pub stacks: Vec<StackCounters>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Protocols {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack network stacks or the counters of IP.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        typed.structure("ipstat")?;
        let mut reader = Reader::new(typed);
        let mut all = NetworkStack::read_all(&mut reader)?;
        if all.len() > MAX_STACKS {
            reader.warn(|| format!("there are {} network stacks, of which {MAX_STACKS} are read", all.len()));
            all.truncate(MAX_STACKS);
        }
        let stacks = all.into_iter().map(|stack| stack_counters(&mut reader, stack)).collect::<Result<_>>()?;
        Ok(Self { stacks, warnings: reader.into_warnings() })
    }
}

impl ProtocolCounters {
    /// What netstat(1) calls the protocol.
    pub const fn name(&self) -> &'static str {
        self.protocol.name
    }

    /// What is shown of them: numbers, and what each is of. Those that are 0 are left out.
    fn lines(&self) -> Vec<(Option<u64>, String)> {
        self.counters.iter().flat_map(|counter| self.lines_of(counter)).collect()
    }

    fn lines_of(&self, NamedCounter { name, value }: &NamedCounter) -> Vec<(Option<u64>, String)> {
        let is_shown = |(value, _): &(Option<u64>, String)| *value != Some(0);
        match value {
            CounterValue::One(value) => Some((*value, self.text(name, *value))).into_iter().filter(is_shown).collect(),
            CounterValue::Several(values) => {
                let line = |(index, value): (usize, &Option<u64>)| (*value, format!("{name}[{index}]"));
                values.iter().enumerate().map(line).filter(is_shown).collect()
            }
        }
    }

    /// The sentence of a counter, without its number; its name if it has none.
    fn text(&self, name: &str, value: Option<u64>) -> String {
        let sentence = self.protocol.sentences.iter().find(|(member, _)| *member == name);
        // What is not known is no single one.
        let number = value.unwrap_or(0);
        sentence.map_or_else(|| name.to_owned(), |(_, sentence)| with_number(sentence, number))
    }
}

fn stack_counters(reader: &mut Reader<'_>, stack: NetworkStack) -> Result<StackCounters> {
    let mut protocols = Vec::new();
    for protocol in &PROTOCOLS {
        if has_counters(reader, &stack, protocol)? {
            let array = stack.variable(reader.typed, protocol.variable);
            let read = array.and_then(|array| read_counters(reader, protocol.variable, &array, protocol.structure));
            let read = reader.keep(|| protocol.variable.to_owned(), read);
            protocols.extend(read.map(|counters| ProtocolCounters { protocol, counters }));
        }
    }
    Ok(StackCounters { stack, protocols })
}

/// Whether the kernel has the protocol; it may be in a module that is not loaded.
fn has_counters(reader: &Reader<'_>, stack: &NetworkStack, protocol: &Protocol) -> Result<bool> {
    Ok(reader.typed.symbols.find(&stack.symbol(protocol.variable))?.is_some())
}

fn by_name<S: Serializer>(protocols: &[ProtocolCounters], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(protocols.iter().map(|counted| (counted.name(), counted)))
}

/// The counters by their names.
impl Serialize for ProtocolCounters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.counters.iter().map(|counter| (&counter.name, &counter.value)))
    }
}

impl Topic for Protocols {
    fn tables(&self) -> Vec<Table> {
        let columns = [left("Proto"), right("Count"), left("What"), right("JID")];
        vec![Table::new(columns, self.stacks.iter().flat_map(rows).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn rows(of: &StackCounters) -> Vec<Vec<String>> {
    let row = |name: &str, (value, text): (Option<u64>, String)| {
        vec![name.to_owned(), cell(value), text, cell(of.stack.jail_id)]
    };
    let rows = of.protocols.iter().flat_map(|counted| {
        let lines = counted.lines().into_iter();
        lines.map(|line| row(counted.name(), line))
    });
    rows.collect()
}
