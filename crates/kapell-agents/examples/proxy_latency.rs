//! Measures what the model proxy adds to a streamed request: `cargo run -p kapell-agents --example proxy_latency`.
//!
//! The same request goes to a mock provider by turns directly and through the proxy; times are from the connection to the
//! first byte, and to the end of the reply. A connection is made for each, as short-lived clients do.

#![expect(clippy::print_stdout, reason = "an example tells what it measured")]

use std::{
    collections::BTreeMap,
    error::Error,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use kapell_agents::{
    protocol::AttemptKey,
    proxy::{Allowance, Api, Config, Proxy, Tape, Upstream},
};
use kapell_core::{
    id::{AttemptNo, RunId, TaskId},
    price::{Price, Rate},
};
use kapell_mock::{Mock, Scenario, Turn};

const ROUNDS: usize = 400;
/// As much as a coding agent sends at its start.
const PROMPT_BYTES: usize = 50_000;

/// Returns the times to the first byte and to the last.
fn ask(base: &str, key: &str, body: &str) -> Result<(Duration, Duration), Box<dyn Error>> {
    let rest = base.trim_start_matches("http://");
    let (address, prefix) = rest
        .split_once('/')
        .map_or((rest, String::new()), |(address, prefix)| (address, format!("/{prefix}")));
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST {prefix}/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut first = [0; 1];
    stream.read_exact(&mut first)?;
    let began = begin.elapsed();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    if !rest.starts_with(b"TTP/1.1 200") {
        return Err(String::from_utf8_lossy(&rest).into());
    }
    Ok((began, begin.elapsed()))
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p95 {:.2} ms", at(50), at(95))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() -> Result<(), Box<dyn Error>> {
    let mock = Mock::start()?;
    mock.play("x", Scenario::of([Turn::Say("word ".repeat(200))]));
    let upstream = Upstream { api: Api::Anthropic, base: mock.url(), key: None, per_minute: None };
    let socket = std::env::temp_dir().join(format!("kapell-latency-{}.sock", std::process::id()));
    let rate = Rate { input: 3_000_000, cache_read: 300_000, cache_write: 3_750_000, output: 15_000_000 };
    let proxy = Proxy::start(Config {
        upstreams: BTreeMap::from([("a".to_owned(), upstream)]),
        prices: Arc::new(move |_| Some(Price { rate, above: None, output_max: None })),
        socket,
        sink: Arc::new(|_, _| {}),
        tape: Tape::None,
    })?;
    let key = AttemptKey { run: RunId([0; 16]), task: TaskId(1), attempt: AttemptNo(1), compensates: false };
    let pass = proxy.admit(key, Allowance { usd_micros: Some(u64::MAX / 2), ..Allowance::default() });
    let prompt = format!("mock:x {}", "word ".repeat(PROMPT_BYTES / 5));
    let body = format!(
        r#"{{"model":"m","max_tokens":100,"stream":true,"tools":[{{"name":"t"}}],"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
    );
    let (mut direct, mut through) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for round in 0..ROUNDS + 20 {
        // By turns, so that whatever else the machine does falls on both.
        let one = ask(&mock.url(), "-", &body)?;
        let two = ask(&pass.base_url("a"), pass.key(), &body)?;
        if round >= 20 {
            for ((first, last), (firsts, lasts)) in [(one, &mut direct), (two, &mut through)] {
                firsts.push(first);
                lasts.push(last);
            }
        }
    }
    println!("{ROUNDS} streamed requests of {} bytes each", body.len());
    println!("first byte, direct:  {}", percentiles(direct.0.clone()));
    println!("first byte, proxied: {}", percentiles(through.0.clone()));
    println!("whole, direct:       {}", percentiles(direct.1.clone()));
    println!("whole, proxied:      {}", percentiles(through.1.clone()));
    println!(
        "added at p50: {:.2} ms to the first byte, {:.2} ms to the whole",
        median(through.0) - median(direct.0),
        median(through.1) - median(direct.1)
    );
    Ok(())
}
