//! Which calls reach a model, an agent or the network, and what their libraries do by default.
//!
//! Source of the defaults: the libraries' own documentation, as of 2026-08. The clients of OpenAI and Anthropic wait
//! ten minutes and try three times, httpx waits five seconds, aiohttp five minutes: calls through them are no fault.
//! requests, urllib, axios and got wait for ever; fetch has no limit that a caller may rely on; google-genai has
//! neither limit nor retries unless `http_options` gives them.

use std::collections::HashMap;

use super::{
    libraries,
    modules::Modules,
    programs,
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

/// Names of what is kept of a model, and the verbs by which it is asked.
fn of_holder(object: &str, name: &str) -> Option<Service> {
    let own = object.trim_end_matches('.').rsplit(['.', '(']).next().unwrap_or_default();
    let own = own.trim_start_matches('_');
    let asks = [
        "invoke",
        "ainvoke",
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
    let langchain = ["invoke", "ainvoke", "abatch"].contains(&name);
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

/// What people name what they wrote around a model or an agent.
fn of_words(unit: &Unit, call: Id) -> Option<Service> {
    let callee = unit.callee(call)?;
    let plain = unit.callee_name(call);
    if let Some(service) = of_shape(unit, unit.text(callee), plain) {
        return Some(service);
    }
    let name = plain.to_ascii_lowercase();
    let whole = unit.text(callee).to_ascii_lowercase();
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

/// Tells whether a call asks a model or an agent, by the library it comes from.
#[must_use]
pub fn is_known_to_ask(unit: &Unit, call: Id) -> bool {
    matches!(of_call(unit, call), Some(Service::Model | Service::Agent))
}

/// How far calls are followed into functions of the same file.
const STEPS: u32 = 3;

/// Finds the first call within `id`, or in functions of the file that it calls, that reaches a model or an agent; else
/// one that reaches the network.
#[must_use]
pub fn reached(unit: &Unit, id: Id) -> Option<(Id, Service)> {
    reached_within(unit, id, STEPS, &|_, _, _| None)
}

/// All functions of a repository by name: calls of methods are followed to whatever is called so.
#[derive(Debug)]
pub struct Methods<'a> {
    modules: Modules<'a>,
    named: HashMap<&'a str, Vec<(&'a Unit, Id)>>,
}

/// As many functions may answer to a name for it to mean one thing: what is abstract, and those that stand for it.
const NAMESAKES: usize = 6;

/// Names that mean something else in every class.
const COMMON: &[&str] = &[
    "execute",
    "process",
    "invoke",
    "ainvoke",
    "handle",
    "create",
    "update",
    "delete",
    "remove",
    "append",
    "insert",
    "submit",
    "cancel",
    "search",
    "filter",
    "format",
    "render",
    "extend",
    "resolve",
    "connect",
    "initialize",
    "validate",
    "__init__",
    "constructor",
];

/// How names begin of what looks something up or makes something ready: it may ask an agent's object, and no agent.
const PLAIN: &[&str] = &[
    "get", "set", "is_", "has", "filter", "require", "check", "validate", "load", "parse", "from", "to_",
    "list", "register", "build", "add", "add_",
];

/// Tells whether a name is that of plain work: `get_router`, `afilter_accessible`, `_require_permission`.
fn is_plain(name: &str) -> bool {
    let name = name.trim_start_matches('_');
    let starts = |name: &str| PLAIN.iter().any(|verb| name.starts_with(verb));
    // `get_response` asks.
    let asks = ["response", "answer", "completion", "reply"].iter().any(|word| name.contains(word));
    !asks && (starts(name) || name.strip_prefix('a').is_some_and(starts))
}

impl<'a> Methods<'a> {
    /// Lists the functions.
    #[must_use]
    pub fn new(units: &'a [Unit]) -> Self {
        let mut named: HashMap<&str, Vec<(&Unit, Id)>> = HashMap::new();
        for unit in units {
            for (name, functions) in unit.functions() {
                let plain = name.len() >= 6 && !COMMON.contains(&name) && !is_plain(name);
                let all = functions.iter().map(|&function| (unit, function));
                named.entry(name).or_default().extend(all.filter(|_| plain));
            }
        }
        Self { modules: Modules::new(units), named }
    }

    /// Like [`reached`], and follows names into other files.
    #[must_use]
    pub fn reached(&self, unit: &Unit, id: Id) -> Option<(Id, Service)> {
        self.reached_through(unit, id, &|_| {})
    }

    /// Like [`Self::reached`], and tells `seen` of each other file that leads there.
    #[must_use]
    pub fn reached_through(&self, unit: &Unit, id: Id, seen: &dyn Fn(&Unit)) -> Option<(Id, Service)> {
        reached_within(unit, id, STEPS, &|unit, call, steps| self.elsewhere(unit, call, steps, seen))
    }

    /// Finds the first agent that is started as a program within `id`, or in a function that it calls, of another file, too.
    /// Tells `seen` of each other file that leads there.
    #[must_use]
    pub fn started(
        &self,
        unit: &Unit,
        id: Id,
        steps: u32,
        seen: &dyn Fn(&Unit),
    ) -> Option<(Id, &'static str)> {
        unit.calls_in(id).find_map(|call| {
            let own = || Some((unit, unit.called(call).filter(|&own| !unit.syntax.holds(own, call))?));
            let inside = || {
                let steps = steps.checked_sub(1)?;
                let (other, function) = own().or_else(|| self.exported(unit, call))?;
                let (_, agent) = self.started(other, function, steps, seen)?;
                seen(other);
                Some(agent)
            };
            programs::agent(unit, call).or_else(inside).map(|agent| (call, agent))
        })
    }

    /// Finds the function of another file that a call names by its import.
    #[must_use]
    pub fn exported(&self, unit: &Unit, call: Id) -> Option<(&'a Unit, Id)> {
        self.modules.exported(unit, call)
    }

    fn elsewhere(&self, unit: &Unit, call: Id, steps: u32, seen: &dyn Fn(&Unit)) -> Option<Service> {
        let steps = steps.checked_sub(1)?;
        let callee = unit.callee(call)?;
        let within = |(other, function): (&Unit, Id)| {
            let again = |unit: &Unit, call, steps| self.elsewhere(unit, call, steps, seen);
            let (_, service) = reached_within(other, function, steps, &again)?;
            let asks = !matches!(service, Service::Http(_));
            if asks {
                seen(other);
            }
            asks.then_some(service)
        };
        if let Some(found) = self.exported(unit, call) {
            // A method that looks something up may ask an agent's object, and no agent.
            let method = found.0.is_method(found.1) && is_plain(unit.callee_name(call));
            return if method { None } else { within(found) };
        }
        if unit.kind(callee) == "identifier" {
            return None;
        }
        let object = unit.syntax.child(callee, "object")?;
        let root = unit.text(object).split(['.', '(', '[']).next().unwrap_or_default();
        let named = self.named.get(unit.callee_name(call)).filter(|_| !unit.imported(root))?;
        let few = (1..=NAMESAKES).contains(&named.len());
        named.iter().filter(|_| few).filter_map(|&found| within(found)).max()
    }
}

/// Follows a call out of its file.
type Elsewhere<'a> = dyn Fn(&Unit, Id, u32) -> Option<Service> + 'a;

/// Calls that wait for a function that they are given.
const WAITS_FOR: &[&str] =
    &["to_thread", "run_sync", "run_in_executor", "run_in_threadpool", "runInThread", "retry", "pRetry"];

/// Finds the function of the file that a call waits for, though it does not call it itself.
fn handed(unit: &Unit, call: Id) -> Option<Id> {
    let waits = WAITS_FOR.contains(&unit.callee_name(call));
    let mut named = unit.args(call).into_iter().filter(|arg| unit.kind(arg.value) == "identifier");
    named.find_map(|arg| unit.function(unit.text(arg.value)).filter(|_| waits))
}

fn reached_within(unit: &Unit, id: Id, steps: u32, elsewhere: &Elsewhere<'_>) -> Option<(Id, Service)> {
    let mut found: Option<(Id, Service)> = None;
    for call in unit.calls_in(id) {
        let known = of_call(unit, call);
        let local = || {
            let callee = unit.callee(call)?;
            let plain = unit.kind(callee) == "identifier"
                || ["self.", "this."].iter().any(|own| unit.text(callee).starts_with(own));
            let called = || plain.then(|| unit.function(unit.callee_name(call))).flatten();
            let function = called().or_else(|| handed(unit, call))?;
            let inside = steps.checked_sub(1).filter(|_| !unit.syntax.holds(function, call))?;
            reached_within(unit, function, inside, elsewhere).map(|(_, service)| service)
        };
        let service =
            known.or_else(local).or_else(|| of_words(unit, call)).or_else(|| elsewhere(unit, call, steps));
        let Some(service) = service else { continue };
        if found.is_none_or(|(_, before)| before < service) {
            found = Some((call, service));
        }
    }
    found
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

/// Options that say that nothing is tried again, in lower case and without blanks.
const NEVER: &[&str] = &[
    "retry:{limit:0}",
    "retries:0",
    "retries=0",
    "retry:0",
    "retry=0",
    "retry:false",
    "retries={\"max_attempts\":0}",
    "retries={'max_attempts':0}",
    "retries={\"total_max_attempts\":1}",
];

/// Tells whether a file speaks of trying again.
#[must_use]
pub fn retries(unit: &Unit) -> bool {
    let mut text: String =
        unit.whole().chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    for never in NEVER {
        text = text.replace(never, "");
    }
    let text = text.replace("max_retries", "").replace("maxretries", "");
    ["retry", "retries", "backoff", "tenacity", "attempt"].iter().any(|word| text.contains(word))
}

/// Returns the name of the function around a node, for people.
#[must_use]
pub fn place_name(unit: &Unit, id: Id) -> String {
    let function = unit.syntax.around(id).filter(|&around| FUNCTIONS.contains(&unit.kind(around)));
    let named = |function: Id| {
        let parent = unit.syntax[function].parent;
        let given =
            (unit.kind(parent) == "variable_declarator").then(|| unit.syntax.child(parent, "name")).flatten();
        unit.syntax.child(function, "name").or(given)
    };
    let name = function.filter_map(named).next();
    name.map_or_else(String::new, |name| format!(" in `{}`", unit.text(name)))
}
