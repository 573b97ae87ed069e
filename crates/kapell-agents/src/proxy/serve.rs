//! One request, from the agent to the provider and back.

mod reply; // a reply on its way: what it costs, and what is kept of it

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::{Body as _, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kapell_core::{budget::Amount, price::Price};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::reply::{Bill, Metered, Running, played};
use super::{
    Config, ProxyError, Seen, Tape, Upstream,
    account::{Accounts, Denied, Hold, Stopped},
    api::{self, Api, Ask, Purpose},
    bounds::{self, Openings},
    cassette::{Exchange, Recorder},
    meter::Meter,
    redact,
};
use crate::lock::lock;
use crate::protocol::AttemptKey;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Failure>;

/// A request larger than this is not one to a model.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// As much is kept of the reply that says what went wrong.
const ERROR_BYTES_MAX: usize = 1 << 20;
/// What providers add to a request that is not in it: their own words about tools.
const HIDDEN_TOKENS: u64 = 2_048;
/// A reply that may not be longer than this is not worth asking for.
const OUTPUT_MIN: u64 = 256;
/// The most that a reply is let have where neither the client nor the table of prices says.
const OUTPUT_USUAL: u64 = 32_000;
/// Where the proxy sets the limit of a reply, attempts that share a budget get an equal part of what is unspent, but no less
/// than this if it is there: a reply that is cut short is worth nothing.
const OUTPUT_FAIR_MIN: u64 = 4_096;
/// For how long a request waits until others, which hold what it needs, have ended. Clients wait for the head of a reply
/// for five minutes at least.
const PATIENCE: Duration = Duration::from_secs(240);
/// After this time a client may ask again whose request has waited in vain.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How many requests of an attempt are remembered to tell what of the next one is new.
const REMEMBERED: usize = 4;
/// All but the last of them are together at most this long, in bytes.
const REMEMBERED_BYTES_MAX: usize = 32 << 20;
/// The requests of an attempt that are under way are together at most this long, in KiB; further ones wait to be read.
const UNDER_WAY_KIB_MAX: usize = 128 << 10;

/// Headers that are about one connection, or that the proxy writes itself.
const OWN_HEADERS: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
];

/// Memory that a request takes until its reply has ended.
type Room = OwnedSemaphorePermit;

/// Returns how much of that memory so many bytes take.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX)
}

/// A request that was answered, and what the provider read of it.
#[derive(Clone)]
struct Remembered {
    model: String,
    body: Bytes,
    read: u64,
}

/// What the proxy knows.
pub(super) struct Desk {
    config: Config,
    accounts: Accounts,
    client: HttpClient,
    recorder: Option<Recorder>,
    /// Providers that must not be asked, and until when.
    busy: Mutex<HashMap<String, Instant>>,
    /// When the requests of the last minute began.
    began: Mutex<HashMap<String, VecDeque<Instant>>>,
    remembered: Mutex<HashMap<AttemptKey, VecDeque<Remembered>>>,
    /// Where each attempt works, for recordings.
    workspaces: Mutex<HashMap<AttemptKey, String>>,
    /// What of the memory for requests each attempt has left, in KiB.
    room: Mutex<HashMap<AttemptKey, Arc<Semaphore>>>,
}

/// A client for HTTP, with TLS where the address wants it.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Makes a client.
pub(crate) fn http_client() -> Result<HttpClient, io::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)
    };
    // Without the system's certificates nobody's word can be checked, and connections by TLS fail when they are made.
    let tls = match builder()?.with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => builder()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    };
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

