//! Encrypted dumps: `memtool decrypt` and the library behind it. openssl(1) encrypts them, as the kernel and dumpon(8)
//! would.

use crate::common::encryption::{KEYS, VECTOR, block_for, encrypted, locked, openssl};
use crate::common::{Run, command, directory, memtool, names, noise, run, start, text};
use nix::sys::signal::Signal;
use proptest::prelude::*;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::LazyLock;
use tempfile::TempDir;
use vmcore::decrypt::{Decrypter, Encryption, KeyBlock, PrivateKey};
use vmcore::opened::open_plainly;
use vmcore_synth::{Arch, Compression, MinidumpSpec, key_block};

fn private_key(name: &str) -> PrivateKey {
    PrivateKey::read(&KEYS.path(name), open_plainly).unwrap()
}

/// Hands out no more than so many bytes at once.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

fn decrypted(block: &[u8], data: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let key = private_key("mine.pem").unlock(&KeyBlock::parse(block).unwrap()).unwrap();
    let mut all = Vec::new();
    Decrypter::new(key, Pieces(data, piece)).read_to_end(&mut all)?;
    Ok(all)
}

#[test]
fn whatever_its_length_a_dump_comes_back() {
    let block = |encryption| block_for("mine.pem", encryption, "oaep");
    let buffer = 65536;
    let whole_blocks = [0, 16, 32, 512, buffer - 16, buffer, buffer + 16, 3 * buffer, 3 * buffer + 512];
    let others = [1, 15, 63, 64, 65, buffer - 1, buffer + 1, 2 * buffer + 63];
    for (encryption, lengths) in [
        (Encryption::Aes256Cbc, whole_blocks.to_vec()),
        (Encryption::ChaCha20, whole_blocks.into_iter().chain(others).collect()),
    ] {
        let block = block(encryption);
        for length in lengths {
            let data = noise(length);
            let secret = encrypted(encryption, &data);
            assert_eq!(secret.len(), length);
            for piece in [usize::MAX, 4096, 4095] {
                assert!(
                    decrypted(&block, &secret, piece).unwrap() == data,
                    "{encryption:?}, {length} bytes by {piece}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_dump_comes_back(
        blocks in prop::collection::vec(any::<[u8; 16]>(), 0..5000),
        rest in prop::collection::vec(any::<u8>(), 0..16),
        piece in 1..100_000_usize,
    ) {
        static BLOCKS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
            [Encryption::Aes256Cbc, Encryption::ChaCha20].map(|encryption| block_for("mine.pem", encryption, "oaep"))
        });
        let mut data: Vec<u8> = blocks.concat();
        let secret = encrypted(Encryption::Aes256Cbc, &data);
        prop_assert!(decrypted(&BLOCKS[0], &secret, piece).unwrap() == data);
        data.extend(rest);
        let secret = encrypted(Encryption::ChaCha20, &data);
        prop_assert!(decrypted(&BLOCKS[1], &secret, piece).unwrap() == data);
    }
}

#[test]
fn data_that_is_cut_off_within_a_block_is_an_error() {
    let block = block_for("mine.pem", Encryption::Aes256Cbc, "oaep");
    let secret = encrypted(Encryption::Aes256Cbc, &noise(131_072));
    for length in [1, 15, 17, 65537, 131_071] {
        let error = decrypted(&block, &secret[..length], usize::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(&format!("ends after {length} bytes")), "{error}");
    }
}

#[test]
fn both_paddings_and_both_forms_of_private_keys_open_a_key() {
    for name in ["mine", "large"] {
        for padding in ["oaep", "pkcs1"] {
            let block = block_for(&format!("{name}.pem"), Encryption::ChaCha20, padding);
            for suffix in ["pem", "pk8"] {
                let key = private_key(&format!("{name}.{suffix}")).unlock(&KeyBlock::parse(&block).unwrap()).unwrap();
                let secret = encrypted(Encryption::ChaCha20, b"a dump");
                let mut plain = Vec::new();
                Decrypter::new(key, &*secret).read_to_end(&mut plain).unwrap();
                assert_eq!(plain, b"a dump", "{name}.{suffix}, {padding}");
            }
        }
    }
}

#[test]
fn another_private_key_and_a_damaged_key_are_refused() {
    for padding in ["oaep", "pkcs1"] {
        let block = block_for("mine.pem", Encryption::Aes256Cbc, padding);
        let unlock = |name: &str, block: &[u8]| {
            private_key(name).unlock(&KeyBlock::parse(block).unwrap()).map(drop).map_err(|error| error.to_string())
        };
        let error = unlock("other.pem", &block).unwrap_err();
        assert!(error.contains("does not decrypt the dump's key"), "{error}");
        let error = unlock("large.pem", &block).unwrap_err();
        assert!(error.contains("4096 bits") && error.contains("with 2048"), "{error}");
        for at in [37, 38, 37 + 128, 37 + 255] {
            let mut damaged = block.clone();
            damaged[at] ^= 1;
            let error = unlock("mine.pem", &damaged).unwrap_err();
            assert!(error.contains("does not decrypt") || error.contains("kdk_encryptedkey:"), "{error}");
        }
    }
    // A key of another length than the kernel's.
    let block = key_block(VECTOR, &locked("mine.pem", "oaep", &[7; 32]));
    let error = private_key("mine.pem").unlock(&KeyBlock::parse(&block).unwrap()).err().unwrap().to_string();
    assert!(error.contains("kdk_encryptedkey: the key has 32 bytes, not 64"), "{error}");
}

#[test]
fn a_key_block_that_cannot_be_names_the_field() {
    let good = key_block(VECTOR, &[5; 256]);
    let parsed = KeyBlock::parse(&good).unwrap();
    assert_eq!(parsed.encryption, Encryption::Aes256Cbc);
    let padded = [good.as_slice(), &[0; 219]].concat();
    assert_eq!(KeyBlock::parse(&padded).unwrap(), parsed);
    for length in 0..good.len() {
        let error = KeyBlock::parse(&good[..length]).unwrap_err().to_string();
        let field = if length < 37 { "kdk_encryptedkeysize: " } else { "kdk_encryptedkey: " };
        assert!(error.starts_with(field), "{length}: {error}");
    }
    for encryption in [0, 3, 255] {
        let mut bad = good.clone();
        bad[0] = encryption;
        let error = KeyBlock::parse(&bad).unwrap_err().to_string();
        assert!(error.starts_with(&format!("kdk_encryption: unknown code {encryption}")), "{error}");
    }
    for size in [0, 2049, u32::MAX] {
        let mut bad = [good.as_slice(), &[0; 4096]].concat();
        bad[33..37].copy_from_slice(&size.to_be_bytes());
        let error = KeyBlock::parse(&bad).unwrap_err().to_string();
        assert!(error.starts_with(&format!("kdk_encryptedkeysize: it is {size}")), "{error}");
    }
}

#[test]
fn what_is_no_private_key_is_said_to_be_none() {
    let mine = KEYS.path("mine.pem");
    let pem = fs::read_to_string(&mine).unwrap();
    let made = |arguments: &[&str]| openssl(arguments, b"");
    let with_passphrase = ["-aes128", "-passout", "pass:word"];
    let traditional = [&["rsa", "-traditional", "-in", text(&mine)], with_passphrase.as_slice()].concat();
    let pkcs8 = [&["pkey", "-in", text(&mine)], with_passphrase.as_slice()].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "no private key in PEM"),
        (noise(3000), "no private key in PEM"),
        (b"-----BEGIN ".to_vec(), "no private key in PEM"),
        (pem.as_bytes()[..pem.len() / 2].to_vec(), "no private key in PEM"),
        (pem.replace("RSA PRIVATE", "PRIVATE").into_bytes(), "not a usable RSA private key"),
        (pem.replace(['a', 'b', 'c'], "d").into_bytes(), "not a usable RSA private key"),
        (b"-----BEGIN X\x1b-----\n-----END X\x1b-----\n".to_vec(), "it holds 'X\\u{1b}'"),
        (made(&traditional), "passphrase"),
        (made(&pkcs8), "passphrase"),
        (made(&["pkey", "-in", text(&mine), "-pubout"]), "public key"),
        (made(&["genpkey", "-algorithm", "ed25519"]), "not a usable RSA private key"),
    ];
    for (bytes, words) in cases {
        let error = PrivateKey::parse(&bytes).err().unwrap_or_else(|| panic!("{words}")).to_string();
        assert!(error.contains(words), "'{words}' expected in: {error}");
    }
    let commented = format!("a comment\n{pem}another\n");
    PrivateKey::parse(commented.as_bytes()).unwrap();

    let error = |path: &Path| PrivateKey::read(path, open_plainly).err().unwrap().to_string();
    let directory = directory();
    assert!(error(directory.path()).contains("not a regular file"));
    assert!(error(&directory.path().join("none")).contains("No such file"));
    let large = directory.path().join("large");
    fs::write(&large, vec![b'-'; 65537]).unwrap();
    assert!(error(&large).contains("too large to be a private key"));
}

