//! `memtool dump --verify`: a dump, and what was written of it when it was made.

use super::output::RECORDED;
use super::signing::verifying_key;
use super::{Context, Verdict};
use memtool::Result;
use memtool::dump::manifest::Manifest;
use memtool::files;
use memtool::signature::signature_path;
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
}

/// Compares a dump with its manifest, of which the signature is verified first if there is a key.
pub fn run(context: &mut Context, path: &Path, manifest_path: &Path, public_key: Option<&Path>) -> Result<Verdict> {
    let (manifest, verified) = match public_key {
        Some(key) => Manifest::read_signed(manifest_path, &verifying_key(key)?).map(|(read, by)| (read, Some(by)))?,
        None => (Manifest::read(manifest_path)?, None),
    };
    if verified.is_none() && !files::is_standard_input(manifest_path) && signature_path(manifest_path).exists() {
        context.remark("the manifest is signed, which was not checked: --public-key checks it");
    }
    manifest.verify(path, context)?;
    let output = &manifest.output;
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
        };
        context.out.document_of("memtool.dump.verify", recorded_kind(&manifest), &document)?;
    } else if !context.global.quiet {
        if let Some((key, comment)) = signed_by.zip(trusted_comment) {
            context.out.line(&format!("{}: signed by {key}: {comment}", manifest_path.display()))?;
        }
        context.out.line(&format!("{}: matches its manifest: {}", path.display(), counted(output.size, "byte")))?;
        context.out.line(&format!("SHA-256 {}", output.sha256))?;
    }
    Ok(Verdict::Done)
}

/// What was dumped, by a manifest that anybody may have written.
fn recorded_kind(manifest: &Manifest) -> &'static str {
    ["freebsd", RECORDED].into_iter().find(|kind| *kind == manifest.host).unwrap_or("image")
}