impl Desk {
    pub(super) fn new(config: Config) -> Result<Self, ProxyError> {
        for upstream in config.upstreams.values() {
            let known = ["http://", "https://"].iter().any(|scheme| upstream.base.starts_with(scheme));
            if !known || upstream.base.parse::<Uri>().is_err() {
                return Err(ProxyError::Address { base: upstream.base.clone() });
            }
        }
        let recorder = match &config.tape {
            Tape::Record(blank) => Some(Recorder::open(blank)?),
            Tape::None | Tape::Play(_) => None,
        };
        let (accounts, client) = (Accounts::open()?, http_client()?);
        let (busy, began, remembered) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (workspaces, room) = (Mutex::default(), Mutex::default());
        Ok(Self { config, accounts, client, recorder, busy, began, remembered, workspaces, room })
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Takes in where an attempt works.
    pub(super) fn place(&self, key: AttemptKey, workspace: &Path) {
        lock(&self.workspaces).insert(key, workspace.to_string_lossy().into_owned());
    }

    pub(super) fn forget(&self, key: AttemptKey) {
        lock(&self.remembered).remove(&key);
        lock(&self.workspaces).remove(&key);
        lock(&self.room).remove(&key);
    }

    /// Reads the body of a request, once there is room for it: an attempt is not to fill the memory of all the others.
    async fn read(&self, key: AttemptKey, body: Incoming) -> Result<(Bytes, Room), Failure> {
        let most = body.size_hint().upper().unwrap_or(u64::MAX).min(REQUEST_BYTES_MAX as u64);
        let room = || Arc::new(Semaphore::new(UNDER_WAY_KIB_MAX));
        let room = lock(&self.room).entry(key).or_insert_with(room).clone();
        let mut room = room.acquire_many_owned(kib(most)).await?;
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await?.to_bytes();
        // One that did not say how long it is has taken the most.
        drop(room.split(room.num_permits().saturating_sub(kib(body.len() as u64) as usize)));
        Ok((body, room))
    }

    /// Returns the most tokens that `ask` can make the provider read.
    fn read_at_most(&self, key: AttemptKey, ask: &Ask) -> u64 {
        let whole = (ask.body.len() as u64).saturating_add(HIDDEN_TOKENS);
        let remembered = lock(&self.remembered).get(&key).cloned().unwrap_or_default();
        let known = remembered.iter().filter(|old| old.model == ask.model);
        // A conversation is sent anew with each turn: only what is new of it is not known yet.
        let grown = known.map(|old| old.read.saturating_add(new_bytes(&old.body, &ask.body)) + HIDDEN_TOKENS);
        grown.min().map_or(whole, |grown| grown.min(whole))
    }

    fn remember(&self, key: AttemptKey, model: &str, body: &Bytes, read: u64) {
        let mut remembered = lock(&self.remembered);
        let known = remembered.entry(key).or_default();
        known.push_front(Remembered { model: model.to_owned(), body: body.clone(), read });
        let held =
            |known: &VecDeque<Remembered>| known.iter().skip(1).map(|old| old.body.len()).sum::<usize>();
        while known.len() > REMEMBERED || held(known) > REMEMBERED_BYTES_MAX {
            known.pop_back();
        }
    }

    /// Says for how long `name` must not be asked, and why.
    fn pause_of(&self, name: &str, upstream: &Upstream) -> Option<(Duration, &'static str)> {
        let now = Instant::now();
        if let Some(until) = lock(&self.busy).get(name).filter(|until| **until > now) {
            return Some((*until - now, "the provider wants to be left alone"));
        }
        let most = upstream.per_minute? as usize;
        let mut began = lock(&self.began);
        let began = began.entry(name.to_owned()).or_default();
        while began.front().is_some_and(|first| first.elapsed() >= Duration::from_secs(60)) {
            began.pop_front();
        }
        if began.len() < most {
            began.push_back(now);
            return None;
        }
        let pause = Duration::from_secs(60).saturating_sub(began.front()?.elapsed());
        Some((pause, "`requests_per_minute` is reached"))
    }

    /// Makes room for a request, as [`Desk::reserve`] does. What others hold comes back when their requests have ended:
    /// so long it waits, and a client that has waited in vain is told to ask again, not that there is nothing.
    async fn make_room(&self, token: &str, key: AttemptKey, ask: &mut Ask) -> Result<Reserved, Stopped> {
        let waiting = async {
            loop {
                let mut freed = std::pin::pin!(self.accounts.freed());
                // What comes back from now on is not missed.
                freed.as_mut().enable();
                // A limit that is put in depends on what is left then.
                let mut tried = ask.clone();
                match self.reserve(token, key, &mut tried) {
                    Err(Stopped::Later) => freed.await,
                    outcome => {
                        *ask = tried;
                        return outcome;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or(Err(Stopped::Later))
    }

    /// Sets the worst case of a request aside, and puts limits in where the client left them out.
    fn reserve(&self, token: &str, key: AttemptKey, ask: &mut Ask) -> Result<Reserved, Stopped> {
        let price = (self.config.prices)(&ask.model);
        let Openings { unbounded, dearer, caches_long } = bounds::look(ask.dialect, &ask.body);
        let dearest = price.map(|price| if caches_long { price.caching_for_an_hour() } else { price });
        let read = self.read_at_most(key, ask);
        let (left_usd, left_tokens, sharers) = self.accounts.unspent(token);
        if left_usd.is_some() || left_tokens.is_some() {
            if let Some(why) = unbounded.or(dearer.filter(|_| left_usd.is_some())) {
                return Err(Denied::Unbounded(why).into());
            }
            if ask.output_max.is_none() {
                let fits = |share: u64| {
                    let by_usd = left_usd.zip(dearest);
                    let by_usd = by_usd.map(|(left, price)| price.writes_within(read, left / share));
                    let by_tokens = left_tokens.map(|left| (left / share).saturating_sub(read));
                    by_usd.into_iter().chain(by_tokens).min().unwrap_or(u64::MAX) / ask.choices
                };
                let fair = fits(sharers).max(fits(1).min(OUTPUT_FAIR_MIN));
                let most = price.and_then(|price| price.output_max).unwrap_or(OUTPUT_USUAL);
                if !ask.limit(fair.min(most).max(OUTPUT_MIN)) {
                    return Err(Denied::Unbounded("there is no place in it for a limit".to_owned()).into());
                }
            }
        }
        let most = ask.output_max.or(price.and_then(|price| price.output_max)).unwrap_or(OUTPUT_USUAL);
        let written = most.saturating_mul(ask.choices);
        let tokens = Amount { usd_micros: 0, tokens: read.saturating_add(written) };
        let worst = dearest.map_or(tokens, |price| price.worst(read, written));
        let hold = self.accounts.hold(token, &ask.model, worst, price.is_some())?;
        Ok(Reserved { hold, price, read, written })
    }

    /// Notes that a provider asks for a pause, if it does.
    fn note_busy(&self, key: AttemptKey, name: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        let is_busy = matches!(status.as_u16(), 429 | 529)
            || (status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(header::RETRY_AFTER));
        if !is_busy {
            return;
        }
        let pause = pause(headers, body);
        if let Some(until) = pause.and_then(|pause| Instant::now().checked_add(pause)) {
            lock(&self.busy).insert(name.to_owned(), until);
        }
        let (upstream, status) = (name.to_owned(), status.as_u16());
        (self.config.sink)(key, Seen::Busy { upstream, status, pause });
    }

    /// Takes the keys of providers out of a text.
    fn redacted(&self, bytes: &[u8]) -> String {
        let keys = self.config.upstreams.values().filter_map(|upstream| upstream.key.as_ref());
        redact::redact(keys, &String::from_utf8_lossy(bytes))
    }

    /// Takes everything out of a text that no recording may hold.
    fn kept(&self, bytes: &[u8]) -> String {
        let text = self.redacted(bytes);
        let secrets = self.recorder.iter().flat_map(|recorder| &recorder.secrets);
        redact::redact_shapes(&redact::redact(secrets, &text))
    }
}

/// Room that was made for a request.
struct Reserved {
    hold: Hold,
    price: Option<Price>,
    read: u64,
    written: u64,
}

/// Counts the bytes of `new` that are not at its beginning or end as in `old`.
fn new_bytes(old: &[u8], new: &[u8]) -> u64 {
    let same = |(one, two): &(&u8, &u8)| one == two;
    let prefix = old.iter().zip(new).take_while(same).count();
    let room = old.len().min(new.len()) - prefix;
    let suffix = old.iter().rev().zip(new.iter().rev()).take(room).take_while(same).count();
    (new.len() - prefix - suffix) as u64
}

/// Reads when a provider wants to be asked again.
pub(crate) fn pause(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1e3).or_else(|| number("retry-after"));
    // Gemini says it in its error: `"retryDelay": "31s"`.
    let in_body = || {
        let text = std::str::from_utf8(body).ok()?;
        let rest = text.split_once("\"retryDelay\"")?.1.split('"').nth(1)?;
        rest.strip_suffix('s')?.parse::<f64>().ok()
    };
    seconds.or_else(in_body).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn whole(status: StatusCode, content_type: &str, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn error(api: Api, status: StatusCode, kind: &str, message: &str) -> Response<Body> {
    whole(status, "application/json", api.error(status.as_u16(), kind, message).to_string())
}

/// Refuses for want of money or the like: clients must not try again.
fn refused(api: Api, why: &str) -> Response<Body> {
    let kind = match api {
        Api::Anthropic => "billing_error",
        Api::OpenAi => "insufficient_quota",
        Api::Gemini => "FAILED_PRECONDITION",
    };
    let mut response = error(api, StatusCode::PAYMENT_REQUIRED, kind, &format!("kapell: {why}"));
    // The libraries of two providers heed this, whatever the status.
    response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    response
}

/// Answers as a provider does: not now, because of `why`.
fn busy(api: Api, pause: Duration, why: &str) -> Response<Body> {
    let kind = match api {
        Api::Anthropic => "rate_limit_error",
        Api::OpenAi => "rate_limit_exceeded",
        Api::Gemini => "RESOURCE_EXHAUSTED",
    };
    let seconds = pause.as_millis().div_ceil(1000).max(1);
    let message = format!("kapell: {why}; ask again in {seconds} s");
    let mut response = error(api, StatusCode::TOO_MANY_REQUESTS, kind, &message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds as u64));
    response
}

/// Answers a request. What goes wrong is an answer, too.
pub(super) async fn handle(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    Ok(answer(&desk, request).await.unwrap_or_else(|response| *response))
}

/// A request whose place and sender are known.
struct Call<'a> {
    desk: &'a Arc<Desk>,
    name: &'a str,
    upstream: &'a Upstream,
    key: AttemptKey,
    method: Method,
    path: &'a str,
    query: Option<String>,
    headers: HeaderMap,
}

async fn answer(desk: &Arc<Desk>, request: Request<Incoming>) -> Result<Response<Body>, Box<Response<Body>>> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/');
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let rest = format!("/{rest}");
    let nowhere =
        || Box::new(whole(StatusCode::NOT_FOUND, "text/plain", "kapell: no provider has this name"));
    let upstream = desk.config.upstreams.get(name).ok_or_else(nowhere)?;
    let api = upstream.api;
    let fail = |status, kind: &str, message: &str| Box::new(error(api, status, kind, message));
    let (token, query) = api::take_key(&mut parts.headers, parts.uri.query());
    let token = token.unwrap_or_default();
    // What a provider makes of such a path is not for us to guess.
    let purpose = match rest.contains("..") || rest.contains('%') {
        true => Purpose::Unknown,
        false => api.purpose(&parts.method, &rest),
    };
    let key = desk.accounts.who(&token).ok_or_else(|| {
        fail(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "kapell: this key belongs to no attempt that runs",
        )
    })?;
    let (body, room) = desk.read(key, body).await.map_err(|why| {
        fail(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            &format!("kapell: the request broke off: {why}"),
        )
    })?;
    let (method, headers) = (parts.method, parts.headers);
    let call = Call { desk, name, upstream, key, method, path: &rest, query, headers };
    match purpose {
        Purpose::Unknown => {
            Err(fail(StatusCode::FORBIDDEN, "permission_error", "kapell: only requests to models pass here"))
        }
        Purpose::Free if matches!(desk.config.tape, Tape::Play(_)) => Err(fail(
            StatusCode::NOT_FOUND,
            "not_found_error",
            "kapell: nobody is asked while a recording plays",
        )),
        Purpose::Free => Ok(call.send(body).await?.map(|body| body.map_err(Failure::from).boxed_unsync())),
        Purpose::Model(dialect) => {
            let ask = Ask::read(dialect, &rest, body).ok_or_else(|| {
                fail(
                    StatusCode::BAD_REQUEST,
                    "invalid_request_error",
                    "kapell: this is no request to a model",
                )
            })?;
            call.ask(&token, ask, room).await
        }
    }
}

/// A request that was not answered by its provider.
struct Unanswered {
    /// What the client is told.
    response: Box<Response<Body>>,
    /// Whether the provider may have it.
    is_sent: bool,
}

impl From<Unanswered> for Box<Response<Body>> {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.response
    }
}

impl Call<'_> {
    /// Sends the request on, with the real key.
    async fn send(&self, body: Bytes) -> Result<Response<Incoming>, Unanswered> {
        let api = self.upstream.api;
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("{}{}{query}", self.upstream.base, self.path);
        let mut request =
            Request::builder().method(self.method.clone()).uri(uri).body(Full::new(body)).map_err(|why| {
                let message = format!("kapell: {why}");
                let response = error(api, StatusCode::BAD_REQUEST, "invalid_request_error", &message);
                Unanswered { response: Box::new(response), is_sent: false }
            })?;
        for (name, value) in self.headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(name)) {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(key) = &self.upstream.key {
            api.authorize(request.headers_mut(), key);
        }
        let mut response = self.desk.client.request(request).await.map_err(|why| {
            let message = format!("kapell: {} cannot be reached: {}", self.name, causes(&why));
            let message = self.desk.redacted(message.as_bytes());
            let response = error(api, StatusCode::BAD_GATEWAY, "api_error", &message);
            Unanswered { response: Box::new(response), is_sent: !why.is_connect() }
        })?;
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::SET_COOKIE] {
            response.headers_mut().remove(name);
        }
        Ok(response)
    }

