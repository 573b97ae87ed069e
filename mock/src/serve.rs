//! The server itself: one request, what becomes of it, and the count.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
};
use serde_json::{Value, json};

use crate::{
    api::{Api, Reply, Stop},
    count::{Count, Counts},
    script::{How, Scenario, Turn, Usage},
    talk::Talk,
    tools,
};

/// Requests with no marker are counted under this name.
pub const NOBODY: &str = "";

/// A body that may break off.
type Body = BoxBody<Bytes, io::Error>;

/// What the server knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    scenarios: BTreeMap<String, Scenario>,
    counts: Counts,
    replies: u64,
    quota: Option<Quota>,
    /// Texts that no request should hold, and those of them that one did.
    looked_for: Vec<String>,
    found: BTreeSet<String>,
    found_in_headers: BTreeSet<String>,
}

/// A limit of the whole server: from its `after`-th request on it answers 429, until a reset that it states.
#[derive(Debug)]
struct Quota {
    after: u64,
    pause: Duration,
    /// When the first request was refused, and when that was in milliseconds since 1970.
    began: Option<(Instant, u64)>,
}

impl Quota {
    /// Says how a request fails, if it does; `number` is its own, from 0.
    fn fault(&mut self, number: u64) -> Option<How> {
        if number < self.after {
            return None;
        }
        let (began, _) = *self.began.get_or_insert_with(|| (Instant::now(), now_ms()));
        let left = self.pause.checked_sub(began.elapsed()).filter(|left| !left.is_zero())?;
        // A client that comes back when it was told to must not be too early.
        Some(How::busy_for(Duration::from_secs(left.as_secs() + 1)))
    }
}

