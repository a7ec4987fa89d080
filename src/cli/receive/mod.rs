//! `memtool receive`: dumps from kernels without a disk, and from memtool on other hosts.

mod document;

use super::destination::destination;
use super::encryption::RecipientArguments;
use super::stored::StoredArguments;
use super::{Context, Inputs, Verdict, decrypt, whole_number};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use document::Document;

use memtool::Result;
use memtool::dump::destination::Destination;
use memtool::receive::access::{AcceptList, Network};
use memtool::receive::arrival::Arrival;
use memtool::receive::keep::{Kept, Place, keep};
use memtool::receive::privileges::{Account, is_root};
use memtool::receive::stream::Identity;
use memtool::receive::{Event, Flow, Limits, Listen, Receiver, Settings};
use memtool::remote::Settings as RemoteSettings;
use memtool::remote::trust::ClientFiles;
use memtool::save::directory::SaveDirectory;
use memtool::save::{Options, SavedDump};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vmcore::kerneldump::{Compression, Header};
use vmcore::units::{counted, rough_size};

/// Where dumps go that nobody has named a directory for.
const DIRECTORY: &str = "/var/crash";
/// Where JSON says that they come from.
const NETWORK: &str = "network";

#[derive(Args)]
#[command(
    after_help = "Without --listen, --tcp and --tls, netdump(4) clients are listened to on port 20023 of all addresses. Exit codes: 0 all dumps were complete and kept, 1 one was not; a signal ends the command with 130 or 1."
)]
pub struct Arguments {
    /// Receive kernel dumps from netdump(4) clients at this address; may be repeated [default port: 20023]
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = netdump_address)]
    listen: Vec<SocketAddrV4>,
    /// Receive dumps that memtool sends to tcp:// at this address; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT")]
    tcp: Vec<SocketAddr>,
    /// Receive dumps that memtool sends to tls:// at this address; may be repeated
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["certificate", "key"])]
    tls: Vec<SocketAddr>,
    /// For --tls: the certificate of this receiver (PEM)
    #[arg(long, value_name = "FILE", requires = "tls")]
    certificate: Option<PathBuf>,
    /// For --tls: the private key of --certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls")]
    key: Option<PathBuf>,
    /// For --tls: receive only from senders whose certificate is signed by one in this file (PEM)
    #[arg(long, value_name = "FILE", requires = "tls")]
    client_authority: Option<PathBuf>,
    /// Receive only from this address or network, such as 192.0.2.0/24; may be repeated; 'any' is everybody
    #[arg(long, value_name = "NETWORK", required = true, value_parser = network)]
    accept: Vec<Accepted>,
    /// Directory that dumps arrive in, and are kept in unless --output is given [default: /var/crash]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Send complete kernel dumps on: to a folder of an object store, such as s3://BUCKET/crashes/
    #[arg(short, long, value_name = "FOLDER", value_parser = OsStringValueParser::new().try_map(destination))]
    output: Option<Destination>,
    /// Go on as this user once the ports are open [default: the owner of the directory]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    stored: StoredArguments,
    #[command(flatten)]
    recipients: RecipientArguments,
    /// Decrypt dumps that the kernel has encrypted with this private RSA key (PEM)
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// End when this many dumps have arrived, complete or not, and those that have begun are over
    #[arg(long, value_name = "N", value_parser = |text: &str| whole_number(text, 1_u32, 1_000_000))]
    count: Option<u32>,
    /// Refuse what makes a dump larger than this [default: 16t]
    #[arg(long, value_name = "SIZE", value_parser = super::size, hide_short_help = true)]
    max_size: Option<u64>,
    /// Receive so many dumps at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = |text: &str| whole_number(text, 1_u32, 10_000), hide_short_help = true)]
    max_sessions: u32,
    /// Receive so many dumps from one address in 24 hours
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = |text: &str| whole_number(text, 1_u32, 1_000_000), hide_short_help = true)]
    max_per_day: u32,
    /// Leave so many bytes of the directory's file system free [default: 1g]
    #[arg(long, value_name = "SIZE", value_parser = super::size, hide_short_help = true)]
    reserve: Option<u64>,
    /// Give a dump up when its sender is silent for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = |text: &str| whole_number(text, 1_u32, 86_400), hide_short_help = true)]
    silence: u32,
}

/// What may be accepted.
#[derive(Debug, Clone, Copy)]
enum Accepted {
    Any,
    Network(Network),
}

fn network(text: &str) -> Result<Accepted, String> {
    if text == AcceptList::ANY {
        return Ok(Accepted::Any);
    }
    text.parse().map(Accepted::Network).map_err(|error: memtool::receive::access::NetworkError| error.to_string())
}

/// clap's parser for addresses of netdump's, which knows no IPv6.
fn netdump_address(text: &str) -> Result<SocketAddrV4, String> {
    let port = memtool::receive::netdump::packet::HERALD_PORT;
    let address = text.parse().or_else(|_| text.parse().map(|address| SocketAddrV4::new(address, port)));
    address.map_err(|_: std::net::AddrParseError| {
        format!("'{text}' is not an IPv4 address, or one with a port, such as 192.0.2.1:{port}")
    })
}

