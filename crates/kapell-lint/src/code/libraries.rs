//! What the libraries of models and agents call their calls, and which of their clients wait for ever or never try again.
//!
//! Sources: the libraries' own code, as of 2026-11. The clients of OpenAI, Anthropic (ten minutes), Groq, Together (one
//! minute), Cohere (five minutes) and boto3 (one minute) have a limit and try again. LangChain's Python clients hand
//! `timeout=None` on to them, which switches their limit off.

use super::service::Service::{self, Agent, Model};

/// Calls of one library.
pub(super) struct Library {
    /// How the path of the object begins: modules.
    roots: &'static [&'static str],
    /// What stands in the rest of it, if anything must.
    within: &'static str,
    /// The last word of the call; with `()` where what was made is itself called.
    calls: &'static [&'static str],
    /// What they reach.
    reaches: Service,
}

const fn library(
    roots: &'static [&'static str],
    within: &'static str,
    calls: &'static [&'static str],
    reaches: Service,
) -> Library {
    Library { roots, within, calls, reaches }
}

/// Verbs of LangChain, and of all that copies it.
const INVOKE: &[&str] = &["invoke", "ainvoke", "stream", "astream", "batch", "abatch", "predict", "apredict"];

/// And of its chains.
const CHAIN: &[&str] = &["invoke", "ainvoke", "stream", "astream", "run", "arun", "call", "acall", "apply"];

/// Verbs of clients that are made like OpenAI's.
const CREATE: &[&str] = &["create", "parse", "stream", "complete", "complete_async", "acreate"];

/// Clients that are made like OpenAI's or Anthropic's.
const ALIKE: &[&str] = &[
    "openai",
    "anthropic",
    "@anthropic-ai/sdk",
    "@anthropic-ai/bedrock-sdk",
    "@anthropic-ai/vertex-sdk",
    "groq",
    "groq-sdk",
    "together",
    "together-ai",
    "mistralai",
    "@mistralai/mistralai",
    "cerebras",
    "@cerebras/cerebras_cloud_sdk",
    "portkey_ai",
    "portkey-ai",
    "zhipuai",
    "volcenginesdkarkruntime",
    "fireworks",
    "instructor",
    "langfuse",
    "litellm",
    "xai_sdk",
];

