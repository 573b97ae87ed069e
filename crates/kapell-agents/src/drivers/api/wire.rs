//! One request to a model: sent, and its reply read as it comes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use kapell_core::price::Tokens;
use serde_json::Value;

use super::{
    Api, Spec,
    dialect::{Ask, Fault, Pieces, Reply},
};
use crate::proxy::{self, HttpClient, Meter, Secret};

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
/// As much is read of an answer that says what went wrong.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// A reply is no longer than this.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A model that can be asked.
pub(super) struct Model {
    client: HttpClient,
    api: Api,
    base_url: String,
    name: String,
    key: Option<Secret>,
    silence: Duration,
}

/// A reply, and what it cost.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) tokens: Tokens,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Trouble {
    /// The provider says so.
    Status {
        status: Option<u16>,
        text: String,
        /// For how long it wants to be left alone.
        pause: Option<Duration>,
    },
    /// Nobody answers, or the reply broke off.
    Broken(String),
    /// Nothing came for so long.
    Silent(Duration),
}

/// A request that came to nothing, and what it cost as far as that is known.
pub(super) struct Failed {
    pub(super) trouble: Trouble,
    pub(super) tokens: Tokens,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, tokens: Tokens::default() }
    }
}

impl Model {
    pub(super) fn new(spec: &Spec, key: Option<String>) -> Result<Self, String> {
        let client = proxy::http_client().map_err(|error| error.to_string())?;
        let Spec { api, base_url, model, silence, .. } = spec;
        let key = key.filter(|key| !key.is_empty()).map(Secret::new);
        let (base_url, name) = (base_url.clone(), model.clone());
        Ok(Self { client, api: *api, base_url, name, key, silence: *silence })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Trouble> {
        let url = format!("{}{}", self.base_url, self.api.path(&self.name));
        let wrong = |error: hyper::http::Error| Trouble::Status {
            status: Some(400),
            text: format!("`{url}` is no address: {error}"),
            pause: None,
        };
        let mut request = Request::post(&url).body(Full::new(body)).map_err(wrong)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.api == Api::Messages {
            let (name, value) = ANTHROPIC_VERSION;
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some(key) = &self.key {
            self.api.provider().authorize(headers, key);
        }
        Ok(request)
    }

    /// Asks once.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, Failed> {
        let body = Bytes::from(self.api.request(ask).to_string());
        let sent = body.len() as u64;
        let request = self.request(body)?;
        let response = self.patiently(self.client.request(request)).await?;
        let response = response.map_err(|error| Trouble::Broken(proxy::causes(&error)))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await.into());
        }
        let mut meter = Meter::new(self.api, true);
        let mut pieces = self.api.pieces();
        let read = self.read(response, &mut meter, &mut *pieces).await;
        // Where the provider does not say what it read: about four bytes a token.
        let tokens = meter.finish(sent / 4, 0).tokens;
        let broken = || Trouble::Broken("the reply broke off".to_owned());
        match read.and_then(|()| pieces.finish().ok_or_else(broken)) {
            Ok(reply) => Ok(Answer { reply, tokens }),
            Err(trouble) => Err(Failed { trouble, tokens }),
        }
    }

    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        tokio::time::timeout(self.silence, work).await.map_err(|_| Trouble::Silent(self.silence))
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        meter: &mut Meter,
        pieces: &mut dyn Pieces,
    ) -> Result<(), Trouble> {
        let mut body = response.into_body();
        let (mut events, mut passed) = (Events::default(), 0);
        loop {
            let Some(frame) = self.patiently(body.frame()).await? else { return Ok(()) };
            let frame = frame.map_err(|error| Trouble::Broken(proxy::causes(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            passed += data.len();
            if passed > REPLY_BYTES_MAX {
                return Err(Trouble::Broken(format!("the reply is longer than {REPLY_BYTES_MAX} bytes")));
            }
            meter.take(&data);
            events.take(&data, |event| pieces.event(event)).map_err(Trouble::from)?;
        }
    }

    async fn refusal(&self, response: Response<Incoming>) -> Trouble {
        let (parts, body) = response.into_parts();
        let bytes = self.patiently(Limited::new(body, ERROR_BYTES_MAX).collect()).await;
        let bytes =
            bytes.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let status = parts.status.as_u16();
        let text = said(&bytes).unwrap_or_else(|| format!("the provider answered {status}"));
        Trouble::Status { status: Some(status), text, pause: proxy::pause(&parts.headers, &bytes) }
    }
}

/// Returns what an answer says went wrong.
fn said(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    // Gemini answers with a list where it streams.
    let error = match &value {
        Value::Array(list) => &list.first()?["error"],
        value => &value["error"],
    };
    let kind = ["type", "code", "status"].iter().find_map(|name| error[*name].as_str()).unwrap_or_default();
    let message = error["message"].as_str().or(error.as_str())?;
    Some(format!("{kind}: {message}").trim_start_matches(": ").to_owned())
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Status { status: fault.status, text: fault.text, pause: None }
    }
}

/// Server-sent events, put together from pieces of any size.
#[derive(Default)]
struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
}

impl Events {
    fn take(
        &mut self,
        mut bytes: &[u8],
        mut hand_on: impl FnMut(&Value) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            } else if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                // `[DONE]`, comments and what else is no event are passed over.
                if let Ok(event) = serde_json::from_slice(&data) {
                    hand_on(&event)?;
                }
            }
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream = b": hello\r\nevent: a\r\ndata: {\"n\":1}\r\n\r\ndata: {\"n\":\ndata: 2}\n\ndata: [DONE]\n\ndata: {\"n\":3}";
        for size in 1..stream.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in stream.chunks(size) {
                events
                    .take(piece, |event| {
                        found.push(event["n"].as_u64().unwrap());
                        Ok(())
                    })
                    .unwrap();
            }
            // The last one has no end.
            assert_eq!(found, [1, 2], "in pieces of {size}");
        }
    }

    #[test]
    fn errors_are_read_in_the_words_of_each_provider() {
        for (body, expected) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"later"}}"#,
                Some("overloaded_error: later"),
            ),
            (
                r#"{"error":{"message":"no","type":"invalid_request_error","code":null}}"#,
                Some("invalid_request_error: no"),
            ),
            (
                r#"[{"error":{"code":429,"message":"busy","status":"RESOURCE_EXHAUSTED"}}]"#,
                Some("RESOURCE_EXHAUSTED: busy"),
            ),
            (r#"{"error":"model not found"}"#, Some("model not found")),
            ("<html>", None),
        ] {
            assert_eq!(said(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