impl Arguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        [
            ("--certificate", self.certificate.as_ref()),
            ("--key", self.key.as_ref()),
            ("--client-authority", self.client_authority.as_ref()),
            ("--private-key", self.private_key.as_ref()),
        ]
        .into_iter()
        .chain(self.recipients.inputs())
        .collect()
    }

    /// See [`super::Command::check`].
    pub fn check(&self) -> Result<(), String> {
        match &self.output {
            Some(output) if !output.is_folder() => Err(format!(
                "--output {output}: each dump needs a name of its own: give a folder of an object store, which ends in a slash"
            )),
            _ => self.check_connections(),
        }
    }

    /// That options for kernel dumps are not given where none can come, nor that is left unencrypted what is to be encrypted.
    fn check_connections(&self) -> Result<(), String> {
        if self.tcp.is_empty() && self.tls.is_empty() {
            return Ok(());
        }
        if self.recipients.is_given() {
            return Err("--recipient encrypts kernel dumps; what comes by --tcp and --tls is kept as it is sent: have the sender encrypt it".to_owned());
        }
        let for_kernels = [
            ("--output", self.output.is_some()),
            ("--private-key", self.private_key.is_some()),
            ("--zstd, --gzip and --uncompress", self.stored.is_given()),
        ];
        match for_kernels.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) if self.listen.is_empty() => {
                Err(format!("{name}: for kernel dumps, and none is received without --listen"))
            }
            _ => Ok(()),
        }
    }

    fn directory(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(DIRECTORY))
    }

    fn listen(&self) -> Listen {
        let nothing = self.listen.is_empty() && self.tcp.is_empty() && self.tls.is_empty();
        let port = memtool::receive::netdump::packet::HERALD_PORT;
        let everywhere = nothing.then(|| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        let tls = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) if !self.tls.is_empty() => {
                let files = ClientFiles { certificate: certificate.clone(), key: key.clone() };
                Some((self.tls.clone(), Identity { files, authorities: self.client_authority.clone() }))
            }
            _ => None,
        };
        let netdump = self.listen.iter().copied().chain(everywhere).collect();
        Listen { netdump, tcp: self.tcp.clone(), tls }
    }

    fn settings(&self) -> Settings {
        let any = self.accept.iter().any(|accepted| matches!(accepted, Accepted::Any));
        let networks = self.accept.iter().filter_map(|accepted| match accepted {
            Accepted::Network(network) if !any => Some(*network),
            _ => None,
        });
        Settings {
            directory: self.directory().to_owned(),
            accept: AcceptList::new(networks.collect()),
            limits: Limits {
                dump_size: self.max_size.unwrap_or(16 << 40),
                sessions: vmcore::bounds::saturating_usize(self.max_sessions),
                dumps_per_day: vmcore::bounds::saturating_usize(self.max_per_day),
                reserve: self.reserve.unwrap_or(1 << 30),
                silence: Duration::from_secs(self.silence.into()),
            },
        }
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let recipients = arguments.recipients.read()?;
    let private_key = arguments.private_key.as_deref().map(|path| decrypt::private_key(context, path)).transpose()?;
    let account = account(context, arguments)?;
    let settings = arguments.settings();
    let receiver = Receiver::bind(&arguments.listen())?;
    if let Some(account) = &account {
        account.assume()?;
    }
    let directory = SaveDirectory::open(arguments.directory())?;
    // What cannot be written to is known now, not when a kernel has panicked.
    drop(directory.new_file()?);
    let free = directory.free_space(context)?.free();
    if free < settings.limits.reserve {
        let (free, reserve) = (rough_size(free), rough_size(settings.limits.reserve));
        context.warn(&format!(
            "only {free} are free in {}, less than the {reserve} that stay free: nothing can be received (--reserve)",
            arguments.directory().display()
        ));
    }
    context.log.turn(true);
    for address in receiver.addresses() {
        context.remark(&format!("listening on {address}"));
    }
    let options = arguments.stored.options(&recipients, private_key.as_ref());
    let remote = RemoteSettings::default();
    let place = Place { directory: &directory, elsewhere: arguments.output.as_ref().map(|output| (output, &remote)) };
    let (mut arrived, mut is_fine) = (0, true);
    receiver.run(&settings, &mut |event| {
        match event {
            Event::Began { client, path } => {
                let path = if path.is_empty() { String::new() } else { format!(" ({path})") };
                context.remark(&format!("{client}{path}: a dump begins"));
            }
            Event::Refused { client, why } => context.warn(&format!("{client}: nothing is received from it: {why}")),
            Event::Failed(why) => {
                is_fine = false;
                context.print_failure(&why)?;
            }
            Event::Arrived(arrival) => {
                arrived += 1;
                is_fine &= take(context, &arrival, &place, &options)?;
            }
        }
        context.out.flush()?;
        let is_enough = arguments.count.is_some_and(|count| arrived >= count);
        Ok(if is_enough { Flow::Stop } else { Flow::Continue })
    })?;
    Ok(if is_fine { Verdict::Done } else { Verdict::Failed })
}

