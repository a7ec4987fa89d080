//! The console and guest logic against scripted systems at the other end of a socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

use regex::bytes::Regex;
use std::io::{BufRead, BufReader, Read, Write, sink};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vm_tests::console::{Console, Outcome};
use vm_tests::error::Error;
use vm_tests::guest::{Entrance, enter, interrupt};

const PATIENCE: Duration = Duration::from_secs(60);

/// The system's end of the line.
struct Fake {
    lines: BufReader<UnixStream>,
    out: UnixStream,
}

impl Fake {
    fn say(&mut self, text: &str) {
        // The other end may have heard enough.
        let _ = self.out.write_all(text.as_bytes());
    }

    /// The next line that is typed, and its echo.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().trim_start_matches('\x03').to_owned();
        self.say(&format!("{line}\r\n"));
        Some(line)
    }

    /// A shell: runs each line, and changes the output before it is sent.
    fn shell(&mut self, prompt: &str, change: impl Fn(String) -> String) {
        self.say(prompt);
        while let Some(line) = self.hear() {
            let output = Command::new("sh").arg("-c").arg(&line).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).replace('\n', "\r\n");
            self.say(&change(text));
            self.say(prompt);
        }
    }
}

fn console(script: impl FnOnce(&mut Fake) + Send + 'static) -> Console {
    interruptible(script, Arc::default())
}

fn interruptible(script: impl FnOnce(&mut Fake) + Send + 'static, interrupted: Arc<AtomicBool>) -> Console {
    let (near, far) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        let lines = BufReader::new(far.try_clone().unwrap());
        script(&mut Fake { lines, out: far });
    });
    Console::new(near.try_clone().unwrap(), near, sink(), interrupted)
}

fn log_in(console: &mut Console, within: Duration) -> Result<(), Error> {
    enter(console, &Entrance { user: Some("root"), prompt: &Regex::new("# ").unwrap() }, within)
}

fn run(console: &mut Console, command: &str) -> Outcome {
    console.run(command, PATIENCE).unwrap()
}

const BOOT: &str = "\x1b[2J\x1b[1;1HLoading kernel...\r\n/\x08-\x08|\x08\r\n---<<BOOT>>---\r\n# 1 is no prompt\r\n\
    FreeBSD/amd64 (guest) (ttyu0)\r\n\r\nlogin: ";

#[test]
fn boots_logs_in_and_runs_commands() {
    let mut console = console(|fake| {
        fake.say(BOOT);
        assert_eq!(fake.hear().unwrap(), "root");
        fake.say("Last login: Sat Jan  1 00:00:00 on ttyu0\r\nFreeBSD 14.2-RELEASE\r\n\r\n");
        fake.say("root@guest:~ # ");
        assert_eq!(fake.hear().unwrap(), "exec /bin/sh");
        fake.shell("\x1b[1m#\x1b[0m ", |text| text);
    });
    log_in(&mut console, PATIENCE).unwrap();
    assert_eq!(run(&mut console, "echo a; echo b; false"), Outcome { status: 1, output: "a\nb".to_owned() });
    assert_eq!(run(&mut console, "(exit 77)"), Outcome { status: 77, output: String::new() });
    // Text like a marker of another command does not end this one.
    assert_eq!(run(&mut console, "echo '@@mt1.1:5@@'").output, "@@mt1.1:5@@");
}

#[test]
fn a_name_that_getty_lost_is_typed_again() {
    let mut console = console(|fake| {
        fake.say("login: ");
        fake.hear();
        fake.say("\r\nlogin: ");
        fake.hear();
        fake.shell("# ", |text| text);
    });
    log_in(&mut console, PATIENCE).unwrap();
}

#[test]
fn a_shell_that_loses_its_first_input_is_found() {
    let mut console = console(|fake| {
        fake.say("login: ");
        fake.hear();
        fake.say("# ");
        // 'exec', then the first question.
        fake.hear();
        fake.hear();
        fake.shell("# ", |text| text);
    });
    log_in(&mut console, PATIENCE).unwrap();
    assert_eq!(run(&mut console, "echo x").output, "x");
}

#[test]
fn a_line_like_a_prompt_and_lost_input_do_not_hide_the_prompt() {
    let mut console = console(|fake| {
        fake.say("login: ");
        fake.hear();
        fake.say("# Welcome to this machine\r\n");
        // 'exec' and the question are lost, and the shell is csh.
        fake.hear();
        fake.hear();
        fake.say("root@guest:~ # ");
        let mut line = fake.hear().unwrap();
        while line != "exec /bin/sh" {
            fake.say("csh: Illegal variable name.\r\nroot@guest:~ # ");
            line = fake.hear().unwrap();
        }
        fake.shell("# ", |text| text);
    });
    log_in(&mut console, PATIENCE).unwrap();
    assert_eq!(run(&mut console, "echo x").output, "x");
}