/// A directory with an encrypted dump, as savecore(8) leaves it.
fn crash_directory(encryption: Encryption, padding: &str, dump: &[u8]) -> TempDir {
    let directory = directory();
    fs::write(directory.path().join("vmcore_encrypted.3"), encrypted(encryption, dump)).unwrap();
    fs::write(directory.path().join("key.3"), block_for("mine.pem", encryption, padding)).unwrap();
    directory
}

fn minidump() -> Vec<u8> {
    MinidumpSpec::example(Arch::Amd64, 2).build()
}

fn in_directory(directory: &Path, options: &[&str]) -> Run {
    let key = KEYS.path("mine.pem");
    let arguments = ["decrypt", "-p", text(&key), "-k", "key.3"];
    run(command().args(arguments).args(options).current_dir(directory))
}

#[test]
fn a_dump_is_decrypted_for_its_owner_and_never_over_another() {
    let dump = minidump();
    for (encryption, name) in [(Encryption::Aes256Cbc, "AES-256-CBC"), (Encryption::ChaCha20, "ChaCha20")] {
        let directory = crash_directory(encryption, "pkcs1", &dump);
        let decrypt = |options: &[&str]| in_directory(directory.path(), options);
        let done = decrypt(&["vmcore_encrypted.3", "out"]).ok();
        assert_eq!(done.stderr, "");
        assert!(done.stdout.starts_with("out: ") && done.stdout.ends_with(&format!("{name}; minidump\n")), "{done:?}");
        let out = directory.path().join("out");
        assert!(fs::read(&out).unwrap() == dump);
        assert_eq!(out.metadata().unwrap().mode() & 0o7777, 0o600);

        fs::write(&out, "old").unwrap();
        decrypt(&["vmcore_encrypted.3", "out"]).fails_saying(&["out already exists"]);
        assert_eq!(fs::read(&out).unwrap(), b"old");
        decrypt(&["--force", "vmcore_encrypted.3", "out"]).ok();
        assert!(fs::read(&out).unwrap() == dump);
        for input in ["vmcore_encrypted.3", "key.3"] {
            let before = fs::read(directory.path().join(input)).unwrap();
            decrypt(&["--force", "vmcore_encrypted.3", input]).fails_saying(&["cannot be the same file"]);
            assert!(fs::read(directory.path().join(input)).unwrap() == before);
        }
        assert_eq!(names(directory.path()), ["key.3", "out", "vmcore_encrypted.3"]);
    }
}

