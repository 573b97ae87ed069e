//! The model proxy: agents speak to it with a dummy key, and it speaks to the provider with the real one.
//!
//! It listens on the loopback interface (and on a Unix socket, for agents in a network of their own) for as long as a run
//! is executed. The dummy key names the attempt, so that every request is counted where it belongs: its usage as the
//! provider states it, passed through as it comes. A request is let through only if the most that it can cost fits what
//! is left of the attempt's allowance, so what was spent and what is under way are never above it. One that would fit if
//! others under way cost less than they can waits until they have ended.
//!
//! What is said is not changed, but for three things: the key, the encoding of the reply (none, so that it can be
//! read), and limits that a client left out (see [`api`]).
//!
//! **What it cannot know**: what a reply cost that breaks off, or that nobody waited for until it began. It is booked as the
//! most that it can have cost, and marked as estimated. A stream that its provider breaks off before it begins is taken for
//! free.

mod account; // what each attempt may spend, and has spent
pub mod api; // what a request asks for, in the words of each provider
mod bounds; // what of a request's cost its own words do not bound
pub mod cassette; // what was said, kept and played back
mod meter; // usage, read from a reply as it passes
mod redact; // secrets, taken out of what is kept
mod serve; // one request, from the agent to the provider and back

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kapell_core::{id::RunId, price::Price};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::oneshot,
};

pub(crate) use self::{
    account::told_again,
    api::Dialect,
    meter::Meter,
    serve::{HttpClient, causes, http_client, pause},
};
pub use self::{
    account::{Allowance, Spent},
    api::Api,
    redact::{Redactor, Secret},
};
use crate::{contain::ProxyDoor, protocol::AttemptKey};

/// Where requests go, and with which key.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The API that is spoken there.
    pub api: Api,
    /// Its address, up to where the client's path goes on, without a slash at its end.
    pub base: String,
    /// The real key; none for a server that wants none.
    pub key: Option<Secret>,
    /// How many requests may begin in a minute; `None` means no limit of ours.
    pub per_minute: Option<u32>,
}

/// Knows what models cost.
pub type Prices = Arc<dyn Fn(&str) -> Option<Price> + Send + Sync>;

/// Takes what the proxy sees. It is called from the proxy's threads and must return at once.
pub type Sink = Arc<dyn Fn(AttemptKey, Seen) + Send + Sync>;

/// What the proxy sees of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// A reply has ended.
    Used {
        /// The provider's name, as in [`Config::upstreams`].
        upstream: String,
        /// The model that was asked for.
        model: String,
        /// What the attempt has spent so far, this request included.
        total: Spent,
        /// What share of what it may spend is spent, in percent; by all of the run, where they share it.
        percent: u64,
    },
    /// A request was refused here: it might have cost more than is left, or was one too many.
    Refused {
        /// Why, for people.
        why: String,
        /// Whether a larger budget of the run would have let it through.
        more_helps: bool,
    },
    /// The provider says that it must not be asked for a while. Requests that come meanwhile are answered likewise.
    Busy {
        /// The provider's name.
        upstream: String,
        /// The status that it answered with.
        status: u16,
        /// For how long, if it says.
        pause: Option<Duration>,
    },
}

/// How a proxy works.
#[derive(Clone)]
pub struct Config {
    /// Where requests go, by the name that is the first part of their path.
    pub upstreams: BTreeMap<String, Upstream>,
    /// What models cost. Where money is limited, a model without a price is refused.
    pub prices: Prices,
    /// Where the Unix socket is made, in a directory that only its owner can enter.
    pub socket: PathBuf,
    /// Who is told.
    pub sink: Sink,
    /// What is kept or played.
    pub tape: Tape,
}

/// What is kept or played.
#[derive(Debug, Clone, Default)]
pub enum Tape {
    /// Nothing.
    #[default]
    None,
    /// Everything that is said is kept.
    Record(cassette::Blank),
    /// This recording answers, and nobody else is asked.
    Play(Arc<cassette::Cassette>),
}