#[test]
fn a_shell_that_loses_a_part_of_a_line_is_found() {
    let mut console = console(|fake| {
        fake.say("# ");
        fake.hear();
        let line = fake.hear().unwrap();
        // One shell that reads on, with what is left of the line: a quote in it would swallow all that follows.
        let out = OwnedFd::from(fake.out.try_clone().unwrap());
        let mut shell = Command::new("sh");
        let mut shell = shell.stdin(Stdio::piped()).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        let mut hand_over = |line: &str| input.write_all(format!("{line}\n").as_bytes()).unwrap();
        hand_over(&line[line.rfind("m").unwrap()..]);
        fake.say("# ");
        while let Some(line) = fake.hear() {
            // From a pipe, a shell that gives way to another one takes along what it has read ahead.
            let line = if line == "exec /bin/sh" { ":" } else { &line };
            hand_over(&format!("{line}\nprintf '# '"));
        }
        drop(input);
        shell.wait().unwrap();
    });
    let prompt = Regex::new("# ").unwrap();
    enter(&mut console, &Entrance { user: None, prompt: &prompt }, PATIENCE).unwrap();
}

#[test]
fn a_system_that_still_boots_is_not_interrupted() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"Trying to mount root\r\n# this is no prompt\r\n").unwrap();
    let mut console = Console::new(near.try_clone().unwrap(), near, sink(), Arc::default());
    let prompt = Regex::new("# ").unwrap();
    let entrance = Entrance { user: None, prompt: &prompt };
    let error = enter(&mut console, &entrance, Duration::from_secs(8)).unwrap_err();
    assert_eq!(error.to_string(), "a shell that answers at the prompt '# ' did not come within 8 s");
    drop(console);
    let mut typed = Vec::new();
    far.set_nonblocking(true).unwrap();
    // The console's reader may still hold the other end.
    let _ = far.read_to_end(&mut typed);
    let typed = String::from_utf8(typed).unwrap();
    assert!(typed.contains("exec /bin/sh\n") && !typed.contains('\x03'), "{typed:?}");
}

#[test]
fn a_console_that_says_nothing_is_told() {
    let mut console = console(|fake| while fake.lines.read_line(&mut String::new()).is_ok_and(|length| length > 0) {});
    let error = log_in(&mut console, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Silent { .. }) && error.to_string().contains("README"), "{error}");
}

#[test]
fn single_user_mode_is_entered() {
    let mut console = console(|fake| {
        fake.say("Enter full pathname of shell or RETURN for /bin/sh: ");
        assert_eq!(fake.hear().unwrap(), "");
        fake.shell("# ", |text| text);
    });
    let prompt = Regex::new("(?m)^# ").unwrap();
    enter(&mut console, &Entrance { user: None, prompt: &prompt }, PATIENCE).unwrap();
}

#[test]
fn kernel_messages_in_the_midst_of_a_marker_do_no_harm() {
    let mut console = console(|fake| {
        fake.shell("", |text| {
            // Into the first end marker, which stands before the last line.
            let end = text.rfind("@@m").unwrap();
            let first = text[..end].rfind("@@m").unwrap();
            format!("{}da0: removed\r\n{}", &text[..first + 4], &text[first + 4..])
        });
    });
    let outcome = run(&mut console, "echo result; (exit 3)");
    assert_eq!(outcome.status, 3);
    assert!(outcome.output.starts_with("result\n"), "{outcome:?}");
}

#[test]
fn a_lost_start_marker_does_no_harm() {
    let mut console = console(|fake| fake.shell("", |text| text.replace("<\r\n", "\r\n")));
    let outcome = run(&mut console, "echo result");
    assert!(outcome.output.ends_with("result"), "{outcome:?}");
}

#[test]
fn a_panic_ends_the_wait_and_is_told() {
    let mut console = console(|fake| {
        fake.hear();
        fake.say("output\r\n\r\nFatal tr");
        fake.say("ap 12: page fault while in kernel mode\r\ncpuid = 0\r\npanic: page fault\r\n");
        fake.say("KDB: enter: panic\r\ndb> ");
        fake.hear();
    });
    let error = console.run("livedump", PATIENCE).unwrap_err();
    assert!(matches!(&error, Error::Panic { line } if line == "Fatal trap 12: page fault while in kernel mode"));
    // The log has what came after it.
    assert_eq!(console.tail(2), ["KDB: enter: panic", "db>"]);
}

#[test]
fn a_panic_in_the_midst_of_a_line_is_told() {
    let mut console = console(|fake| {
        fake.hear();
        fake.say("debug.kdb.panic: 0panic: by request\r\ncpuid = 0\r\ntime = 1\r\n");
    });
    let error = console.run("sysctl debug.kdb.panic=1", PATIENCE).unwrap_err();
    assert!(matches!(&error, Error::Panic { line } if line == "debug.kdb.panic: 0panic: by request"), "{error}");
}