#[test]
fn a_dump_of_a_directory_is_found_by_its_number() {
    let dump = Compression::Zstd.compress(&minidump());
    let directory = crash_directory(Encryption::ChaCha20, "oaep", &dump);
    let key = KEYS.path("mine.pk8");
    let decrypt = |options: &[&str]| {
        memtool(&[&["decrypt", "--private-key", text(&key), "--dir", text(directory.path())], options].concat())
    };
    let document = decrypt(&["--number", "3", "--json"]).ok().json();
    // The kernel has compressed it, and its name says so.
    let vmcore = directory.path().join("vmcore.3.zst");
    assert!(fs::read(&vmcore).unwrap() == dump);
    assert_eq!(names(directory.path()), ["key.3", "vmcore.3.zst", "vmcore_encrypted.3"]);
    assert_eq!(
        document,
        serde_json::json!({
            "schema": "memtool.decrypt",
            "version": 1,
            "warnings": [],
            "host": "image",
            "input": text(&directory.path().join("vmcore_encrypted.3")),
            "output": text(&vmcore),
            "encryption": "chacha20",
            "size": dump.len(),
            "kind": "minidump",
            "compression": "zstd",
            "recipients": null,
        })
    );
    decrypt(&["-n", "3"]).fails_saying(&["vmcore.3.zst already exists"]);
    decrypt(&["-n", "3", "--force"]).ok();
    for (compression, suffix) in [(Compression::None, ""), (Compression::Gzip, ".gz")] {
        let directory = crash_directory(Encryption::ChaCha20, "oaep", &compression.compress(&minidump()));
        let decrypt = || memtool(&["decrypt", "-p", text(&key), "-d", text(directory.path()), "-n", "3", "-q"]);
        decrypt().ok();
        assert!(directory.path().join(format!("vmcore.3{suffix}")).exists(), "{:?}", names(directory.path()));
        decrypt().fails_saying(&["already exists"]);
    }
    decrypt(&["-n", "4"]).fails_saying(&["key.4", "No such file"]);
    decrypt(&["-n", "x"]).usage_error(&["--number"]);
    decrypt(&["-n", "3", "a", "b"]).usage_error(&["cannot be used with"]);
    decrypt(&["-n", "3", "-k", "key.3"]).usage_error(&["cannot be used with"]);
    decrypt(&[]).usage_error(&[]);
    memtool(&["decrypt", "-p", text(&key), "a", "b"]).usage_error(&["--key"]);
}

