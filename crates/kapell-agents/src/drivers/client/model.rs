//! Models behind their HTTP APIs: `kapell __model-agent`, see [`crate::drivers::api`].

use serde_json::Value;

use super::{Invocation, Order};
use crate::drivers::api::{ARGUMENT, Api, KEY, Spec};

/// Below its home: what it is told besides its prompt.
const SPEC_FILE: &str = ".kapell/model.json";
/// Below its home: what was said.
const KEPT_FILE: &str = ".kapell/conversation.jsonl";

/// A provider of models, by its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelApi {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Responses and chat completions, and whatever is compatible.
    OpenAi,
    /// Google's Gemini API.
    Gemini,
}

impl ModelApi {
    pub(super) fn adapter(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            // `gemini` is the client of that name.
            Self::Gemini => "gemini-api",
        }
    }

    pub(super) fn key_variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::OpenAi => "OPENAI_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
        }
    }

    pub(super) fn base_url_variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_BASE_URL",
            Self::OpenAi => "OPENAI_BASE_URL",
            Self::Gemini => "GOOGLE_GEMINI_BASE_URL",
        }
    }

    /// Returns the provider's own address.
    #[must_use]
    pub fn usual_url(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com",
        }
    }
}

/// The option that says which of OpenAI's two APIs is spoken.
const API_OPTION: &str = "api";

impl Order {
    /// Writes down what follows from the user's own settings before the proxy takes their place.
    pub(crate) fn settle(&mut self) {
        self.usual_server = self.settings.base_url.is_none();
        if self.client == super::Client::Model(ModelApi::OpenAi) {
            // Servers of other people mostly speak the older one.
            let usual = if self.settings.base_url.is_some() { "chat" } else { "responses" };
            self.options.entry(API_OPTION.to_owned()).or_insert_with(|| usual.to_owned());
        }
    }
}

fn api_of(order: &Order, api: ModelApi) -> Option<Api> {
    match (api, order.option(API_OPTION)) {
        (ModelApi::Anthropic, _) => Some(Api::Messages),
        (ModelApi::Gemini, _) => Some(Api::Gemini),
        (ModelApi::OpenAi, Some("responses")) => Some(Api::Responses),
        (ModelApi::OpenAi, Some("chat") | None) => Some(Api::Chat),
        (ModelApi::OpenAi, Some(_)) => None,
    }
}

fn schema_of(order: &Order) -> Result<Option<Value>, String> {
    let schema = order.option("json_schema").map(serde_json::from_str::<Value>).transpose();
    match schema {
        Ok(Some(schema)) if !schema.is_object() => Err("its `json_schema` is no object".to_owned()),
        Ok(schema) => Ok(schema),
        Err(error) => Err(format!("its `json_schema` is no JSON: {error}")),
    }
}

pub(super) fn check(order: &Order, api: ModelApi) -> Result<(), String> {
    let name = api.adapter();
    if order.model().is_none() {
        return Err(format!(
            "an agent of adapter `{name}` needs a model: `model: NAME`, or `model` under [clients.{name}]"
        ));
    }
    if api_of(order, api).is_none() {
        return Err("its `api` is neither `responses` nor `chat`".to_owned());
    }
    if !order.settings.has_key() && order.settings.base_url.is_none() {
        let variable = api.key_variable();
        return Err(format!(
            "there is no key for `{name}`: set {variable}, or `base_url` for a server without one"
        ));
    }
    schema_of(order).map(drop)
}

pub(super) fn invoke(order: &Order, api: ModelApi) -> Invocation {
    let mut invocation = Invocation::default();
    let spec = Spec {
        api: api_of(order, api).unwrap_or(Api::Chat),
        base_url: order.base_url().unwrap_or(api.usual_url()).to_owned(),
        model: order.model().unwrap_or_default().to_owned(),
        system: order.option("system").map(str::to_owned),
        output_max: order.option("max_output_tokens").and_then(|text| text.parse().ok()),
        turns_max: order.steps_max(),
        limit: order.limit,
        rate: order.model().and_then(|model| (order.prices.0)(model)).map(|price| price.rate),
        // It notices by itself, and can say so, before it is taken for dead.
        silence: order.idle() / 3,
        schema: schema_of(order).unwrap_or_default(),
        kept: order.home.join(KEPT_FILE),
        tools: order.option("kapell_tools") != Some("no"),
        resume: order.resume.as_ref().map(|resume| resume.session.clone()),
    };
    invocation.arg(ARGUMENT).arg(order.home.join(SPEC_FILE));
    invocation.files.push((SPEC_FILE, serde_json::to_string(&spec).unwrap_or_default()));
    if let Some(key) = &order.settings.key {
        invocation.env(KEY, key);
    }
    invocation
}
