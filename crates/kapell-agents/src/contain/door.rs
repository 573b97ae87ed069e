//! The way out of a network of one's own to hosts on a list: a small HTTP proxy on a Unix socket.
//!
//! It takes `CONNECT host:port`, and plain requests with a whole address. Names are resolved here, outside: an attempt has
//! no other way to ask for one.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use kapell_engine::socket::{self, Seats};

use super::{
    hosts::{self, Hosts},
    relay::join,
};

use crate::lock::lock;

/// A longer head is not one of a request to a proxy, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a request may take to come.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a host may take to let somebody in.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);
/// The most connections of an attempt that are served at a time; one more is told to come again. Package managers open a
/// few dozen; each takes two threads here.
const CLIENTS_MAX: usize = 128;
/// How long one that is told to come again may take to say what it wants: clients write before they read.
const REFUSED_TIME_MAX: Duration = Duration::from_millis(50);
/// How many hosts are told of that were refused; an attempt could name as many as it likes.
const TOLD_MAX: usize = 50;

/// Headers that are about the way to the proxy, or that it writes itself.
const OWN_HEADERS: [&str; 5] =
    ["proxy-connection", "proxy-authorization", "connection", "keep-alive", "host"];

/// Takes what is to be told of an attempt, for people.
pub(crate) type Told = Box<dyn Fn(String) + Send + Sync>;

/// A door that is open until it is dropped.
#[derive(Debug)]
pub(crate) struct HostDoor {
    socket: PathBuf,
    closed: Arc<AtomicBool>,
}

/// What every connection needs to know.
struct Desk {
    hosts: Hosts,
    told: Told,
    refused: Mutex<BTreeSet<String>>,
}

