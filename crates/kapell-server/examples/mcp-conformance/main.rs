//! A server for the protocol's own conformance suite: what the suite wants to see, on kapell's server.
//!
//! Tools, progress, errors and documents go through [`Server`] as kapell's own do. What kapell does not offer (prompts,
//! completion, logging, questions to the client) is answered here, so that the suite can try the transport with it.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot go on fails")]
#![expect(deprecated, reason = "the suite also tries what the protocol has given up")]

mod plain; // what goes through kapell's toolbox
mod rounds; // questions to the client, in rounds

use std::{borrow::Cow, sync::Arc, time::Duration};

use kapell_server::mcp::{Server, serve};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, ClientCapabilities, CompleteRequestParams, CompleteResult,
        CreateMessageRequestParams, ElicitRequestParams, GetPromptRequestParams, GetPromptResponse,
        GetPromptResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams,
        ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
        SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// An image of one pixel, as PNG.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/// A sound without samples, as WAV.
const SILENCE: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";
/// How long tools that take their time take between two steps.
const STEP: Duration = Duration::from_millis(50);

fn main() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The suite is told where to find it.
    #[expect(clippy::print_stdout, reason = "the address is the output")]
    {
        println!("http://{}", listener.local_addr().unwrap());
    }
    serve::http(Fixture::new(), listener).unwrap();
}

/// Makes a value of the protocol from its JSON.
pub(crate) fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Makes a result that is complete, which the newest specification wants said.
pub(crate) fn complete<T: DeserializeOwned>(mut value: Value) -> T {
    value["resultType"] = "complete".into();
    of(value)
}

/// What changed, for those who listen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Tools,
    Prompts,
}

#[derive(Clone)]
struct Fixture {
    server: Server<plain::Plain>,
    rounds: Arc<rounds::Rounds>,
    changes: broadcast::Sender<Change>,
}

impl Fixture {
    fn new() -> Self {
        let changes = broadcast::channel(16).0;
        Self { server: Server::new(plain::Plain), rounds: Arc::default(), changes }
    }

    /// Answers the tools that kapell's toolbox has no part in.
    async fn extra(
        &self,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<Value>, ErrorData> {
        let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
        let resource = |uri: &str, mime: &str, text: &str| json!({"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": text}});
        let image = json!({"type": "image", "data": PIXEL, "mimeType": "image/png"});
        let content = match &*request.name {
            "test_image_content" => json!([image]),
            "test_audio_content" => json!([{"type": "audio", "data": SILENCE, "mimeType": "audio/wav"}]),
            "test_embedded_resource" => {
                json!([resource(
                    "test://embedded-resource",
                    "text/plain",
                    "This is an embedded resource content."
                )])
            }
            "test_multiple_content_types" => json!([
                {"type": "text", "text": "Multiple content types test:"},
                image,
                resource("test://mixed-content-resource", "application/json", "{\"test\":\"data\",\"value\":123}"),
            ]),
            "test_tool_with_logging" | "test_logging_tool" => {
                self.log(context).await;
                text("logged")
            }
            "test_reconnection" => {
                // The client comes back for what it has missed.
                tokio::time::sleep(STEP * 2).await;
                text("still here")
            }
            "test_sampling" => text(&sampled(&arguments, context).await?),
            "test_elicitation" => text(&elicited(rounds::user_schema(), &arguments, context).await?),
            "test_elicitation_sep1034_defaults" => {
                text(&elicited(rounds::defaults_schema(), &arguments, context).await?)
            }
            "test_elicitation_sep1330_enums" => {
                text(&elicited(rounds::enums_schema(), &arguments, context).await?)
            }
            "test_trigger_tool_change" => self.changed(Change::Tools),
            "test_trigger_prompt_change" => self.changed(Change::Prompts),
            "test_missing_capability" => {
                let declared = context.client_capabilities().unwrap_or_default();
                if declared.sampling.is_none() {
                    let required: ClientCapabilities = of(json!({"sampling": {}}));
                    return Err(ErrorData::missing_required_client_capability(required));
                }
                text("declared")
            }
            _ => return Ok(None),
        };
        Ok(Some(json!({"content": content})))
    }