    /// Asks a model, if there is money for it and the provider wants to be asked.
    async fn ask(
        &self,
        token: &str,
        mut ask: Ask,
        room: Room,
    ) -> Result<Response<Body>, Box<Response<Body>>> {
        let (desk, api) = (self.desk, self.upstream.api);
        ask.show_usage();
        if let Tape::Play(cassette) = &desk.config.tape {
            let asked = self.exchange(&ask);
            let Some(kept) = cassette.take(&asked) else {
                let why = "the recording holds no answer to this request";
                (desk.config.sink)(self.key, Seen::Refused { why: why.to_owned(), more_helps: false });
                return Err(Box::new(refused(api, why)));
            };
            return Ok(played(kept, &asked.workspace));
        }
        if let Some((pause, why)) = desk.pause_of(self.name, self.upstream) {
            return Err(Box::new(busy(api, pause, why)));
        }
        let reserved = desk.make_room(token, self.key, &mut ask).await;
        let reserved = reserved.map_err(|stopped| Box::new(self.stopped(stopped)))?;
        let exchange = desk.recorder.is_some().then(|| self.exchange(&ask));
        let body = ask.body.clone();
        // From here on it costs something, even if its client hangs up before the reply begins.
        let (dialect, streams) = (ask.dialect, ask.streams);
        let mut bill = Bill::open(self, ask, reserved, room);
        let response = match self.send(body).await {
            Ok(response) => response,
            Err(unanswered) => {
                // A stream begins before it is written, what is sent as a whole ends before.
                if streams || !unanswered.is_sent {
                    bill.waive();
                }
                return Err(unanswered.response);
            }
        };
        if !response.status().is_success() {
            bill.waive();
            return Ok(self.failed(response, exchange).await);
        }
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        bill.read_as(Meter::new(dialect, content_type.contains("event-stream")));
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let tape = exchange.map(|exchange| Running::new(desk, Exchange { status, content_type, ..exchange }));
        Ok(Response::from_parts(parts, Metered::new(body, bill, tape).boxed_unsync()))
    }

