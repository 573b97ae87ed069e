//! A proxy, a provider, and a client that hides nothing.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use kapell_agents::{
    protocol::AttemptKey,
    proxy::{Allowance, Api, Config, Pass, Prices, Proxy, Secret, Seen, Tape, Upstream},
};
use kapell_core::{
    id::{AttemptNo, RunId, TaskId},
    price::{Price, Rate},
};
use serde_json::{Value, json};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const REAL_KEY: &str = "sk-real-and-secret";

/// Three dollars for a million tokens read, fifteen for a million written.
pub(crate) const RATE: Rate =
    Rate { input: 3_000_000, cache_read: 300_000, cache_write: 3_750_000, output: 15_000_000 };

pub(crate) fn key(task: u32) -> AttemptKey {
    AttemptKey { run: RunId([7; 16]), task: TaskId(task), attempt: AttemptNo(1), compensates: false }
}

pub(crate) fn flat_prices() -> Prices {
    Arc::new(|model| (model != "unknown").then_some(Price { rate: RATE, above: None, output_max: None }))
}

pub(crate) struct Rig {
    pub(crate) proxy: Proxy,
    pub(crate) seen: Receiver<(AttemptKey, Seen)>,
    pub(crate) dir: tempfile::TempDir,
}

impl Rig {
    /// Starts a proxy to a provider at `base` that speaks all APIs.
    pub(crate) fn new(base: &str) -> Self {
        Self::with(base, flat_prices(), |_, _| {})
    }

    pub(crate) fn with(
        base: &str,
        prices: Prices,
        change: impl FnOnce(&mut Config, &std::path::Path),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sender, seen) = channel();
        let of = |api, path: &str| Upstream {
            api,
            base: format!("{base}{path}"),
            key: Some(Secret::new(REAL_KEY.to_owned())),
            per_minute: None,
        };
        let upstreams = BTreeMap::from([
            ("anthropic".to_owned(), of(Api::Anthropic, "")),
            ("openai".to_owned(), of(Api::OpenAi, "/v1")),
            ("gemini".to_owned(), of(Api::Gemini, "")),
        ]);
        let mut config = Config {
            upstreams,
            prices,
            socket: dir.path().join("proxy.sock"),
            sink: Arc::new(move |key, seen| drop(sender.send((key, seen)))),
            tape: Tape::None,
        };
        change(&mut config, dir.path());
        Self { proxy: Proxy::start(config).unwrap(), seen, dir }
    }

    pub(crate) fn admit(&self, task: u32, allowance: Allowance) -> Pass {
        self.proxy.admit(key(task), allowance)
    }

    /// Waits until a reply of the attempt is booked.
    pub(crate) fn booked(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap().1
    }
}

/// A reply as it came: with its head, and in chunks if it came so.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// One way to ask a model for something.
pub(crate) struct Way {
    pub(crate) upstream: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: fn(&str, bool) -> Value,
}

fn stream_by_body(body: Value, streams: bool) -> Value {
    let mut body = body;
    if streams {
        body["stream"] = json!(true);
    }
    body
}

/// All ways, each with a body for a prompt, streamed or not; Gemini says by its path that it streams.
pub(crate) const WAYS: [Way; 5] = [
    Way {
        upstream: "anthropic",
        path: "/v1/messages?beta=true",
        body: |prompt, streams| {
            let messages = json!([{"role": "user", "content": prompt}]);
            stream_by_body(json!({"model": "m", "max_tokens": 100, "messages": messages}), streams)
        },
    },
    Way {
        upstream: "openai",
        path: "/responses",
        body: |prompt, streams| {
            let input = json!([{"role": "user", "content": [{"type": "input_text", "text": prompt}]}]);
            stream_by_body(json!({"model": "m", "max_output_tokens": 100, "input": input}), streams)
        },
    },
    Way {
        upstream: "openai",
        path: "/chat/completions",
        body: |prompt, streams| {
            let messages = json!([{"role": "user", "content": prompt}]);
            stream_by_body(json!({"model": "m", "max_tokens": 100, "messages": messages}), streams)
        },
    },
    Way { upstream: "gemini", path: "/v1beta/models/m:streamGenerateContent?alt=sse", body: gemini },
    Way { upstream: "gemini", path: "/v1beta/models/m:generateContent", body: gemini },
];

fn gemini(prompt: &str, _streams: bool) -> Value {
    let contents = json!([{"role": "user", "parts": [{"text": prompt}]}]);
    json!({"contents": contents, "generationConfig": {"maxOutputTokens": 100}})
}

/// Connects and sends a request; the reply can be read from what is returned.
pub(crate) fn send(base: &str, path: &str, key: &str, body: &str) -> TcpStream {
    let (address, prefix) = base
        .trim_start_matches("http://")
        .split_once('/')
        .unwrap_or((base.trim_start_matches("http://"), ""));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let slash = if prefix.is_empty() { "" } else { "/" };
    write!(
        stream,
        "POST {slash}{prefix}{path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\naccept-encoding: gzip\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

pub(crate) fn receive(mut stream: impl Read) -> Reply {
    let mut bytes = Vec::new();
    // One that breaks off is told as far as it came.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, text }
}

/// Asks through a pass.
pub(crate) fn ask(pass: &Pass, way: &Way, prompt: &str, streams: bool) -> Reply {
    let body = (way.body)(prompt, streams).to_string();
    receive(send(&pass.base_url(way.upstream), way.path, pass.key(), &body))
}

/// A provider that plays one connection by hand.
pub(crate) struct ByHand {
    listener: TcpListener,
}

impl ByHand {
    pub(crate) fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Takes one request; returns its head, its body and the way to answer it.
    pub(crate) fn take(&self) -> (String, String, TcpStream) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap(), stream)
    }
}
