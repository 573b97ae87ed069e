//! Transports: standard input and output, and streamable HTTP on loopback.

use rmcp::ServiceExt;

use super::{Server, toolbox::Toolbox};

/// Why a server ended before its client did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The machine gives no threads, sockets or streams.
    #[error("the server cannot be started")]
    Start(#[source] std::io::Error),
    /// The client does not speak the protocol.
    #[error("the client does not speak the protocol: {0}")]
    Handshake(String),
    /// The server fell over.
    #[error("kapell has a bug: {0}")]
    Bug(String),
}

/// Serves a toolbox on standard input and output, until the client goes away. Calls that are still on are left
/// alone: what they wait for is durable.
///
/// # Errors
///
/// Fails as [`ServeError`] lists.
pub fn stdio<T: Toolbox>(toolbox: T) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Start)?;
    let served = runtime.block_on(streams(toolbox, tokio::io::stdin(), tokio::io::stdout()));
    // A thread that reads standard input cannot be waited for.
    runtime.shutdown_background();
    served
}

/// Serves a toolbox on a pair of streams, until the client goes away.
///
/// # Errors
///
/// Fails as [`ServeError`] lists.
pub async fn streams<T: Toolbox>(
    toolbox: T,
    input: impl tokio::io::AsyncRead + Send + Unpin + 'static,
    output: impl tokio::io::AsyncWrite + Send + Unpin + 'static,
) -> Result<(), ServeError> {
    let running = match Server::new(toolbox).serve((input, output)).await {
        Ok(running) => running,
        // It went away before it said anything: that is its right.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(ServeError::Handshake(error.to_string())),
    };
    running.waiting().await.map_err(|error| ServeError::Bug(error.to_string()))?;
    Ok(())
}

#[cfg(feature = "http")]
pub use self::http::http;

#[cfg(feature = "http")]
mod http {
    use std::sync::Arc;

    use hyper_util::{rt::TokioIo, service::TowerToHyperService};
    use rmcp::{
        ServerHandler,
        transport::{
            StreamableHttpServerConfig, StreamableHttpService,
            streamable_http_server::session::local::LocalSessionManager,
        },
    };

    use super::ServeError;

    /// Serves a handler over streamable HTTP at `/` of a listener on loopback, for ever.
    ///
    /// Requests are answered only if they name a loopback host, and no page of a browser that came from elsewhere is
    /// let in. Other users of the machine are not kept out: standard input and output are for everyday use.
    ///
    /// # Errors
    ///
    /// Fails with [`ServeError::Start`] if the listener cannot be used.
    pub fn http<H: ServerHandler + Clone>(
        handler: H,
        listener: std::net::TcpListener,
    ) -> Result<(), ServeError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Start)?;
        listener.set_nonblocking(true).map_err(ServeError::Start)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Start)?;
            let make = move || Ok(handler.clone());
            let config = StreamableHttpServerConfig::default().with_allowed_origins([
                "http://localhost:*",
                "http://127.0.0.1:*",
                "http://[::1]:*",
            ]);
            let service = StreamableHttpService::new(make, Arc::new(LocalSessionManager::default()), config);
            loop {
                let (stream, _) = listener.accept().await.map_err(ServeError::Start)?;
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that breaks off is no concern of the others.
                    let _ = served.await;
                });
            }
        })
    }
}
