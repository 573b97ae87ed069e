//! From the protocol to a toolbox and back.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject,
        PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ReadResourceRequestParams,
        ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
        ServerCapabilities, ServerConfig, ToolAnnotations,
    },
    service::{Peer, RequestContext},
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::toolbox::{Caller, Document, Effect, Family, ReadError, Refusal, Reply, Tool, Toolbox};

/// A server of the protocol for a toolbox. A clone is another handle to the same toolbox.
#[derive(Debug)]
pub struct Server<T> {
    toolbox: Arc<T>,
}

impl<T> Clone for Server<T> {
    fn clone(&self) -> Self {
        Self { toolbox: self.toolbox.clone() }
    }
}

impl<T: Toolbox> Server<T> {
    /// Makes a server.
    #[must_use]
    pub fn new(toolbox: T) -> Self {
        Self { toolbox: Arc::new(toolbox) }
    }

    /// Asks the toolbox for something that may block.
    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Result<R, ErrorData> {
        let toolbox = self.toolbox.clone();
        let asked = tokio::task::spawn_blocking(move || question(&toolbox)).await;
        asked.map_err(|error| ErrorData::internal_error(format!("kapell has a bug: {error}"), None))
    }
}

/// One step of a call: how much is done, of how much, and what goes on.
type Step = (f64, Option<f64>, String);

/// Whoever waits at the other end of the connection.
struct Remote {
    steps: UnboundedSender<Step>,
    gone: CancellationToken,
}

impl Caller for Remote {
    fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        // Nobody may want to know any more.
        let _ = self.steps.send((done, total, message.to_owned()));
    }

    fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }
}

/// Passes the steps of a call on, until it is over.
async fn forward(peer: Peer<RoleServer>, token: Option<ProgressToken>, mut steps: UnboundedReceiver<Step>) {
    let mut last = f64::NEG_INFINITY;
    while let Some((done, total, message)) = steps.recv().await {
        let Some(token) = &token else { continue };
        // The protocol wants every step to be more than the one before.
        last = if done > last { done } else { last.next_up() };
        let mut told = ProgressNotificationParam::new(token.clone(), last).with_message(message);
        told.total = total;
        if peer.notify_progress(told).await.is_err() {
            return;
        }
    }
}

impl<T: Toolbox> ServerHandler for Server<T> {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(self.toolbox.name(), env!("CARGO_PKG_VERSION")))
            .with_instructions(self.toolbox.instructions())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.toolbox.tools().into_iter().map(tool).collect()))
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.toolbox.tools().into_iter().find(|tool| tool.name == name).map(tool)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (sender, steps) = unbounded_channel();
        let caller = Remote { steps: sender, gone: context.ct.clone() };
        let (name, given) = (request.name.clone(), request.arguments.unwrap_or_default());
        // The sender goes with the call, so that the forwarder ends when the call does.
        let call = self.ask(move |toolbox| toolbox.call(&name, given, &caller));
        let told = forward(context.peer.clone(), context.meta.get_progress_token(), steps);
        let (called, ()) = tokio::join!(call, told);
        match called? {
            Some(answer) => Ok(result(answer).into()),
            None => Err(ErrorData::invalid_params(format!("there is no tool `{}`", request.name), None)),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let documents = self.ask(T::documents).await?.map_err(unreadable)?;
        Ok(ListResourcesResult::with_all_items(documents.into_iter().map(resource).collect()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let families = self.toolbox.families().iter().map(template).collect();
        Ok(ListResourceTemplatesResult::with_all_items(families))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.clone();
        let (text, mime) = self.ask(move |toolbox| toolbox.read(&uri)).await?.map_err(unreadable)?;
        let contents = ResourceContents::text(text, request.uri).with_mime_type(mime);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

fn unreadable(error: ReadError) -> ErrorData {
    match &error {
        ReadError::Unknown(uri) => {
            ErrorData::resource_not_found(error.to_string(), Some(json!({"uri": uri})))
        }
        ReadError::Failed(_) => ErrorData::internal_error(error.to_string(), None),
    }
}

fn tool(tool: Tool) -> rmcp::model::Tool {
    let reads = tool.effect == Effect::Reads;
    let annotations =
        ToolAnnotations::new().read_only(reads).destructive(false).idempotent(reads).open_world(!reads);
    let mut meta = Map::new();
    // Claude Code hides tools behind a search otherwise, and a model does not look for what it does not know.
    meta.insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
    rmcp::model::Tool::new(tool.name, tool.about, Arc::new(tool.input))
        .with_title(tool.title)
        .with_annotations(annotations)
        .with_meta(MetaObject(meta))
}

fn resource(document: Document) -> Resource {
    Resource::new(document.uri, document.name).with_description(document.about).with_mime_type(document.mime)
}

fn template(family: &Family) -> ResourceTemplate {
    ResourceTemplate::new(family.template, family.name)
        .with_description(family.about)
        .with_mime_type(family.mime)
}

fn result(answer: Result<Reply, Refusal>) -> CallToolResult {
    match answer {
        Ok(reply) => {
            let mut content = vec![ContentBlock::text(reply.text)];
            content.extend(reply.links.into_iter().map(resource).map(ContentBlock::resource_link));
            let mut result = CallToolResult::success(content);
            result.structured_content = reply.value;
            result
        }
        Err(refusal) => CallToolResult::error(vec![ContentBlock::text(refusal.0)]),
    }
}
