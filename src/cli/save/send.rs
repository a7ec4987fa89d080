//! How `memtool save` stores a dump elsewhere than in a directory, or says how it would.

use super::document::{Outcome, SavedFile};
use super::store::{Earlier, Fate, conclude, damaged, reboot, settle, stored_form};
use super::{Arguments, say};
use crate::cli::Context;
use crate::cli::destination::remark_on_delivery;
use crate::cli::encryption::encrypted_to;
use memtool::dump::destination::Destination;
use memtool::save::send::{plan, send};
use memtool::save::{CrashDump, Options};
use memtool::{Error, Result};
use std::path::Path;
use std::rc::Rc;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kerneldump::Compression;
use vmcore::units::rough_size;

/// Sends a dump, and clears it on its device; or says what would be done.
pub fn send_dump(
    context: &mut Context,
    arguments: &Arguments,
    (device, volume): (&Path, &ByteSource),
    dump: &CrashDump,
    to: &Destination,
    earlier: &mut Earlier,
) -> Result<Outcome> {
    let private_key = earlier.private_key(context, arguments, dump)?;
    let recipients = Rc::clone(&earlier.recipients);
    let options = arguments.options(&recipients, private_key.as_deref());
    let name = device.display().to_string();
    if arguments.dry_run {
        let planned = plan(&name, dump, to, &options)?;
        let (size, core) = (rough_size(dump.size()), &planned.places.core);
        say(
            context,
            &format!("{core}: would be written: {size}{}{}", encrypted_to(&recipients), damaged(planned.good)),
        )?;
        let fate = Fate::new(arguments, dump, planned.beginning.clone());
        let saved = SavedFile { recipients: recipients.public_keys(), ..SavedFile::sent(&planned) };
        return conclude(context, arguments, device, dump, &fate, saved);
    }
    context.log.alert(&reboot(dump));
    if !arguments.no_space_check {
        check_space(context, to, dump, &options)?;
    }
    let sent = send(volume, &name, dump, (to, &arguments.remote.settings()), &options, context)?;
    let core = &sent.places.core;
    context.log.notice(&format!("wrote {}core to {core}", stored_form(dump, &options, sent.compression)));
    remark_on_delivery(context, sent.delivered);
    if let Some(file) = to.file() {
        arguments.begin_custody(context, file, device, dump)?;
    }
    let doubts = (sent.beginning.clone(), &*sent.warnings);
    let fate = settle(context, arguments, (device, volume), dump, &core.to_string(), doubts)?;
    let size = match (sent.size, sent.compression) {
        (None, _) => "it is there already, as it would be sent".to_owned(),
        (Some(size), Compression::None) => rough_size(size),
        (Some(size), compression) => format!("{} after {}", rough_size(size), compression.name()),
    };
    if *to != Destination::StandardOutput {
        say(context, &format!("{core}: {size}{}{}", encrypted_to(&recipients), damaged(sent.good)))?;
    }
    let saved =
        SavedFile { verified: arguments.verify, recipients: recipients.public_keys(), ..SavedFile::sent(&sent) };
    conclude(context, arguments, device, dump, &fate, saved)
}

/// Refuses what will not fit into a file; warns of what may not.
fn check_space(context: &mut Context, to: &Destination, dump: &CrashDump, options: &Options<'_>) -> Result<()> {
    let Some(space) = to.free_space()? else { return Ok(()) };
    let size = options.recipients.size_of(dump.size());
    let Some(shortage) = space.shortage(size, size) else { return Ok(()) };
    if options.compression != Compression::None && dump.compression() == Some(Compression::None) {
        context.warn(&format!("the dump may not fit: at its maximum size {shortage}"));
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the dump does not fit: {shortage}; the dump was kept on the device; --no-space-check tries anyway"
    )))
}