    /// Says why there is no room for a request.
    fn stopped(&self, stopped: Stopped) -> Response<Body> {
        let api = self.upstream.api;
        match stopped {
            Stopped::Later => busy(api, ASK_AGAIN, "other agents of this run hold the rest of its budget"),
            Stopped::Denied(denied) => {
                let (why, more_helps) = (denied.to_string(), denied.is_of_run());
                let response = refused(api, &why);
                (self.desk.config.sink)(self.key, Seen::Refused { why, more_helps });
                response
            }
        }
    }

    /// Hands on a reply that says what went wrong. It costs nothing: what was set aside comes back.
    async fn failed(&self, response: Response<Incoming>, exchange: Option<Exchange>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        let body = Limited::new(body, ERROR_BYTES_MAX).collect().await;
        let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        self.desk.note_busy(self.key, self.name, parts.status, &parts.headers, &bytes);
        // Some providers repeat the key that they do not like.
        let text = self.desk.redacted(&bytes);
        parts.headers.remove(header::CONTENT_LENGTH);
        if let (Some(recorder), Some(exchange)) = (&self.desk.recorder, exchange) {
            let of = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let content_type = of(header::CONTENT_TYPE).to_owned();
            let (status, reply) = (parts.status.as_u16(), self.desk.kept(&bytes));
            recorder.keep(&Exchange { status, content_type, reply, whole: true, ..exchange });
        }
        Response::from_parts(
            parts,
            Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync(),
        )
    }