#[test]
fn the_prompt_of_the_kernels_debugger_alone_tells_of_a_panic() {
    let mut console = console(|fake| {
        fake.hear();
        fake.say("output\r\ndb> ");
    });
    let error = console.run("livedump", PATIENCE).unwrap_err();
    assert!(matches!(&error, Error::Panic { line } if line == "db>"), "{error}");
}

#[test]
fn a_debugger_is_told_to_go_on_until_the_guest_goes_down() {
    let mut console = console(|fake| {
        fake.hear();
        fake.say("panic: by request\r\nKDB: enter: panic\r\ndb> ");
        assert_eq!(fake.hear().unwrap(), "c");
        fake.say("Dumping 50 out of 1000 MB:..33%..65%..98%\r\nDump complete\r\nRebooting...\r\n");
    });
    assert!(matches!(console.run("sysctl debug.kdb.panic=1", PATIENCE), Err(Error::Panic { .. })));
    console.wait_for_end(PATIENCE).unwrap();
    assert_eq!(console.tail(1), ["Rebooting..."]);
}

#[test]
fn a_guest_that_stays_after_a_panic_is_told() {
    let mut console = console(|fake| {
        fake.hear();
        fake.say("panic: by request\r\ndb> ");
        fake.hear();
        fake.say("db> ");
        fake.hear();
    });
    assert!(matches!(console.run("x", PATIENCE), Err(Error::Panic { .. })));
    assert!(matches!(console.wait_for_end(PATIENCE), Err(Error::Guest(_))));
    let mut console = self::console(|fake| {
        fake.hear();
        fake.say("panic: by request\r\n");
        while fake.hear().is_some() {}
    });
    assert!(matches!(console.run("x", PATIENCE), Err(Error::Panic { .. })));
    assert!(matches!(console.wait_for_end(Duration::from_secs(1)), Err(Error::Timeout { .. })));
}

#[test]
fn a_command_that_hangs_is_interrupted() {
    let mut console = console(|fake| {
        fake.hear();
        // The ^C, which the shell answers with a prompt, comes before the next line.
        fake.shell("# ", |text| text);
    });
    assert!(matches!(console.run("sleep 1000", Duration::from_secs(1)), Err(Error::Timeout { .. })));
    interrupt(&mut console).unwrap();
    assert_eq!(run(&mut console, "echo x").output, "x");
}

#[test]
fn a_shell_that_does_not_come_back_is_told() {
    let mut console = console(|fake| while fake.hear().is_some() {});
    assert!(matches!(console.run("sleep 1000", Duration::from_secs(1)), Err(Error::Timeout { .. })));
    assert!(matches!(interrupt(&mut console), Err(Error::Timeout { .. })));
}

#[test]
fn words_within_a_line_are_no_panic() {
    let mut console = console(|fake| fake.shell("", |text| text));
    assert_eq!(run(&mut console, "echo no panic: here").output, "no panic: here");
}

#[test]
fn silence_ends_in_time() {
    let mut console = console(|fake| {
        fake.say("login:");
        fake.hear();
    });
    let start = Instant::now();
    let error = log_in(&mut console, Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.to_string(), "'login: ' did not come within 1 s");
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn endless_garbage_ends_in_time() {
    let mut console = console(|fake| {
        let garbage: Vec<u8> = (0..=u8::MAX).cycle().step_by(7).take(5000).collect();
        while fake.out.write_all(&garbage).is_ok() {}
    });
    let start = Instant::now();
    let error = log_in(&mut console, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn a_closed_console_is_told() {
    let mut console = console(|fake| fake.say("no boot device\r\n"));
    let error = log_in(&mut console, PATIENCE).unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    assert_eq!(console.tail(5), ["no boot device"]);
}

#[test]
fn a_guest_that_lets_nobody_in_is_told() {
    for (answer, why) in [("Password:", "asks for a password"), ("Login incorrect\r\nlogin: ", "Login incorrect")] {
        let mut console = console(move |fake| {
            fake.say("login: ");
            fake.hear();
            fake.say(answer);
            fake.hear();
        });
        let error = log_in(&mut console, PATIENCE).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_signal_ends_the_wait() {
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut console = interruptible(|fake| drop(fake.hear()), Arc::clone(&interrupted));
    interrupted.store(true, Ordering::Relaxed);
    assert!(matches!(log_in(&mut console, PATIENCE), Err(Error::Interrupted)));
}

#[test]
fn trouble_elsewhere_ends_the_wait() {
    let mut console = console(|fake| drop(fake.hear()));
    console.look_out(|| Some(Error::Machine("stands still".to_owned())));
    assert!(matches!(log_in(&mut console, PATIENCE), Err(Error::Machine(_))));
}
