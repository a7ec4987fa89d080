//! Chromium without a window, driven by its DevTools protocol over pipes: it opens files, and tests press keys in them.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// What the page did that no report may do: errors, violations of its policy, requests.
    complaints: Vec<String>,
    _directory: tempfile::TempDir,
}

impl Browser {
    /// Opens a file in a window of so many CSS pixels; `None`, and a word about it, where there is no Chromium.
    pub fn open(file: &Path, width: u32, theme: &str) -> Option<Self> {
        let mut browser = Self::start()?;
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let screen = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", screen);
        browser.media("", theme);
        let url = format!("file://{}", file.display());
        browser.call("Page.navigate", json!({"url": url}));
        browser.wait_for("document.readyState === 'complete' && location.protocol === 'file:'");
        browser.complaints.retain(|complaint| *complaint != format!("request for {url}"));
        Some(browser)
    }

    /// A browser that listens at its descriptor 3 and speaks at 4.
    fn start() -> Option<Self> {
        let directory = super::directory();
        let profile = format!("--user-data-dir={}", directory.path().display());
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "command -v chromium >/dev/null || exit 77; exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null",
        ]);
        // Root has no sandbox, and the files are the tests' own.
        command.args([
            "sh",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            // A page is as wide as the window, however long it is.
            "--hide-scrollbars",
        ]);
        command.args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]);
        command.arg(profile).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let commands = process.stdin.take().unwrap();
        let complaints = Vec::new();
        let mut browser =
            Self { process, commands, messages, session: None, last_id: 0, complaints, _directory: directory };
        if browser.send("Browser.getVersion", &json!({})).and_then(|()| browser.answer()).is_some() {
            return Some(browser);
        }
        assert_eq!(browser.process.wait().unwrap().code(), Some(77), "chromium does not start");
        eprintln!("SKIPPED: there is no chromium here");
        None
    }

    fn send(&mut self, method: &str, parameters: &Value) -> Option<()> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).ok()
    }

    /// The answer to what was sent last; `None` if the browser has ended.
    fn answer(&mut self) -> Option<Value> {
        loop {
            let mut message = match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(error) => panic!("the browser does not answer: {error}"),
            };
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{message}");
                return Some(message["result"].take());
            }
            let parameters = &message["params"];
            match message["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    self.complaints.push(format!("request for {}", parameters["request"]["url"].as_str().unwrap()));
                }
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => {
                    self.complaints.push(parameters.to_string());
                }
                _ => {}
            }
        }
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(method, &parameters).unwrap();
        self.answer().expect("the browser has ended")
    }

    /// The value of an expression of JavaScript, which may be a promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.evaluate(expression) != true {
            assert!(std::time::Instant::now() < deadline, "never true: {expression}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Shows the page on another medium, `print` or none, and in a theme, `light` or `dark`.
    pub fn media(&mut self, medium: &str, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": medium, "features": features}));
    }

    /// Presses a key: a character, or one with a name, such as `Enter`.
    pub fn press(&mut self, key: &str, is_shifted: bool) {
        let text = match key {
            "Enter" => "\r",
            _ if key.chars().count() == 1 => key,
            _ => "",
        };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            " " => 32,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let modifiers = if is_shifted { 8 } else { 0 };
            let event =
                json!({"type": kind, "key": key, "text": text, "modifiers": modifiers, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types a text.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// What the page did that no report may do, so far.
    pub fn complaints(&mut self) -> &[String] {
        // What it has said before it answers is known then.
        self.evaluate("new Promise((done) => setTimeout(done, 50))");
        &self.complaints
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        if self.send("Browser.close", &json!({})).is_none() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}