    fn exchange(&self, ask: &Ask) -> Exchange {
        Exchange {
            task: self.key.task.0,
            attempt: self.key.attempt.0,
            workspace: lock(&self.desk.workspaces).get(&self.key).cloned().unwrap_or_default(),
            upstream: self.name.to_owned(),
            path: self.path.to_owned(),
            request: self.desk.kept(&ask.body),
            status: 0,
            content_type: String::new(),
            reply: String::new(),
            whole: false,
        }
    }
}

/// Says what went wrong, with what was behind it.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_of_a_conversation_counts() {
        let old = br#"{"messages":[{"a":1}],"tools":["long"]}"#;
        let new = br#"{"messages":[{"a":1},{"b":22}],"tools":["long"]}"#;
        assert_eq!(new_bytes(old, new), (new.len() - old.len()) as u64);
        assert_eq!(new_bytes(old, old), 0);
        assert_eq!(new_bytes(b"", new), new.len() as u64);
        assert_eq!(new_bytes(b"aaaa", b"aa"), 0);
        assert_eq!(new_bytes(b"aa", b"aaaa"), 2);
        assert_eq!(new_bytes(b"xyz", b"abc"), 3);
    }

    #[test]
    fn a_pause_is_read_wherever_a_provider_states_it() {
        let of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            pause(&headers, b"")
        };
        assert_eq!(of("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(of("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(of("retry-after", "-1"), None);
        assert_eq!(of("retry-after", "later"), None);
        let body = br#"{"error":{"details":[{"@type":"RetryInfo","retryDelay": "31.5s"}]}}"#;
        assert_eq!(pause(&HeaderMap::new(), body), Some(Duration::from_millis(31_500)));
    }
}