/// Why a proxy cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The operating system refuses what it needs.
    #[error("failed to start the model proxy: {0}")]
    Io(#[from] io::Error),
    /// An upstream's address is none.
    #[error("`{base}` is no address of a provider (http:// or https://)")]
    Address {
        /// What was given.
        base: String,
    },
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    socket: PathBuf,
    desk: Arc<serve::Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What an attempt gets: addresses to speak to, and a key that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    port: u16,
    key: String,
}

impl Pass {
    /// Returns the dummy key. It is worth nothing anywhere but at this proxy, and there as long as the attempt runs.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the address of an upstream, without a slash at its end: what a client takes as its base URL.
    #[must_use]
    pub fn base_url(&self, upstream: &str) -> String {
        format!("http://127.0.0.1:{}/{upstream}", self.port)
    }
}

impl Proxy {
    /// Starts a proxy on a free port.
    ///
    /// # Errors
    ///
    /// Fails if an upstream's address is none, or there is no port, socket, thread or file for it.
    pub fn start(config: Config) -> Result<Self, ProxyError> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let socket = config.socket.clone();
        let door = bind(&socket)?;
        let desk = Arc::new(serve::Desk::new(config)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("proxy")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let served = desk.clone();
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                let listening = listen(listener, door, &served);
                tokio::pin!(listening, stopped);
                // Ends when the proxy is dropped; listening ends only if it never began.
                std::future::poll_fn(|context| {
                    use std::{future::Future, task::Poll};
                    match stopped.as_mut().poll(context) {
                        Poll::Ready(_) => Poll::Ready(()),
                        Poll::Pending => listening.as_mut().poll(context).map(|_| ()),
                    }
                })
                .await;
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { address, socket, desk, stop: Some(stop), thread: Some(thread) })
    }

    /// Lets an attempt in, to spend at most `allowance`.
    #[must_use]
    pub fn admit(&self, key: AttemptKey, allowance: Allowance) -> Pass {
        Pass { port: self.address.port(), key: self.desk.accounts().admit(key, allowance) }
    }

    /// Takes in the directory in which an attempt works, which recordings hold beside its words. Forgotten when it is let out.
    pub fn place(&self, key: AttemptKey, workspace: &Path) {
        self.desk.place(key, workspace);
    }

    /// Returns what an attempt has spent so far; `None` if it was not let in.
    #[must_use]
    pub fn spent(&self, key: AttemptKey) -> Option<Spent> {
        self.desk.accounts().spent(key)
    }

    /// Lets an attempt out: its key is worth nothing any more. Returns what it has spent; what is under way is booked
    /// as the most that it can cost, for its end will not be seen.
    pub fn dismiss(&self, key: AttemptKey) -> Option<Spent> {
        self.desk.forget(key);
        self.desk.accounts().dismiss(key)
    }

    /// Takes in that nothing more of a run will be started: what is kept of it goes with its last attempt.
    pub fn let_go(&self, run: RunId) {
        self.desk.accounts().let_go(run);
    }

    /// Returns where agents in a network of their own reach it.
    #[must_use]
    pub fn door(&self) -> ProxyDoor {
        ProxyDoor { port: self.address.port(), socket: self.socket.clone() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.socket);
    }
}

fn bind(socket: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let listener = kapell_engine::socket::listen(socket)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn listen(
    tcp: std::net::TcpListener,
    unix: std::os::unix::net::UnixListener,
    desk: &Arc<serve::Desk>,
) -> io::Result<()> {
    let (tcp, unix) = (TcpListener::from_std(tcp)?, UnixListener::from_std(unix)?);
    let through_socket = desk.clone();
    tokio::spawn(async move {
        loop {
            match unix.accept().await {
                Ok((stream, _)) => take(stream, through_socket.clone()),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    loop {
        match tcp.accept().await {
            Ok((stream, _)) => {
                // Without this a small event waits for the answer to the one before.
                let _ = stream.set_nodelay(true);
                take(stream, desk.clone());
            }
            // Out of files, perhaps: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn take(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, desk: Arc<serve::Desk>) {
    tokio::spawn(async move {
        let service = service_fn(move |request| serve::handle(desk.clone(), request));
        // Clients hang up in the midst of replies.
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}