#[test]
fn what_fails_leaves_nothing_and_what_looks_wrong_is_warned_of() {
    let directory = crash_directory(Encryption::Aes256Cbc, "oaep", &minidump());
    let at = |name: &str| directory.path().join(name);
    let decrypt = |options: &[&str]| in_directory(directory.path(), options);
    let secret = fs::read(at("vmcore_encrypted.3")).unwrap();
    fs::write(at("cut"), &secret[..secret.len() - 5]).unwrap();
    decrypt(&["cut", "out"]).fails_saying(&["cannot decrypt cut: it ends after", "truncated"]);
    let key = KEYS.path("other.pem");
    memtool(&["decrypt", "-p", text(&key), "-k", text(&at("key.3")), text(&at("cut")), text(&at("out"))])
        .fails_saying(&["does not decrypt the dump's key"]);
    fs::write(at("short"), &fs::read(at("key.3")).unwrap()[..100]).unwrap();
    memtool(&["decrypt", "-p", text(&key), "-k", text(&at("short")), text(&at("cut")), text(&at("out"))])
        .fails_saying(&["short: kdk_encryptedkey: it ends after 63 of 256 bytes"]);
    assert_eq!(names(directory.path()), ["cut", "key.3", "short", "vmcore_encrypted.3"]);

    // The key of another dump for the same private key: nothing but the result can tell.
    let mut block = fs::read(at("key.3")).unwrap();
    block[1..17].fill(0x55);
    fs::write(at("key.3"), &block).unwrap();
    decrypt(&["-q", "vmcore_encrypted.3", "quiet"]).ok();
    let run = decrypt(&["vmcore_encrypted.3", "out"]).ok();
    run.says_in_one_line(&["warning: out: not a dump after decryption"]);
}