/// How a request is answered.
struct Answer {
    reply: Reply,
    fault: Option<How>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, name: &str, scenario: Scenario) {
        self.lock().scenarios.insert(name.to_owned(), scenario);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    pub(crate) fn limit(&self, after: u64, pause: Duration) {
        self.lock().quota = Some(Quota { after, pause, began: None });
    }

    /// Returns from when until when requests were refused by the limit, in milliseconds since 1970.
    pub(crate) fn window_ms(&self) -> Option<std::ops::Range<u64>> {
        let inner = self.lock();
        let quota = inner.quota.as_ref()?;
        let (_, began) = quota.began?;
        Some(began..began + u64::try_from(quota.pause.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn look_for(&self, texts: &[&str]) {
        self.lock().looked_for = texts.iter().map(|text| (*text).to_owned()).collect();
    }

    pub(crate) fn found(&self) -> Vec<String> {
        self.lock().found.iter().cloned().collect()
    }

    pub(crate) fn found_in_headers(&self) -> Vec<String> {
        self.lock().found_in_headers.iter().cloned().collect()
    }

    /// Looks whether a request holds what is looked for.
    fn look_into(&self, headers: &HeaderMap, body: &[u8]) {
        let inner = &mut *self.lock();
        let body = String::from_utf8_lossy(body);
        let headers: Vec<_> =
            headers.values().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        for text in &inner.looked_for {
            if body.contains(text.as_str()) {
                inner.found.insert(text.clone());
            }
            if headers.iter().any(|value| value.contains(text.as_str())) {
                inner.found_in_headers.insert(text.clone());
            }
        }
    }

    /// Counts a request, and chooses what is answered.
    fn answer(&self, talk: &Talk, request_bytes: usize) -> Answer {
        let inner = &mut *self.lock();
        let limited = inner.quota.as_mut().and_then(|quota| quota.fault(inner.replies));
        inner.replies += 1;
        let number = inner.replies;
        let marker = talk.marker.as_deref().unwrap_or(NOBODY);
        let scenario = inner.scenarios.get(marker).cloned();
        let count = inner.counts.entry(marker.to_owned()).or_default();
        let scripted = scenario.as_ref().and_then(|scenario| {
            scenario.faults.iter().find(|fault| fault.hits(count.requests)).map(|fault| fault.how.clone())
        });
        let fault = limited.or(scripted);
        let reply = reply(talk, scenario.as_ref(), number, request_bytes);
        count.note(fault.as_ref(), &reply);
        count.tools.clone_from(&talk.tools);
        Answer { reply, fault }
    }
}

impl Count {
    fn note(&mut self, fault: Option<&How>, reply: &Reply) {
        let now = now_ms();
        self.requests += 1;
        self.last_ms = now;
        if self.first_ms == 0 {
            self.first_ms = now;
        }
        match fault {
            None | Some(How::Slow { .. }) => {
                self.usage += reply.usage;
                self.said += u64::from(reply.calls.is_empty());
            }
            Some(how) => {
                self.failed += 1;
                if matches!(how, How::Status { code: 429, .. }) {
                    self.first_429_ms.get_or_insert(now);
                }
            }
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Plays the turn that it is time for.
fn reply(talk: &Talk, scenario: Option<&Scenario>, number: u64, request_bytes: usize) -> Reply {
    // Clients ask on the side, for a title or the like: then they offer no tools, and it is no turn.
    let is_turn = !talk.tools.is_empty() || talk.wants_structure;
    let turn = scenario.filter(|_| is_turn).and_then(|scenario| {
        if talk.wants_structure {
            return scenario.turns.last();
        }
        // Several calls at once give several results.
        let mut left = talk.results;
        let mut turns = scenario.turns.iter().peekable();
        while let Some(turn) = turns.next() {
            let Turn::Call(calls) = turn else { return Some(turn) };
            if left < calls.len() || turns.peek().is_none() {
                return Some(turn);
            }
            left -= calls.len();
        }
        None
    });
    let stop = match turn {
        Some(Turn::Refuse(_)) => Stop::Refusal,
        Some(Turn::Overrun(_)) => Stop::Length,
        _ => Stop::Done,
    };
    let (say, calls) = match turn {
        Some(Turn::Say(text) | Turn::Refuse(text) | Turn::Overrun(text)) => (Some(text.clone()), Vec::new()),
        Some(Turn::Call(calls)) => (None, calls.iter().map(|call| tools::translate(call, talk)).collect()),
        None => (Some("The mock has nothing to say to this.".to_owned()), Vec::new()),
    };
    let tokens = |bytes: usize| u64::try_from(bytes / 4).unwrap_or(u64::MAX).max(1);
    let written = say.as_ref().map_or(0, String::len)
        + calls.iter().map(|call| call.name.len() + call.input.value().to_string().len()).sum::<usize>();
    let usage = scenario.and_then(|scenario| scenario.usage).unwrap_or_else(|| Usage {
        input: tokens(request_bytes),
        output: tokens(written),
        ..Usage::default()
    });
    Reply { number, model: talk.model.clone(), say, calls, stop, usage }
}

fn full(status: StatusCode, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// Answers a request. Only a fault of the script makes this an error: the connection is closed then.
pub(crate) async fn handle(
    state: std::sync::Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(full(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }))),
    };
    state.look_into(&parts.headers, &bytes);
    let path = parts.uri.path();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if path == "/mock/counts" {
        return Ok(full(StatusCode::OK, &json!(state.counts())));
    }
    if let (&Method::POST, Some(name)) = (&parts.method, path.strip_prefix("/mock/scenarios/")) {
        return Ok(match serde_json::from_value(value) {
            Ok(scenario) => {
                state.put(name, scenario);
                full(StatusCode::OK, &json!({}))
            }
            Err(error) => full(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() })),
        });
    }
    if path.ends_with("/count_tokens") || path.ends_with(":countTokens") {
        let tokens = bytes.len() / 4;
        return Ok(full(StatusCode::OK, &json!({ "input_tokens": tokens, "totalTokens": tokens })));
    }
    match (Api::of(path), &parts.method) {
        (Some(api), &Method::POST) => Ok(model(&state, api, &api.read(path, &value), bytes.len()).await),
        (None, &Method::GET) if path.ends_with("/models") => {
            Ok(full(StatusCode::OK, &json!({ "object": "list", "data": [], "models": [] })))
        }
        _ => {
            Ok(full(StatusCode::NOT_FOUND, &json!({ "error": { "message": "the mock has no such place" } })))
        }
    }
}

/// Answers a request to a model.
async fn model(state: &State, api: Api, talk: &Talk, request_bytes: usize) -> Response<Body> {
    let Answer { reply, fault } = state.answer(talk, request_bytes);
    match &fault {
        Some(How::Status { code, headers, message }) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = full(status, &api.error(*code, message));
            for (name, value) in headers {
                let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, value.parse()) {
                    response.headers_mut().insert(name, value);
                }
            }
            return response;
        }
        // Whoever hangs up ends this, too.
        Some(How::Silent) => std::future::pending::<()>().await,
        Some(How::Cut | How::Stalled | How::Slow { .. }) | None => {}
    }
    if !talk.streams && fault.is_none() {
        return full(StatusCode::OK, &api.whole(&reply));
    }
    stream(api.events(&reply), fault)
}

/// Sends events one by one, as far as the fault lets them come.
fn stream(events: Vec<String>, fault: Option<How>) -> Response<Body> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    tokio::spawn(async move {
        let whole = events.len();
        let sent = match fault {
            // An API that answers in one event is cut within it.
            Some(How::Cut | How::Stalled) => whole.div_ceil(2),
            _ => whole,
        };
        for (at, event) in events.into_iter().take(sent).enumerate() {
            if let Some(How::Slow { pause_ms }) = &fault {
                tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            }
            let mut event = event;
            if at + 1 == sent && matches!(fault, Some(How::Cut | How::Stalled)) {
                let half = (0..=event.len() / 2).rev().find(|&at| event.is_char_boundary(at)).unwrap_or(0);
                event.truncate(half);
            }
            if sender.send(Ok(Frame::data(Bytes::from(event)))).await.is_err() {
                return;
            }
        }
        match fault {
            Some(How::Cut) => {
                // What was sent is to arrive before the connection breaks.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = sender.send(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut"))).await;
            }
            Some(How::Stalled) => sender.closed().await,
            _ => {}
        }
    });
    let body = StreamBody::new(Receiver(receiver)).boxed();
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("text/event-stream"));
    response
}

/// Frames as a stream; tokio's own wrapper is in a crate that nothing else here needs.
struct Receiver(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, io::Error>>);

impl futures_core::Stream for Receiver {
    type Item = Result<Frame<Bytes>, io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
