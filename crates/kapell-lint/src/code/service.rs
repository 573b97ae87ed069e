//! Which calls reach a model, an agent or the network, and what their libraries do by default.
//!
//! Source of the defaults: the libraries' own documentation, as of 2026-08. The clients of OpenAI and Anthropic wait
//! ten minutes and try three times, httpx waits five seconds, aiohttp five minutes: calls through them are no fault.
//! requests, urllib, axios and got wait for ever; fetch has no limit that a caller may rely on; google-genai has
//! neither limit nor retries unless `http_options` gives them.

mod methods; // what a function reaches

use std::borrow::Cow;

pub use self::methods::{Methods, own_method, reached};
use super::{
    libraries, registry,
    syntax::Id,
    unit::{FUNCTIONS, Path, Unit},
};

/// How a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// The Python library.
    Requests,
    /// `urllib.request.urlopen`.
    Urllib,
    /// The Python library, with limits of its own.
    Httpx,
    /// The Python library, with limits of its own.
    Aiohttp,
    /// What JavaScript has built in, and what looks like it.
    Fetch,
    /// The JavaScript library.
    Axios,
    /// The JavaScript library.
    Got,
}

/// What a call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Another machine.
    Http(Transport),
    /// A model.
    Model,
    /// An agent: a loop of calls to a model.
    Agent,
}

impl Service {
    /// Names it for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http(_) => "HTTP",
            Self::Model => "model",
            Self::Agent => "agent",
        }
    }

    /// Tells whether it answers what it is asked in words: a model or an agent.
    #[must_use]
    pub fn answers(self) -> bool {
        matches!(self, Self::Model | Self::Agent)
    }
}

/// Words of which one stands in every file that is worth reading.
const WORDS: &[&str] = &[
    "requests",
    "urllib",
    "httpx",
    "aiohttp",
    "fetch",
    "axios",
    "got",
    "openai",
    "OpenAI",
    "anthropic",
    "genai",
    "litellm",
    "langchain",
    "langgraph",
    "agent",
    "Agent",
    "llm",
    "LLM",
    "claude",
    "codex",
    "cohere",
    "mistral",
    "ollama",
    "bedrock",
    "dspy",
    "llama_index",
    "crewai",
    "replicate",
    "huggingface",
    "InferenceClient",
    "subprocess",
    "child_process",
    "p-map",
    "p-limit",
    "grpc",
    "ClientSession",
    "https.request",
    "urllib3",
    "smtplib",
    "imaplib",
    "http.client",
    "generateText",
    "generateObject",
    "streamText",
    "streamObject",
    "superagent",
    "AGENTS",
    "websockets",
    "fastify",
    // Work that is started, of which somebody may lose sight.
    "asyncio.create_task(",
    "asyncio.ensure_future(",
    "return_exceptions=",
    "allSettled(",
    ".forEach(async",
    "asyncio.gather(",
    "asyncio.TaskGroup(",
];

/// Hosts that answer with a model.
const MODEL_HOSTS: &[&str] = &[
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "openrouter.ai/api",
    "api.mistral.ai",
    "api.groq.com",
    "api.deepseek.com",
    "api.cohere.",
    "api.together.xyz",
    "api.fireworks.ai",
    "api.perplexity.ai",
    "api.x.ai",
    "api.cerebras.ai",
    "dashscope.aliyuncs.com",
    "open.bigmodel.cn",
    "api.moonshot.",
    "api.siliconflow.",
    "integrate.api.nvidia.com",
    "api-inference.huggingface.co",
    "router.huggingface.co",
    "models.inference.ai.azure.com",
    "/chat/completions",
    "/v1/messages",
    "/api/generate",
    ":generateContent",
];

/// Tells whether a text may call a service.
#[must_use]
pub fn mentioned(text: &str) -> bool {
    WORDS.iter().any(|word| text.contains(word))
}

/// Tells whether a text names the address of a model.
#[must_use]
pub fn names_model_host(text: &str) -> bool {
    MODEL_HOSTS.iter().any(|host| text.contains(host))
}

/// Keys by which a request says which agent is to work.
const AGENT_KEYS: &[&str] =
    &["agent", "agent_id", "agentId", "agent_name", "agentName", "assistant_id", "assistantId"];

