//! Streamable HTTP by way of our own client, which speaks TLS: the library speaks to a Unix socket that only this process
//! and its user can reach, and what comes there goes on to the server, with the headers that it wants.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{HOST, HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rmcp::transport::{
    StreamableHttpClientTransport, UnixSocketHttpClient,
    streamable_http_client::StreamableHttpClientTransportConfig,
};
use tokio::net::UnixListener;

use crate::proxy::{self, HttpClient};

/// A request larger than this is none to a tool.
const REQUEST_BYTES_MAX: usize = 64 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Failure>;

/// Where requests go.
struct Target {
    client: HttpClient,
    /// Scheme and authority.
    origin: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Returns a way to the server at `url`, open as long as the runtime lives.
pub(super) fn transport(
    url: &str,
    headers: BTreeMap<String, String>,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> io::Result<StreamableHttpClientTransport<UnixSocketHttpClient>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    let uri: Uri = url.parse().map_err(|_| wrong("this is no address"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("this is no address (http:// or https://)"));
    };
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    let headers: Option<Vec<_>> = headers.into_iter().map(header).collect();
    let headers = headers.ok_or_else(|| wrong("one of its headers is none"))?;
    let target = Target { client: proxy::http_client()?, origin: format!("{scheme}://{authority}"), headers };
    let dir = env("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let dir = dir.join(format!("kapell-mcp-{}", std::process::id()));
    // It fails if somebody else has made it: then nobody speaks there.
    fs::DirBuilder::new().mode(0o700).create(&dir)?;
    let socket = dir.join("s");
    let listener = UnixListener::bind(&socket)?;
    tokio::spawn(serve(listener, Arc::new(target), Gone(dir)));
    let client = UnixSocketHttpClient::new(&name(&socket)?, url);
    Ok(StreamableHttpClientTransport::with_client(client, StreamableHttpClientTransportConfig::with_uri(url)))
}

fn name(socket: &Path) -> io::Result<String> {
    let name = socket.to_str().map(str::to_owned);
    name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "TMPDIR is not UTF-8"))
}

/// Removes the directory of the socket in the end.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn serve(listener: UnixListener, target: Arc<Target>, _gone: Gone) {
    while let Ok((stream, _)) = listener.accept().await {
        let target = target.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let target = target.clone();
                async move {
                    Ok::<_, Infallible>(target.pass(request).await.unwrap_or_else(|error| failed(&*error)))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn failed(error: &dyn std::error::Error) -> Response<Body> {
    let text = Full::new(Bytes::from(proxy::causes(error)));
    let mut response = Response::new(text.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

impl Target {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await?.to_bytes();
        let place = parts.uri.path_and_query().map_or("/", |place| place.as_str());
        let mut request = Request::builder()
            .method(parts.method)
            .uri(format!("{}{place}", self.origin))
            .body(Full::new(body))?;
        let passed = parts.headers.iter().filter(|(name, _)| *name != HOST);
        let own = self.headers.iter().map(|(name, value)| (name, value));
        for (name, value) in passed.chain(own) {
            request.headers_mut().insert(name, value.clone());
        }
        let response = self.client.request(request).await?;
        Ok(response.map(|body| body.map_err(Failure::from).boxed_unsync()))
    }
}