/// The calls.
pub(super) const LIBRARIES: &[Library] = &[
    library(ALIKE, ".messages", CREATE, Model),
    library(ALIKE, ".completions", CREATE, Model),
    library(ALIKE, ".responses", CREATE, Model),
    library(ALIKE, ".chat", CREATE, Model),
    library(ALIKE, ".embeddings", CREATE, Model),
    library(ALIKE, ".moderations", CREATE, Model),
    library(ALIKE, ".images", &["generate", "edit"], Model),
    library(ALIKE, ".audio.transcriptions", &["create"], Model),
    library(ALIKE, ".audio.speech", &["create"], Model),
    library(
        &["google.genai.Client()", "@google/genai.GoogleGenAI()"],
        "",
        &[
            "generate_content",
            "generate_content_stream",
            "generate_images",
            "generateContent",
            "generateContentStream",
            "generateImages",
        ],
        Model,
    ),
    library(
        &["google.genai.Client()", "@google/genai.GoogleGenAI()"],
        ".chats.create()",
        &["send_message", "sendMessage"],
        Model,
    ),
    library(
        &["google.generativeai", "vertexai", "@google/generative-ai", "@google-cloud/vertexai"],
        "()",
        &[
            "generate_content",
            "generate_content_async",
            "send_message",
            "send_message_async",
            "generateContent",
            "generateContentStream",
            "sendMessage",
        ],
        Model,
    ),
    library(&["litellm"], "", &["completion", "acompletion", "responses", "aresponses"], Model),
    library(&["litellm.Router()"], "", &["completion", "acompletion"], Model),
    library(
        &["cohere", "cohere-ai"],
        "()",
        &["chat", "chat_stream", "chatStream", "generate", "embed", "rerank"],
        Model,
    ),
    library(&["ollama"], "", &["chat", "generate", "embed", "embeddings"], Model),
    library(&["replicate", "replicate()"], "", &["run", "async_run", "stream"], Model),
    library(
        &["huggingface_hub", "@huggingface/inference"],
        "()",
        &["chat_completion", "text_generation", "chatCompletion", "textGeneration", "chatCompletionStream"],
        Model,
    ),
    library(&["huggingface_hub"], ".chat.completions", &["create"], Model),
    library(
        &["boto3", "aioboto3"],
        "client()",
        &["invoke_model", "converse", "converse_stream", "invoke_model_with_response_stream"],
        Model,
    ),
    library(&["boto3", "aioboto3"], "client()", &["invoke_agent", "invoke_agent_runtime"], Agent),
    library(&["@aws-sdk/client-bedrock-runtime.BedrockRuntimeClient()"], "", &["send"], Model),
    library(&["azure.ai.inference"], "()", &["complete"], Model),
    library(&["dashscope.Generation", "dashscope.MultiModalConversation"], "", &["call"], Model),
    library(&["langchain_*", "@langchain/*", "langchain.chat_models", "langchain.llms"], "()", INVOKE, Model),
    library(&["langchain.chains", "langchain.agents", "langchain_classic*"], "()", CHAIN, Agent),
    library(
        &["llama_index.llms"],
        "()",
        &["complete", "acomplete", "chat", "achat", "predict", "stream_chat"],
        Model,
    ),
    library(&["llama_index"], "as_query_engine()", &["query", "aquery"], Model),
    library(&["llama_index"], "as_chat_engine()", &["chat", "achat"], Model),
    library(&["llama_index.core.agent"], "()", &["run", "chat", "achat", "query"], Agent),
    library(&["dspy"], "", &["Predict()", "ChainOfThought()", "ProgramOfThought()"], Model),
    library(&["dspy"], "", &["ReAct()", "CodeAct()"], Agent),
    library(
        &["ai"],
        "",
        &["generateText", "streamText", "generateObject", "streamObject", "embed", "embedMany"],
        Model,
    ),
    library(
        &["ai.ToolLoopAgent()", "ai.Agent()", "ai.Experimental_Agent()"],
        "",
        &["generate", "stream", "respond"],
        Agent,
    ),
    library(&["agents.Runner"], "", &["run", "run_sync", "run_streamed"], Agent),
    library(&["@openai/agents"], "", &["run"], Agent),
    library(&["@openai/codex-sdk"], "()", &["run", "runStreamed"], Agent),
    library(
        &[
            "claude_agent_sdk",
            "claude_code_sdk",
            "@anthropic-ai/claude-agent-sdk",
            "@anthropic-ai/claude-code",
        ],
        "",
        &["query"],
        Agent,
    ),
    library(&["pydantic_ai"], "Agent()", &["run", "run_sync", "run_stream"], Agent),
    library(
        &["crewai"],
        "Crew()",
        &["kickoff", "kickoff_async", "akickoff", "kickoff_for_each", "kickoff_for_each_async"],
        Agent,
    ),
    library(&["crewai"], "Agent()", &["kickoff", "kickoff_async", "execute_task"], Agent),
    library(&["crewai.LLM()"], "", &["call"], Model),
    library(&["autogen_agentchat", "autogen_ext"], "()", &["run", "run_stream", "on_messages"], Agent),
    library(&["autogen_ext.models"], "()", &["create", "create_stream"], Model),
    library(
        &["autogen", "ag2", "pyautogen"],
        "()",
        &["initiate_chat", "a_initiate_chat", "run", "a_run"],
        Agent,
    ),
    library(&["autogen", "ag2", "pyautogen"], "()", &["generate_reply", "a_generate_reply"], Model),
    library(&["langgraph", "deepagents", "@langchain/langgraph*"], "()", INVOKE, Agent),
    library(&["smolagents"], "Agent()", &["run"], Agent),
    library(&["semantic_kernel.Kernel()"], "", &["invoke", "invoke_prompt", "invoke_stream"], Model),
    library(&["semantic_kernel"], "Agent()", &["invoke", "get_response", "invoke_stream"], Agent),
    library(&["agno", "phi", "phidata"], "()", &["run", "arun", "print_response", "aprint_response"], Agent),
    library(&["google.adk"], "Runner()", &["run", "run_async", "run_live", "run_debug"], Agent),
    library(&["strands"], "", &["Agent()"], Agent),
    library(&["strands"], "Agent()", &["invoke_async", "stream_async"], Agent),
    library(&["camel"], "()", &["step", "astep"], Agent),
    library(&["browser_use"], "Agent()", &["run", "run_sync"], Agent),
    library(&["haystack"], "Pipeline()", &["run", "run_async"], Model),
    library(&["@mastra/core*"], "Agent()", &["generate", "stream", "network"], Agent),
    library(&["@mastra/core*"], "getAgent()", &["generate", "stream", "network"], Agent),
    library(&["genkit", "@genkit-ai/ai"], "()", &["generate", "generateStream"], Model),
    library(&["beeai_framework", "beeai-framework"], "()", &["run"], Agent),
    library(&["atomic_agents"], "()", &["run", "run_async"], Agent),
    library(&["letta_client", "@letta-ai/letta-client"], ".messages", &["create", "create_stream"], Agent),
];