/// Why a request goes nowhere: a status and its reason.
struct Refusal(&'static str, String);

impl HostDoor {
    /// Opens a door to `hosts` at `socket`. Each host that was refused is told of once.
    ///
    /// # Errors
    ///
    /// Fails if the socket or the thread cannot be made.
    pub(crate) fn open(socket: PathBuf, hosts: Hosts, told: Told) -> io::Result<Self> {
        let listener = socket::listen(&socket)?;
        let desk = Arc::new(Desk { hosts, told, refused: Mutex::default() });
        let closed = Arc::new(AtomicBool::new(false));
        let is_closed = closed.clone();
        let door = Self { socket, closed };
        thread::Builder::new().name("hosts".to_owned()).spawn(move || serve(&listener, &desk, &is_closed))?;
        Ok(door)
    }

    /// Where it is.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for HostDoor {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // It waits for the next one.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn serve(listener: &UnixListener, desk: &Arc<Desk>, closed: &AtomicBool) {
    let seats = Seats::new(CLIENTS_MAX);
    for stream in listener.incoming() {
        if closed.load(Ordering::Acquire) {
            return;
        }
        match stream {
            Ok(stream) => match seats.take() {
                Some(seat) => {
                    let desk = desk.clone();
                    // Without another thread the connection is closed, which its client sees.
                    let _ = thread::Builder::new().spawn(move || {
                        desk.take(stream);
                        drop(seat);
                    });
                }
                None => desk.turn_away(stream),
            },
            // Out of files, perhaps: it passes.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

impl Desk {
    fn take(&self, mut inside: UnixStream) {
        match self.connect(&mut inside) {
            Ok(outside) => join(outside, inside),
            Err(refusal) => refusal.answer(inside),
        }
    }

    /// Tells a client to come again. Who has not asked in time is told all the same.
    fn turn_away(&self, mut inside: UnixStream) {
        let _ = inside
            .set_read_timeout(Some(REFUSED_TIME_MAX))
            .and_then(|()| inside.set_write_timeout(Some(REFUSED_TIME_MAX)))
            .and_then(|()| inside.read(&mut [0; HEAD_BYTES_MAX]));
        let why = format!("more than {CLIENTS_MAX} connections at a time");
        self.tell_once(&why);
        Refusal("503 Service Unavailable\r\nRetry-After: 1", why).answer(inside);
    }

    /// Reads a request, and goes where it leads if it may.
    fn connect(&self, inside: &mut UnixStream) -> Result<TcpStream, Refusal> {
        let bad = |why: &str| Refusal("400 Bad Request", why.to_owned());
        let (head, rest) = read_head(inside).map_err(|error| bad(&format!("no request came: {error}")))?;
        let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("this is no request to a proxy"));
        };
        if method == "CONNECT" {
            let (host, port) = hosts::target(target, 443).ok_or_else(|| bad("this names no host"))?;
            let outside = self.reach(&host, port)?;
            let sent = inside.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            return sent.and_then(|()| (&outside).write_all(&rest)).map(|()| outside).map_err(broken);
        }
        let address = target.strip_prefix("http://").ok_or_else(|| bad("only whole addresses pass here"))?;
        let (authority, path) = address.find('/').map_or((address, "/"), |at| address.split_at(at));
        let (host, port) = hosts::target(authority, 80).ok_or_else(|| bad("this names no host"))?;
        let outside = self.reach(&host, port)?;
        let is_own = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().trim();
            !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
        };
        let kept: String = headers
            .split("\r\n")
            .filter(|line| !line.is_empty())
            .filter(is_own)
            .map(|line| format!("{line}\r\n"))
            .collect();
        // The next request may be for another host, and is to come here again.
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{kept}Connection: close\r\n\r\n");
        let sent = (&outside).write_all(head.as_bytes()).and_then(|()| (&outside).write_all(&rest));
        sent.map(|()| outside).map_err(broken)
    }

    /// Connects to a host, if it is on the list and where it may be.
    fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Refusal> {
        if !self.hosts.allow(host, port) {
            return Err(self.refuse(host, port, "is not on the list of hosts"));
        }
        let found = (host, port).to_socket_addrs();
        let found =
            found.map_err(|error| Refusal("502 Bad Gateway", format!("`{host}` is not found: {error}")))?;
        let mut last = None;
        for address in found.filter(|address| self.hosts.allow_address(address.ip(), port)) {
            match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(Refusal("502 Bad Gateway", format!("`{host}` cannot be reached: {error}"))),
            None => Err(self.refuse(
                host,
                port,
                "leads to an address that is not public, and not on the list itself",
            )),
        }
    }

    fn refuse(&self, host: &str, port: u16, why: &str) -> Refusal {
        let why = format!("`{host}:{port}` {why}");
        self.tell_once(&why);
        Refusal("403 Forbidden", why)
    }

    fn tell_once(&self, why: &str) {
        let mut refused = lock(&self.refused);
        if refused.len() < TOLD_MAX && refused.insert(why.to_owned()) {
            (self.told)(format!("the network was refused: {why}"));
        }
    }
}

impl Refusal {
    /// Tells a client. One that has gone needs no answer.
    fn answer(self, mut inside: UnixStream) {
        let Self(status, why) = self;
        let body = format!("kapell: {why}\n");
        let length = body.len();
        let _ = write!(
            inside,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n\
             {body}"
        );
    }
}

fn broken(error: io::Error) -> Refusal {
    Refusal("502 Bad Gateway", format!("the connection broke off: {error}"))
}

/// Reads up to the empty line; returns what came behind it, too.
fn read_head(stream: &mut UnixStream) -> io::Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    stream.set_read_timeout(Some(HEAD_TIME_MAX))?;
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&chunk[..len]);
        if let Some(end) = read.windows(END.len()).position(|part| part == END) {
            let rest = read.split_off(end + END.len());
            read.truncate(end);
            stream.set_read_timeout(None)?;
            let head = String::from_utf8(read).map_err(|_| io::ErrorKind::InvalidData)?;
            return Ok((head, rest));
        }
        if read.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::mpsc};

    use super::*;

    /// A server that says what it was asked.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut asked = [0; 512];
                let len = stream.read(&mut asked).unwrap_or(0);
                let _ = stream.write_all(b"heard: ").and_then(|()| stream.write_all(&asked[..len]));
            }
        });
        port
    }

    fn ask(door: &HostDoor, request: &str) -> String {
        let mut stream = UnixStream::connect(door.socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn only_hosts_on_the_list_are_reached_and_each_refusal_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let (listed, other) = (echo(), echo());
        let (sender, told) = mpsc::channel();
        let list = format!("127.0.0.1:{listed},localhost:{other}").parse().unwrap();
        let told_to: Told = Box::new(move |text| sender.send(text).unwrap());
        let door = HostDoor::open(dir.path().join("s"), list, told_to).unwrap();
        let said = ask(&door, &format!("CONNECT 127.0.0.1:{listed} HTTP/1.1\r\n\r\nhello"));
        assert_eq!(said, "HTTP/1.1 200 Connection established\r\n\r\nheard: hello");
        let said = ask(
            &door,
            &format!(
                "GET http://127.0.0.1:{listed}/a?b HTTP/1.1\r\nHost: elsewhere\r\nAccept: */*\r\n\
                 Proxy-Authorization: x\r\n\r\n"
            ),
        );
        assert_eq!(
            said,
            format!(
                "heard: GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{listed}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            )
        );
        for _ in 0..2 {
            let said = ask(&door, &format!("CONNECT 127.0.0.1:{other} HTTP/1.1\r\n\r\n"));
            assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("is not on the list"), "{said}");
            // Its name is on the list, and what it leads to is not.
            let said = ask(&door, &format!("CONNECT LOCALHOST:{other} HTTP/1.1\r\n\r\n"));
            assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("is not public"), "{said}");
        }
        for broken in [
            "GET / HTTP/1.1\r\n\r\n",
            "CONNECT a b c\r\n\r\n",
            "CONNECT ! HTTP/1.1\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\n\r\n",
        ] {
            assert!(ask(&door, broken).starts_with("HTTP/1.1 400 "), "{broken}");
        }
        let socket = door.socket().to_owned();
        drop(door);
        assert!(!socket.exists());
        let told: Vec<String> = told.try_iter().collect();
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn who_opens_too_many_connections_is_told_to_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, told) = mpsc::channel();
        let told_to: Told = Box::new(move |text| sender.send(text).unwrap());
        let door = HostDoor::open(dir.path().join("s"), "example.org".parse().unwrap(), told_to).unwrap();
        // They are let in in this order, and say nothing.
        let silent: Vec<_> = (0..CLIENTS_MAX).map(|_| UnixStream::connect(door.socket()).unwrap()).collect();
        let request = "CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n";
        for _ in 0..2 {
            let said = ask(&door, request);
            assert!(said.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"), "{said}");
            assert!(said.ends_with("kapell: more than 128 connections at a time\n"), "{said}");
        }
        drop(silent);
        let end = std::time::Instant::now() + HEAD_TIME_MAX;
        while ask(&door, request).starts_with("HTTP/1.1 503 ") {
            assert!(std::time::Instant::now() < end, "nobody is let in again");
        }
        drop(door);
        let told: Vec<String> = told.try_iter().collect();
        assert_eq!(told[0], "the network was refused: more than 128 connections at a time");
        assert_eq!(told.len(), 2, "{told:?}");
    }
}