/// Tells what a request that goes over HTTP asks in truth: a model by its address, or an agent that its body names.
fn asked_over_http(unit: &Unit, call: Id) -> Option<Service> {
    let address = unit.args(call).first().and_then(|arg| unit.value(arg.value));
    if address.is_some_and(|address| names_model_host(unit.text(address))) {
        return Some(Service::Model);
    }
    let sends = unit.text(call).to_ascii_lowercase().contains("post");
    let mut pairs = unit.syntax.below(call).filter(|&id| unit.kind(id) == "pair");
    let named = pairs.any(|pair| {
        let key = unit.syntax.child(pair, "key").map_or("", |key| unit.text(key));
        AGENT_KEYS.contains(&key.trim_matches(['"', '\'']))
    });
    (sends && named).then_some(Service::Agent)
}

const VERBS: &[&str] = &["get", "post", "put", "patch", "delete", "head", "options", "request"];

/// Tells what a path reaches when it is called.
#[must_use]
pub fn of_path(path: &Path) -> Option<Service> {
    let text = path.text.as_str();
    let (object, last) = text.rsplit_once('.').unwrap_or(("", text));
    libraries::reaches(object, last).or_else(|| http(text, object, last).map(Service::Http))
}

fn http(text: &str, object: &str, last: &str) -> Option<Transport> {
    let verb = VERBS.contains(&last);
    match object {
        "requests" | "requests.Session()" | "requests.session()" if verb => return Some(Transport::Requests),
        "urllib.request" if last == "urlopen" => return Some(Transport::Urllib),
        "httpx" | "httpx.Client()" | "httpx.AsyncClient()" if verb || last == "stream" => {
            return Some(Transport::Httpx);
        }
        "aiohttp.ClientSession()" if verb => return Some(Transport::Aiohttp),
        "axios" | "axios.default" | "axios.create()" if verb => return Some(Transport::Axios),
        "got" if verb => return Some(Transport::Got),
        _ => {}
    }
    match text {
        "fetch" | "globalThis.fetch" | "node-fetch" | "node-fetch.default" | "undici.fetch"
        | "cross-fetch" | "cross-fetch.fetch" | "isomorphic-fetch" | "ofetch.ofetch" | "ofetch.$fetch" => {
            Some(Transport::Fetch)
        }
        "axios" | "axios.create()" => Some(Transport::Axios),
        "got" => Some(Transport::Got),
        _ => None,
    }
}

/// Calls that only a client of a model has, whatever it is kept in: what precedes the last word, and that word.
const SHAPES: &[(&str, &[&str])] = &[
    ("chat.completions", &["create", "parse", "stream"]),
    ("messages", &["create", "stream"]),
    ("responses", &["create", "parse", "stream"]),
    ("", &["generate_content", "generate_content_async", "generateContent", "generateContentStream"]),
    ("", &["invoke_model", "converse_stream", "chat_completion", "chatCompletion", "acompletion"]),
];

/// Ends of addresses behind which a model answers, as OpenAI's and all that are made like it have them.
const MODEL_PATHS: &[&str] = &["/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"];

/// Tells whether a call posts to such an address, whatever client it goes through.
fn posts_to_model(unit: &Unit, call: Id, name: &str) -> bool {
    if name != "post" {
        return false;
    }
    let address = unit.args(call).first().map(|arg| arg.value);
    address.is_some_and(|id| {
        let path = unit.text(id).trim_matches(['"', '\'', '`']);
        unit.kind(id) == "string" && MODEL_PATHS.iter().any(|end| path.ends_with(end))
    })
}

/// Tells whether a call has the form of one to a model, though where its object comes from cannot be seen.
fn of_shape(unit: &Unit, whole: &str, name: &str) -> Option<Service> {
    let object = whole.strip_suffix(name)?.strip_suffix('.')?;
    // Others have messages too.
    let vendor = || {
        let text = unit.whole();
        ["anthropic", "Anthropic", "openai", "OpenAI", "claude"].iter().any(|word| text.contains(word))
    };
    let fits = |(end, names): &&(&str, &[&str])| {
        names.contains(&name) && object.ends_with(end) && (end.is_empty() || end.contains('.') || vendor())
    };
    SHAPES.iter().find(fits).map(|_| Service::Model)
}