/// Tells whether `object` begins with the modules of `root`; a star at its end stands for the rest of a word.
fn begins(object: &str, root: &str) -> bool {
    if let Some(start) = root.strip_suffix('*') {
        return object.starts_with(start);
    }
    object.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '(']))
}

/// Tells what the call `last` of `object` reaches.
pub(super) fn reaches(object: &str, last: &str) -> Option<Service> {
    let library = LIBRARIES.iter().find(|library| {
        library.calls.contains(&last)
            && library.roots.iter().any(|root| begins(object, root))
            && object.contains(library.within)
    })?;
    Some(library.reaches)
}

/// A client that is made without something that its calls need.
#[derive(Debug)]
pub struct Client {
    /// What makes it.
    pub path: &'static str,
    /// What gives it that: arguments by name, or keys of the object that it is given.
    pub given: &'static [&'static str],
    /// What is wrong without.
    pub why: &'static str,
    /// What to do.
    pub hint: &'static str,
}

const fn client(
    path: &'static str,
    given: &'static [&'static str],
    why: &'static str,
    hint: &'static str,
) -> Client {
    Client { path, given, why, hint }
}

const TIMEOUT: &[&str] =
    &["timeout", "request_timeout", "default_request_timeout", "http_client", "http_async_client"];
const HANDED_ON: &str =
    "this client waits for ever: LangChain hands `timeout=None` on, which switches the limit off";
const GIVE: &str = "give it `timeout=120`";
const OLLAMA: &str = "this client waits for ever: Ollama's sets no limit";
const SOCKET: &str = "this connection waits for ever: its library sets no limit";
const MINUTE: &str = "give it `timeout=60`";

/// Clients that wait for ever unless they are told not to.
pub const ENDLESS: &[Client] = &[
    client(
        "google.genai.Client",
        &["http_options"],
        "this client waits for ever: google-genai sets no limit unless `http_options` gives one",
        "give it `http_options=types.HttpOptions(timeout=60_000)`, in milliseconds",
    ),
    client(
        "@google/genai.GoogleGenAI",
        &["httpOptions"],
        "this client waits for ever: @google/genai sets no limit unless `httpOptions` gives one",
        "give it `httpOptions: { timeout: 60_000 }`",
    ),
    client(
        "@mistralai/mistralai.Mistral",
        &["timeoutMs", "httpClient"],
        "this client waits for ever: Mistral's sets no limit unless `timeoutMs` gives one",
        "give it `timeoutMs: 60_000`",
    ),
    client(
        "langchain_ollama.ChatOllama",
        &["client_kwargs", "async_client_kwargs", "sync_client_kwargs"],
        "this client waits for ever: Ollama's sets no limit unless `client_kwargs` gives one",
        "give it `client_kwargs={\"timeout\": 120}`",
    ),
    client(
        "langchain_ollama.OllamaLLM",
        &["client_kwargs", "async_client_kwargs", "sync_client_kwargs"],
        "this client waits for ever: Ollama's sets no limit unless `client_kwargs` gives one",
        "give it `client_kwargs={\"timeout\": 120}`",
    ),
    client("ollama.Client", &["timeout"], OLLAMA, GIVE),
    client("ollama.AsyncClient", &["timeout"], OLLAMA, GIVE),
    client("langchain_openai.ChatOpenAI", TIMEOUT, HANDED_ON, GIVE),
    client("langchain_openai.AzureChatOpenAI", TIMEOUT, HANDED_ON, GIVE),
    client("langchain.chat_models.ChatOpenAI", TIMEOUT, HANDED_ON, GIVE),
    client("langchain_community.chat_models.ChatOpenAI", TIMEOUT, HANDED_ON, GIVE),
    client("langchain_anthropic.ChatAnthropic", TIMEOUT, HANDED_ON, GIVE),
    client("langchain_groq.ChatGroq", TIMEOUT, HANDED_ON, GIVE),
    client("langchain_deepseek.ChatDeepSeek", TIMEOUT, HANDED_ON, GIVE),
    client("langchain_xai.ChatXAI", TIMEOUT, HANDED_ON, GIVE),
    client(
        "langchain_google_genai.ChatGoogleGenerativeAI",
        TIMEOUT,
        "this client waits for ever: LangChain's for Gemini sets no limit unless `timeout` gives one",
        GIVE,
    ),
    client(
        "huggingface_hub.InferenceClient",
        &["timeout"],
        "this client waits for ever: Hugging Face's sets no limit unless `timeout` gives one",
        MINUTE,
    ),
    client(
        "huggingface_hub.AsyncInferenceClient",
        &["timeout"],
        "this client waits for ever: Hugging Face's sets no limit unless `timeout` gives one",
        MINUTE,
    ),
    client(
        "mcp.ClientSession",
        &["read_timeout_seconds"],
        "calls of this session wait for ever: MCP's sets no limit unless `read_timeout_seconds` gives one",
        "give it `read_timeout_seconds=timedelta(seconds=60)`",
    ),
    client("urllib3.PoolManager", &["timeout"], SOCKET, MINUTE),
    client("http.client.HTTPSConnection", &["timeout"], SOCKET, MINUTE),
    client("http.client.HTTPConnection", &["timeout"], SOCKET, MINUTE),
    client("smtplib.SMTP", &["timeout"], SOCKET, MINUTE),
    client("smtplib.SMTP_SSL", &["timeout"], SOCKET, MINUTE),
    client("imaplib.IMAP4_SSL", &["timeout"], SOCKET, MINUTE),
];

