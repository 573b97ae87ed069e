//! A model server for tests: it plays scripts, fails as asked, and counts.
//!
//! It speaks Anthropic's Messages, OpenAI's Responses and chat completions, and Gemini's API, on the loopback address
//! only. Which [`Scenario`] is played stands in the prompt (`mock:NAME`); which of its turns, the number of results of
//! tools after that. So no conversation is kept, and whoever resumes, forks or tries again gets what comes next.
//!
//! | path | gives |
//! |---|---|
//! | `.../messages`, `.../responses`, `.../chat/completions`, `...:streamGenerateContent` | the model |
//! | `GET /mock/counts` | requests and tokens by marker, see [`Counts`] |
//! | `POST /mock/scenarios/NAME` | takes a [`Scenario`] |
//!
//! **Invariant:** only tests and chores import this crate; nothing of it is in the program.

mod script; // what is played
mod talk; // what is understood of a request
mod tools; // calls of tools, in the words of each client

mod api; // how each API asks and answers
mod count; // what was asked

mod serve; // one request and what becomes of it

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot};

pub use self::{
    count::{Count, Counts},
    script::{Call, Fault, How, MARKER, Scenario, Turn, Usage},
    serve::NOBODY,
};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Mock {
    address: SocketAddr,
    state: Arc<serve::State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mock {
    /// Starts a server on a free port of the loopback address.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or its thread cannot be started.
    pub fn start() -> io::Result<Self> {
        Self::start_at(0)
    }

    /// Starts a server on a port.
    ///
    /// # Errors
    ///
    /// Fails if the port is taken, or its thread cannot be started.
    pub fn start_at(port: u16) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = Arc::new(serve::State::default());
        let (stop, stopped) = oneshot::channel();
        let served = state.clone();
        let thread = std::thread::Builder::new().name("mock".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = accept(listener, served) => {}
                    _ = stopped => {}
                }
            });
            // Connections that are under way end with the runtime.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, state, stop: Some(stop), thread: Some(thread) })
    }

    /// Plays `scenario` to prompts that hold `mock:NAME`.
    pub fn play(&self, name: &str, scenario: Scenario) {
        self.state.put(name, scenario);
    }

    /// Answers 429 to all requests from the `after`-th on, counted from 0, until `pause` after the first of them; each
    /// such answer says how long that still is.
    pub fn limit(&self, after: u64, pause: Duration) {
        self.state.limit(after, pause);
    }

    /// Returns from when until when requests are refused by [`Mock::limit`], in milliseconds since 1970; `None` if none
    /// was yet.
    #[must_use]
    pub fn window_ms(&self) -> Option<std::ops::Range<u64>> {
        self.state.window_ms()
    }

    /// Looks for texts in requests, such as those that none should hold; see [`Mock::found`].
    pub fn look_for(&self, texts: &[&str]) {
        self.state.look_for(texts);
    }

    /// Returns those of the texts looked for that stood in a request's body.
    #[must_use]
    pub fn found(&self) -> Vec<String> {
        self.state.found()
    }

    /// Returns those of them that stood in a request's header, where keys belong.
    #[must_use]
    pub fn found_in_headers(&self) -> Vec<String> {
        self.state.found_in_headers()
    }

    /// Returns the server's address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns all counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counts()
    }

    /// Returns the count of one marker.
    #[must_use]
    pub fn count(&self, name: &str) -> Count {
        self.counts().remove(name).unwrap_or_default()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<serve::State>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        // A connection that is gone before it is taken is no reason to stop.
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without this a small event waits for the answer to the one before, up to 40 ms on a connection that is kept.
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| serve::handle(state.clone(), request));
            // Clients hang up in the midst of replies.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
