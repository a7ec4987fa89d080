//! A proxy between memtool and a server of HTTP, which does something to some of the requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a request asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method and what follows it, up to the version.
    pub line: String,
    /// Its headers as they came, in lower case before the colon.
    pub headers: Vec<(String, String)>,
    /// How many requests came before it.
    pub number: usize,
}

impl Request {
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.line.starts_with(method) && self.line.contains(part)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is done to it.
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is cut before the server has anything of it.
    CutBefore,
    /// The connection is cut when the server has half of its body.
    CutWithin,
    /// The server gets it, and the answer is lost.
    CutAfter,
    /// The server gets it with one byte changed.
    Damage,
    /// The server never gets it, and the answer is this one.
    Answer(u16, &'static str),
    /// There is never an answer, until memtool gives up.
    Silence,
}

/// The proxy.
pub struct Proxy {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    /// Starts one before a server on that port. The rule may take its time.
    pub fn start(server: u16, rule: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (known, rule) = (Arc::clone(&seen), Arc::new(rule));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, known, rule) = (client.unwrap(), Arc::clone(&known), Arc::clone(&rule));
                // What goes wrong there is what the test is about.
                thread::spawn(move || serve(&client, server, &known, &*rule));
            }
        });
        Self { port, seen }
    }

    /// The requests that came.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// How many came with that method, and that in their first line.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|request| request.is(method, part)).count()
    }
}

/// A message of HTTP: its head as it is, and its body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// Reads a head, and a body of the length that it tells; `None` at the end of the stream.
fn read_message(from: &mut impl BufRead, has_body: bool) -> Option<Message> {
    let mut head = Vec::new();
    loop {
        let start = head.len();
        if from.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
        if matches!(&head[start..], b"\r\n" | b"\n") {
            break;
        }
    }
    let headers = headers(&head);
    let value = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if has_body && value("transfer-encoding") == Some("chunked") {
        loop {
            let start = body.len();
            from.read_until(b'\n', &mut body).ok()?;
            let size = usize::from_str_radix(std::str::from_utf8(&body[start..]).ok()?.trim(), 16).ok()?;
            let read = from.take(size as u64 + 2).read_to_end(&mut body).ok()?;
            if size == 0 || read < size {
                break;
            }
        }
    } else if has_body {
        let length = value("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        from.take(length).read_to_end(&mut body).ok()?;
    }
    Some(Message { head, body })
}

fn headers(head: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(head);
    let pairs = text.lines().skip(1).filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

fn serve(client: &TcpStream, port: u16, seen: &Mutex<Vec<Request>>, rule: &dyn Fn(&Request) -> Fault) -> Option<()> {
    let mut from_client = BufReader::new(client);
    let mut to_client = client;
    let cut = |stream: &TcpStream| drop(stream.shutdown(Shutdown::Both));
    while let Some(Message { head, mut body }) = read_message(&mut from_client, true) {
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        let request = {
            let mut seen = seen.lock().unwrap();
            let request = Request { line, headers: headers(&head), number: seen.len() };
            seen.push(request.clone());
            request
        };
        let fault = rule(&request);
        if let Fault::Answer(status, code) = fault {
            let text = format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants</Message></Error>"
            );
            let text = if request.is("HEAD", "") { String::new() } else { text };
            write!(to_client, "HTTP/1.1 {status} Test\r\nContent-Length: {}\r\n\r\n{text}", text.len()).ok()?;
            continue;
        }
        if let Fault::CutBefore = fault {
            cut(client);
            return None;
        }
        if let Fault::Silence = fault {
            // Until the other end closes it.
            let _ = from_client.read(&mut [0]);
            return None;
        }
        let server = TcpStream::connect(("127.0.0.1", port)).ok()?;
        if let (Fault::Damage, Some(byte)) = (&fault, body.first_mut()) {
            *byte ^= 1;
        }
        (&server).write_all(&head).ok()?;
        if let Fault::CutWithin = fault {
            let _ = (&server).write_all(&body[..body.len() / 2]);
            cut(&server);
            cut(client);
            return None;
        }
        // It may answer, and close, before it has all of it.
        let _ = (&server).write_all(&body);
        let mut from_server = BufReader::new(&server);
        let mut answer = read_message(&mut from_server, !request.is("HEAD", ""));
        if let Some(interim) = &answer
            && interim.head.starts_with(b"HTTP/1.1 100")
        {
            answer = read_message(&mut from_server, true);
        }
        let answer = answer?;
        if let Fault::CutAfter = fault {
            cut(client);
            return None;
        }
        to_client.write_all(&answer.head).ok()?;
        to_client.write_all(&answer.body).ok()?;
    }
    Some(())
}