/// Clients whose limit somebody switched off, by `timeout=None`.
pub const LIMITED: &[&str] = &[
    "openai.OpenAI",
    "openai.AsyncOpenAI",
    "openai.AzureOpenAI",
    "openai.AsyncAzureOpenAI",
    "anthropic.Anthropic",
    "anthropic.AsyncAnthropic",
    "groq.Groq",
    "groq.AsyncGroq",
    "httpx.Client",
    "httpx.AsyncClient",
    "httpx.get",
    "httpx.post",
    "httpx.stream",
    "httpx.request",
    "aiohttp.ClientSession",
    "aiohttp.ClientTimeout",
];

/// Clients that give up at the first refusal unless they are told to try again.
pub const HASTY: &[Client] = &[
    client(
        "google.genai.Client",
        &["http_options"],
        "gives up at the first 429 or 503: google-genai does not retry",
        "give it `http_options=types.HttpOptions(retry_options=types.HttpRetryOptions())`",
    ),
    client(
        "@google/genai.GoogleGenAI",
        &["httpOptions"],
        "gives up at the first 429 or 503: @google/genai does not retry",
        "give it `httpOptions: { retryOptions: { attempts: 3 } }`, or retry with backoff around its calls",
    ),
    client(
        "mistralai.Mistral",
        &["retry_config"],
        "gives up at the first 429 or 503: Mistral's does not retry",
        "give it a `retry_config` with backoff",
    ),
    client(
        "@mistralai/mistralai.Mistral",
        &["retryConfig"],
        "gives up at the first 429 or 503: Mistral's does not retry",
        "give it `retryConfig: { strategy: \"backoff\" }`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_module_object_and_name() {
        for (path, reached) in [
            ("openai.AsyncOpenAI().chat.completions.create", Some(Model)),
            ("openai().responses.create", Some(Model)),
            ("google.genai.Client().aio.models.generate_content", Some(Model)),
            ("boto3.Session().client().converse", Some(Model)),
            ("langchain_openai.ChatOpenAI().ainvoke", Some(Model)),
            ("langgraph.graph.StateGraph().compile().ainvoke", Some(Agent)),
            ("dspy.ChainOfThought()", Some(Model)),
            ("@mastra/core/agent.Agent().generate", Some(Agent)),
            ("openai.OpenAI().models.list", None),
            ("aiohttp.ClientSession().get", None),
            ("ailment.generateText", None),
        ] {
            let (object, last) = path.rsplit_once('.').expect("a dotted name");
            assert_eq!(reaches(object, last), reached, "{path}");
        }
    }
}