/// Calls that make of a model another one, which answers in a shape or has tools, in small letters.
///
/// Sources: the libraries' own code, `llama-index-core` and `langchain-core`, as of 2026-11.
const MADE_OF_MODELS: &[&str] = &[
    ".as_structured_llm(",
    ".with_structured_output(",
    ".withstructuredoutput(",
    ".bind_tools(",
    ".bindtools(",
];

/// Names of what is kept of a model, and the verbs by which it is asked.
fn of_holder(object: &str, name: &str) -> Option<Service> {
    let made = MADE_OF_MODELS.iter().filter_map(|made| object.find(made)).min();
    let object = made.map_or(object, |at| &object[..at]);
    let own = object.trim_end_matches('.').rsplit(['.', '(']).next().unwrap_or_default();
    let own = own.trim_start_matches('_');
    let asks = [
        "invoke",
        "ainvoke",
        "astream",
        "agenerate",
        "abatch",
        "generate",
        "complete",
        "acomplete",
        "chat",
        "achat",
        "predict",
        "apredict",
        "generate_text",
        "generate_response",
        "agenerate_response",
        "generate_json",
        "structured",
    ];
    let langchain = ["invoke", "ainvoke", "abatch", "astream"].contains(&name);
    let is_llm = own == "llm"
        || own.ends_with("_llm")
        || own.starts_with("llm")
        || own.ends_with("llmclient")
        || own.ends_with("llm)");
    match () {
        () if is_llm && asks.contains(&name) => Some(Service::Model),
        () if langchain && (own.ends_with("chain") || own.ends_with("model")) => Some(Service::Model),
        () if langchain && (own.ends_with("graph") || own.ends_with("executor") || own == "app") => {
            Some(Service::Agent)
        }
        () => None,
    }
}

/// Leaves out what a class is given as its types: `Runner[AgentDeps](x).run` is no agent's.
fn without_types(text: &str) -> Cow<'_, str> {
    let types = text.find("](").and_then(|end| Some((text[..end].find('[')?, end + 1)));
    match types {
        Some((start, end)) => Cow::Owned(format!("{}{}", &text[..start], &text[end..])),
        None => Cow::Borrowed(text),
    }
}

/// Last words of names of what is beside an agent or a model: `call_with_agent_guard`.
const BESIDE: &[&str] = &[
    "guard",
    "_lock",
    "hook",
    "hooks",
    "callback",
    "callbacks",
    "middleware",
    "_event",
    "_context",
    "_config",
    "_settings",
    "_check",
    "_checks",
    "_span",
    "_trace",
    "_registry",
    "_factory",
];