    fn changed(&self, change: Change) -> Value {
        // Nobody need listen.
        let _ = self.changes.send(change);
        text("changed")
    }

    async fn log(&self, context: &RequestContext<RoleServer>) {
        // From 2026-07-28 on a client asks for logs request by request.
        let asked = context.protocol_version().is_none_or(|version| version.has_initialize())
            || context.meta.log_level().is_some();
        for line in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
            if asked {
                let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(line));
                let _ = context.peer.notify_logging_message(message).await;
            }
            tokio::time::sleep(STEP).await;
        }
    }
}

fn text(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

fn failed(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

async fn sampled(arguments: &Value, context: &RequestContext<RoleServer>) -> Result<String, ErrorData> {
    let asked: CreateMessageRequestParams = of(json!({
        "messages": [{"role": "user", "content": {"type": "text", "text": arguments["prompt"]}}],
        "maxTokens": 100,
    }));
    let answer = context.peer.create_message(asked).await.map_err(failed)?;
    let answer = serde_json::to_value(answer).map_err(failed)?;
    Ok(format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default()))
}

async fn elicited(
    schema: Value,
    arguments: &Value,
    context: &RequestContext<RoleServer>,
) -> Result<String, ErrorData> {
    let message = arguments["message"].as_str().unwrap_or("Please tell");
    let asked: ElicitRequestParams =
        of(json!({"mode": "form", "message": message, "requestedSchema": schema}));
    let answer = context.peer.create_elicitation(asked).await.map_err(failed)?;
    let answer = serde_json::to_value(answer).map_err(failed)?;
    Ok(format!(
        "Elicitation completed: action={}, content={}",
        answer["action"].as_str().unwrap_or_default(),
        answer["content"]
    ))
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let mut info = self.server.get_info();
        info.capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_completions()
            .enable_logging()
            .build();
        info
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.server.supported_protocol_versions()
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        let extra = || of::<Vec<rmcp::model::Tool>>(plain::extra_tools());
        self.server.get_tool(name).or_else(|| extra().into_iter().find(|tool| tool.name == name))
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = self.server.list_tools(page, context).await?;
        listed.tools.extend(of::<Vec<rmcp::model::Tool>>(plain::extra_tools()));
        Ok(listed)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(answer) = self.rounds.tool(&request, &context)? {
            return Ok(answer);
        }
        match self.extra(&request, &context).await? {
            Some(value) => Ok(CallToolResponse::Complete(complete(value))),
            None => self.server.call_tool(request, context).await,
        }
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.server.list_resources(page, context).await
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        self.server.list_resource_templates(page, context).await
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri == "test://static-binary" {
            let contents =
                json!({"contents": [{"uri": request.uri, "mimeType": "image/png", "blob": PIXEL}]});
            return Ok(ReadResourceResponse::Complete(complete(contents)));
        }
        self.server.read_resource(request, context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(of(plain::prompts())))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if let Some(answer) = self.rounds.prompt(&request, &context)? {
            return Ok(answer);
        }
        let given = Value::Object(request.arguments.unwrap_or_default());
        let messages = plain::prompt(&request.name, &given)
            .ok_or_else(|| ErrorData::invalid_params("there is no such prompt", None))?;
        Ok(GetPromptResponse::Complete(complete::<GetPromptResult>(json!({"messages": messages}))))
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(complete(json!({"completion": {"values": ["paris", "park"], "total": 2, "hasMore": false}})))
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            // What was not asked for is refused by the subscription itself.
            let _ = match change {
                Ok(Change::Tools) => context.sink().notify_tool_list_changed().await,
                Ok(Change::Prompts) => context.sink().notify_prompt_list_changed().await,
                Err(_) => return Ok(()),
            };
        }
    }
}
