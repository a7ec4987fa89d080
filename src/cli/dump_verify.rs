//! `memtool dump --verify`: a dump, and what was written of it when it was made.

use super::output::RECORDED;
use super::signing::verifying_key;
use super::{Context, Verdict};
use memtool::custody::chain::Link;
use memtool::custody::{DumpState, Log, entries, log_path};
use memtool::dump::manifest::{Manifest, ReadManifest};
use memtool::files;
use memtool::signature::signature_path;
use memtool::{Error, Result};
use serde::Serialize;
use std::path::Path;
use vmcore::text::Name;
use vmcore::units::counted;

#[derive(Serialize)]
struct Document<'a> {
    input: Name,
    size: u64,
    sha256: &'a str,
    /// The public key that has signed the manifest, as far as that was checked.
    signed_by: Option<&'a str>,
    trusted_comment: Option<&'a str>,
    matches: bool,
    /// Of the custody log, if there is one.
    custody_entry_count: Option<u64>,
    last_entry_sha256: Option<&'a str>,
}

/// Compares a dump with its manifest, of which the signature is verified first if there is a key.
pub fn run(context: &mut Context, path: &Path, manifest_path: &Path, public_key: Option<&Path>) -> Result<Verdict> {
    let key = public_key.map(verifying_key).transpose()?;
    let ReadManifest { manifest, text_sha256, verified } = Manifest::read_verified(manifest_path, key.as_ref())?;
    if verified.is_none() && !files::is_standard_input(manifest_path) && signature_path(manifest_path).exists() {
        context.remark("the manifest is signed, which was not checked: --public-key checks it");
    }
    manifest.verify(path, context)?;
    let output = &manifest.output;
    let custody = verify_custody(context, path, &manifest, &text_sha256)?;
    let signed_by = verified.as_ref().map(|verified| verified.public_key.as_str());
    let trusted_comment = verified.as_ref().map(|verified| verified.trusted_comment.as_str());
    if context.out.is_json() {
        let document = Document {
            input: path.into(),
            size: output.size,
            sha256: &output.sha256,
            signed_by,
            trusted_comment,
            matches: true,
            custody_entry_count: custody.as_ref().map(|(count, _)| *count),
            last_entry_sha256: custody.as_ref().map(|(_, link)| &*link.entry_sha256),
        };
        context.out.document_of("memtool.dump.verify", recorded_kind(&manifest), &document)?;
    } else if !context.global.quiet {
        if let Some((key, comment)) = signed_by.zip(trusted_comment) {
            context.out.line(&format!("{}: signed by {key}: {comment}", manifest_path.display()))?;
        }
        context.out.line(&format!("{}: matches its manifest: {}", path.display(), counted(output.size, "byte")))?;
        context.out.line(&format!("SHA-256 {}", output.sha256))?;
        if let Some((count, link)) = &custody {
            let (log, count) = (log_path(path), entries(*count));
            context.out.line(&format!(
                "{}: {count}, whole; last entry: SHA-256 {}",
                log.display(),
                link.entry_sha256
            ))?;
        }
    }
    Ok(Verdict::Done)
}

/// Checks the dump's custody log, if there is one; the number of entries, and the last of them.
fn verify_custody(
    context: &mut Context,
    path: &Path,
    manifest: &Manifest,
    text_sha256: &str,
) -> Result<Option<(u64, Link)>> {
    if files::is_standard_input(path) {
        return Ok(None);
    }
    let Some(log) = Log::open(path, context)? else { return Ok(None) };
    let output = &manifest.output;
    // The dump is what the manifest says: that was verified.
    let state = DumpState { size: output.size, sha256: output.sha256.to_ascii_lowercase() };
    let (chain, last) = log.verify(path, &state)?;
    chain.warnings.first.iter().for_each(|why| context.warn(why));
    if chain.manifest_sha256.as_ref().is_some_and(|sha256| sha256 != text_sha256) {
        let log = log.path().display();
        return Err(Error::Format(format!("{log}: entry 1 was written with another manifest")));
    }
    Ok(Some((chain.entry_count, last)))
}

/// What was dumped, by a manifest that anybody may have written.
fn recorded_kind(manifest: &Manifest) -> &'static str {
    ["freebsd", RECORDED].into_iter().find(|kind| *kind == manifest.host).unwrap_or("image")
}