#[test]
fn a_private_key_that_others_can_read_is_warned_of() {
    let directory = crash_directory(Encryption::ChaCha20, "oaep", &minidump());
    let key = directory.path().join("private.pem");
    fs::copy(KEYS.path("mine.pem"), &key).unwrap();
    for (mode, warned) in [(0o644, true), (0o640, true), (0o600, false), (0o400, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let run = memtool(&["decrypt", "-p", text(&key), "-d", text(directory.path()), "-n3", "--force"]).ok();
        assert_eq!(run.stderr.contains("private.pem is readable by other users"), warned, "{mode:o}: {run:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_too_small_is_told_before_and_leaves_nothing_after() {
    let directory = crash_directory(Encryption::ChaCha20, "oaep", &noise(4 << 20));
    let arguments = |options: &str| {
        let at = |name: &str| directory.path().join(name).display().to_string();
        let (dump, key) = (at("vmcore_encrypted.3"), at("key.3"));
        format!("decrypt {options} -p {} -k {key} {dump} DIR/out", KEYS.path("mine.pem").display())
    };
    let Some(run) = crate::common::on_a_small_disk(&arguments("")) else { return };
    run.fails_saying(&["does not fit", "4.0 MiB", "2.0 MiB are free", "--no-space-check"]);
    let run = crate::common::on_a_small_disk(&arguments("--no-space-check")).unwrap();
    // Standard output has the names that are left.
    run.fails_saying(&["cannot write the dump", "No space left on device"]);
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 1)] {
        let directory = crash_directory(Encryption::Aes256Cbc, "oaep", &[]);
        // Longer than anybody waits, and a hole.
        let dump = fs::OpenOptions::new().write(true).open(directory.path().join("vmcore_encrypted.3")).unwrap();
        dump.set_len(1 << 40).unwrap();
        let mut decrypt = command();
        let key = KEYS.path("mine.pem");
        decrypt.args(["decrypt", "--no-space-check", "-p", text(&key), "-d", text(directory.path()), "-n3"]);
        let mut running = start(decrypt.stdout(Stdio::piped()));
        running.until(|| names(directory.path()).len() == 3);
        running.signal(signal);
        running.end().exits(code).says_in_one_line(&[signal.as_str(), "the dump is not complete"]);
        assert_eq!(names(directory.path()), ["key.3", "vmcore_encrypted.3"]);
    }
}

#[test]
fn a_decrypted_dump_begins_its_custody_log_bound_to_that_of_the_encrypted_one() {
    let dump = minidump();
    let directory = crash_directory(Encryption::ChaCha20, "oaep", &dump);
    let decrypt = |options: &[&str]| in_directory(directory.path(), options);
    let add = ["custody", "add", "vmcore_encrypted.3", "--action", "received", "--reason", "incident"];
    run(command().args(add).current_dir(directory.path())).ok();
    decrypt(&["vmcore_encrypted.3", "out", "--custody", " "]).fails_saying(&["the reason is empty"]);
    decrypt(&["vmcore_encrypted.3", "out", "--custody", "to be read"]).ok();
    let shown = run(command().args(["custody", "out", "--json"]).current_dir(directory.path())).ok().json();
    let entry = &shown["entries"][0]["custody_entry"];
    let first =
        run(command().args(["custody", "vmcore_encrypted.3", "--json"]).current_dir(directory.path())).ok().json();
    assert_eq!((entry["action"].as_str(), entry["reason"].as_str()), (Some("derived"), Some("to be read")));
    assert_eq!(entry["derived_from"]["entry_sha256"], first["last_entry_sha256"]);
    assert_eq!(entry["size"], dump.len());
    // A log that is there belongs to another dump, and a broken one is not built on.
    decrypt(&["--force", "vmcore_encrypted.3", "out", "--custody", "again"])
        .fails_saying(&["out.custody already exists"]);
    fs::write(directory.path().join("vmcore_encrypted.3.custody"), "x\n").unwrap();
    decrypt(&["vmcore_encrypted.3", "new", "--custody", "again"]).fails_saying(&["vmcore_encrypted.3.custody: line 1"]);
    assert!(!directory.path().join("new").exists());
}
