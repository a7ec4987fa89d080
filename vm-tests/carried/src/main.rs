//! Runs a command as another user, or in a jail, in a guest that may have neither su(1) nor jail(8), nor the user's name:
//!
//! ```text
//! carried as UID COMMAND [ARGUMENT...]
//! carried jail FOLDER COMMAND [ARGUMENT...]
//! ```
//!
//! It ends as the command does, or with exit status 126 and a message where the command cannot be run.

mod jail;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The command was not run.
const NOT_RUN: u8 = 126;

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let error = match words.as_slice() {
        [how, whose, program, arguments @ ..] => {
            let entered = match how.to_str() {
                Some("as") => become_user(whose.to_str().and_then(|uid| uid.parse().ok())),
                Some("jail") => jail::enter(Path::new(whose)),
                _ => Err(usage()),
            };
            match entered {
                Ok(()) => Command::new(program).args(arguments).exec(),
                Err(error) => error,
            }
        }
        _ => usage(),
    };
    eprintln!("carried: {error}");
    ExitCode::from(NOT_RUN)
}

fn usage() -> io::Error {
    io::Error::other("usage: carried as UID COMMAND [ARGUMENT...], or: carried jail FOLDER COMMAND [ARGUMENT...]")
}

/// Becomes a user, with the group of that number and no other.
fn become_user(uid: Option<u32>) -> io::Result<()> {
    let uid = uid.ok_or_else(usage)?;
    let group = Gid::from_raw(uid);
    setgroups(&[group])?;
    setgid(group)?;
    setuid(Uid::from_raw(uid))?;
    Ok(())
}