/// Who the command goes on as, if it is root's.
fn account(context: &mut Context, arguments: &Arguments) -> Result<Option<Account>> {
    let account = match &arguments.user {
        Some(name) => Some(Account::named(name)?),
        None if is_root() => Account::owner_of(arguments.directory())?,
        None => None,
    };
    if is_root() && account.as_ref().is_none_or(Account::is_root) {
        context.remark(&format!(
            "packets of strangers are read as root: give {} to another user, or name one with --user",
            arguments.directory().display()
        ));
    }
    Ok(account)
}

/// Keeps what has arrived, and says what became of it; whether all is well.
fn take(context: &mut Context, arrival: &Arrival, place: &Place<'_>, options: &Options<'_>) -> Result<bool> {
    let client = arrival.source.client.ip();
    arrival.warnings.iter().for_each(|warning| context.warn(&format!("{client}: {warning}")));
    let kept = if arrival.is_whole() { keep(arrival, place, options, context).map(Some) } else { Ok(None) };
    let (kept, problem) = match kept {
        Ok(Some(Kept::AsItIs(saved, error))) => {
            let core = saved.saved.files.core.display().to_string();
            let why = format!("{client}: the dump is kept as it came, as {core}: {error}");
            (Some(Kept::Saved(saved)), Some(why))
        }
        Ok(Some(kept)) => (Some(kept), None),
        Ok(None) => {
            let (path, why) = (arrival.path.display(), arrival.problems.join("; "));
            let list = arrival.write_down().err().map_or_else(String::new, |error| format!("; {error}"));
            (None, Some(format!("{client}: {path}: the dump is incomplete: {why}{list}")))
        }
        Err(error) => {
            let path = arrival.path.display();
            (None, Some(format!("{client}: {path}: the dump has all arrived, and stays there: {error}")))
        }
    };
    if let Some(why) = &problem {
        context.print_failure(why)?;
    }
    let damage = warn_of_doubts(context, kept.as_ref());
    if context.out.is_json() {
        let document = Document::new(arrival, kept.as_ref(), problem.as_deref());
        context.out.document_of("memtool.receive", NETWORK, &document)?;
    } else if let Some(kept) = &kept {
        tell(context, arrival, kept)?;
    }
    Ok(problem.is_none() && !damage)
}

/// Says what may be wrong with a dump; whether it is damaged.
fn warn_of_doubts(context: &mut Context, kept: Option<&Kept>) -> bool {
    let (core, problems, warnings, beginning) = match kept {
        Some(Kept::Saved(SavedDump { saved, warnings, beginning, .. })) => {
            (saved.files.core.display().to_string(), &*saved.problems, warnings, beginning)
        }
        Some(Kept::Sent(sent)) => (sent.places.core.to_string(), &[][..], &sent.warnings, &sent.beginning),
        Some(Kept::Named(_) | Kept::AsItIs(..)) | None => return false,
    };
    for text in problems.iter().chain(warnings) {
        context.warn(&format!("{core}: {text}"));
    }
    if let Some(damage) = beginning {
        context.warn(&format!("{core}: all that the kernel sent is there, and it is damaged: {damage}"));
    }
    beginning.is_some()
}

/// Says where a dump is.
fn tell(context: &mut Context, arrival: &Arrival, kept: &Kept) -> Result<()> {
    let (core, size, compression) = match kept {
        Kept::Saved(saved) | Kept::AsItIs(saved, _) => {
            (saved.saved.files.core.display().to_string(), Some(saved.size), saved.compression)
        }
        Kept::Sent(sent) => (sent.places.core.to_string(), sent.size, sent.compression),
        Kept::Named(path) => (path.display().to_string(), Some(arrival.size), Compression::None),
    };
    let client = arrival.source.client.ip();
    let header = arrival.netdump.as_ref().and_then(|facts| facts.header).and_then(|bytes| Header::parse(&bytes).ok());
    let host = header.as_ref().map_or_else(String::new, |header| format!(" ({})", header.hostname));
    let packed =
        if compression == Compression::None { String::new() } else { format!(" after {}", compression.name()) };
    let size = size.map_or_else(|| "it is there already".to_owned(), |size| format!("{}{packed}", rough_size(size)));
    let seconds = arrival.elapsed.as_secs_f64();
    context.log.notice(&format!("received a dump from {client}{host}: {core}"));
    context.out.line(&format!("{core}: {size} from {client}{host} in {seconds:.1} s"))?;
    if context.global.verbose > 0
        && let Some(facts) = &arrival.netdump
    {
        let (packets, repeated) = (counted(facts.packets, "packet"), facts.repeated);
        context.remark(&format!("{client}: {packets}, {repeated} of them sent again"));
    }
    Ok(())
}