/// What people name what they wrote around a model or an agent.
fn of_words(unit: &Unit, call: Id) -> Option<Service> {
    let callee = unit.callee(call)?;
    let plain = unit.callee_name(call);
    if let Some(service) = of_shape(unit, unit.text(callee), plain) {
        return Some(service);
    }
    if posts_to_model(unit, call, plain) {
        return Some(Service::Model);
    }
    if registry::works(unit, call) {
        return Some(Service::Agent);
    }
    let name = plain.to_ascii_lowercase();
    let whole = without_types(unit.text(callee)).to_ascii_lowercase();
    let object = whole.strip_suffix(&name).unwrap_or_default();
    if let Some(service) = of_holder(object, &name) {
        return Some(service);
    }
    // Nothing else is set off by these words.
    let kickoffs = [
        "kickoff",
        "kickoff_async",
        "akickoff",
        "kickoff_for_each",
        "kickoff_for_each_async",
        "akickoff_for_each",
    ];
    if kickoffs.contains(&&*name) && unit.whole().contains("crew") {
        return Some(Service::Agent);
    }
    let own = object.trim_end_matches('.').rsplit(['.', '(']).next().unwrap_or_default();
    if own.ends_with("agent") && ["generate", "stream"].contains(&&*name) {
        return Some(Service::Agent);
    }
    let starts = [
        "run", "call", "invoke", "ask", "query", "execute", "spawn", "dispatch", "prompt", "arun", "ainvoke",
        "start", "launch", "delegate", "generate",
    ];
    let verb = starts.iter().any(|verb| name.starts_with(verb));
    let about = |text: &str, word: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.contains(word))
    };
    // What starts an agent takes the word itself: `agent.start()` may be a server's.
    let light = ["start", "launch", "delegate", "generate"].iter().any(|verb| name.starts_with(verb));
    match () {
        () if !verb || object.contains("manager") || object.contains("db") => None,
        () if BESIDE.iter().any(|word| name.ends_with(word)) => None,
        // An agent's object that calls a tool asks no agent.
        () if !name.contains("agent") && (name.ends_with("_tool") || name.ends_with("_tools")) => None,
        () if light => {
            let named = about(&name, "agent") && !name.ends_with("agents");
            let other = ["config", "_id", "server", "prompt", "name"].iter().any(|word| name.contains(word));
            (named && !other).then_some(Service::Agent)
        }
        () if about(&name, "agent")
            || about(object.rsplit_once('.').map_or(object, |(own, _)| own), "agent") =>
        {
            Some(Service::Agent)
        }
        () if about(&name, "llm")
            || name.ends_with("_model")
            || name.ends_with("claude")
            || name.ends_with("gpt")
            || name.ends_with("openai")
            || name.ends_with("gemini")
            || name.ends_with("anthropic")
            || name.ends_with("ollama") =>
        {
            Some(Service::Model)
        }
        () => None,
    }
}

/// Tells what a call reaches, by the library it comes from.
#[must_use]
pub fn of_call(unit: &Unit, call: Id) -> Option<Service> {
    if unit.kind(call) == "new_expression" {
        return None;
    }
    let callee = unit.callee(call)?;
    // A function of the file hides what is built in; a method does not, for it is called by its object.
    let hides = |function: Id| !unit.is_method(function);
    let own = unit.kind(callee) == "identifier" && unit.function(unit.text(callee)).is_some_and(hides);
    of_path(unit.callee_path(call)?).filter(|_| !own)
}

/// Tells whether a call itself asks a model or an agent, by the library it comes from or by what people name such calls.
#[must_use]
pub fn asks(unit: &Unit, call: Id) -> bool {
    match of_call(unit, call) {
        Some(Service::Http(_)) => asked_over_http(unit, call).is_some(),
        Some(_) => true,
        None => unit.kind(call) != "new_expression" && of_words(unit, call).is_some(),
    }
}

/// Tells whether a call asks a model or an agent, by the library it comes from.
#[must_use]
pub fn is_known_to_ask(unit: &Unit, call: Id) -> bool {
    of_call(unit, call).is_some_and(Service::answers)
}

/// Tells whether one of `words` stands in what a node is wrapped in: calls that take it, `with`, decorators. Lower case.
#[must_use]
pub fn wrapped(unit: &Unit, id: Id, words: &[&str]) -> bool {
    let says = |text: &str| {
        let text = text.to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    unit.syntax.around(id).any(|around| match unit.kind(around) {
        "call" | "call_expression" => unit.callee(around).is_some_and(|callee| says(unit.text(callee))),
        "with_statement" => {
            let clause = unit.syntax.children(around).find(|&child| unit.kind(child) == "with_clause");
            // What is opened there is not wrapped by what it is given itself.
            clause.is_some_and(|clause| {
                let text = unit.text(clause);
                if unit.syntax.holds(clause, id) {
                    says(&text.replace(unit.text(id), ""))
                } else {
                    says(text)
                }
            })
        }
        "decorated_definition" => unit
            .syntax
            .children(around)
            .any(|child| unit.kind(child) == "decorator" && says(unit.text(child))),
        _ => false,
    })
}

/// Returns the name of the function around a node, for people.
#[must_use]
pub fn place_name(unit: &Unit, id: Id) -> String {
    let mut functions = unit.syntax.around(id).filter(|&around| FUNCTIONS.contains(&unit.kind(around)));
    let name = functions.find_map(|function| unit.name_of(function));
    name.map_or_else(String::new, |name| format!(" in `{}`", unit.text(name)))
}
